//! Whatever a recipe is doing, dropping its future leaves nothing behind: shown
//! in the simulation by dropping it at each of its await points in turn.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use etcd_client::Client;
use etcd_recipes::runtime;
use etcd_recipes::{
    Barrier, CyclicBarrier, DoubleBarrier, Election, Error, Mutex, Queue, QueueOptions,
    ReliableQueue, RwLock, Session, SessionOptions,
};
use etcd_sim::plan::{Latency, Plan};
use etcd_sim::simulation::{Options, Simulation, run};

/// What a case works with: a session whose futures are dropped, and one that
/// gets in its way.
struct Scene {
    client: Client,
    session: Session,
    other: Session,
    simulation: Simulation,
}

type Work<'s> = Pin<Box<dyn Future<Output = Result<(), Error>> + 's>>;
type Case = for<'s> fn(&'s Scene) -> Work<'s>;

/// Polls a future this often, then drops it. None if it was dropped.
async fn polled<T>(future: impl Future<Output = T>, times: u32) -> Option<T> {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

async fn open_session(client: &Client) -> Session {
    let options = SessionOptions::new().ttl(Duration::from_secs(20));
    Session::with_options(client, options).await.unwrap()
}

impl Scene {
    async fn new(simulation: Simulation) -> Self {
        let client = simulation.client(0).await.unwrap();
        let others = simulation.client(1).await.unwrap();
        Self {
            session: open_session(&client).await,
            other: open_session(&others).await,
            client,
            simulation,
        }
    }

    /// The keys that live as long as the lease of this session.
    fn keys_of(&self, session: &Session) -> Vec<String> {
        let lease = session.lease_id();
        self.simulation.member().with_store(|store| {
            let events = store.events(0);
            let keys: std::collections::BTreeSet<&[u8]> =
                events.map(etcd_sim::store::Record::key).collect();
            keys.into_iter()
                .filter_map(|key| store.key_at(key, store.revision()))
                .filter(|kv| kv.lease == lease)
                .map(|kv| String::from_utf8_lossy(&kv.key).into_owned())
                .collect()
        })
    }
}

/// Runs the case again and again, dropping its work one await point later each
/// time, until it is done before. Returns at how many it was dropped.
fn dropped_everywhere(work: Case, afterwards: Case) -> u32 {
    for polls in 1.. {
        let plan = Plan {
            latency: Latency {
                min_us: 1_000,
                max_us: 5_000,
            },
            ..Plan::quiet(u64::from(polls))
        };
        let done = run(Options::new(plan), move |simulation| async move {
            let seeded = runtime::seed_thread(u64::from(polls));
            let scene = Scene::new(simulation).await;
            let done = polled(work(&scene), polls).await;
            if let Some(result) = &done {
                result.as_ref().unwrap();
            }
            runtime::sleep(Duration::from_secs(2)).await;
            assert!(scene.session.is_alive());
            let mut left = scene.keys_of(&scene.session);
            // A consumer of a reliable queue has one key for as long as its session.
            left.retain(|key| !key.contains("/consumers/"));
            assert!(left.is_empty(), "dropped after {polls} polls: {left:?}");
            let usable = runtime::timeout(Duration::from_secs(5), afterwards(&scene)).await;
            usable
                .unwrap_or_else(|_| panic!("dropped after {polls} polls: stuck"))
                .unwrap();
            drop(seeded);
            done.is_some()
        })
        .unwrap();
        if done {
            return polls - 1;
        }
    }
    unreachable!()
}

/// Holds something for a moment with the other session, while `work` waits.
async fn while_held<H>(
    held: impl Future<Output = Result<H, Error>>,
    work: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    let held = held.await?;
    let later = async {
        runtime::sleep(Duration::from_millis(300)).await;
        drop(held);
        Ok(())
    };
    futures_util::future::try_join(work, later).await.map(drop)
}

#[test]
fn a_lock_that_is_free() {
    let lock: Case = |scene| {
        let mutex = Mutex::new(&scene.session, "lock").unwrap();
        Box::pin(async move { mutex.lock().await?.unlock().await })
    };
    assert!(dropped_everywhere(lock, lock) >= 2);
}

#[test]
fn a_lock_that_somebody_else_has() {
    let lock: Case = |scene| {
        let theirs = Mutex::new(&scene.other, "lock").unwrap();
        let ours = Mutex::new(&scene.session, "lock").unwrap();
        Box::pin(async move {
            let work = async { ours.lock().await?.unlock().await };
            while_held(async { theirs.lock().await }, work).await
        })
    };
    let again: Case = |scene| {
        let ours = Mutex::new(&scene.session, "lock").unwrap();
        Box::pin(async move { ours.lock().await?.unlock().await })
    };
    assert!(dropped_everywhere(lock, again) >= 5);
}

#[test]
fn trying_a_lock() {
    let attempt: Case = |scene| {
        let theirs = Mutex::new(&scene.other, "lock").unwrap();
        let ours = Mutex::new(&scene.session, "lock").unwrap();
        Box::pin(async move {
            let held = theirs.lock().await?;
            assert!(ours.try_lock().await?.is_none());
            held.unlock().await?;
            let taken = ours.try_lock().await?.expect("it is free");
            taken.unlock().await
        })
    };
    assert!(dropped_everywhere(attempt, attempt) >= 5);
}

#[test]
fn reading_and_writing_under_a_lock() {
    let read_and_write: Case = |scene| {
        let theirs = RwLock::new(&scene.other, "lock").unwrap();
        let ours = RwLock::new(&scene.session, "lock").unwrap();
        Box::pin(async move {
            let read = async { ours.read().await?.unlock().await };
            while_held(async { theirs.write().await }, read).await?;
            let write = async { ours.write().await?.unlock().await };
            while_held(async { theirs.read().await }, write).await
        })
    };
    assert!(dropped_everywhere(read_and_write, read_and_write) >= 8);
}

#[test]
fn campaigning_leading_and_resigning() {
    let lead: Case = |scene| {
        let theirs = Election::new(&scene.other, "office").unwrap();
        let ours = Election::new(&scene.session, "office").unwrap();
        Box::pin(async move {
            let work = async {
                let leadership = ours.campaign("us").await?;
                leadership.proclaim("still us").await?;
                leadership.resign().await
            };
            while_held(async { theirs.campaign("them").await }, work).await
        })
    };
    let again: Case = |scene| {
        let ours = Election::new(&scene.session, "office").unwrap();
        Box::pin(async move { ours.campaign("us again").await?.resign().await })
    };
    assert!(dropped_everywhere(lead, again) >= 6);
}

#[test]
fn leading_by_closure() {
    let lead: Case = |scene| {
        let theirs = Election::new(&scene.other, "office").unwrap();
        let ours = Election::new(&scene.session, "office").unwrap();
        Box::pin(async move {
            let work = ours.run("us", async |leadership| {
                leadership.proclaim("still us").await?;
                runtime::sleep(Duration::from_millis(20)).await;
                Ok(())
            });
            let work = async { work.await? };
            while_held(async { theirs.campaign("them").await }, work).await
        })
    };
    assert!(dropped_everywhere(lead, lead) >= 7);
}

#[test]
fn a_dequeue_with_a_receipt_loses_no_item() {
    fn queue(scene: &Scene) -> Queue {
        let options = QueueOptions::new().receipts("receipts");
        Queue::with_options(&scene.client, "jobs", options).unwrap()
    }
    let fill_and_take: Case = |scene| {
        let queue = queue(scene);
        Box::pin(async move {
            queue.enqueue("1").await?;
            queue.enqueue("2").await?;
            let item = queue.dequeue_with_receipt("us").await?;
            queue.acknowledge(&item).await
        })
    };
    let take_what_is_there: Case = |scene| {
        let queue = queue(scene);
        Box::pin(async move {
            let mut taken = Vec::new();
            while let Some(item) = queue.try_dequeue_with_receipt("us").await? {
                queue.acknowledge(&item).await?;
                taken.push(item.value);
            }
            // What was acknowledged, or not even sent, may be missing; the item
            // behind it, once it was there, may not.
            let second_was_there = scene.simulation.member().with_store(|store| {
                let puts = store.events(0).filter(|e| e.key().starts_with(b"jobs/"));
                puts.map(|e| e.key().to_vec())
                    .collect::<std::collections::BTreeSet<_>>()
                    .len()
                    == 2
            });
            let second = taken.contains(&b"2".to_vec());
            assert_eq!(second, second_was_there, "{taken:?}");
            Ok(())
        })
    };
    assert!(dropped_everywhere(fill_and_take, take_what_is_there) >= 7);
}

/// Nothing else is to be tried afterwards.
fn nothing(_: &Scene) -> Work<'_> {
    Box::pin(async { Ok(()) })
}

