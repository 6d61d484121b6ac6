//! What the queues promise when machines fail, shown one by one in the
//! simulation.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_client::{Client, CompactionOptions, TxnOp};
use etcd_recipes::reliable_queue::Acknowledged;
use etcd_recipes::runtime;
use etcd_recipes::{PriorityQueue, Queue, ReliableQueue, Session};
use etcd_sim::executor::{SimTime, sleep_until};
use etcd_sim::fault::FaultKind;
use futures_util::future::join;

use crate::support::{cut_off, open_session, simulated};

async fn compact_everything(client: &Client) {
    let mut client = client.clone();
    let put = client.put("other", "x", None).await.unwrap();
    let revision = put.header().unwrap().revision();
    let options = CompactionOptions::new();
    client.compact(revision, Some(options)).await.unwrap();
}

/// Boxed, because futures within futures take more stack than a thread has.
fn while_somebody_waits<'f>(
    waiting: impl Future<Output = Vec<u8>> + 'f,
    then: impl Future<Output = ()> + 'f,
) -> Pin<Box<dyn Future<Output = Vec<u8>> + 'f>> {
    let (waiting, then) = (Box::pin(waiting), Box::pin(then));
    Box::pin(async move {
        let then = async {
            runtime::sleep(Duration::from_secs(3)).await;
            then.await;
        };
        let both = runtime::timeout(Duration::from_secs(60), join(waiting, then));
        both.await.expect("the wait ends").0
    })
}

#[test]
fn a_compaction_during_a_wait_is_survived() {
    simulated(Vec::new(), |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        let others = simulation.client(1).await.unwrap();
        let queue = PriorityQueue::new(&client, "pq").unwrap();
        let theirs = PriorityQueue::new(&others, "pq").unwrap();
        let value = while_somebody_waits(async { queue.dequeue().await.unwrap().value }, async {
            compact_everything(&others).await;
            theirs.enqueue("x", 3).await.unwrap();
        });
        assert_eq!(value.await, b"x");

        let mine = ReliableQueue::new(&open_session(&client, 20).await, "rq").unwrap();
        let theirs = ReliableQueue::new(&open_session(&others, 20).await, "rq").unwrap();
        let claim = async { mine.claim().await.unwrap().item.value.clone() };
        let value = while_somebody_waits(claim, async {
            compact_everything(&others).await;
            theirs.enqueue("y").await.unwrap();
        });
        assert_eq!(value.await, b"y");
    });
}

/// The watch is away while an item is put, and comes back when etcd has forgotten
/// how that happened.
#[test]
fn an_item_beyond_a_compaction_is_not_missed() {
    type Taken = Pin<Box<dyn Future<Output = Vec<u8>>>>;
    type Take = fn(Client, Session) -> Taken;
    let takes: [Take; 3] = [
        |client, _| {
            let queue = Queue::new(&client, "jobs").unwrap();
            Box::pin(async move { queue.dequeue().await.unwrap().value })
        },
        |client, _| {
            let queue = PriorityQueue::new(&client, "pq").unwrap();
            Box::pin(async move { queue.dequeue().await.unwrap().value })
        },
        |_, session| {
            let queue = ReliableQueue::new(&session, "rq").unwrap();
            Box::pin(async move { queue.claim().await.unwrap().item.value.clone() })
        },
    ];
    for take in takes {
        let faults = vec![
            (2_000, FaultKind::Reset { client: 0 }),
            (2_000, cut_off(0, 3_000)),
        ];
        simulated(faults, move |simulation| async move {
            let client = simulation.client(0).await.unwrap();
            let others = simulation.client(1).await.unwrap();
            let (mine, theirs) = (
                open_session(&client, 20).await,
                open_session(&others, 20).await,
            );
            let value = while_somebody_waits(take(client, mine), async {
                let queue = Queue::new(&others, "jobs").unwrap();
                queue.enqueue("x").await.unwrap();
                let queue = PriorityQueue::new(&others, "pq").unwrap();
                queue.enqueue("x", 3).await.unwrap();
                let queue = ReliableQueue::new(&theirs, "rq").unwrap();
                queue.enqueue("x").await.unwrap();
                compact_everything(&others).await;
            });
            assert_eq!(value.await, b"x");
        });
    }
}

