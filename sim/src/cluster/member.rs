//! One simulated etcd process.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use etcd_client::proto::PbCompactionRequest;
use tokio::sync::Notify;

use super::state::State;
use super::watch::StreamId;
use crate::executor::{self, Node};
use crate::service::Router;
use crate::store::{Record, Store, StoreOptions};

/// How often leases are looked at (`runLoop` in etcd's `server/lease/lessor.go`).
const EXPIRY_PERIOD: Duration = Duration::from_millis(500);
/// How often watches that lag behind are served (`watchResyncPeriod` in etcd's
/// `server/storage/mvcc/watchable_store.go`).
const SYNC_PERIOD: Duration = Duration::from_millis(100);
/// How long a watch whose stream was full waits for the next attempt
/// (`syncVictimsLoop`, same file).
const VICTIM_PERIOD: Duration = Duration::from_millis(10);

/// The extension of an answer to a call that changed something.
///
/// The network finds it in the extensions of the HTTP response, and so knows
/// that the loss of this answer hides an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The revision of the store after the call.
    pub revision: i64,
}

/// What a member is called and how it is configured.
#[derive(Clone, Debug)]
pub struct MemberOptions {
    /// The name in the list of members.
    pub name: String,
    /// The id of the cluster in each header.
    pub cluster_id: u64,
    /// The id of the member in each header.
    pub member_id: u64,
    /// The term in each header, until the first restart.
    pub term: u64,
    /// The version that the member claims to be.
    pub version: String,
    /// How long a follower waits for its leader. Leases get this much more
    /// after a change of leaders (`server/etcdserver/server.go`).
    pub election_timeout: Duration,
    /// How often a watch that asks for it hears that nothing has happened;
    /// default 10 minutes. etcd adds up to a tenth of it at random
    /// (`server/etcdserver/api/v3rpc/watch.go`); that is left out.
    pub progress_notify_interval: Duration,
    /// The limits of the store.
    pub store: StoreOptions,
}

impl Default for MemberOptions {
    fn default() -> Self {
        MemberOptions {
            name: "default".to_owned(),
            cluster_id: 0xcdf8_18da_3c24_31d5,
            member_id: 0x8e9e_05c5_2164_694d,
            term: 2,
            version: "3.5.9".to_owned(),
            election_timeout: Duration::from_secs(1),
            progress_notify_interval: Duration::from_secs(600),
            store: StoreOptions::default(),
        }
    }
}

/// One simulated etcd process. Clones are the same process.
#[derive(Clone)]
pub struct Member {
    shared: Arc<Shared>,
}

struct Shared {
    options: MemberOptions,
    /// Where the process runs; `None` before its first start.
    node: Mutex<Option<Node>>,
    state: Mutex<State>,
    /// Leases were revoked.
    revoked: Notify,
    /// A watch could not be served because its stream was full.
    victims: Notify,
}

impl Member {
    /// A member with an empty store. Nothing runs before [`Member::start`].
    pub fn new(options: MemberOptions) -> Member {
        let state = Mutex::new(State::new(&options));
        let (revoked, victims) = (Notify::new(), Notify::new());
        let shared = Shared {
            options,
            node: Mutex::new(None),
            state,
            revoked,
            victims,
        };
        Member {
            shared: Arc::new(shared),
        }
    }

    /// Starts the process on a node: the loops that end leases and serve
    /// watches. Each lease gets its full time to live and an election timeout,
    /// as after each election (`lessor.Promote` in etcd's
    /// `server/lease/lessor.go`). After a crash it is called again, with the
    /// node of the new process.
    ///
    /// # Panics
    ///
    /// Outside a simulation.
    pub fn start(&self, node: &Node) {
        let extend = self.shared.options.election_timeout;
        self.lock().store.promote(now(), extend);
        *self.lock_node() = Some(node.clone());
        self.spawn(self.clone().expire_leases());
        self.spawn(self.clone().sync_watches());
        self.spawn(self.clone().move_victims());
    }

    /// Crashes the process: it loses the streams of watches, the requests to
    /// watch, the time that leases have left. Keys and leases survive, for etcd
    /// answers only after they are on disk. The term goes up by one.
    ///
    /// Its loops and the requests under way end with its node, which the caller
    /// kills.
    pub fn crash(&self) {
        let woken = self.lock().lose_volatile();
        woken.into_iter().for_each(Waker::wake);
    }

    /// Compacts everything before the present revision, as some other program
    /// may at any time. Whether there was anything to compact.
    pub fn compact(&self) -> bool {
        let mut state = self.lock();
        let revision = state.store.revision();
        let request = PbCompactionRequest {
            revision,
            physical: true,
        };
        state.store.compact(&request).is_ok()
    }

    /// The services of this member, as a client reaches them.
    pub fn router(&self) -> Router {
        Router::new(self.clone())
    }

    /// Looks into the store. For tests and workloads: no client can do this.
    pub fn with_store<T>(&self, look: impl FnOnce(&Store) -> T) -> T {
        look(&self.lock().store)
    }

    /// Tells `listener` of every change of the store from now on, at the instant of
    /// the change: no fault and no compaction comes between. For tests and workloads:
    /// no client can do this. The listener must not call the member.
    pub fn listen(&self, listener: impl Fn(&Record) + Send + 'static) {
        self.lock().listeners.push(Box::new(listener));
    }

    /// How many watches are open. For tests: no client can ask for this.
    pub fn watches(&self) -> usize {
        self.lock().watches.len()
    }

    pub(crate) fn options(&self) -> &MemberOptions {
        &self.shared.options
    }

    /// Starts a task of the process.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(node) = &*self.lock_node() {
            node.spawn(task);
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a stream of watches.
    pub(crate) fn close_watches(&self, stream: StreamId) {
        let woken = self.lock().watches.close(stream);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Wakes the loop that serves watches whose streams were full.
    pub(crate) fn wake_victims(&self) {
        self.shared.victims.notify_one();
    }

    /// Wakes the renewals that wait for the end of an expired lease.
    pub(crate) fn wake_renewals(&self) {
        self.shared.revoked.notify_waiters();
    }

    /// Is fulfilled at the next [`Member::wake_renewals`] after this call.
    pub(crate) fn revocation(&self) -> tokio::sync::futures::Notified<'_> {
        self.shared.revoked.notified()
    }

    fn lock_node(&self) -> MutexGuard<'_, Option<Node>> {
        self.shared
            .node
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn expire_leases(self) {
        loop {
            let revoked = self.lock().revoke_expired(now());
            if revoked {
                self.wake_renewals();
                self.wake_victims();
            }
            executor::sleep(EXPIRY_PERIOD).await;
        }
    }

    async fn sync_watches(self) {
        loop {
            loop {
                let mut state = self.lock();
                let State { store, watches, .. } = &mut *state;
                let before = watches.unsynced_len();
                let after = watches.sync(store);
                if watches.has_victims() {
                    self.wake_victims();
                }
                if after == 0 || after >= before {
                    break;
                }
            }
            executor::sleep(SYNC_PERIOD).await;
        }
    }

    async fn move_victims(self) {
        loop {
            self.shared.victims.notified().await;
            loop {
                let left = {
                    let mut state = self.lock();
                    let State { store, watches, .. } = &mut *state;
                    watches.move_victims(store)
                };
                if left == 0 {
                    break;
                }
                executor::sleep(VICTIM_PERIOD).await;
            }
        }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("name", &self.shared.options.name)
            .finish_non_exhaustive()
    }
}

/// The simulated time as the store counts it.
pub(crate) fn now() -> Duration {
    Duration::from_nanos(executor::now().as_nanos())
}
