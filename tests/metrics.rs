//! What recipes count, seen through a recorder of the `metrics` facade.

use std::collections::BTreeMap;
use std::sync::{Mutex as SyncMutex, OnceLock, PoisonError};
use std::time::Duration;

use etcd_client::Client;
use etcd_recipes::stm::StmError;
use etcd_recipes::{
    Barrier, CyclicBarrier, DoubleBarrier, Election, Error, Mutex, PriorityQueue, Queue,
    QueueOptions, ReliableQueue, RwLock, Session, SessionOptions, Stm, runtime,
};
use etcd_sim::fault::{Fault, FaultKind};
use etcd_sim::plan::Plan;
use etcd_sim::simulation::{Options, Simulation, run};
use futures_util::future::join;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

/// What was counted, by name and labels.
#[derive(Debug, Default)]
struct Counted {
    counts: BTreeMap<String, u64>,
    seconds: BTreeMap<String, Vec<f64>>,
}

impl Counted {
    fn operations(&self, recipe: &str, operation: &str, outcome: &str) -> u64 {
        let name = format!(
            "etcd_recipes_operations_total recipe={recipe} operation={operation} outcome={outcome}"
        );
        self.counts.get(&name).copied().unwrap_or_default()
    }

    fn seconds(&self, recipe: &str, operation: &str) -> &[f64] {
        let name = format!("etcd_recipes_operation_seconds recipe={recipe} operation={operation}");
        self.seconds.get(&name).map_or(&[], Vec::as_slice)
    }
}

