//! One lasting watch for a prefix, shared by everything that waits for it.
//!
//! etcd serves a watch that starts in the past from a loop that runs every
//! 100 ms (`watchResyncPeriod` in `server/storage/mvcc/watchable_store.go`), so
//! a recipe that opens a new watch for each wait waits for that loop nearly
//! every time. A [`PrefixWatch`] is opened at the first wait and kept.
//!
//! It remembers no values, only the revisions of the latest events and, for
//! queues, the keys of the latest puts, so it takes the same memory however much
//! happens.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{Client, Event, EventType};
use tokio::sync::Notify;

use crate::error::Error;
use crate::runtime;

mod first_read;
mod lasting;
mod mirror;
mod recent;
mod watches;

use lasting::{Follower, Lasting, Next, Range};
pub(crate) use recent::Put;
use recent::RecentPuts;

pub(crate) use mirror::{Entry, Mirror, Reading, View};
pub use watches::Watches;

/// A lasting watch on all keys that begin with a prefix.
///
/// Clones share the watch. It is opened by the first wait, re-opened whenever
/// it breaks or falls silent, and closed when the last clone is dropped.
///
/// # Promise
///
/// A recipe reads, finds nothing to do, and waits for an event after the
/// revision of its read. No such event is missed, whatever happens to the
/// connection: where the watch cannot be sure (history was compacted, or the
/// watch was opened after the revision asked for) it says [`Wake::Reread`].
/// A wake-up may come without need; the recipe reads again in any case.
///
/// # Limits
///
/// A member that is cut off from the rest of its cluster answers a watch but
/// has no news. Connect with `ConnectOptions::with_require_leader(true)`, and
/// etcd ends such a stream, which is then opened again elsewhere.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use etcd_recipes::etcd_client::Client;
/// use etcd_recipes::watch::PrefixWatch;
///
/// let mut client = Client::connect(["127.0.0.1:2379"], None).await?;
/// let watch = PrefixWatch::new(&client, "config/");
/// let read = client.get("config/colour", None).await?;
/// let revision = read.header().map_or(0, |header| header.revision());
/// watch.wait_for_put_after(revision).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct PrefixWatch {
    inner: Arc<Inner>,
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// There was an event of the kind waited for; the latest one seen has this
    /// modification revision.
    Event(i64),
    /// Events may have been missed: read again to know.
    Reread,
}

/// How a [`PrefixWatch`] behaves.
#[derive(Debug, Clone)]
#[must_use]
pub struct PrefixWatchOptions {
    progress_interval: Duration,
    silence_limit: Duration,
    puts_only: bool,
    recent_puts: usize,
}

impl Default for PrefixWatchOptions {
    fn default() -> Self {
        Self {
            progress_interval: Duration::from_secs(2),
            silence_limit: Duration::from_secs(5),
            puts_only: false,
            recent_puts: 0,
        }
    }
}

impl PrefixWatchOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// After how long without news to ask etcd for a sign of life. Default: 2 s.
    pub fn progress_interval(mut self, interval: Duration) -> Self {
        self.progress_interval = interval;
        self
    }

    /// After how long without any sign of life to give the stream up and open
    /// another one. Should be more than twice the progress interval, because
    /// etcd may leave one request for progress unanswered while a watch catches
    /// up. Default: 5 s.
    pub fn silence_limit(mut self, limit: Duration) -> Self {
        self.silence_limit = limit;
        self
    }

    /// Leaves deletions out, at the server. Waiting for one is then an error.
    pub fn puts_only(mut self) -> Self {
        self.puts_only = true;
        self
    }

    /// Remembers the keys of the latest puts, this many, for
    /// [`PrefixWatch::puts_after`].
    pub(crate) fn recent_puts(mut self, capacity: usize) -> Self {
        self.recent_puts = capacity;
        self
    }
}

impl PrefixWatch {
    /// A watch on the keys that begin with `prefix`, with default options.
    /// Nothing is sent before the first wait.
    pub fn new(client: &Client, prefix: impl Into<String>) -> Self {
        Self::with_options(client, prefix, PrefixWatchOptions::default())
    }

    /// A watch on the keys that begin with `prefix`.
    pub fn with_options(
        client: &Client,
        prefix: impl Into<String>,
        options: PrefixWatchOptions,
    ) -> Self {
        let state = State {
            recent: RecentPuts::new(options.recent_puts),
            ..State::default()
        };
        let shared = Shared {
            lasting: Lasting::new(client, Range::Prefix(prefix.into()), options),
            state: Mutex::new(state),
            changed: Notify::new(),
        };
        Self {
            inner: Arc::new(Inner {
                shared: Arc::new(shared),
                task: Mutex::new(None),
            }),
        }
    }

