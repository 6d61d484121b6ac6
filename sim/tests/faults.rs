//! Faults that meet each other, what they do to requests on open streams, and
//! the end of all faults.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_client::{Client, WatchOptions};
use etcd_sim::executor::{Executor, SimTime, now, sleep_until};
use etcd_sim::fault::{Fault, FaultKind, Party};
use etcd_sim::network::ChannelOptions;
use etcd_sim::plan::{Latency, Plan};
use etcd_sim::simulation::{Incarnation, Options, Simulation, run};

/// Messages take 50 ms each way.
fn slow_plan(faults: Vec<(u64, FaultKind)>) -> Plan {
    Plan {
        seed: 1,
        latency: Latency {
            min_us: 50_000,
            max_us: 50_000,
        },
        faults: faults
            .into_iter()
            .map(|(at_ms, kind)| Fault { at_ms, kind })
            .collect(),
        ..Plan::quiet(1)
    }
}

/// Runs `body` on every executor.
fn on_each_executor<T, Fut>(faults: Vec<(u64, FaultKind)>, body: fn(Simulation) -> Fut) -> Vec<T>
where
    Fut: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let plan = slow_plan(faults);
    let mut executors = vec![Executor::Tokio];
    if Executor::BEST != Executor::Tokio {
        executors.push(Executor::BEST);
    }
    let run_on = |executor| {
        let options = Options {
            executor,
            ..Options::new(plan.clone())
        };
        run(options, body).unwrap()
    };
    executors.into_iter().map(run_on).collect()
}

fn at_ms(millis: u64) -> SimTime {
    SimTime::from_millis(millis)
}

async fn connect(incarnation: &Incarnation) -> Client {
    let channel = incarnation.channel(ChannelOptions {
        timeout: Some(Duration::from_millis(500)),
    });
    Client::from_channel(channel.into_etcd_channel(), None)
        .await
        .unwrap()
}