/// Fault 25 of the Go recipes: what cannot be known is said.
#[test]
fn an_answer_that_is_lost_leaves_an_outcome_that_is_called_unknown() {
    let lost = [2_000, 12_000, 22_000, 32_000].map(|at_ms| {
        let kind = FaultKind::LoseResponse { client: 0 };
        (at_ms, kind)
    });
    simulated(lost.to_vec(), |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        let others = simulation.client(1).await.unwrap();
        let until = async |ms| sleep_until(SimTime::from_millis(ms)).await;

        let queue = Queue::new(&client, "jobs").unwrap();
        until(2_100).await;
        let error = queue.enqueue("1").await.unwrap_err();
        assert!(error.is_outcome_unknown(), "{error}");
        assert_eq!(queue.len().await.unwrap(), 1, "it is there");
        queue.enqueue("2").await.unwrap();
        queue.enqueue("3").await.unwrap();
        // It knows the second: the next request takes it.
        assert_eq!(queue.dequeue().await.unwrap().value, b"1");
        until(12_100).await;
        let error = queue.dequeue().await.unwrap_err();
        assert!(error.is_outcome_unknown(), "{error}");
        let theirs = Queue::new(&others, "jobs").unwrap();
        assert_eq!(theirs.dequeue().await.unwrap().value, b"3", "it is gone");

        let queue = PriorityQueue::new(&client, "pq").unwrap();
        for number in ["1", "2", "3"] {
            queue.enqueue(number, 5).await.unwrap();
        }
        assert_eq!(queue.dequeue().await.unwrap().value, b"1");
        until(22_100).await;
        let error = queue.dequeue().await.unwrap_err();
        assert!(error.is_outcome_unknown(), "{error}");
        let theirs = PriorityQueue::new(&others, "pq").unwrap();
        assert_eq!(theirs.dequeue().await.unwrap().value, b"3", "it is gone");
        until(32_100).await;
        let error = queue.enqueue("4", 5).await.unwrap_err();
        assert!(error.is_outcome_unknown(), "{error}");
        assert_eq!(theirs.dequeue().await.unwrap().value, b"4", "it was there");
    });
}

#[test]
fn a_watch_that_breaks_during_a_wait_is_opened_again() {
    let faults = [4_000, 4_500].map(|at_ms| (at_ms, FaultKind::Reset { client: 0 }));
    simulated(faults.to_vec(), |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        let others = simulation.client(1).await.unwrap();
        let later = Duration::from_secs(4);
        let queue = PriorityQueue::new(&client, "pq").unwrap();
        let theirs = PriorityQueue::new(&others, "pq").unwrap();
        let wait = while_somebody_waits(async { queue.dequeue().await.unwrap().value }, async {
            runtime::sleep(later).await;
            theirs.enqueue("x", 3).await.unwrap();
        });
        assert_eq!(wait.await, b"x");
    });
}

/// Fault 26 of the Go recipes, step by step: the woken consumer takes the best
/// item, not the one that woke it.
#[test]
fn who_is_woken_takes_the_best_item() {
    simulated(Vec::new(), |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        let mut others = simulation.client(1).await.unwrap();
        let queue = PriorityQueue::new(&client, "pq").unwrap();
        for _ in 0..5 {
            let both = [
                TxnOp::put("pq/00005/0000000000000000", "x", None),
                TxnOp::put("pq/00003/0000000000000000", "y", None),
            ];
            let txn = etcd_client::Txn::new().and_then(both);
            let first =
                while_somebody_waits(async { queue.dequeue().await.unwrap().value }, async {
                    drop(others.txn(txn).await.unwrap());
                });
            assert_eq!(first.await, b"y");
            assert_eq!(queue.dequeue().await.unwrap().value, b"x");
        }
    });
}