/// Runs `body` and returns what was counted meanwhile: one at a time, because a
/// process has one recorder.
fn counted<Fut>(plan: Plan, body: impl FnOnce(Simulation) -> Fut + Send + 'static) -> Counted
where
    Fut: Future<Output = ()>,
{
    static RECORDER: OnceLock<SyncMutex<Snapshotter>> = OnceLock::new();
    let recorder = RECORDER.get_or_init(|| {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        recorder.install().unwrap();
        SyncMutex::new(snapshotter)
    });
    let alone = recorder.lock().unwrap_or_else(PoisonError::into_inner);
    drop(alone.snapshot());
    run(Options::new(plan), body).unwrap();
    let mut counted = Counted::default();
    for (key, _, _, value) in alone.snapshot().into_vec() {
        let labels = key.key().labels();
        let labels: Vec<String> = labels
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        let name = format!("{} {}", key.key().name(), labels.join(" "));
        match value {
            DebugValue::Counter(count) => drop(counted.counts.insert(name, count)),
            DebugValue::Histogram(seconds) => {
                let seconds = seconds.into_iter().map(|s| *s).collect();
                counted.seconds.insert(name, seconds);
            }
            DebugValue::Gauge(_) => {}
        }
    }
    counted
}

async fn session(simulation: &Simulation, client: u32) -> (Client, Session) {
    let client = simulation.client(client).await.unwrap();
    let options = SessionOptions::new().ttl(Duration::from_secs(9));
    let session = Session::with_options(&client, options).await.unwrap();
    (client, session)
}

async fn mutex(simulation: &Simulation, client: u32) -> Mutex {
    let (_, session) = session(simulation, client).await;
    Mutex::new(&session, "lock").unwrap()
}

#[test]
fn operations_waits_losses_and_broken_watches_are_counted() {
    let cut_off = FaultKind::Partition {
        client: 1,
        for_ms: 30_000,
    };
    let plan = Plan {
        faults: vec![Fault {
            at_ms: 5_000,
            kind: cut_off,
        }],
        ..Plan::quiet(1)
    };
    let counted = counted(plan, |simulation| async move {
        let (first, second) = (mutex(&simulation, 0).await, mutex(&simulation, 1).await);
        let held = first.lock().await.unwrap();
        let unlock_later = async {
            runtime::sleep(Duration::from_secs(2)).await;
            held.unlock().await.unwrap();
        };
        let (locked, ()) = join(second.lock(), unlock_later).await;
        let error = locked.unwrap().lost().await;
        assert_eq!(error.to_string(), "no keep-alive was answered in time");
        let refused = second.lock().await.unwrap_err();
        assert!(refused.is_session_lost());
        runtime::sleep(Duration::from_secs(5)).await;
    });
    let operation = |operation, outcome| counted.operations("mutex", operation, outcome);
    assert_eq!(operation("lock", "ok"), 2, "{counted:?}");
    assert_eq!(operation("unlock", "ok"), 1, "{counted:?}");
    assert_eq!(operation("lock", "session_lost"), 1, "{counted:?}");
    let count = |name: &str| counted.counts.get(name).copied();
    let expired = count("etcd_recipes_sessions_lost_total reason=expired");
    assert_eq!(expired, Some(1));
    let opened_again = count("etcd_recipes_watches_opened_again_total ");
    assert!(opened_again > Some(0), "{counted:?}");
    let waits = counted.seconds("mutex", "lock");
    let longest = waits.iter().copied().fold(0.0, f64::max);
    assert!((1.9..2.5).contains(&longest), "{waits:?}");
}

/// A blocked take, and a put two seconds later.
async fn after_a_wait<T>(
    take: impl Future<Output = Result<T, Error>>,
    put: impl AsyncFnOnce(),
) -> T {
    let put = async {
        runtime::sleep(Duration::from_secs(2)).await;
        put().await;
    };
    join(take, put).await.0.unwrap()
}

#[test]
fn queues_count_what_is_put_and_taken_and_how_long_it_was_waited_for() {
    let counted = counted(Plan::quiet(1), |simulation| async move {
        let (client, session) = session(&simulation, 0).await;
        let options = QueueOptions::new().receipts("receipts");
        let queue = Queue::with_options(&client, "jobs", options).unwrap();
        let put = async || drop(queue.enqueue("1").await.unwrap());
        after_a_wait(Box::pin(queue.dequeue()), put).await;
        assert!(queue.try_dequeue().await.unwrap().is_none());
        let put = async || drop(queue.enqueue("2").await.unwrap());
        let item = after_a_wait(Box::pin(queue.dequeue_with_receipt("us")), put).await;
        queue.acknowledge(&item).await.unwrap();
        let none = queue.try_dequeue_with_receipt("us").await.unwrap();
        assert!(none.is_none());

        let queue = PriorityQueue::new(&client, "pq").unwrap();
        let put = async || drop(queue.enqueue("1", 7).await.unwrap());
        after_a_wait(Box::pin(queue.dequeue()), put).await;
        assert!(queue.try_dequeue().await.unwrap().is_none());

        let queue = ReliableQueue::new(&session, "rq").unwrap();
        let put = async || drop(queue.enqueue("1").await.unwrap());
        let claim = after_a_wait(Box::pin(queue.claim()), put).await;
        claim.release().await.unwrap();
        let claim = queue.try_claim().await.unwrap().unwrap();
        claim.acknowledge().await.unwrap();
        queue.enqueue_batch(["2", "3"]).await.unwrap();
        let mut claims = queue.claim_batch(2).await.unwrap();
        let last = claims.pop().unwrap().acknowledge_with();
        last.commit().await.unwrap();
        session.close().await.unwrap();
        let lost = claims.pop().unwrap().acknowledge().await.unwrap_err();
        assert!(lost.is_not_held(), "{lost}");
    });
    for (recipe, operation, count) in [
        ("queue", "enqueue", 2),
        ("queue", "dequeue", 1),
        ("queue", "try_dequeue", 1),
        ("queue", "dequeue_with_receipt", 1),
        ("queue", "try_dequeue_with_receipt", 1),
        ("queue", "acknowledge", 1),
        ("priority-queue", "enqueue", 1),
        ("priority-queue", "dequeue", 1),
        ("priority-queue", "try_dequeue", 1),
        ("reliable-queue", "enqueue", 1),
        ("reliable-queue", "enqueue_batch", 1),
        ("reliable-queue", "claim", 1),
        ("reliable-queue", "try_claim", 1),
        ("reliable-queue", "claim_batch", 1),
        ("reliable-queue", "acknowledge", 1),
        ("reliable-queue", "acknowledge_with", 1),
        ("reliable-queue", "release", 1),
    ] {
        let counted = counted.operations(recipe, operation, "ok");
        assert_eq!(counted, count, "{recipe} {operation}");
    }
    let refused = counted.operations("reliable-queue", "acknowledge", "not_held");
    assert_eq!(refused, 1);
    for (recipe, operation) in [
        ("queue", "dequeue"),
        ("queue", "dequeue_with_receipt"),
        ("priority-queue", "dequeue"),
        ("reliable-queue", "claim"),
    ] {
        let waits = counted.seconds(recipe, operation);
        assert_eq!(waits.len(), 1, "{recipe}");
        assert!((1.9..2.5).contains(&waits[0]), "{recipe}: {waits:?}");
    }
}

#[test]
fn transactions_count_their_outcome_and_their_attempts() {
    let counted = counted(Plan::quiet(1), |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        let stm = Stm::new(&client);
        let mut attempt = 0;
        let transaction = stm.run(|txn| {
            attempt += 1;
            let (client, first) = (client.clone(), attempt == 1);
            async move {
                txn.get("a").await?;
                if first {
                    client.kv_client().put("a", "theirs", None).await.unwrap();
                }
                txn.put("a", "ours");
                Ok::<_, Error>(())
            }
        });
        assert_eq!(transaction.await.unwrap().attempts, 2);
        let aborted = stm.run(|_| async { Err::<(), _>("no") }).await;
        assert!(matches!(aborted, Err(StmError::Abort("no"))));
    });
    assert_eq!(counted.operations("stm", "run", "ok"), 1, "{counted:?}");
    assert_eq!(counted.operations("stm", "run", "aborted"), 1);
    assert_eq!(counted.seconds("stm", "run").len(), 2);
    assert_eq!(
        counted.seconds.get("etcd_recipes_stm_attempts "),
        Some(&vec![2.0])
    );
}

