//! Whatever a recipe is doing, dropping its future leaves nothing behind: shown
//! in the simulation by dropping it at each of its await points in turn.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use etcd_client::Client;
use etcd_recipes::runtime;
use etcd_recipes::{
    Barrier, CyclicBarrier, DoubleBarrier, Election, Error, Locker, Mutex, PriorityQueue, Queue,
    QueueOptions, ReliableQueue, RwLock, Session, Stm, StmError,
};
use etcd_sim::plan::{Latency, Plan};
use etcd_sim::simulation::{Options, Simulation};
use futures_util::future::try_join;

use crate::support::{open_session, seeded};

/// What a case works with: a session and queues whose futures are dropped, and
/// a session that gets in their way.
struct Scene {
    client: Client,
    session: Session,
    queue: Queue,
    priority_queue: PriorityQueue,
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

impl Scene {
    async fn new(simulation: Simulation) -> Self {
        let client = simulation.client(0).await.unwrap();
        let others = simulation.client(1).await.unwrap();
        Self {
            session: open_session(&client, 20).await,
            queue: Queue::new(&client, "jobs").unwrap(),
            priority_queue: PriorityQueue::new(&client, "jobs").unwrap(),
            other: open_session(&others, 20).await,
            client,
            simulation,
        }
    }

    /// How many keys of this form were ever put.
    fn puts(&self, is_meant: impl Fn(&[u8]) -> bool) -> usize {
        self.simulation.member().with_store(|store| {
            let keys = store.events(0).map(etcd_sim::store::Record::key);
            let keys: BTreeSet<&[u8]> = keys.filter(|key| is_meant(key)).collect();
            keys.len()
        })
    }

