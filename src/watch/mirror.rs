//! A local copy of the keys under a prefix, kept by one lasting watch.
//!
//! Who waits for a lock, a leader or a barrier asks a question about a few keys,
//! again after each change. A [`Mirror`] answers it without a request: it reads
//! the keys once, follows their events, and reads again only where the watch
//! cannot tell what happened (history was compacted, or etcd cancelled it).
//!
//! The watch is opened before the keys are read, at "now": etcd serves such a
//! watch at once, and one that starts in the past only every 100 ms
//! (`syncWatchersLoop` in `server/storage/mvcc/watchable_store.go`). The read
//! then is at a revision no earlier than the watch, so nothing falls between,
//! and what both have seen is recognised by its revision. Who sends a transaction
//! anyway can let that do the read ([`Mirror::open_for`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use etcd_client::{Client, Event, EventType, GetOptions, GetResponse, KeyValue};
use tokio::sync::Notify;

use super::PrefixWatchOptions;
use super::first_read::FirstRead;
use super::lasting::{Follower, Lasting, Next, Range};
use crate::error::Error;
use crate::request::{Purpose, Requests, revision_of};
use crate::runtime;

/// See the [module](self). Clones share the copy and its watch, which is opened
/// by the first wait and closed with the last clone.
#[derive(Clone)]
pub(crate) struct Mirror {
    handle: Arc<Handle>,
}

/// The keys as of one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// Everything up to here is in the view.
    pub(crate) revision: i64,
    /// Keys that are no UTF-8 are none that a recipe wrote, and left out.
    pub(crate) keys: BTreeMap<String, Entry>,
}

/// A key of a [`View`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) create_revision: i64,
    pub(crate) mod_revision: i64,
    pub(crate) lease: i64,
    pub(crate) value: Vec<u8>,
}

impl View {
    /// Whether `key` exists and is the one that was created at this revision.
    pub(crate) fn holds(&self, key: &str, create_revision: i64) -> bool {
        self.keys
            .get(key)
            .is_some_and(|entry| entry.create_revision == create_revision)
    }

    /// What a read of all keys of a range has found at `revision`.
    fn of_read(revision: i64, read: &GetResponse) -> Self {
        let entry = |kv: &KeyValue| Some((kv.key_str().ok()?.to_owned(), Entry::of(kv)));
        Self {
            revision,
            keys: read.kvs().iter().filter_map(entry).collect(),
        }
    }

    /// Takes over events; those that the view has already are left out.
    fn apply(&mut self, events: &[Event]) {
        let known = self.revision;
        for event in events {
            let Some(kv) = event.kv() else { continue };
            if kv.mod_revision() <= known {
                continue;
            }
            self.revision = self.revision.max(kv.mod_revision());
            let Ok(key) = kv.key_str() else { continue };
            match event.event_type() {
                EventType::Put => self.keys.insert(key.to_owned(), Entry::of(kv)),
                EventType::Delete => self.keys.remove(key),
            };
        }
    }
}

impl Entry {
    fn of(kv: &KeyValue) -> Self {
        Self {
            create_revision: kv.create_revision(),
            mod_revision: kv.mod_revision(),
            lease: kv.lease(),
            value: kv.value().to_vec(),
        }
    }
}

impl Mirror {
    /// A copy of the keys in `range`. Nothing is sent before the first wait.
    pub(crate) fn new(client: &Client, requests: Requests, range: Range) -> Self {
        let lasting = Lasting::new(client, range, PrefixWatchOptions::default());
        let shared = Shared {
            // A view is one revision, never half of it.
            lasting: lasting.whole_revisions(),
            requests,
            state: Mutex::default(),
            changed: Notify::new(),
            first_read: FirstRead::default(),
        };
        Self {
            handle: Arc::new(Handle {
                shared: Arc::new(shared),
                task: Mutex::default(),
            }),
        }
    }

    /// Opens the watch and reads the keys, in the background, for a wait to come.
    pub(crate) fn open(&self) {
        self.start();
    }

    /// Opens the watch, in the background, beside a transaction that reads the
    /// whole range: the copy begins with what that has read, if it gets it before
    /// the promise is dropped.
    pub(crate) fn open_for(&self) -> Reading {
        let mut state = self.handle.shared.lock();
        let promise = (!state.running).then(|| self.handle.shared.first_read.promise());
        self.start_with(&mut state);
        drop(state);
        Reading {
            mirror: self.clone(),
            is_promised: promise.is_some(),
        }
    }

    /// Asks about the view that there is; none if the keys are not followed (yet).
    /// Sends nothing.
    pub(crate) fn peek<T>(&self, ask: impl FnOnce(&View) -> T) -> Option<T> {
        let state = self.handle.shared.lock();
        let view = state.view.as_ref().filter(|_| state.running);
        view.map(ask)
    }

