//! What the recipes promise when the network and the machines fail, shown one
//! by one in the simulation.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_recipes::queue::{Queue, QueueOptions};
use etcd_recipes::runtime;
use etcd_recipes::session::{Session, SessionOptions};
use etcd_recipes::stm::Stm;
use etcd_sim::executor::{SimTime, now, sleep, sleep_until};
use etcd_sim::fault::{Fault, FaultKind};
use etcd_sim::plan::{Latency, Plan, Profile};
use etcd_sim::simulation::{Options, Simulation, run};

use crate::support::{exists, on_each_executor};

fn plan(faults: Vec<Fault>) -> Plan {
    Plan {
        seed: 1,
        latency: Latency {
            min_us: 0,
            max_us: 5_000,
        },
        faults,
        ..Plan::quiet(1)
    }
}

fn fault(at_ms: u64, kind: FaultKind) -> Fault {
    Fault { at_ms, kind }
}

/// When a session says that it is lost, and when etcd deletes its key.
async fn loss_and_deletion(
    simulation: Simulation,
    ttl: Duration,
) -> (Option<SimTime>, Option<SimTime>) {
    let lost = Arc::new(Mutex::new(None));
    let mine = Arc::clone(&lost);
    simulation.spawn(0, move |incarnation| {
        let lost = Arc::clone(&mine);
        async move {
            let client = incarnation.connect().await.unwrap();
            let options = SessionOptions::new().ttl(ttl);
            let session = Session::with_options(&client, options).await.unwrap();
            let attached = etcd_client::PutOptions::new().with_lease(session.lease_id());
            let put = client.kv_client().put("key", "", Some(attached)).await;
            if put.is_ok() {
                session.lost().await;
                *lost.lock().unwrap() = Some(now());
            }
        }
    });
    let mut appeared = false;
    let mut deleted = None;
    while now() < SimTime::from_millis(40_000) && deleted.is_none() {
        sleep(Duration::from_millis(1)).await;
        let exists = exists(&simulation, "key");
        appeared |= exists;
        deleted = (appeared && !exists).then(now);
    }
    let lost = *lost.lock().unwrap();
    (lost, deleted)
}

#[test]
fn a_session_is_given_up_before_etcd_gives_up_its_lease() {
    let profile = Profile {
        clients: 1,
        until_ms: 12_000,
        faults_max: 10,
        members: None,
    };
    let mut losses = 0;
    for seed in 0..150 {
        let mut plan = Plan::draw(seed, &profile);
        // A process that stands still or is dead notices nothing; and a session
        // that cannot begin has nothing to lose.
        plan.faults.retain(|fault| {
            let stops = matches!(
                fault.kind,
                FaultKind::PauseClient { .. }
                    | FaultKind::KillClient { .. }
                    | FaultKind::RestartClient { .. }
            );
            !stops && fault.at_ms > 500
        });
        let (lost, deleted) = run(Options::new(plan), |simulation| {
            loss_and_deletion(simulation, Duration::from_secs(3))
        })
        .unwrap();
        if let Some(deleted) = deleted {
            let lost = lost.expect("etcd deleted the key of a session that thinks it lives");
            assert!(
                lost <= deleted,
                "seed {seed}: lost {lost}, deleted {deleted}"
            );
            losses += 1;
        }
    }
    assert!(losses >= 10, "only {losses} of the runs lost their session");
}

#[test]
fn a_session_counts_from_when_it_sent_not_from_when_it_was_answered() {
    let mut plan = plan(vec![fault(
        15_000,
        FaultKind::Partition {
            client: 0,
            for_ms: 20_000,
        },
    )]);
    // More than the half second after which etcd looks for expired leases.
    plan.latency = Latency {
        min_us: 800_000,
        max_us: 800_000,
    };
    let seen = on_each_executor(&plan, |simulation| {
        loss_and_deletion(simulation, Duration::from_secs(9))
    });
    for (lost, deleted) in seen {
        let (lost, deleted) = (lost.expect("noticed before"), deleted.expect("expired"));
        assert!(lost <= deleted, "lost {lost}, deleted {deleted}");
    }
}