    /// The keys that live as long as the lease of this session.
    fn keys_of(&self, session: &Session) -> Vec<String> {
        let lease = session.lease_id();
        self.simulation.member().with_store(|store| {
            let events = store.events(0);
            let keys: BTreeSet<&[u8]> = events.map(etcd_sim::store::Record::key).collect();
            keys.into_iter()
                .filter_map(|key| store.key_at(key, store.revision()))
                .filter(|kv| kv.lease() == lease)
                .map(|kv| String::from_utf8_lossy(kv.key()).into_owned())
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
        let done = seeded(Options::new(plan), move |simulation| async move {
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
            done.is_some()
        });
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
    try_join(work, later).await.map(drop)
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
fn locking_with_a_deadline_by_closure_and_with_a_locker() {
    let lock: Case = |scene| {
        let theirs = Mutex::new(&scene.other, "lock").unwrap();
        let ours = Mutex::new(&scene.session, "lock").unwrap();
        let locker = Locker::new(&scene.session, "lock").unwrap();
        Box::pin(async move {
            let deadline = Duration::from_secs(1);
            let work = async { ours.lock_timeout(deadline).await?.unlock().await };
            while_held(async { theirs.lock().await }, work).await?;
            let work = async {
                let token = ours.with(async |hold| {
                    runtime::sleep(Duration::from_millis(20)).await;
                    hold.fencing_token()
                });
                token.await.map(drop)
            };
            while_held(async { theirs.lock().await }, work).await?;
            let work = async {
                locker.lock().await?;
                locker.unlock().await
            };
            while_held(async { theirs.lock().await }, work).await?;
            // In vain.
            let held = theirs.lock().await?;
            let in_vain = ours.lock_timeout(Duration::from_millis(100)).await;
            assert!(in_vain.is_err());
            held.unlock().await
        })
    };
    assert!(dropped_everywhere(lock, lock) >= 15);
}

#[test]
fn trying_to_read_and_to_write_under_a_lock() {
    let attempt: Case = |scene| {
        let theirs = RwLock::new(&scene.other, "lock").unwrap();
        let ours = RwLock::new(&scene.session, "lock").unwrap();
        Box::pin(async move {
            let held = theirs.read().await?;
            assert!(ours.try_write().await?.is_none());
            ours.try_read()
                .await?
                .expect("it is shared")
                .unlock()
                .await?;
            let in_vain = ours.write_timeout(Duration::from_millis(100)).await;
            assert!(in_vain.is_err());
            held.unlock().await?;
            let held = theirs.write().await?;
            assert!(ours.try_read().await?.is_none());
            let in_vain = ours.read_timeout(Duration::from_millis(100)).await;
            assert!(in_vain.is_err());
            held.unlock().await?;
            ours.try_write().await?.expect("it is free").unlock().await
        })
    };
    assert!(dropped_everywhere(attempt, attempt) >= 12);
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

/// Who detaches a leadership keeps it for as long as the session lives, also if it is not
/// taken up again.
#[test]
fn observing_asking_who_leads_and_taking_up_a_leadership() {
    let observe_and_resume: Case = |scene| {
        let theirs = Election::new(&scene.other, "office").unwrap();
        let ours = Election::new(&scene.session, "office").unwrap();
        Box::pin(async move {
            let (key, term) = theirs.campaign("them").await?.detach();
            let mut observer = ours.observe();
            observer.next().await?;
            assert!(ours.leader().await?.is_some());
            let resumed = Election::resume(&scene.other, "office", key, term);
            resumed.await?.resign().await?;
            observer.next().await.map(drop)
        })
    };
    let after_the_session: Case = |scene| {
        let ours = Election::new(&scene.session, "office").unwrap();
        Box::pin(async move {
            scene.other.close().await?;
            ours.campaign("us").await?.resign().await
        })
    };
    assert!(dropped_everywhere(observe_and_resume, after_the_session) >= 6);
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
            let second_was_there = scene.puts(|key| key.starts_with(b"jobs/")) == 2;
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
            let both = try_join(once(theirs), once(ours));
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
            let both = try_join(rounds(theirs), rounds(ours));
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

#[test]
fn a_batch_of_claims_that_are_given_back_or_acknowledged_in_a_transaction_loses_no_item() {
    let claim_and_give_back: Case = |scene| {
        let queue = ReliableQueue::new(&scene.session, "work").unwrap();
        Box::pin(async move {
            queue.enqueue_batch(["1", "2", "3"]).await?;
            let mut claims = queue.claim_batch(2).await?.into_iter();
            let (first, second) = (claims.next().unwrap(), claims.next().unwrap());
            first.release().await?;
            second.acknowledge_with().commit().await.map(drop)
        })
    };
    let claim_the_rest: Case = |scene| {
        let queue = ReliableQueue::new(&scene.other, "work").unwrap();
        Box::pin(async move {
            let enqueued = scene
                .simulation
                .member()
                .with_store(|store| store.events(0).any(|e| e.key().starts_with(b"work")));
            let mut claimed = Vec::new();
            while let Some(claim) = queue.try_claim().await? {
                claimed.push(claim.item.value.clone());
                claim.acknowledge().await?;
            }
            for kept in ["1", "3"] {
                let is_there = claimed.contains(&kept.as_bytes().to_vec());
                assert_eq!(is_there, enqueued, "{kept} in {claimed:?}");
            }
            Ok(())
        })
    };
    assert!(dropped_everywhere(claim_and_give_back, claim_the_rest) >= 5);
}

/// A plain dequeue deletes its item before its caller has it: the one item that it
/// was about to get may be lost, as documented, and no other. Nothing comes twice,
/// and nobody is held up.
#[test]
fn putting_into_a_queue_and_taking_from_it_loses_one_item_at_most() {
    let put_and_take: Case = |scene| {
        Box::pin(async move {
            for value in ["1", "2", "3"] {
                scene.queue.enqueue(value).await?;
            }
            let item = scene.queue.dequeue().await?;
            assert_eq!(item.value, b"1");
            Ok(())
        })
    };
    let take_the_rest: Case = |scene| {
        Box::pin(async move {
            let enqueued = scene.puts(|key| key.starts_with(b"jobs/"));
            let mut taken = Vec::new();
            while let Some(item) = scene.queue.try_dequeue().await? {
                taken.push(item.value);
            }
            let all = [b"1", b"2", b"3"].map(|value| value.to_vec());
            let all = &all[..enqueued];
            let is_right = taken == all || enqueued == 3 && taken == all[1..];
            assert!(is_right, "{enqueued} enqueued, taken: {taken:?}");
            Ok(())
        })
    };
    assert!(dropped_everywhere(put_and_take, take_the_rest) >= 5);
}

/// As above; what may be lost is the best item.
#[test]
fn putting_into_a_priority_queue_and_taking_from_it_loses_the_best_item_at_most() {
    let put_and_take: Case = |scene| {
        Box::pin(async move {
            for priority in [7, 3, 5, 5] {
                let value = priority.to_string();
                scene.priority_queue.enqueue(value, priority).await?;
            }
            let item = scene.priority_queue.dequeue().await?;
            assert_eq!(item.priority, 3);
            Ok(())
        })
    };
    let take_the_rest: Case = |scene| {
        Box::pin(async move {
            let enqueued = scene.puts(|key| key.starts_with(b"jobs/"));
            let mut taken = Vec::new();
            while let Some(item) = scene.priority_queue.try_dequeue().await? {
                taken.push(item.priority);
            }
            let all: [&[u16]; 5] = [&[], &[7], &[3, 7], &[3, 5, 7], &[3, 5, 5, 7]];
            let all = all[enqueued];
            let is_right = taken == all || enqueued == 4 && taken == all[1..];
            assert!(is_right, "{enqueued} enqueued, taken: {taken:?}");
            Ok(())
        })
    };
    assert!(dropped_everywhere(put_and_take, take_the_rest) >= 6);
}

/// Who waits stands in line with the other waiters of the handle, and gives up the
/// turn when dropped.
#[test]
fn waiting_for_an_item_holds_up_nobody_once_it_is_dropped() {
    let wait: Case = |scene| {
        let queue = Queue::new(scene.other.client(), "jobs").unwrap();
        let best = PriorityQueue::new(scene.other.client(), "jobs").unwrap();
        Box::pin(async move {
            let later = async {
                runtime::sleep(Duration::from_millis(300)).await;
                for number in 0..3_u16 {
                    queue.enqueue("x").await?;
                    best.enqueue("x", number).await?;
                }
                Ok(())
            };
            let three = async {
                let two = try_join(scene.queue.dequeue(), scene.queue.dequeue());
                try_join(two, scene.queue.dequeue()).await
            };
            let three_of_the_best = async {
                let queue = &scene.priority_queue;
                let two = try_join(queue.dequeue(), queue.dequeue());
                try_join(two, queue.dequeue()).await
            };
            let waits = try_join(Box::pin(three), Box::pin(three_of_the_best));
            try_join(waits, later).await.map(drop)
        })
    };
    let take_again: Case = |scene| {
        let queue = Queue::new(scene.other.client(), "jobs").unwrap();
        let best = PriorityQueue::new(scene.other.client(), "jobs").unwrap();
        Box::pin(async move {
            while scene.queue.try_dequeue().await?.is_some() {}
            while scene.priority_queue.try_dequeue().await?.is_some() {}
            let later = async {
                runtime::sleep(Duration::from_millis(300)).await;
                queue.enqueue("y").await?;
                best.enqueue("y", 9).await
            };
            let waits = try_join(scene.queue.dequeue(), scene.priority_queue.dequeue());
            let ((item, best), _) = try_join(Box::pin(waits), later).await?;
            assert_eq!((item.value, best.value), (b"y".to_vec(), b"y".to_vec()));
            Ok(())
        })
    };
    assert!(dropped_everywhere(wait, take_again) >= 12);
}

/// A transaction that is dropped has written everything or nothing.
#[test]
fn a_transaction_is_done_or_not_begun() {
    async fn both_plus_one(client: &Client, meddler: Option<&Client>) -> Result<(), Error> {
        let number = |value: Option<Vec<u8>>| value.map_or(0, |value| value.len());
        let mut attempt = 0;
        let stm = Stm::new(client);
        let transaction = stm.run(|txn| {
            attempt += 1;
            let meddler = meddler.filter(|_| attempt == 1).cloned();
            async move {
                let (a, b) = (number(txn.get("a").await?), number(txn.get("b").await?));
                assert_eq!(a, b, "half of a transaction");
                txn.get("c").await?;
                if let Some(meddler) = meddler {
                    // A conflict: the first attempt comes to nothing.
                    let put = meddler.kv_client().put("c", "theirs", None).await;
                    put.expect("nothing is lost here");
                }
                txn.put("a", "x".repeat(a + 1));
                txn.put("b", "x".repeat(b + 1));
                Ok::<_, Error>(())
            }
        });
        match transaction.await {
            Ok(_) => Ok(()),
            Err(StmError::Recipe(error)) => Err(error),
            Err(other) => panic!("nobody aborts: {other}"),
        }
    }
    let twice: Case = |scene| {
        Box::pin(async move {
            both_plus_one(&scene.client, Some(scene.other.client())).await?;
            both_plus_one(&scene.client, None).await
        })
    };
    let look_and_do_it_again: Case = |scene| {
        Box::pin(async move {
            let mut kv = scene.client.kv_client();
            let mut length = async |key| {
                let answer = kv.get(key, None).await.expect("nothing is lost here");
                answer.kvs().first().map_or(0, |kv| kv.value().len())
            };
            let before = (length("a").await, length("b").await);
            assert!(before.0 == before.1 && before.0 <= 2, "{before:?}");
            both_plus_one(&scene.client, None).await?;
            let after = (length("a").await, length("b").await);
            assert_eq!(after, (before.0 + 1, before.1 + 1));
            Ok(())
        })
    };
    assert!(dropped_everywhere(twice, look_and_do_it_again) >= 8);
}

/// A lease that nobody keeps alive ends with its time to live; no other is left.
#[test]
fn opening_reopening_and_closing_a_session() {
    let open_and_close: Case = |scene| {
        Box::pin(async move {
            let session = open_session(&scene.client, 3).await;
            let again = session.reopen().await?;
            assert_ne!(session.lease_id(), again.lease_id());
            session.close().await?;
            again.close().await
        })
    };
    let look: Case = |scene| {
        Box::pin(async move {
            // Two seconds have passed.
            runtime::sleep(Duration::from_secs(3)).await;
            let member = scene.simulation.member();
            let mut left = member.with_store(etcd_sim::store::Store::leases);
            left.retain(|lease| {
                let own = [scene.session.lease_id(), scene.other.lease_id()];
                !own.contains(&lease.0)
            });
            assert!(left.is_empty(), "{left:?}");
            Ok(())
        })
    };
    assert!(dropped_everywhere(open_and_close, look) >= 4);
}