#[test]
fn waiting_for_a_barrier_and_holding_one() {
    let wait_and_hold: Case = |scene| {
        let barrier = Barrier::new(&scene.client, "barrier").unwrap();
        Box::pin(async move {
            let theirs = async {
                let held = barrier.hold_with_session(&scene.other).await?;
                Ok(held.expect("it is free"))
            };
            while_held(theirs, barrier.wait()).await?;
            runtime::sleep(Duration::from_millis(100)).await;
            let held = barrier.hold_with_session(&scene.session).await?;
            held.expect("it is free again").release().await
        })
    };
    assert!(dropped_everywhere(wait_and_hold, nothing) >= 5);
}

#[test]
fn entering_and_leaving_a_double_barrier() {
    let enter_and_leave: Case = |scene| {
        let theirs = DoubleBarrier::new(&scene.other, "double", 2).unwrap();
        let ours = DoubleBarrier::new(&scene.session, "double", 2).unwrap();
        async fn once(barrier: DoubleBarrier) -> Result<(), Error> {
            barrier.enter().await?;
            barrier.leave().await
        }
        Box::pin(async move {
            let both = futures_util::future::try_join(once(theirs), once(ours));
            both.await.map(drop)
        })
    };
    assert!(dropped_everywhere(enter_and_leave, nothing) >= 6);
}