#[test]
fn a_session_survives_resets_lost_answers_and_a_restart_of_the_member() {
    let faults = vec![
        fault(1_000, FaultKind::Reset { client: 0 }),
        fault(4_000, FaultKind::LoseResponse { client: 0 }),
        fault(9_000, FaultKind::LoseRequest { client: 0 }),
        fault(14_000, FaultKind::RestartMember { down_ms: 1_500 }),
        fault(
            18_000,
            FaultKind::Partition {
                client: 0,
                for_ms: 2_000,
            },
        ),
    ];
    let alive = on_each_executor(&plan(faults), |simulation| async move {
        let alive = Arc::new(Mutex::new(false));
        let mine = Arc::clone(&alive);
        simulation.spawn(0, move |incarnation| {
            let alive = Arc::clone(&mine);
            async move {
                let client = incarnation.connect().await.unwrap();
                let options = SessionOptions::new().ttl(Duration::from_secs(10));
                let session = Session::with_options(&client, options).await.unwrap();
                sleep_until(SimTime::from_millis(60_000)).await;
                *alive.lock().unwrap() = session.is_alive();
            }
        });
        simulation.settle(Duration::from_secs(60)).await;
        let leases = simulation.member().with_store(|store| store.leases().len());
        (*alive.lock().unwrap(), leases)
    });
    assert!(alive.iter().all(|seen| *seen == (true, 1)), "{alive:?}");
}

#[test]
fn a_dropped_session_leaves_its_lease_to_its_time_to_live() {
    let leases = on_each_executor(&plan(vec![]), |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        let options = SessionOptions::new().ttl(Duration::from_secs(5));
        drop(Session::with_options(&client, options).await.unwrap());
        let leases = || simulation.member().with_store(|store| store.leases().len());
        let before = leases();
        sleep(Duration::from_secs(7)).await;
        (before, leases())
    });
    assert!(leases.iter().all(|seen| *seen == (1, 0)), "{leases:?}");
}

/// A consumer waits from the start; the time at which it got the item that a
/// producer enqueues at `enqueue_ms`.
async fn woken_at(simulation: Simulation, enqueue_ms: u64, compact: bool) -> Option<SimTime> {
    let woken = Arc::new(Mutex::new(None));
    let mine = Arc::clone(&woken);
    simulation.spawn(0, move |incarnation| {
        let woken = Arc::clone(&mine);
        async move {
            let queue = Queue::new(&incarnation.connect().await.unwrap(), "jobs").unwrap();
            queue.dequeue().await.unwrap();
            *woken.lock().unwrap() = Some(now());
        }
    });
    let mut client = simulation.client(1).await.unwrap();
    sleep_until(SimTime::from_millis(enqueue_ms)).await;
    let queue = Queue::new(&client, "jobs").unwrap();
    let enqueued = queue.enqueue("item").await.unwrap();
    if compact {
        client.put("other", "", None).await.unwrap();
        client.compact(enqueued.revision + 1, None).await.unwrap();
    }
    simulation.settle(Duration::from_secs(60)).await;
    *woken.lock().unwrap()
}

#[test]
fn a_waiting_dequeue_is_woken_at_once() {
    let woken = on_each_executor(&plan(vec![]), |simulation| {
        woken_at(simulation, 5_000, false)
    });
    for woken in woken {
        let woken = woken.expect("the consumer got the item");
        assert!(woken < SimTime::from_millis(5_100), "{woken}");
    }
}

#[test]
fn a_waiting_dequeue_notices_a_watch_that_has_fallen_silent() {
    // From here on the consumer's watch delivers nothing and does not break.
    let silence = fault(4_000, FaultKind::LoseResponse { client: 0 });
    let woken = on_each_executor(&plan(vec![silence]), |simulation| {
        woken_at(simulation, 5_500, false)
    });
    for woken in woken {
        let woken = woken.expect("the consumer got the item");
        assert!(woken < SimTime::from_millis(15_000), "{woken}");
    }
}

#[test]
fn a_waiting_dequeue_survives_a_compaction_beyond_its_watch() {
    let cut_off = vec![
        fault(4_000, FaultKind::Reset { client: 0 }),
        fault(
            4_000,
            FaultKind::Partition {
                client: 0,
                for_ms: 3_000,
            },
        ),
    ];
    let woken = on_each_executor(&plan(cut_off), |simulation| {
        woken_at(simulation, 5_000, true)
    });
    for woken in woken {
        let woken = woken.expect("the consumer got the item");
        assert!(woken < SimTime::from_millis(20_000), "{woken}");
    }
}

