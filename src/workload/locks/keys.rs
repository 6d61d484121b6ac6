//! When each key of a run was deleted: what a bystander sees who watches them.
//!
//! A key that was deleted at the revision at which its session's own key was
//! deleted too went with the lease: the end of a lease deletes all of its keys at
//! one revision (`Revoke` in etcd's `server/lease/lessor.go`).
//!
//! When history was compacted while the watch was down, what happened meanwhile
//! is known only roughly, and said so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{Client, Event, EventType, GetOptions, GetResponse, KeyValue, WatchOptions};
use serde::Serialize;
use tokio::sync::Notify;

use super::super::{LIVENESS_BOUND, Stage};
use crate::Error;
use crate::request::{DEFAULT_REQUEST_DEADLINE, Purpose, Requests, revision_of};
use crate::runtime;

/// After how long without an event the watch is opened again.
const SILENCE: Duration = Duration::from_secs(5);

/// The keys of a run, from its beginning on.
pub(super) struct KeyLog {
    shared: Arc<Shared>,
    _task: runtime::Task,
}

struct Shared {
    client: Client,
    requests: Requests,
    prefix: String,
    lives: Mutex<Lives>,
    changed: Notify,
}

/// Everything that is known at one revision.
#[derive(Default)]
struct Lives {
    all: Vec<Life>,
    /// Those that are alive, as indices.
    alive: BTreeMap<Vec<u8>, usize>,
    revision: i64,
}

/// The life of a key.
struct Life {
    key: String,
    lease: i64,
    token: i64,
    end: Option<End>,
}

/// The key was still there at the first revision, and no more at the second.
#[derive(Clone, Copy)]
struct End {
    after: i64,
    by: i64,
}

impl End {
    fn at(revision: i64) -> Self {
        Self {
            after: revision - 1,
            by: revision,
        }
    }

    fn may_be(self, other: End) -> bool {
        self.after < other.by && other.after < self.by
    }
}

#[derive(Serialize)]
struct KeyMark<'a> {
    key: &'a str,
    token: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_after: Option<i64>,
    deleted: Option<i64>,
    with_lease: bool,
}

#[derive(Serialize)]
struct WatchedMark {
    through: i64,
}

impl KeyLog {
    /// Begins to watch the keys that begin with `prefix`.
    ///
    /// # Errors
    ///
    /// When etcd cannot be asked.
    pub(super) async fn begin(stage: &Stage, client: &Client, prefix: &str) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            client: client.clone(),
            requests: Requests::new(client, DEFAULT_REQUEST_DEADLINE),
            prefix: prefix.to_owned(),
            lives: Mutex::default(),
            changed: Notify::new(),
        });
        let answer = shared.read_at_last(stage).await?;
        shared.lives().reconcile(&answer);
        let task = runtime::spawn(Arc::clone(&shared).follow());
        Ok(Self {
            shared,
            _task: task,
        })
    }

    /// Records a mark for each key. If etcd does not tell, there is none, and the
    /// checker will say so.
    pub(super) async fn record(&self, stage: &Stage) {
        let Some(through) = stage.in_time(self.shared.catch_up()).await else {
            return;
        };
        let lives = self.shared.lives();
        let sessions = format!("{}sessions/", self.shared.prefix);
        let is_session = |life: &&Life| life.key.starts_with(&sessions);
        let session_ends: BTreeMap<i64, End> = lives
            .all
            .iter()
            .filter(is_session)
            .filter_map(|life| Some((life.lease, life.end?)))
            .collect();
        for life in lives.all.iter().filter(|life| !is_session(life)) {
            let ended = session_ends.get(&life.lease);
            let exact = |end: &End| end.after + 1 == end.by;
            let mark = KeyMark {
                key: life
                    .key
                    .strip_prefix(&self.shared.prefix)
                    .unwrap_or(&life.key),
                token: life.token,
                deleted_after: life.end.filter(|end| !exact(end)).map(|end| end.after),
                deleted: life.end.map(|end| end.by),
                with_lease: life
                    .end
                    .is_some_and(|end| ended.is_some_and(|e| end.may_be(*e))),
            };
            stage.mark("key", &mark);
        }
        stage.mark("keys-watched", &WatchedMark { through });
    }
}

