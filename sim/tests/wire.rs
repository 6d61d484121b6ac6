//! What the wire promises: a request, once sent, belongs to the network and to
//! the member, whatever becomes of its client; and every fault looks to the
//! client as it does on a real network.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use etcd_client::{Client, Error};
use etcd_sim::executor::{Executor, SimTime, now, sleep, sleep_until};
use etcd_sim::fault::{Fault, FaultKind};
use etcd_sim::network::ChannelOptions;
use etcd_sim::plan::{Latency, Plan};
use etcd_sim::simulation::{Incarnation, Options, Settled, Simulation, run};

const OBSERVER: u32 = 99;

fn executors() -> Vec<Executor> {
    let mut all = vec![Executor::Tokio];
    if Executor::BEST != Executor::Tokio {
        all.push(Executor::BEST);
    }
    all
}

/// Messages take 50 ms each way.
fn slow_plan(faults: Vec<Fault>) -> Plan {
    Plan {
        seed: 1,
        latency: Latency {
            min_us: 50_000,
            max_us: 50_000,
        },
        faults,
        ..Plan::quiet(1)
    }
}

fn fault(at_ms: u64, kind: FaultKind) -> Fault {
    Fault { at_ms, kind }
}

/// Runs `body` on every executor.
fn on_each_executor<T, Fut>(plan: &Plan, body: fn(Simulation) -> Fut) -> Vec<T>
where
    Fut: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let run_on = |executor| {
        let options = Options {
            executor,
            ..Options::new(plan.clone())
        };
        run(options, body).unwrap()
    };
    executors().into_iter().map(run_on).collect()
}

async fn value_of(client: &mut Client, key: &str) -> Option<String> {
    let answer = client.get(key, None).await.unwrap();
    let value = answer.kvs().first()?.value_str().unwrap();
    Some(value.to_owned())
}

/// Puts `life-N` under `key` in the Nth life, then does nothing for ever.
async fn put_then_wait(incarnation: Incarnation) {
    let mut client = incarnation.connect().await.unwrap();
    let value = format!("life-{}", incarnation.number());
    let _ = client.put("key", value, None).await;
    std::future::pending::<()>().await;
}

fn at_ms(millis: u64) -> SimTime {
    SimTime::from_millis(millis)
}