#[test]
fn a_cancelled_dequeue_leaves_no_keys_and_no_watch_behind() {
    let left = on_each_executor(&plan(vec![]), |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        let queue = Queue::new(&client, "jobs").unwrap();
        for millis in 0..40 {
            let _ = runtime::timeout(Duration::from_millis(millis), queue.dequeue()).await;
        }
        drop(queue);
        sleep(Duration::from_secs(1)).await;
        let keys = simulation
            .member()
            .with_store(|store| store.current().count());
        (keys, simulation.member().watches())
    });
    assert!(left.iter().all(|left| *left == (0, 0)), "{left:?}");
}

#[test]
fn consumers_of_one_handle_share_one_watch() {
    let watchers = on_each_executor(&plan(vec![]), |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        let queue = Queue::new(&client, "jobs").unwrap();
        let waiting = async {
            futures_util::future::join_all((0..100).map(|_| queue.dequeue())).await;
        };
        let look = async {
            sleep(Duration::from_secs(1)).await;
            simulation.member().watches()
        };
        match futures_util::future::select(Box::pin(waiting), Box::pin(look)).await {
            futures_util::future::Either::Right((watchers, _)) => watchers,
            futures_util::future::Either::Left(_) => panic!("there was nothing to dequeue"),
        }
    });
    assert!(
        watchers.iter().all(|watchers| *watchers == 1),
        "{watchers:?}"
    );
}

#[test]
fn a_transaction_never_sees_two_moments_at_once_nor_a_compaction() {
    // `a` and `b` are always equal; history is compacted all the time.
    let seen = on_each_executor(&plan(vec![]), |simulation| async move {
        for writer in 0..2 {
            simulation.spawn(writer, |incarnation| async move {
                let client = incarnation.connect().await.unwrap();
                for _ in 0..50 {
                    let increment = |txn: etcd_recipes::Transaction| async move {
                        let value = txn.get("a").await?.unwrap_or_default();
                        let next = [value, b"x".to_vec()].concat();
                        txn.put("a", next.clone());
                        txn.put("b", next);
                        Ok::<_, etcd_recipes::Error>(())
                    };
                    Stm::new(&client).run(increment).await.unwrap();
                }
            });
        }
        simulation.spawn(2, |incarnation| async move {
            let mut client = incarnation.connect().await.unwrap();
            for _ in 0..300 {
                let read = client.get("a", None).await.unwrap();
                let revision = read.header().unwrap().revision();
                let _ = client.compact(revision, None).await;
                sleep(Duration::from_millis(2)).await;
            }
        });
        let observed = Arc::new(Mutex::new(Vec::new()));
        let mine = Arc::clone(&observed);
        simulation.spawn(3, move |incarnation| {
            let observed = Arc::clone(&mine);
            async move {
                let client = incarnation.connect().await.unwrap();
                for _ in 0..50 {
                    let observed = &observed;
                    let look = |txn: etcd_recipes::Transaction| async move {
                        let a = txn.get("a").await?.unwrap_or_default().len();
                        sleep(Duration::from_millis(7)).await;
                        let b = txn.get("b").await?.unwrap_or_default().len();
                        // Also of attempts that do not commit.
                        observed.lock().unwrap().push((a, b));
                        Ok::<_, etcd_recipes::Error>(())
                    };
                    Stm::new(&client).run(look).await.unwrap();
                }
            }
        });
        simulation.settle(Duration::from_secs(600)).await;
        std::mem::take(&mut *observed.lock().unwrap())
    });
    for seen in seen {
        assert!(seen.len() >= 50);
        assert!(seen.iter().all(|(a, b)| a == b), "{seen:?}");
    }
}

/// What became of a queue whose consumers are cancelled all the time.
struct Cancelled {
    enqueued: usize,
    taken: Vec<String>,
    cancelled: usize,
    left: usize,
}