impl Shared {
    fn lives(&self) -> MutexGuard<'_, Lives> {
        // Whole at every moment.
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads as soon as the cluster lets it: a fault may strike the very first
    /// request.
    async fn read_at_last(&self, stage: &Stage) -> Result<GetResponse, Error> {
        let mut fine_since = runtime::now();
        loop {
            let result = self.read().await;
            if stage.awaits_restart() {
                fine_since = runtime::now();
            }
            match result {
                Err(_) if runtime::now() - fine_since < LIVENESS_BOUND / 2 => {
                    runtime::sleep(Duration::from_millis(200)).await;
                }
                result => return result,
            }
        }
    }

    async fn read(&self) -> Result<GetResponse, Error> {
        let why = Purpose {
            operation: "read",
            target: &self.prefix,
        };
        let options = GetOptions::new().with_prefix();
        self.requests
            .range(why, self.prefix.as_bytes(), options)
            .await
    }

    /// Waits until everything is known up to now; the revision.
    async fn catch_up(&self) -> i64 {
        let end = format!("{}end", self.prefix);
        let through = loop {
            // To put it twice does no harm.
            let mut kv = self.client.kv_client();
            let put = kv.put(end.as_str(), "", None);
            if let Ok(Ok(put)) = runtime::timeout(DEFAULT_REQUEST_DEADLINE, put).await {
                break revision_of(put.header());
            }
            runtime::sleep(Duration::from_millis(50)).await;
        };
        loop {
            let changed = self.changed.notified();
            if self.lives().revision >= through {
                return through;
            }
            changed.await;
        }
    }

    async fn follow(self: Arc<Self>) {
        loop {
            if let Err(error) = self.follow_once().await {
                tracing::debug!(%error, "the keys of the run are watched anew");
            }
            // Short: what is compacted meanwhile is lost.
            runtime::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn follow_once(&self) -> Result<(), etcd_client::Error> {
        let resume_at = self.lives().revision + 1;
        let options = WatchOptions::new()
            .with_prefix()
            .with_start_revision(resume_at);
        let mut watch = self.client.watch_client();
        let mut stream = watch.watch(self.prefix.as_str(), Some(options)).await?;
        while let Ok(answer) = runtime::timeout(SILENCE, stream.message()).await {
            let Some(answer) = answer? else { return Ok(()) };
            if answer.canceled() {
                if answer.compact_revision() > 0
                    && let Ok(read) = self.read().await
                {
                    self.lives().reconcile(&read);
                    self.changed.notify_waiters();
                }
                return Ok(());
            }
            let mut lives = self.lives();
            answer.events().iter().for_each(|event| lives.take(event));
            drop(lives);
            self.changed.notify_waiters();
        }
        Ok(())
    }
}

impl Lives {
    fn take(&mut self, event: &Event) {
        let Some(kv) = event.kv() else { return };
        self.revision = kv.mod_revision();
        match event.event_type() {
            EventType::Put if kv.create_revision() == kv.mod_revision() => self.begin(kv),
            EventType::Put => {}
            EventType::Delete => {
                if let Some(life) = self.alive.remove(kv.key()) {
                    self.all[life].end = Some(End::at(kv.mod_revision()));
                }
            }
        }
    }

    fn begin(&mut self, kv: &KeyValue) {
        if kv.lease() != 0 {
            self.alive.insert(kv.key().to_vec(), self.all.len());
            self.all.push(Life {
                key: String::from_utf8_lossy(kv.key()).into_owned(),
                lease: kv.lease(),
                token: kv.create_revision(),
                end: None,
            });
        }
    }

    /// Takes over what is there now; what happened since is known only roughly.
    fn reconcile(&mut self, read: &GetResponse) {
        let by = revision_of(read.header());
        let end = End {
            after: self.revision,
            by,
        };
        let there: BTreeSet<i64> = read.kvs().iter().map(KeyValue::create_revision).collect();
        let Self { all, alive, .. } = self;
        alive.retain(|_, life| {
            let life = &mut all[*life];
            let is_there = there.contains(&life.token);
            if !is_there {
                life.end = Some(end);
            }
            is_there
        });
        for kv in read.kvs() {
            if !self.alive.contains_key(kv.key()) {
                self.begin(kv);
            }
        }
        self.revision = by;
    }
}