#[test]
fn a_request_lands_although_its_future_was_dropped() {
    let seen = on_each_executor(&slow_plan(vec![]), |simulation| async move {
        let mut client = simulation.client(0).await.unwrap();
        {
            let mut put = Box::pin(client.put("key", "value", None));
            std::future::poll_fn(|context| {
                assert!(put.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        sleep(Duration::from_millis(200)).await;
        let seen = value_of(&mut client, "key").await;
        (seen, simulation.report().applied_unanswered)
    });
    for (seen, applied_unanswered) in seen {
        assert_eq!(seen.as_deref(), Some("value"));
        assert_eq!(applied_unanswered, 1);
    }
}

#[test]
fn a_request_of_a_killed_client_lands_late() {
    let plan = slow_plan(vec![fault(20, FaultKind::KillClient { client: 0 })]);
    let seen = on_each_executor(&plan, |simulation| async move {
        simulation.spawn(0, put_then_wait);
        let mut observer = simulation.client(OBSERVER).await.unwrap();
        sleep_until(at_ms(25)).await;
        assert_eq!(simulation.running(), Vec::<u32>::new());
        sleep_until(at_ms(200)).await;
        let settled = simulation.settle(Duration::ZERO).await;
        let seen = value_of(&mut observer, "key").await;
        (settled, seen, simulation.report())
    });
    for (settled, seen, report) in seen {
        assert_eq!(settled, Settled::Finished);
        assert_eq!(seen.as_deref(), Some("life-1"));
        assert_eq!(report.applied_unanswered, 1);
        assert_eq!(report.faults["client kill"], 1);
    }
}

#[test]
fn a_request_of_a_paused_client_is_handled_while_it_is_paused() {
    let pause = FaultKind::PauseClient {
        client: 0,
        for_ms: 10_000,
    };
    let seen = on_each_executor(
        &slow_plan(vec![fault(20, pause)]),
        |simulation| async move {
            let done = Arc::new(Mutex::new(None));
            let mine = Arc::clone(&done);
            simulation.spawn(0, move |incarnation| {
                let done = Arc::clone(&mine);
                async move {
                    let mut client = incarnation.connect().await.unwrap();
                    client.put("key", "value", None).await.unwrap();
                    *done.lock().unwrap() = Some(now());
                }
            });
            let mut observer = simulation.client(OBSERVER).await.unwrap();
            sleep_until(at_ms(200)).await;
            let during = value_of(&mut observer, "key").await;
            let settled = simulation.settle(Duration::from_secs(1)).await;
            let done = done.lock().unwrap().take();
            (during, settled, done)
        },
    );
    for (during, settled, done) in seen {
        assert_eq!(during.as_deref(), Some("value"));
        assert_eq!(settled, Settled::Finished);
        let done = done.unwrap();
        assert!(done >= at_ms(10_020), "the client went on at {done}");
    }
}

#[test]
fn a_restarted_client_meets_the_request_of_its_former_life() {
    let restart = FaultKind::RestartClient {
        client: 0,
        down_ms: 10,
    };
    // The second life's put is sent 30 ms after the first one's.
    let seen = on_each_executor(
        &slow_plan(vec![fault(20, restart)]),
        |simulation| async move {
            simulation.spawn(0, put_then_wait);
            let mut observer = simulation.client(OBSERVER).await.unwrap();
            // Asked so early that the answer falls between the two puts.
            sleep_until(at_ms(5)).await;
            let first = value_of(&mut observer, "key").await;
            sleep_until(at_ms(200)).await;
            (first, value_of(&mut observer, "key").await)
        },
    );
    for (first, last) in seen {
        assert_eq!(first.as_deref(), Some("life-1"));
        assert_eq!(last.as_deref(), Some("life-2"));
    }
}

#[test]
fn a_request_that_is_held_up_lands_after_its_sender_has_begun_anew_and_is_overtaken() {
    let plan = slow_plan(vec![
        fault(
            1,
            FaultKind::HoldRequest {
                client: 0,
                by_ms: 300,
            },
        ),
        fault(
            100,
            FaultKind::RestartClient {
                client: 0,
                down_ms: 10,
            },
        ),
    ]);
    let seen = on_each_executor(&plan, |simulation| async move {
        simulation.spawn(0, |incarnation| async move {
            sleep_until(at_ms(5)).await;
            put_then_wait(incarnation).await;
        });
        let mut observer = simulation.client(OBSERVER).await.unwrap();
        sleep_until(at_ms(200)).await;
        let first = value_of(&mut observer, "key").await;
        sleep_until(at_ms(500)).await;
        let last = value_of(&mut observer, "key").await;
        (first, last, simulation.report())
    });
    for (first, last, report) in seen {
        assert_eq!(first.as_deref(), Some("life-2"));
        assert_eq!(last.as_deref(), Some("life-1"));
        assert_eq!(report.faults["request held"], 1);
    }
}

/// Puts with a deadline of its own, then tells what it got and when, and
/// whether the value is there.
async fn put_with_timeout(simulation: Simulation) -> (String, SimTime, Option<String>) {
    let outcome = Arc::new(Mutex::new(None));
    let mine = Arc::clone(&outcome);
    simulation.spawn(0, move |incarnation| {
        let outcome = Arc::clone(&mine);
        async move {
            let channel = incarnation.channel(ChannelOptions {
                timeout: Some(Duration::from_secs(2)),
            });
            let mut client = Client::from_channel(channel.into_etcd_channel(), None)
                .await
                .unwrap();
            sleep_until(at_ms(10)).await;
            let text = match client.put("key", "value", None).await {
                Ok(_) => "ok".to_owned(),
                Err(Error::GRpcStatus(status)) => {
                    format!("{:?}: {}", status.code(), status.message())
                }
                Err(other) => panic!("{other}"),
            };
            *outcome.lock().unwrap() = Some((text, now()));
        }
    });
    simulation.settle(Duration::from_secs(10)).await;
    simulation.healed().await;
    let mut observer = simulation.client(OBSERVER).await.unwrap();
    let (text, at) = outcome.lock().unwrap().take().unwrap();
    (text, at, value_of(&mut observer, "key").await)
}

#[test]
fn a_lost_request_shows_nothing_until_the_clients_own_timeout() {
    let plan = slow_plan(vec![fault(1, FaultKind::LoseRequest { client: 0 })]);
    for (text, at, seen) in on_each_executor(&plan, put_with_timeout) {
        assert_eq!(text, "Cancelled: Timeout expired");
        assert!(at >= at_ms(2_010), "{at}");
        assert_eq!(seen, None);
    }
}

#[test]
fn a_lost_response_hides_that_the_request_was_applied() {
    let plan = slow_plan(vec![fault(1, FaultKind::LoseResponse { client: 0 })]);
    for (text, at, seen) in on_each_executor(&plan, put_with_timeout) {
        assert_eq!(text, "Cancelled: Timeout expired");
        assert!(at >= at_ms(2_010), "{at}");
        assert_eq!(seen.as_deref(), Some("value"));
    }
}

#[test]
fn a_partitioned_client_notices_nothing_until_its_own_timeout() {
    let partition = FaultKind::Partition {
        client: 0,
        for_ms: 100,
    };
    let plan = slow_plan(vec![fault(1, partition)]);
    for (text, at, seen) in on_each_executor(&plan, put_with_timeout) {
        assert_eq!(text, "Cancelled: Timeout expired");
        assert!(at >= at_ms(2_010), "{at}");
        assert_eq!(seen, None);
    }
}

#[test]
fn a_reset_shows_a_transport_error_at_once() {
    let plan = slow_plan(vec![fault(30, FaultKind::Reset { client: 0 })]);
    for (text, at, seen) in on_each_executor(&plan, put_with_timeout) {
        assert_eq!(text, "Unknown: transport error: connection reset by peer");
        assert!(at < at_ms(40), "{at}");
        // It was on its way when the connection broke.
        assert_eq!(seen, None);
    }
}

#[test]
fn a_member_that_is_down_refuses_connections() {
    let plan = slow_plan(vec![fault(5, FaultKind::RestartMember { down_ms: 100 })]);
    for (text, at, seen) in on_each_executor(&plan, put_with_timeout) {
        assert_eq!(text, "Unavailable: tcp connect error");
        assert!(at < at_ms(20), "{at}");
        assert_eq!(seen, None);
    }
}

#[test]
fn a_crash_of_the_member_breaks_calls_and_keeps_what_was_committed() {
    // The put arrives at 60 ms, its answer would at 110 ms.
    let plan = slow_plan(vec![fault(80, FaultKind::RestartMember { down_ms: 100 })]);
    for (text, at, seen) in on_each_executor(&plan, put_with_timeout) {
        assert_eq!(text, "Unknown: transport error: connection reset by peer");
        assert!(at < at_ms(90), "{at}");
        assert_eq!(seen.as_deref(), Some("value"));
    }
}

#[test]
fn a_delay_comes_on_top_and_passes() {
    let delay = FaultKind::Delay {
        client: 0,
        by_ms: 500,
        for_ms: 100,
    };
    let plan = slow_plan(vec![fault(1, delay)]);
    for (text, at, seen) in on_each_executor(&plan, put_with_timeout) {
        assert_eq!(text, "ok");
        // 10 ms, 550 ms there, 50 ms back: the delay had passed by then.
        assert!(at_ms(610) <= at && at < at_ms(620), "{at}");
        assert_eq!(seen.as_deref(), Some("value"));
    }
}

#[test]
fn a_process_in_a_busy_loop_is_stopped() {
    for executor in executors() {
        let options = Options {
            executor,
            polls_max: 10_000,
            ..Options::new(Plan::quiet(1))
        };
        let settled = run(options, |simulation| async move {
            simulation.spawn(0, |_| async {
                loop {
                    tokio::task::yield_now().await;
                }
            });
            simulation.settle(Duration::from_secs(1)).await
        });
        assert_eq!(settled.unwrap(), Settled::BusyLoop);
    }
}

#[test]
fn a_run_that_sends_too_much_is_stopped() {
    for executor in executors() {
        let options = Options {
            executor,
            messages_max: 10_000,
            ..Options::new(Plan::quiet(1))
        };
        let settled = run(options, |simulation| async move {
            simulation.spawn(0, |incarnation| async move {
                let mut client = incarnation.connect().await.unwrap();
                while client.get("key", None).await.is_ok() {}
            });
            simulation.settle(Duration::from_secs(1)).await
        });
        assert_eq!(settled.unwrap(), Settled::BusyLoop);
    }
}

#[test]
fn a_process_that_waits_for_ever_is_stuck() {
    let settled = on_each_executor(&Plan::quiet(1), |simulation| async move {
        simulation.spawn(0, |_| std::future::pending());
        simulation.settle(Duration::from_secs(1)).await
    });
    assert!(settled.iter().all(|settled| *settled == Settled::Stuck));
}

#[test]
fn a_panic_in_a_process_ends_the_run() {
    for executor in executors() {
        let options = Options {
            executor,
            ..Options::new(Plan::quiet(1))
        };
        let panicked = run(options, |simulation| async move {
            simulation.spawn(0, |_| async { panic!("on purpose") });
            simulation.settle(Duration::from_secs(1)).await
        });
        assert_eq!(panicked.unwrap_err().message, "on purpose");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    fn trace(executor: Executor, seed: u64) -> Vec<(u32, u64)> {
        let trace = Arc::new(Mutex::new(Vec::new()));
        let options = Options {
            executor,
            ..Options::new(Plan {
                latency: Latency {
                    min_us: 0,
                    max_us: 5_000,
                },
                ..Plan::quiet(seed)
            })
        };
        let mine = Arc::clone(&trace);
        run(options, |simulation| async move {
            for client in 0..4 {
                let trace = Arc::clone(&mine);
                simulation.spawn(client, move |incarnation| {
                    let trace = Arc::clone(&trace);
                    async move {
                        let mut etcd = incarnation.connect().await.unwrap();
                        for _ in 0..20 {
                            etcd.put("key", "value", None).await.unwrap();
                            trace.lock().unwrap().push((client, now().as_nanos()));
                        }
                    }
                });
            }
            simulation.settle(Duration::from_secs(10)).await
        })
        .unwrap();
        Arc::into_inner(trace).unwrap().into_inner().unwrap()
    }
    for executor in executors() {
        assert_eq!(trace(executor, 7), trace(executor, 7));
        assert_ne!(trace(executor, 7), trace(executor, 8));
    }
}

mod streams {
    //! The same on streams: message by message, in order.

    use etcd_client::WatchOptions;

    use super::*;

    /// Watches `key` as client 0 while somebody else puts `1` to `9`, one every
    /// 100 ms; what the watch brought and when, and how it ended.
    async fn watched(simulation: Simulation) -> (Vec<(String, SimTime)>, Option<String>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let end = Arc::new(Mutex::new(None));
        let shared = (Arc::clone(&seen), Arc::clone(&end));
        simulation.spawn(0, move |incarnation| {
            let (seen, end) = shared.clone();
            async move {
                let mut client = incarnation.connect().await.unwrap();
                let mut stream = client.watch("key", None).await.unwrap();
                loop {
                    match stream.message().await {
                        Ok(Some(response)) => {
                            for event in response.events() {
                                let value = event.kv().unwrap().value_str().unwrap();
                                seen.lock().unwrap().push((value.to_owned(), now()));
                            }
                        }
                        Ok(None) => break,
                        Err(error) => {
                            *end.lock().unwrap() = Some(error.to_string());
                            break;
                        }
                    }
                }
            }
        });
        let mut writer = simulation.client(OBSERVER).await.unwrap();
        for number in 1..10 {
            sleep_until(at_ms(number * 100 + 100)).await;
            writer.put("key", number.to_string(), None).await.unwrap();
        }
        simulation.settle(Duration::from_secs(1)).await;
        let seen = seen.lock().unwrap().clone();
        (seen, end.lock().unwrap().take())
    }

    fn values(seen: &[(String, SimTime)]) -> String {
        seen.iter().map(|(value, _)| value.as_str()).collect()
    }

    #[test]
    fn a_delay_strikes_each_message_and_keeps_the_order() {
        let delay = FaultKind::Delay {
            client: 0,
            by_ms: 250,
            for_ms: 300,
        };
        let plan = slow_plan(vec![fault(320, delay)]);
        for (seen, _) in on_each_executor(&plan, watched) {
            assert_eq!(values(&seen), "123456789");
            assert!(seen.is_sorted_by_key(|(_, at)| *at));
            // Committed at 250 ms and 350 ms: the second one is late.
            assert!(
                at_ms(300) <= seen[0].1 && seen[0].1 < at_ms(310),
                "{}",
                seen[0].1
            );
            assert!(
                at_ms(650) <= seen[1].1 && seen[1].1 < at_ms(660),
                "{}",
                seen[1].1
            );
        }
    }

    #[test]
    fn after_a_lost_message_a_stream_is_silent() {
        let plan = slow_plan(vec![fault(420, FaultKind::LoseResponse { client: 0 })]);
        for (seen, end) in on_each_executor(&plan, watched) {
            assert_eq!((values(&seen).as_str(), end), ("12", None));
        }
    }

    #[test]
    fn a_partition_silences_a_stream_for_good() {
        let partition = FaultKind::Partition {
            client: 0,
            for_ms: 200,
        };
        let plan = slow_plan(vec![fault(420, partition)]);
        for (seen, end) in on_each_executor(&plan, watched) {
            assert_eq!((values(&seen).as_str(), end), ("12", None));
        }
    }

    #[test]
    fn a_reset_ends_a_stream_with_an_error() {
        let plan = slow_plan(vec![fault(420, FaultKind::Reset { client: 0 })]);
        for (seen, end) in on_each_executor(&plan, watched) {
            assert_eq!(values(&seen), "12");
            assert!(end.unwrap().contains("connection reset by peer"));
        }
    }

    #[test]
    fn a_crash_of_the_member_ends_a_stream_with_an_error() {
        let seen = on_each_executor(
            &slow_plan(vec![fault(200, FaultKind::RestartMember { down_ms: 1 })]),
            |simulation| async move {
                let mut client = simulation.client(0).await.unwrap();
                let mut stream = client.watch("key", None).await.unwrap();
                assert!(stream.message().await.unwrap().unwrap().created());
                let end = stream.message().await.unwrap_err().to_string();
                (end, simulation.member().watches())
            },
        );
        for (end, watchers) in seen {
            assert!(end.contains("connection reset by peer"), "{end}");
            assert_eq!(watchers, 0);
        }
    }

    #[test]
    fn the_member_forgets_the_watches_of_a_dropped_stream_and_of_a_dead_client() {
        let kill = fault(500, FaultKind::KillClient { client: 0 });
        let seen = on_each_executor(&slow_plan(vec![kill]), |simulation| async move {
            simulation.spawn(0, |incarnation| async move {
                let mut client = incarnation.connect().await.unwrap();
                let _stream = client.watch("key", None).await.unwrap();
                std::future::pending::<()>().await;
            });
            let mut client = simulation.client(OBSERVER).await.unwrap();
            let stream = client.watch("key", None).await.unwrap();
            sleep_until(at_ms(200)).await;
            let both = simulation.member().watches();
            drop(stream);
            sleep_until(at_ms(400)).await;
            let one = simulation.member().watches();
            sleep_until(at_ms(700)).await;
            (both, one, simulation.member().watches())
        });
        assert!(seen.iter().all(|seen| *seen == (2, 1, 0)), "{seen:?}");
    }

    #[test]
    fn requests_on_an_open_stream_can_be_lost_too() {
        // The second watch on the stream is asked for at 300 ms.
        let plan = slow_plan(vec![fault(250, FaultKind::LoseRequest { client: 0 })]);
        let seen = on_each_executor(&plan, |simulation| async move {
            let mut client = simulation.client(0).await.unwrap();
            let mut stream = client.watch("a", None).await.unwrap();
            sleep_until(at_ms(300)).await;
            let second = Some(WatchOptions::new());
            stream.watch("b", second).await.unwrap();
            sleep_until(at_ms(600)).await;
            simulation.member().watches()
        });
        assert!(seen.iter().all(|watchers| *watchers == 1), "{seen:?}");
    }
}