    /// Waits until `decide` says something about a view at or after `revision`.
    ///
    /// It is asked about the first such view and then after changes; views may be
    /// skipped, so it must decide from what is there, not from what happened. Two
    /// lives of one key differ in their create revision.
    ///
    /// `revision` must be the modification revision of something in the range, or
    /// older: a view does not learn of revisions that changed nothing in it.
    ///
    /// # Errors
    ///
    /// [Refused](Error::is_refused) when the user may not watch or read the range;
    /// the next wait tries again. Whatever else goes wrong is repaired, for as
    /// long as it takes.
    pub(crate) async fn wait<T>(
        &self,
        revision: i64,
        mut decide: impl FnMut(&View) -> Option<T>,
    ) -> Result<T, Error> {
        let shared = &self.handle.shared;
        let refusals = self.start();
        loop {
            // Made before the state is looked at: it sees every change since.
            let changed = shared.changed.notified();
            {
                let state = shared.lock();
                let view = state.view.as_ref().filter(|v| v.revision >= revision);
                if let Some(decision) = view.and_then(&mut decide) {
                    return Ok(decision);
                }
                if state.refusals != refusals
                    && let Some(error) = &state.refusal
                {
                    return Err(error.clone());
                }
            }
            changed.await;
        }
    }

    /// Sees to it that the copy is kept. Returns how often etcd has refused it so
    /// far.
    fn start(&self) -> u64 {
        self.start_with(&mut self.handle.shared.lock())
    }

    fn start_with(&self, state: &mut State) -> u64 {
        let shared = &self.handle.shared;
        if !state.running {
            state.running = true;
            state.refusal = None;
            // What it was before may be long out of date.
            state.view = None;
            let shared = shared.clone();
            let task = runtime::spawn(async move { shared.lasting.follow(&*shared).await });
            *lock(&self.handle.task) = Some(task);
        }
        state.refusals
    }

    pub(super) fn of(handle: Arc<Handle>) -> Self {
        Self { handle }
    }

    pub(super) fn downgrade(&self) -> Weak<Handle> {
        Arc::downgrade(&self.handle)
    }
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mirror")
            .field("range", self.handle.shared.lasting.range())
            .finish_non_exhaustive()
    }
}

/// The promise of a read that a transaction does.
#[must_use = "dropping it lets the copy read for itself"]
pub(crate) struct Reading {
    mirror: Mirror,
    is_promised: bool,
}

impl Reading {
    /// All keys of the range, as they were at `revision`.
    pub(crate) fn done(self, revision: i64, read: &GetResponse) {
        if self.is_promised {
            let view = View::of_read(revision, read);
            self.mirror.handle.shared.first_read.keep(view);
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if self.is_promised {
            self.mirror.handle.shared.first_read.give_up();
        }
    }
}

/// What the clones own: the watch ends with the last of them.
pub(super) struct Handle {
    shared: Arc<Shared>,
    task: Mutex<Option<runtime::Task>>,
}

/// What the clones share with the task.
struct Shared {
    lasting: Lasting,
    requests: Requests,
    state: Mutex<State>,
    changed: Notify,
    first_read: FirstRead,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    view: Option<View>,
    /// The watch may begin in the past.
    is_behind: bool,
    refusals: u64,
    refusal: Option<Error>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Reads all keys of the range.
    async fn read(&self) -> Result<View, Error> {
        let range = self.lasting.range();
        let why = Purpose {
            operation: "watch",
            target: range.as_str(),
        };
        let options = match range {
            Range::Prefix(_) => GetOptions::new().with_prefix(),
            Range::Key(_) => GetOptions::new(),
        };
        let answer = self
            .requests
            .range(why, range.as_str().as_bytes(), options)
            .await?;
        Ok(View::of_read(revision_of(answer.header()), &answer))
    }

    fn show(&self, view: View) {
        self.lock().view = Some(view);
        self.changed.notify_waiters();
    }
}

impl Follower for Shared {
    fn resume_at(&self) -> i64 {
        0
    }

    /// etcd takes down its current revision when it is asked for a watch from now
    /// on, and opens the watch a moment later. If anything is written in between,
    /// the watch begins in the past after all, and is served up to 100 ms late
    /// (`syncWatchersLoop`). So if the revision has moved on since, the keys are
    /// read again now and then, until the first event has come.
    async fn opened(&self, revision: i64) -> Next {
        let next = match self.first_read.wait().await {
            // An older one lacks what happened before the watch.
            Some(view) if view.revision >= revision => {
                self.show(view);
                Next::Follow
            }
            _ => self.look().await,
        };
        let mut state = self.lock();
        let read_at = state.view.as_ref().map_or(0, |view| view.revision);
        state.is_behind = read_at > revision;
        next
    }

    fn is_behind(&self) -> bool {
        self.lock().is_behind
    }

    async fn look(&self) -> Next {
        match self.read().await {
            Ok(view) => {
                self.show(view);
                Next::Follow
            }
            Err(error) if error.is_permission_denied() => Next::GiveUp(error),
            Err(error) => {
                tracing::debug!(%error, "the keys could not be read");
                Next::OpenAgain
            }
        }
    }

    fn take(&self, events: &[Event]) {
        let mut state = self.lock();
        state.is_behind = false;
        if let Some(view) = &mut state.view {
            view.apply(events);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    fn compacted(&self, _compact_revision: i64) -> Next {
        Next::OpenAgain
    }

    fn cancelled(&self) -> Next {
        Next::OpenAgain
    }

    fn refused(&self, error: Error) {
        let mut state = self.lock();
        state.running = false;
        state.refusals += 1;
        state.refusal = Some(error);
        drop(state);
        self.changed.notify_waiters();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole at every moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