/// Eight patient consumers share two handles with twelve that are cancelled at
/// random moments; each second one of all uses receipts.
async fn cancel_at_random(simulation: Simulation, receipts_only: bool) -> Cancelled {
    const ITEMS: usize = 300;
    let taken = Arc::new(Mutex::new(Vec::new()));
    let cancelled = Arc::new(Mutex::new(0));
    let handle = async |client| {
        let client = simulation.client(client).await.unwrap();
        let options = QueueOptions::new().receipts("receipts");
        Queue::with_options(&client, "jobs", options).unwrap()
    };
    let handles = [handle(0).await, handle(1).await];
    let mut tasks = Vec::new();
    for consumer in 0..20_usize {
        let queue = handles[consumer % 2].clone();
        let (taken, cancelled) = (Arc::clone(&taken), Arc::clone(&cancelled));
        let with_receipt = receipts_only || consumer % 4 < 2;
        tasks.push(runtime::spawn(async move {
            let id = format!("consumer-{consumer}");
            loop {
                let dequeue = async {
                    if with_receipt {
                        queue.dequeue_with_receipt(&id).await.unwrap()
                    } else {
                        queue.dequeue().await.unwrap()
                    }
                };
                let item = if consumer < 8 {
                    dequeue.await
                } else {
                    let patience = Duration::from_micros(runtime::random_u64() % 40_000);
                    match runtime::timeout(patience, dequeue).await {
                        Ok(item) => item,
                        Err(runtime::Elapsed) => {
                            *cancelled.lock().unwrap() += 1;
                            continue;
                        }
                    }
                };
                let value = String::from_utf8(item.value.clone()).unwrap();
                taken.lock().unwrap().push(value);
                if with_receipt {
                    queue.acknowledge(&item).await.unwrap();
                }
            }
        }));
    }
    let producer = Queue::new(&simulation.client(2).await.unwrap(), "jobs").unwrap();
    for n in 0..ITEMS {
        producer.enqueue(format!("item-{n}")).await.unwrap();
        // Bursts, and times at which everybody waits.
        if n % 10 == 0 {
            sleep(Duration::from_micros(runtime::random_u64() % 120_000)).await;
        }
    }
    // Far less than it takes a watch to notice that it was forgotten.
    sleep(Duration::from_secs(1)).await;
    let left = usize::try_from(producer.len().await.unwrap()).unwrap();
    drop(tasks);
    let mut taken = std::mem::take(&mut *taken.lock().unwrap());
    taken.sort();
    let cancelled = *cancelled.lock().unwrap();
    Cancelled {
        enqueued: ITEMS,
        taken,
        cancelled,
        left,
    }
}

#[test]
fn dequeues_that_are_cancelled_do_not_hold_up_the_others() {
    for seed in 0..10 {
        for receipts_only in [false, true] {
            let plan = Plan {
                seed,
                ..plan(vec![])
            };
            let runs = on_each_executor(&plan, move |simulation| {
                cancel_at_random(simulation, receipts_only)
            });
            for run in runs {
                assert_eq!(run.left, 0, "seed {seed}: items that nobody took");
                assert!(run.cancelled > 100, "{}", run.cancelled);
                let lost = run.enqueued - run.taken.len();
                assert!(run.taken.is_sorted_by(|a, b| a < b), "an item came twice");
                // Only a plain dequeue that is cancelled may lose its item.
                assert!(lost <= run.cancelled, "{lost} of {}", run.cancelled);
                assert!(!receipts_only || lost == 0, "{lost} were lost");
            }
        }
    }
}

#[test]
fn a_claim_with_a_receipt_that_is_late_does_nothing() {
    // The messages of these milliseconds, the claim among them, arrive half a
    // second later.
    let late = FaultKind::Delay {
        client: 0,
        by_ms: 500,
        for_ms: 3,
    };
    let mut plan = plan(vec![fault(1_011, late)]);
    plan.latency = Latency {
        min_us: 2_000,
        max_us: 2_000,
    };
    let seen = on_each_executor(&plan, |simulation| async move {
        let options = || QueueOptions::new().receipts("receipts");
        let client = simulation.client(0).await.unwrap();
        let queue = Queue::with_options(&client, "jobs", options()).unwrap();
        for item in ["first", "second"] {
            queue.enqueue(item).await.unwrap();
        }
        sleep_until(SimTime::from_millis(1_000)).await;
        // Three round trips, then the claim.
        let dropped = queue.dequeue_with_receipt("id");
        let in_time = runtime::timeout(Duration::from_millis(18), dropped).await;
        assert!(in_time.is_err(), "it was not late");
        let taken = queue.dequeue_with_receipt("id").await.unwrap();
        assert!(
            now() < SimTime::from_millis(1_400),
            "the second one was late"
        );
        sleep_until(SimTime::from_millis(2_000)).await;
        let again = queue.dequeue_with_receipt("id").await.unwrap();
        (taken == again, queue.len().await.unwrap())
    });
    assert!(seen.iter().all(|seen| *seen == (true, 1)), "{seen:?}");
}