    /// The prefix that is watched.
    pub fn prefix(&self) -> &str {
        self.inner.shared.lasting.range().as_str()
    }

    /// Waits until a key under the prefix has been put at a revision above
    /// `revision`, or until that can no longer be ruled out.
    ///
    /// Can be cancelled by dropping it; nothing is left behind.
    ///
    /// # Errors
    ///
    /// [Refused](Error::is_refused) when the user may not watch the prefix. The
    /// next wait tries again. Broken connections are no errors: the watch is
    /// opened again for as long as it takes.
    pub async fn wait_for_put_after(&self, revision: i64) -> Result<Wake, Error> {
        self.wait(Kind::Put, revision).await
    }

    /// Waits until a key under the prefix has been deleted at a revision above
    /// `revision`, or until that can no longer be ruled out.
    ///
    /// # Errors
    ///
    /// As [`wait_for_put_after`](Self::wait_for_put_after), and an invalid
    /// option on a watch that leaves deletions out.
    pub async fn wait_for_delete_after(&self, revision: i64) -> Result<Wake, Error> {
        self.wait(Kind::Delete, revision).await
    }

    /// Waits until a key under the prefix has been put or deleted at a revision
    /// above `revision`, or until that can no longer be ruled out.
    ///
    /// # Errors
    ///
    /// As [`wait_for_delete_after`](Self::wait_for_delete_after).
    pub async fn wait_for_event_after(&self, revision: i64) -> Result<Wake, Error> {
        self.wait(Kind::Any, revision).await
    }

    /// All puts after `revision` that have been seen so far, in order, and the
    /// revision up to which these are all. `None` if some may be missing, because
    /// the watch does not reach back that far or does not remember puts.
    pub(crate) fn puts_after(&self, revision: i64) -> Option<(Vec<Put>, i64)> {
        self.inner.shared.lock().recent.after(revision)
    }

    /// Opens the watch, in the background, for waits after `revision` to come.
    pub(crate) fn open_after(&self, revision: i64) {
        self.start(revision);
    }

    async fn wait(&self, kind: Kind, revision: i64) -> Result<Wake, Error> {
        let shared = &self.inner.shared;
        if shared.lasting.puts_only() && kind != Kind::Put {
            return Err(Error::invalid_option(
                "wait for deletions under",
                shared.lasting.range().as_str(),
                "the watch was made with puts_only",
            ));
        }
        let interruptions = self.start(revision);
        loop {
            // Made before the state is looked at: it sees every change since.
            let changed = shared.changed.notified();
            if let Some(wake) = shared.lock().wake(kind, revision, interruptions) {
                return wake;
            }
            changed.await;
        }
    }

    /// Sees to it that the watch runs. Returns how often it was interrupted so
    /// far.
    fn start(&self, revision: i64) -> u64 {
        let mut state = self.inner.shared.lock();
        if !state.running {
            state.running = true;
            state.covered_after = state.covered_after.max(revision);
            state.resume_at = state.covered_after + 1;
            let covered_after = state.covered_after;
            state.recent.begin_after(covered_after);
            let shared = self.inner.shared.clone();
            let task = runtime::spawn(async move { shared.lasting.follow(&*shared).await });
            *lock(&self.inner.task) = Some(task);
        }
        state.interruptions
    }
}

/// What the handles own: the watch ends with the last of them.
#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    task: Mutex<Option<runtime::Task>>,
}

/// What the handles share with the task.
struct Shared {
    lasting: Lasting,
    state: Mutex<State>,
    // Not tokio's watch channel, which draws the order of wake-ups from a
    // generator that the whole process shares.
    changed: Notify,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("prefix", &self.lasting.range().as_str())
            .field("state", &*self.lock())
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Put,
    Delete,
    Any,
}

/// What the watch knows.
///
/// Invariant: every event above `covered_after` and below `resume_at` is
/// counted in `last_put` and `last_delete`.
#[derive(Debug, Default)]
struct State {
    running: bool,
    last_put: i64,
    last_delete: i64,
    covered_after: i64,
    resume_at: i64,
    recent: RecentPuts,
    interruptions: u64,
    /// Why it was last interrupted; `None` asks for a new read.
    failure: Option<Error>,
}