/// Fault 22 of the Go recipes: neighbours stay apart, whatever they are called.
#[test]
fn queues_never_see_each_other() {
    simulated(Vec::new(), |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        let names = ["jobs", "jobs2", "jobs/x", "__jobs", "____jobs"];
        let queues = names.map(|name| PriorityQueue::new(&client, name).unwrap());
        for (name, queue) in names.iter().zip(&queues) {
            queue.enqueue(*name, 4).await.unwrap();
            queue.enqueue(*name, 2).await.unwrap();
        }
        let fifo = Queue::new(&client, "jobs").unwrap();
        fifo.enqueue("fifo").await.unwrap();
        let reliable = ReliableQueue::new(&open_session(&client, 20).await, "jobs").unwrap();
        reliable.enqueue("reliable").await.unwrap();
        for (name, queue) in names.iter().zip(&queues) {
            for priority in [2, 4] {
                let item = queue.dequeue().await.unwrap();
                assert_eq!(item.value, name.as_bytes());
                assert_eq!(item.priority, priority);
            }
            assert_eq!(queue.try_dequeue().await.unwrap(), None);
        }
        // Where `jobs` keeps its books there is nothing to take either.
        let books = Queue::new(&client, "__jobs").unwrap();
        assert_eq!(books.try_dequeue().await.unwrap(), None);
        assert_eq!(fifo.dequeue().await.unwrap().value, b"fifo");
        assert_eq!(reliable.claim().await.unwrap().item.value, b"reliable");
    });
}

#[test]
fn what_a_dead_consumer_had_comes_back_at_its_old_place() {
    let kill = FaultKind::KillClient { client: 7 };
    simulated(vec![(3_000, kill)], |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        let queue = ReliableQueue::new(&open_session(&client, 30).await, "rq").unwrap();
        queue.enqueue_batch(["a", "b", "c"]).await.unwrap();
        let had = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&had);
        simulation.spawn(7, move |incarnation| {
            let had = Arc::clone(&theirs);
            async move {
                let client = incarnation.connect().await.unwrap();
                let queue = ReliableQueue::new(&open_session(&client, 3).await, "rq").unwrap();
                let claims = queue.claim_batch(2).await.unwrap();
                let values = claims.iter().map(|claim| claim.item.value.clone());
                *had.lock().unwrap() = values.collect();
                std::future::pending::<()>().await;
            }
        });
        runtime::sleep(Duration::from_secs(1)).await;
        assert_eq!(*had.lock().unwrap(), [b"a", b"b"]);
        // The third is free, the others are not.
        let third = queue.claim().await.unwrap();
        assert_eq!(third.item.value, b"c");
        assert!(queue.try_claim().await.unwrap().is_none());
        assert_eq!(queue.len().await.unwrap(), 3);
        let start = runtime::now();
        let first = queue.claim().await.unwrap();
        let waited = runtime::now() - start;
        assert_eq!(first.item.value, b"a");
        assert!(waited >= Duration::from_secs(2), "{waited:?}");
        third.release().await.unwrap();
        let rest = queue.claim_batch(9).await.unwrap();
        let values: Vec<&[u8]> = rest.iter().map(|c| c.item.value.as_slice()).collect();
        assert_eq!(values, [b"b", b"c"]);
        for claim in rest.into_iter().chain([first]) {
            claim.acknowledge().await.unwrap();
        }
        assert!(queue.is_empty().await.unwrap());
    });
}

#[test]
fn an_acknowledgement_after_the_lease_is_refused_and_writes_nothing() {
    simulated(Vec::new(), |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        let mut other = simulation.client(1).await.unwrap();
        let mine = open_session(&client, 30).await;
        let queue = ReliableQueue::new(&mine, "rq").unwrap();
        let theirs = ReliableQueue::new(&open_session(&other, 30).await, "rq").unwrap();
        queue.enqueue_batch(["a", "b"]).await.unwrap();
        let (first, second) = (queue.claim().await.unwrap(), queue.claim().await.unwrap());
        other.lease_revoke(mine.lease_id()).await.unwrap();
        let again = theirs.claim().await.unwrap();
        assert_eq!(again.item.value, b"a");
        let error = first.acknowledge().await.unwrap_err();
        assert!(error.is_not_held(), "{error}");
        let write = TxnOp::put("done", "b", None);
        let error = second.acknowledge_with().and_then([write]).commit().await;
        assert!(error.unwrap_err().is_not_held());
        assert!(other.get("done", None).await.unwrap().kvs().is_empty());
        // It is theirs, and once only.
        let write = TxnOp::put("done", "a", None);
        let condition = etcd_client::Compare::version("gate", etcd_client::CompareOp::Greater, 0);
        let txn = again.acknowledge_with().when([condition]).and_then([write]);
        let Acknowledged::NotMet(_, again) = txn.commit().await.unwrap() else {
            panic!("the gate is closed")
        };
        assert_eq!(theirs.len().await.unwrap(), 2);
        let write = TxnOp::put("done", "a", None);
        let done = again.acknowledge_with().and_then([write]).commit().await;
        assert!(matches!(done.unwrap(), Acknowledged::Done(_)));
        assert_eq!(
            other.get("done", None).await.unwrap().kvs()[0].value(),
            b"a"
        );
        assert_eq!(theirs.len().await.unwrap(), 1);
    });
}