#[test]
fn the_other_recipes_count_their_operations_too() {
    let counted = counted(Plan::quiet(1), |simulation| async move {
        let (client, session) = session(&simulation, 0).await;
        let lock = RwLock::new(&session, "lock").unwrap();
        lock.read().await.unwrap().unlock().await.unwrap();
        lock.write().await.unwrap().unlock().await.unwrap();
        let election = Election::new(&session, "office").unwrap();
        let leadership = election.campaign("us").await.unwrap();
        leadership.proclaim("still us").await.unwrap();
        leadership.resign().await.unwrap();
        let barrier = Barrier::new(&client, "barrier").unwrap();
        barrier.hold().await.unwrap();
        barrier.release().await.unwrap();
        barrier.wait().await.unwrap();
        let barrier = DoubleBarrier::new(&session, "double", 1).unwrap();
        barrier.enter().await.unwrap();
        barrier.leave().await.unwrap();
        let barrier = CyclicBarrier::new(&session, "cyclic", 1).unwrap();
        barrier.wait().await.unwrap();
    });
    for (recipe, operations) in [
        ("rwlock", &["read", "write"][..]),
        ("election", &["campaign", "proclaim", "resign"]),
        ("barrier", &["hold", "release", "wait"]),
        ("double-barrier", &["enter", "leave"]),
        ("cyclic-barrier", &["wait"]),
    ] {
        for operation in operations {
            let counted = counted.operations(recipe, operation, "ok");
            assert_eq!(counted, 1, "{recipe} {operation}");
        }
    }
}
