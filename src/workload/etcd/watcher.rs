//! A client that watches: opens watches, drops them, takes them up again.
//!
//! Answers in fragments are not asked for: `etcd-client` does not tell which they are.

use std::time::Duration;

use etcd_checker::etcd::message::{Notice, Span, Watch, WatchEvent};
use etcd_checker::history::Evidence;
use etcd_client::{EventType, WatchFilterType, WatchOptions, WatchResponse, WatchStream};
use rand::RngExt as _;

use super::super::Actor;
use super::Run;
use super::requests::{Requester, limited};
use crate::request::revision_of;
use crate::runtime;

/// A stream on which nothing comes for so long is given up: it may be cut off.
const SILENCE_LIMIT: Duration = Duration::from_secs(3);

/// One watch of a stream.
struct Watching {
    /// As the history names it.
    name: u64,
    span: Span<'static>,
    prev_kv: bool,
    no_put: bool,
    no_delete: bool,
    /// Everything before this revision was heard.
    next: i64,
    /// Whether it has been told that what it asked for is compacted.
    compacted: Option<i64>,
}

impl Watching {
    fn draw(run: &Run, actor: &mut Actor) -> Self {
        // A look back, "now", or a revision still to come.
        let next = match actor.rng().random_range(0..8) {
            0..=1 => 0,
            2..=3 => run.latest() + actor.rng().random_range(1..=3),
            _ => run.back_from_latest(actor.rng().random_range(0..=12)) + 1,
        };
        let filter = actor.rng().random_range(0..8);
        Watching {
            name: run.number(),
            span: run.draw_span(actor),
            prev_kv: actor.rng().random_bool(0.5),
            no_put: filter == 0,
            no_delete: filter == 1,
            next,
            compacted: None,
        }
    }

    /// The same once more, from where it has come to.
    fn resumed(self, run: &Run) -> Self {
        Watching {
            name: run.number(),
            next: self.compacted.unwrap_or(self.next),
            compacted: None,
            ..self
        }
    }

    /// Whether it has heard of the last write, or begins after it.
    fn is_at_end(&self, (put, delete): (i64, i64)) -> bool {
        let last = if self.no_delete { put } else { delete };
        self.next > last
    }

    fn options(&self, run: &Run, id: i64) -> WatchOptions {
        let mut options = WatchOptions::new()
            .with_start_revision(self.next)
            .with_watch_id(id);
        if let Some(end) = &self.span.end {
            options = options.with_range(run.absolute(end));
        }
        if self.prev_kv {
            options = options.with_prev_key();
        }
        let mut filters = Vec::new();
        if self.no_put {
            filters.push(WatchFilterType::NoPut);
        }
        if self.no_delete {
            filters.push(WatchFilterType::NoDelete);
        }
        options.with_filters(filters)
    }
}

/// Why a stream is given up.
#[derive(PartialEq, Eq)]
enum End {
    /// Every watch on it has heard of the last write.
    Complete,
    Broken,
}

/// Watches, again and again, until some watches have heard of the last write of the
/// run. `slowly`: rests between notices.
pub(in super::super) async fn watch_until_the_end(
    run: &Run,
    actor: &mut Actor,
    progress: bool,
    slow_ms: u64,
) {
    let follow = actor.invoke("follow", ());
    let mut watches: Vec<Watching> = Vec::new();
    loop {
        if watches.is_empty() {
            let count = actor.rng().random_range(1..=3);
            watches = (0..count).map(|_| Watching::draw(run, actor)).collect();
        }
        // A watch that begins behind the end hears of nothing any more.
        if let Some(end) = run.end()
            && watches
                .iter()
                .all(|watch| watch.next != 0 && watch.is_at_end(end))
        {
            return follow.ok((), Evidence::NONE);
        }
        let mut stream = Following {
            run,
            actor,
            number: run.number(),
            progress,
            slow_ms,
            watches: &mut watches,
        };
        if stream.follow().await == End::Complete {
            return follow.ok((), Evidence::NONE);
        }
        let is_over = run.end().is_none() && actor.rng().random_bool(0.5);
        watches = if is_over {
            Vec::new()
        } else {
            watches
                .into_iter()
                .map(|watch| watch.resumed(run))
                .collect()
        };
        actor.think(50).await;
    }
}

/// One stream and its watches.
struct Following<'a> {
    run: &'a Run,
    actor: &'a mut Actor,
    number: u64,
    progress: bool,
    slow_ms: u64,
    watches: &'a mut Vec<Watching>,
}