/// Whatever the moment at which the lease ends: between the claim and the last read
/// of a value, too.
#[test]
fn a_batch_whose_lease_ends_while_it_is_read_is_not_handed_out_in_part() {
    simulated(Vec::new(), |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        let mut other = simulation.client(1).await.unwrap();
        let theirs = ReliableQueue::new(&open_session(&other, 60).await, "rq").unwrap();
        let (mut whole, mut lost) = (0, 0);
        for delay_ms in 0..60 {
            let mine = open_session(&client, 60).await;
            let queue = ReliableQueue::new(&mine, "rq").unwrap();
            queue.enqueue_batch(["a", "b", "c"]).await.unwrap();
            let end = async {
                runtime::sleep(Duration::from_millis(delay_ms)).await;
                other.lease_revoke(mine.lease_id()).await.unwrap();
                acknowledge_all(theirs.claim_batch(2).await.unwrap()).await;
            };
            let (claimed, ()) = join(Box::pin(queue.claim_batch(3)), Box::pin(end)).await;
            match claimed {
                Ok(claims) => {
                    assert_eq!(claims.len(), 3, "the lease ended after {delay_ms} ms");
                    whole += 1;
                }
                Err(error) if error.is_not_held() => lost += 1,
                Err(error) => assert!(error.is_session_lost(), "{error}"),
            }
            acknowledge_all(theirs.claim_batch(9).await.unwrap()).await;
        }
        assert!(whole > 0 && lost > 0, "{whole} whole, {lost} lost");
    });
}

async fn acknowledge_all(claims: Vec<etcd_recipes::reliable_queue::Claim>) {
    for claim in claims {
        claim.acknowledge().await.unwrap();
    }
}

#[test]
fn a_waiting_claim_ends_with_its_session() {
    simulated(Vec::new(), |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        let mine = open_session(&client, 10).await;
        let queue = ReliableQueue::new(&mine, "rq").unwrap();
        let close = async {
            runtime::sleep(Duration::from_secs(2)).await;
            mine.close().await.unwrap();
        };
        let (claim, ()) = join(queue.claim(), close).await;
        assert!(claim.unwrap_err().is_session_lost());
    });
}

#[test]
fn a_claim_that_is_dropped_goes_back_at_once() {
    simulated(Vec::new(), |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        let queue = ReliableQueue::new(&open_session(&client, 60).await, "rq").unwrap();
        queue.enqueue("a").await.unwrap();
        for _ in 0..3 {
            let claim = queue.claim().await.unwrap();
            assert!(queue.try_claim().await.unwrap().is_none());
            drop(claim);
            let again = runtime::timeout(Duration::from_secs(2), queue.claim()).await;
            drop(again.expect("it is free again").unwrap());
        }
    });
}

/// More than a page of them, and more than a claim could leave out one by one.
#[test]
fn foreign_keys_are_in_nobodys_way_however_many() {
    simulated(Vec::new(), |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        let mut others = simulation.client(1).await.unwrap();
        let queue = PriorityQueue::new(&client, "pq").unwrap();
        let theirs = PriorityQueue::new(&others, "pq").unwrap();
        let put_one = async { drop(theirs.enqueue("1", 5).await.unwrap()) };
        let first = async { queue.dequeue().await.unwrap().value };
        assert_eq!(while_somebody_waits(first, put_one).await, b"1");
        for number in 0..200 {
            let key = format!("pq/00000/foreign-{number}");
            others.put(key, "", None).await.unwrap();
        }
        theirs.enqueue("2", 5).await.unwrap();
        // One that has heard of them, and one that reads.
        assert_eq!(queue.dequeue().await.unwrap().value, b"2");
        theirs.enqueue("3", 5).await.unwrap();
        let fresh = PriorityQueue::new(&client, "pq").unwrap();
        assert_eq!(fresh.dequeue().await.unwrap().value, b"3");
    });
}