/// Client 0 puts every 100 ms; when the answers came that were good.
async fn answered(simulation: Simulation) -> Vec<SimTime> {
    let answered = Arc::new(Mutex::new(Vec::new()));
    let mine = Arc::clone(&answered);
    simulation.spawn(0, move |incarnation| {
        let answered = Arc::clone(&mine);
        async move {
            let mut client = connect(&incarnation).await;
            while now() < at_ms(4_000) {
                if client.put("key", "value", None).await.is_ok() {
                    answered.lock().unwrap().push(now());
                }
                etcd_sim::executor::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    simulation.settle(Duration::from_secs(10)).await;
    std::mem::take(&mut *answered.lock().unwrap())
}

/// A cut and a slow link, also between a member and a client, strike as what they are and
/// nothing else; a partition of the client does too, when it meets a message.
#[test]
fn a_fault_is_counted_once_under_its_own_name() {
    let (member, client) = (Party::Member(0), Party::Client(0));
    let cut = FaultKind::Cut {
        from: vec![member],
        to: vec![client],
        one_way: true,
        for_ms: 300,
    };
    let slow = FaultKind::DelayLink {
        between: (member, client),
        by_ms: 50,
        jitter_ms: 10,
        for_ms: 300,
    };
    let (partition, delay) = (
        FaultKind::Partition {
            client: 0,
            for_ms: 300,
        },
        FaultKind::Delay {
            client: 0,
            by_ms: 50,
            for_ms: 300,
        },
    );
    for kind in [cut, slow, partition, delay] {
        let counted = |simulation: Simulation| async move {
            answered(simulation.clone()).await;
            simulation.report().faults
        };
        for faults in on_each_executor(vec![(1_000, kind.clone())], counted) {
            assert_eq!(faults, [(kind.name(), 1)].into());
        }
    }
}

/// Nothing was answered between these times, but before and after.
fn assert_silent_between(seen: &[SimTime], from_ms: u64, to_ms: u64) {
    let (from, to) = (at_ms(from_ms), at_ms(to_ms));
    let within = |at: &&SimTime| from < **at && **at < to;
    assert_eq!(seen.iter().find(within), None);
    assert!(seen.iter().any(|at| *at <= from) && seen.iter().any(|at| to <= *at));
}

#[test]
fn the_longest_of_overlapping_partitions_decides() {
    let (client, long, short) = (0, 2_000, 10);
    let faults = vec![
        (
            300,
            FaultKind::Partition {
                client,
                for_ms: long,
            },
        ),
        (
            400,
            FaultKind::Partition {
                client,
                for_ms: short,
            },
        ),
    ];
    for seen in on_each_executor(faults, answered) {
        assert_silent_between(&seen, 400, 2_300);
    }
}

#[test]
fn the_longest_of_overlapping_pauses_decides() {
    let (client, long, short) = (0, 2_000, 10);
    let faults = vec![
        (
            300,
            FaultKind::PauseClient {
                client,
                for_ms: long,
            },
        ),
        (
            400,
            FaultKind::PauseClient {
                client,
                for_ms: short,
            },
        ),
    ];
    for seen in on_each_executor(faults, answered) {
        assert_silent_between(&seen, 300, 2_300);
    }
}

#[test]
fn a_client_that_is_down_is_not_started_by_a_fault_that_did_not_strike() {
    let (client, long, short) = (0, 2_000, 10);
    let faults = vec![
        (
            300,
            FaultKind::RestartClient {
                client,
                down_ms: long,
            },
        ),
        (
            400,
            FaultKind::RestartClient {
                client,
                down_ms: short,
            },
        ),
    ];
    for seen in on_each_executor(faults, answered) {
        assert_silent_between(&seen, 300, 2_300);
    }
}

#[test]
fn a_member_that_is_down_is_not_started_by_a_fault_that_did_not_strike() {
    let faults = vec![
        (300, FaultKind::RestartMember { down_ms: 2_000 }),
        (400, FaultKind::RestartMember { down_ms: 10 }),
    ];
    for seen in on_each_executor(faults, answered) {
        assert_silent_between(&seen, 300, 2_300);
    }
}

#[test]
fn delays_that_overlap_add_up() {
    let client = 0;
    let delay = |by_ms, for_ms| FaultKind::Delay {
        client,
        by_ms,
        for_ms,
    };
    // Puts that begin between 420 and 1000 take 50 + 150 + 200 ms and more.
    let faults = vec![
        (300, delay(200, 700)),
        (400, delay(150, 10)),
        (420, delay(150, 400)),
    ];
    for seen in on_each_executor(faults, answered) {
        assert_silent_between(&seen, 500, 1_000);
    }
}

#[test]
fn a_loss_that_met_no_message_is_over_when_the_network_has_healed() {
    let faults = vec![
        (10, FaultKind::LoseRequest { client: 0 }),
        (10, FaultKind::LoseResponse { client: 0 }),
    ];
    let seen = on_each_executor(faults, |simulation| async move {
        simulation.healed().await;
        let mut client = simulation.client(0).await.unwrap();
        client.put("key", "value", None).await.unwrap();
        simulation.report().faults
    });
    assert!(
        seen.iter().all(std::collections::BTreeMap::is_empty),
        "{seen:?}"
    );
}

#[test]
fn a_client_that_is_cut_off_does_not_hear_of_the_members_crash() {
    let faults = vec![
        (
            200,
            FaultKind::Partition {
                client: 0,
                for_ms: 500,
            },
        ),
        (400, FaultKind::RestartMember { down_ms: 100 }),
    ];
    let seen = on_each_executor(faults, |simulation| async move {
        let mut ends = Vec::new();
        for client in [0, 1] {
            let end = Arc::new(Mutex::new(None));
            ends.push(Arc::clone(&end));
            simulation.spawn(client, move |incarnation| {
                let end = Arc::clone(&end);
                async move {
                    let mut client = incarnation.connect().await.unwrap();
                    let mut stream = client.watch("key", None).await.unwrap();
                    while stream.message().await.is_ok() {}
                    *end.lock().unwrap() = Some(now());
                }
            });
        }
        sleep_until(at_ms(5_000)).await;
        let end = |end: &Arc<Mutex<Option<SimTime>>>| *end.lock().unwrap();
        (end(&ends[0]), end(&ends[1]))
    });
    for (cut_off, connected) in seen {
        assert_eq!(cut_off, None);
        assert!(connected.unwrap() < at_ms(410));
    }
}

/// Asks for a watch on `a` at 300 ms and one on `b` at 400 ms, on a stream that
/// has one already; how many there are at 600 ms and at 1000 ms.
async fn watches(simulation: Simulation) -> (usize, usize) {
    let mut client = simulation.client(0).await.unwrap();
    let mut stream = client.watch("x", None).await.unwrap();
    for (at, key) in [(300, "a"), (400, "b")] {
        sleep_until(at_ms(at)).await;
        // An error is what a reset shows.
        let _ = stream.watch(key, Some(WatchOptions::new())).await;
    }
    sleep_until(at_ms(600)).await;
    let first = simulation.member().watches();
    sleep_until(at_ms(1_000)).await;
    (first, simulation.member().watches())
}

#[test]
fn requests_on_an_open_stream_arrive_in_order() {
    let delay = FaultKind::Delay {
        client: 0,
        by_ms: 300,
        for_ms: 50,
    };
    let seen = on_each_executor(vec![(290, delay)], watches);
    assert!(seen.iter().all(|seen| *seen == (1, 3)), "{seen:?}");
}

#[test]
fn requests_on_an_open_stream_do_not_pass_a_partition() {
    let partition = FaultKind::Partition {
        client: 0,
        for_ms: 50,
    };
    let seen = on_each_executor(vec![(290, partition)], watches);
    assert!(seen.iter().all(|seen| *seen == (1, 1)), "{seen:?}");
}

#[test]
fn a_reset_ends_a_stream_at_the_member_with_what_was_on_its_way() {
    let seen = on_each_executor(vec![(320, FaultKind::Reset { client: 0 })], watches);
    assert!(seen.iter().all(|seen| *seen == (0, 0)), "{seen:?}");
}

#[test]
fn what_outlives_a_killed_process_reaches_nobody() {
    // Only on tokio can a task outlive the process that started it.
    let options = Options {
        executor: Executor::Tokio,
        ..Options::new(slow_plan(vec![(300, FaultKind::KillClient { client: 0 })]))
    };
    let (before, after) = run(options, |simulation| async move {
        simulation.spawn(0, |incarnation| async move {
            #[expect(clippy::disallowed_methods, reason = "as a user's service does")]
            tokio::spawn(async move {
                let mut client = connect(&incarnation).await;
                loop {
                    let _ = client.put("key", "value", None).await;
                }
            });
            std::future::pending::<()>().await;
        });
        let revision = || {
            simulation
                .member()
                .with_store(etcd_sim::store::Store::revision)
        };
        sleep_until(at_ms(400)).await;
        let before = revision();
        sleep_until(at_ms(2_000)).await;
        (before, revision())
    })
    .unwrap();
    assert!(before > 1);
    assert_eq!(before, after);
}

fn all(expected: bool) -> Vec<bool> {
    on_each_executor(Vec::new(), |_| std::future::ready(()))
        .iter()
        .map(|()| expected)
        .collect()
}

/// Puts once at 100 ms, without a deadline; whether the value is there a minute
/// later.
async fn put_once(simulation: Simulation) -> bool {
    simulation.spawn(0, |incarnation| async move {
        let mut client = incarnation.connect().await.unwrap();
        sleep_until(at_ms(100)).await;
        let _ = client.put("key", "value", None).await;
    });
    sleep_until(at_ms(60_000)).await;
    simulation
        .member()
        .with_store(|store| store.current().count() > 0)
}

#[test]
fn what_was_lost_never_arrives() {
    let (client, for_ms) = (0, 10);
    let lost = FaultKind::LoseRequest { client };
    assert_eq!(on_each_executor(vec![(99, lost)], put_once), all(false));
    let cut_off = FaultKind::Partition { client, for_ms };
    assert_eq!(on_each_executor(vec![(99, cut_off)], put_once), all(false));
    let nothing = Vec::new();
    assert_eq!(on_each_executor(nothing, put_once), all(true));
}

#[test]
fn a_crash_of_the_member_begins_a_new_term() {
    let down = FaultKind::RestartMember { down_ms: 100 };
    let seen = on_each_executor(vec![(1_000, down)], |simulation| async move {
        let mut client = simulation.client(0).await.unwrap();
        let mut terms = Vec::new();
        for millis in [500, 1_500] {
            sleep_until(at_ms(millis)).await;
            let answer = client.get("key", None).await.unwrap();
            terms.push(answer.header().unwrap().raft_term());
        }
        terms
    });
    assert!(seen.iter().all(|seen| *seen == [2, 3]), "{seen:?}");
}

#[test]
fn a_member_that_is_down_ends_no_leases_and_extends_them_when_it_is_back() {
    let down = FaultKind::RestartMember { down_ms: 10_000 };
    let seen = on_each_executor(vec![(1_000, down)], |simulation| async move {
        let mut client = simulation.client(0).await.unwrap();
        client.lease_grant(3, None).await.unwrap();
        let leases = || simulation.member().with_store(|store| store.leases().len());
        let mut seen = Vec::new();
        // Back at 11 s, the lease has 3 s and an election timeout of 1 s.
        for millis in [10_900, 14_900, 15_700] {
            sleep_until(at_ms(millis)).await;
            seen.push(leases());
        }
        seen
    });
    assert!(seen.iter().all(|seen| *seen == [1, 1, 0]), "{seen:?}");
}

#[cfg(madsim)]
#[test]
fn the_seed_alone_decides_the_order_of_tasks_on_madsim() {
    let order = |seed| {
        let options = Options::new(Plan::quiet(seed));
        run(options, |simulation| async move {
            let order = Arc::new(Mutex::new(Vec::new()));
            for client in 0..10 {
                let order = Arc::clone(&order);
                simulation.spawn(client, move |incarnation| {
                    order.lock().unwrap().push(incarnation.client());
                    let order = Arc::clone(&order);
                    async move { order.lock().unwrap().push(incarnation.client()) }
                });
            }
            simulation.settle(Duration::from_secs(1)).await;
            std::mem::take(&mut *order.lock().unwrap())
        })
        .unwrap()
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
}
