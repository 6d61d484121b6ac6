//! etcd's own requests, as the workloads [`kv`](super::kv) and
//! [`watch`](super::watch) send them: one request, one operation of the history.

mod requests;
mod script;
mod watcher;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use etcd_sim::bug::EtcdBug;
use serde::Serialize;

use super::{Actor, Bug, Stage};
use crate::runtime;

pub(super) use requests::Requester;
pub(super) use script::Mix;
pub(super) use watcher::watch_until_the_end;

/// How long a request may take. Shorter than the shortest lease, so that a client
/// that was cut off is back while its leases still count.
const REQUEST_DEADLINE: Duration = Duration::from_millis(1_500);

/// A bug of the simulated etcd, for `--bug`.
pub(super) const fn bug(bug: EtcdBug) -> Bug {
    Bug {
        name: bug.name(),
        about: bug.about(),
    }
}

/// What the clients of a run share. Outlives their processes.
#[derive(Clone)]
pub(super) struct Run {
    shared: Arc<Shared>,
}

struct Shared {
    stage: Stage,
    keys: u32,
    ttl_s: i64,
    /// Whether clients compact.
    compacts: bool,
    /// The number of the next value, lease, watch or stream.
    numbers: AtomicU64,
    /// What is added to the number of a lease to name it.
    lease_base: i64,
    /// Leases that may live.
    leases: Mutex<Vec<i64>>,
    /// The revision at which the run found its keys absent. Before that others may
    /// have used them: the past of a real cluster is long.
    first: AtomicI64,
    /// The largest revision that any answer had.
    latest: Mutex<i64>,
    /// The revision in the answer to the last deletion, if there was one.
    deleted: AtomicI64,
    /// The revisions of the last writes of the run: of a put and then of a deletion
    /// of every key.
    end: Mutex<Option<(i64, i64)>>,
}

impl Run {
    pub(super) fn new(stage: &Stage, keys: u32, ttl_s: u64, compacts: bool) -> Self {
        if stage.is_shared() {
            #[derive(Serialize)]
            struct Mark {
                by: &'static str,
            }
            let mark = Mark {
                by: "whoever else uses the cluster, at any time",
            };
            stage.mark("compaction", &mark);
        }
        Run {
            shared: Arc::new(Shared {
                keys,
                ttl_s: i64::try_from(ttl_s).unwrap_or(i64::MAX),
                // Of a cluster that others may use nothing is compacted away.
                compacts: compacts && !stage.is_shared(),
                numbers: AtomicU64::new(1),
                lease_base: if stage.is_live() {
                    i64::try_from(runtime::random_u64() >> 20 << 18).unwrap_or(0)
                } else {
                    0
                },
                leases: Mutex::default(),
                first: AtomicI64::new(1),
                latest: Mutex::new(1),
                deleted: AtomicI64::new(0),
                end: Mutex::default(),
                stage: stage.clone(),
            }),
        }
    }

    /// A number that nothing else in the run has.
    fn number(&self) -> u64 {
        self.shared.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// A value that nobody else writes.
    fn value(&self) -> String {
        format!("v{}", self.number())
    }

    fn key(&self, number: u32) -> String {
        format!("k{number:03}")
    }

    /// Where the key lies in etcd.
    fn absolute(&self, key: &str) -> String {
        format!("{}{key}", self.shared.stage.prefix())
    }

    fn relative(&self, key: &[u8]) -> String {
        let key = String::from_utf8_lossy(key);
        let relative = key.strip_prefix(self.shared.stage.prefix());
        relative.unwrap_or(&key).to_owned()
    }

    fn saw(&self, revision: i64) {
        let mut latest = lock(&self.shared.latest);
        *latest = revision.max(*latest);
    }

    /// Finds out at which revision the run begins; whether that worked in time.
    pub(super) async fn begin(&self, driver: &Actor) -> bool {
        let read = async { while !self.read_all(driver).await {} };
        let is_read = self.shared.stage.in_time(read).await.is_some();
        self.shared.first.store(self.latest(), Ordering::Relaxed);
        is_read
    }

    /// A revision some steps back, but of this run.
    fn back_from_latest(&self, steps: i64) -> i64 {
        let first = self.shared.first.load(Ordering::Relaxed);
        (self.latest() - steps).max(first)
    }

    fn latest(&self) -> i64 {
        *lock(&self.shared.latest)
    }

    fn leases(&self) -> MutexGuard<'_, Vec<i64>> {
        lock(&self.shared.leases)
    }

    /// The last writes have happened.
    pub(super) fn set_end(&self, put: i64, delete: i64) {
        *lock(&self.shared.end) = Some((put, delete));
    }

    fn end(&self) -> Option<(i64, i64)> {
        *lock(&self.shared.end)
    }

    /// Gives the leases back that are left.
    pub(super) async fn revoke_all(&self, driver: &Actor) {
        let leases = std::mem::take(&mut *self.leases());
        for lease in leases {
            Requester::new(self, driver).revoke(lease).await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this")
}