impl Following<'_> {
    async fn follow(&mut self) -> End {
        let lifetime = Duration::from_millis(self.actor.rng().random_range(20..=1_500));
        let started = runtime::now();
        let Some(mut stream) = self.open().await else {
            return End::Broken;
        };
        let mut last_heard = runtime::now();
        loop {
            if let Some(end) = self.run.end() {
                if self.watches.iter().all(|watch| watch.is_at_end(end)) {
                    return End::Complete;
                }
            } else if runtime::now().saturating_duration_since(started) > lifetime {
                return End::Broken;
            }
            if self.progress && self.actor.rng().random_bool(0.2) {
                let asked = runtime::timeout(SILENCE_LIMIT, stream.request_progress()).await;
                if !matches!(asked, Ok(Ok(()))) {
                    return End::Broken;
                }
            }
            let patience = Duration::from_millis(self.actor.rng().random_range(10..=200));
            match runtime::timeout(patience, stream.message()).await {
                Ok(Ok(Some(response))) => {
                    last_heard = runtime::now();
                    self.hear(&response);
                }
                Ok(Ok(None) | Err(_)) => return End::Broken,
                Err(runtime::Elapsed) => {
                    let silent = runtime::now().saturating_duration_since(last_heard);
                    if silent >= SILENCE_LIMIT {
                        return End::Broken;
                    }
                }
            }
            if self.watches.iter().any(|watch| watch.compacted.is_some()) {
                return End::Broken;
            }
            if self.run.end().is_none() {
                self.actor.think(self.slow_ms).await;
            }
        }
    }

    /// Asks for the watches, one after the other.
    async fn open(&mut self) -> Option<WatchStream> {
        let mut stream: Option<WatchStream> = None;
        for index in 0..self.watches.len() {
            let id = i64::try_from(index).unwrap_or(0) + 1;
            let watching = &self.watches[index];
            let request = Watch {
                watch: watching.name,
                stream: Some(self.number),
                span: watching.span.clone(),
                start: watching.next,
                prev_kv: watching.prev_kv,
                no_put: watching.no_put,
                no_delete: watching.no_delete,
            };
            let key = self.run.absolute(&request.span.key);
            let options = Some(watching.options(self.run, id));
            let asked = self.actor.invoke("watch", &request);
            let opened = async {
                match &mut stream {
                    Some(stream) => stream.watch(key, options).await?,
                    None => {
                        let mut client = self.actor.etcd().watch_client();
                        stream = Some(client.watch(key, options).await?);
                    }
                }
                Ok(())
            };
            let requester = Requester::new(self.run, self.actor);
            if let Err(trouble) = limited(opened).await {
                requester.failed(asked, trouble, false);
                return None;
            }
            // Others of the stream may hear of something first.
            let created = loop {
                match limited(stream.as_mut()?.message()).await {
                    Ok(Some(response)) if response.created() => break response,
                    Ok(Some(response)) => self.hear(&response),
                    Ok(None) => {
                        asked.unknown("the stream ended");
                        return None;
                    }
                    Err(trouble) => {
                        let requester = Requester::new(self.run, self.actor);
                        requester.failed(asked, trouble, false);
                        return None;
                    }
                }
            };
            let revision = revision_of(created.header());
            if created.canceled() {
                asked.unknown("etcd refused the watch");
                return None;
            }
            let watching = &mut self.watches[index];
            if watching.next == 0 {
                watching.next = revision + 1;
            }
            Requester::new(self.run, self.actor).done(asked, revision, ());
        }
        stream
    }

    /// Records what came.
    fn hear(&mut self, response: &WatchResponse) {
        let revision = revision_of(response.header());
        let index = usize::try_from(response.watch_id() - 1).ok();
        let watch = index.and_then(|index| self.watches.get_mut(index));
        let Some(watch) = watch else {
            // A notice of progress for the whole stream.
            if response.watch_id() == -1 && response.events().is_empty() && !response.canceled() {
                self.record(
                    Notice {
                        watch: None,
                        stream: Some(self.number),
                        events: Vec::new(),
                        fragment: false,
                        compacted: None,
                    },
                    revision,
                );
            }
            return;
        };
        let compacted = (response.compact_revision() > 0).then(|| response.compact_revision());
        watch.compacted = compacted;
        let name = Some(watch.name);
        if let Some(last) = response.events().last().and_then(etcd_client::Event::kv) {
            let heard = last.mod_revision();
            watch.next = heard + 1;
        } else if response.canceled() && compacted.is_none() {
            return;
        }
        let events = response
            .events()
            .iter()
            .filter_map(|event| self.event(event));
        let notice = Notice {
            watch: name,
            stream: None,
            events: events.collect(),
            fragment: false,
            compacted,
        };
        self.record(notice, revision);
    }

    fn record(&self, notice: Notice<'static>, revision: i64) {
        let heard = self.actor.invoke("notice", ());
        heard.ok(notice, Evidence::revision(revision));
    }

    fn event(&self, event: &etcd_client::Event) -> Option<WatchEvent<'static>> {
        let requester = Requester::new(self.run, self.actor);
        let prev = event.prev_kv().map(|kv| requester.key_value(kv, false));
        let kv = event.kv()?;
        Some(match event.event_type() {
            EventType::Put => WatchEvent::Put(requester.key_value(kv, false), prev),
            EventType::Delete => {
                let key = self.run.relative(kv.key());
                WatchEvent::Delete(key.into(), kv.mod_revision(), prev)
            }
        })
    }
}