#[test]
fn waiting_for_the_others_in_a_cyclic_barrier() {
    let three_rounds: Case = |scene| {
        let theirs = CyclicBarrier::new(&scene.other, "cyclic", 2).unwrap();
        let ours = CyclicBarrier::new(&scene.session, "cyclic", 2).unwrap();
        async fn rounds(barrier: CyclicBarrier) -> Result<(), Error> {
            for _ in 0..3 {
                barrier.wait().await?;
            }
            Ok(())
        }
        Box::pin(async move {
            let both = futures_util::future::try_join(rounds(theirs), rounds(ours));
            both.await.map(drop)
        })
    };
    assert!(dropped_everywhere(three_rounds, nothing) >= 6);
}

#[test]
fn a_claim_of_a_reliable_queue_loses_no_item() {
    let claim_and_acknowledge: Case = |scene| {
        let queue = ReliableQueue::new(&scene.session, "work").unwrap();
        Box::pin(async move {
            queue.enqueue_batch(["1", "2"]).await?;
            queue.claim().await?.acknowledge().await.map(drop)
        })
    };
    let claim_the_rest: Case = |scene| {
        let queue = ReliableQueue::new(&scene.other, "work").unwrap();
        Box::pin(async move {
            let mut claimed = Vec::new();
            while let Some(claim) = queue.try_claim().await? {
                claimed.push(claim.item.value.clone());
                claim.acknowledge().await?;
            }
            let second = claimed.contains(&b"2".to_vec());
            let enqueued = scene
                .simulation
                .member()
                .with_store(|store| store.events(0).any(|e| e.key().starts_with(b"work")));
            assert_eq!(second, enqueued, "{claimed:?}");
            Ok(())
        })
    };
    assert!(dropped_everywhere(claim_and_acknowledge, claim_the_rest) >= 3);
}