impl State {
    fn wake(&self, kind: Kind, revision: i64, interruptions: u64) -> Option<Result<Wake, Error>> {
        let seen = match kind {
            Kind::Put => self.last_put,
            Kind::Delete => self.last_delete,
            Kind::Any => self.last_put.max(self.last_delete),
        };
        if seen > revision {
            Some(Ok(Wake::Event(seen)))
        } else if self.covered_after > revision {
            Some(Ok(Wake::Reread))
        } else if self.interruptions != interruptions {
            Some(self.failure.clone().map_or(Ok(Wake::Reread), Err))
        } else {
            None
        }
    }

    fn note(&mut self, kind: EventType, mod_revision: i64) {
        let last = match kind {
            EventType::Put => &mut self.last_put,
            EventType::Delete => &mut self.last_delete,
        };
        *last = mod_revision.max(*last);
        // Only events move the position, never the revision in a header or in a
        // notice of progress: etcd has sent those ahead of events (issue 15220
        // of etcd-io/etcd). And not beyond the event itself, because etcd may
        // split the events of one revision over several answers; to see one
        // twice does no harm.
        self.resume_at = self.resume_at.max(mod_revision);
    }

    fn note_compaction(&mut self, compact_revision: i64) {
        self.covered_after = self.covered_after.max(compact_revision - 1);
        self.recent.begin_after(self.covered_after);
        self.resume_at = self.resume_at.max(compact_revision);
    }

    fn interrupt(&mut self, failure: Option<Error>) {
        self.running = failure.is_none();
        self.failure = failure;
        self.interruptions += 1;
    }
}

impl Follower for Shared {
    fn resume_at(&self) -> i64 {
        self.lock().resume_at
    }

    fn take(&self, events: &[Event]) {
        self.change(|state| {
            for event in events {
                if let Some(kv) = event.kv() {
                    state.note(event.event_type(), kv.mod_revision());
                    if event.event_type() == EventType::Put {
                        state.recent.note(kv.key(), kv.mod_revision());
                    }
                }
            }
        });
    }

    fn compacted(&self, compact_revision: i64) -> Next {
        self.change(|state| state.note_compaction(compact_revision));
        Next::OpenAgain
    }

    fn cancelled(&self) -> Next {
        self.change(|state| state.interrupt(None));
        Next::OpenAgain
    }

    fn refused(&self, error: Error) {
        self.change(|state| state.interrupt(Some(error)));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_waiters();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The state is a few numbers, whole at every moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covering_after(revision: i64) -> State {
        State {
            running: true,
            covered_after: revision,
            resume_at: revision + 1,
            ..State::default()
        }
    }

    #[test]
    fn only_events_after_the_revision_and_of_the_kind_wake() {
        let mut state = covering_after(10);
        assert!(state.wake(Kind::Put, 10, 0).is_none());
        state.note(EventType::Delete, 12);
        assert!(state.wake(Kind::Put, 10, 0).is_none());
        let woken = |w: Option<Result<Wake, Error>>| w.unwrap().unwrap();
        assert_eq!(woken(state.wake(Kind::Any, 10, 0)), Wake::Event(12));
        state.note(EventType::Put, 13);
        assert_eq!(woken(state.wake(Kind::Put, 12, 0)), Wake::Event(13));
        assert!(state.wake(Kind::Put, 13, 0).is_none());
    }

    #[test]
    fn a_revision_from_before_the_watch_asks_for_a_read() {
        let state = covering_after(10);
        let wake = state.wake(Kind::Put, 9, 0).unwrap().unwrap();
        assert_eq!(wake, Wake::Reread);
    }

    #[test]
    fn a_compaction_asks_those_behind_it_to_read() {
        let mut state = covering_after(10);
        state.note_compaction(20);
        assert_eq!(state.resume_at, 20);
        assert_eq!(state.wake(Kind::Put, 18, 0).unwrap().unwrap(), Wake::Reread);
        // Everything from 20 on will still be delivered.
        assert!(state.wake(Kind::Put, 19, 0).is_none());
    }

    #[test]
    fn an_interruption_reaches_those_who_wait_and_not_those_who_come_later() {
        let mut state = covering_after(10);
        state.interrupt(Some(Error::watch_refused("jobs/", "permission denied")));
        assert!(state.wake(Kind::Put, 10, 0).unwrap().is_err());
        assert!(state.wake(Kind::Put, 10, 1).is_none());
        assert!(!state.running);
        state.interrupt(None);
        assert_eq!(state.wake(Kind::Put, 10, 1).unwrap().unwrap(), Wake::Reread);
    }
}
