//! What recipes tell in their spans, seen by a subscriber of `tracing`.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex as SyncMutex};

use etcd_recipes::{Election, Mutex, Queue, Session};
use etcd_sim::plan::Plan;
use etcd_sim::simulation::{Options, run};
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

type Fields = BTreeMap<&'static str, String>;

/// Keeps the fields of every span: of those that are open, by number, and of those that have
/// ended.
#[derive(Clone, Default)]
struct Spans(
    Arc<SyncMutex<BTreeMap<u64, Fields>>>,
    Arc<SyncMutex<Vec<Fields>>>,
);

struct Into<'f>(&'f mut Fields);

impl Visit for Into<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}").trim_matches('"').to_owned();
        self.0.insert(field.name(), text);
    }
}

impl<S: Subscriber> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
        let mut spans = self.0.lock().unwrap();
        let fields = spans.entry(id.into_u64()).or_default();
        attributes.record(&mut Into(fields));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut spans = self.0.lock().unwrap();
        let fields = spans.entry(id.into_u64()).or_default();
        values.record(&mut Into(fields));
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        // The registry gives its number to another span.
        let mut spans = self.0.lock().unwrap();
        if let Some(fields) = spans.remove(&id.into_u64()) {
            self.1.lock().unwrap().push(fields);
        }
    }
}

#[test]
fn a_span_tells_what_was_done_with_its_lease_token_and_revision() {
    let spans = Spans::default();
    tracing_subscriber::registry().with(spans.clone()).init();
    let ids = run(Options::new(Plan::quiet(1)), |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        let session = Session::new(&client).await.unwrap();
        let queue = Queue::new(&client, "jobs").unwrap();
        let enqueued = queue.enqueue("one").await.unwrap().revision;
        let guard = Mutex::new(&session, "lock").unwrap().lock().await.unwrap();
        let token = guard.fencing_token();
        guard.unlock().await.unwrap();
        let election = Election::new(&session, "office").unwrap();
        let leadership = election.campaign("us").await.unwrap();
        let term = leadership.term();
        leadership.resign().await.unwrap();
        (session.lease_id(), enqueued, token, term)
    });
    let (lease, enqueued, token, term) = ids.unwrap();
    let spans = spans.1.lock().unwrap();
    let field = |recipe: &str, operation: &str, field: &str| {
        let is_it = |span: &&Fields| {
            let is = |field, wanted| span.get(field).is_some_and(|value| value == wanted);
            is("recipe", recipe) && is("operation", operation)
        };
        let span = spans.iter().find(is_it).expect("there is such a span");
        span.get(field).cloned()
    };
    let lease = Some(format!("{lease:x}"));
    assert_eq!(field("queue", "enqueue", "name").as_deref(), Some("jobs"));
    assert_eq!(
        field("queue", "enqueue", "revision"),
        Some(enqueued.to_string())
    );
    assert_eq!(field("queue", "enqueue", "token"), None);
    assert_eq!(field("mutex", "lock", "lease"), lease);
    assert_eq!(field("mutex", "lock", "token"), Some(token.to_string()));
    assert!(field("mutex", "lock", "revision").is_some());
    assert_eq!(
        field("election", "campaign", "token"),
        Some(term.to_string())
    );
}
