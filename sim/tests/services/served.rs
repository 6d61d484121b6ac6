//! The cluster over TCP: what a client sees of its faults.

use std::net::TcpStream;

use etcd_client::{
    AlarmAction, AlarmMember, AlarmOptions, AlarmType, Client, Error, Txn, TxnOp, WatchOptions,
};
use etcd_sim::fault::{Fault, FaultKind, Party};
use etcd_sim::plan::Plan;
use etcd_sim::serve::{Idle, Options, ServeError, cannot_strike, run};
use tonic::Code;

use crate::real::{Endpoint as _, Etcd, Simulated, options, pause, soon};

pub(crate) fn with_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work)
}

fn with_faults(members: usize, faults: impl IntoIterator<Item = (u64, FaultKind)>) -> Options {
    let fault = |(at_ms, kind)| Fault { at_ms, kind };
    let mut options = options();
    options.plan = Plan {
        members,
        faults: faults.into_iter().map(fault).collect(),
        ..Plan::quiet(1)
    };
    options
}

#[test]
fn members_serve_one_history_and_say_where_they_are() {
    with_runtime(async {
        let cluster = Simulated::start(with_faults(3, []));
        let mut clients = Vec::new();
        for member in 0..3 {
            let client = Client::connect([cluster.member(member)], None).await;
            clients.push(client.unwrap());
        }
        clients[0].put("a", "1", None).await.unwrap();
        for client in &mut clients {
            let answer = client.get("a", None).await.unwrap();
            assert_eq!(answer.kvs()[0].value(), b"1");
        }
        let list = clients[0].member_list().await.unwrap();
        // The list is by ids, and each line says which member it is.
        let lines = list.members().iter().map(|member| {
            let urls = member.client_urls().to_vec();
            (member.name().to_owned(), urls)
        });
        let mut lines: Vec<_> = lines.collect();
        lines.sort();
        let all = (0..3).map(|member| {
            let url = format!("http://{}", cluster.member(member));
            (format!("default-{member}"), vec![url])
        });
        assert_eq!(lines, all.collect::<Vec<_>>());
    });
}

#[test]
fn the_lead_can_be_given_to_another_member() {
    with_runtime(async {
        let cluster = Simulated::start(with_faults(3, []));
        let mut client = cluster.client().await;
        let leader = client.status().await.unwrap().leader();
        let list = client.member_list().await.unwrap();
        let leads = list.members().iter().find(|member| member.id() == leader);
        let url = leads.and_then(|member| member.client_urls().first());
        let other = list
            .members()
            .iter()
            .find(|member| member.id() != leader)
            .unwrap();
        let mut of_leader = Client::connect([url.unwrap()], None).await.unwrap();
        soon(of_leader.move_leader(other.id())).await.unwrap();
        assert_eq!(of_leader.status().await.unwrap().leader(), other.id());
        let refused = of_leader.move_leader(leader).await.unwrap_err();
        let Error::GRpcStatus(status) = refused else {
            panic!("{refused}")
        };
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.message(), "etcdserver: not leader");
    });
}

#[test]
fn a_member_that_crashes_closes_its_connections_and_comes_back_with_its_data() {
    with_runtime(async {
        let crash = FaultKind::CrashMember {
            member: 0,
            down_ms: Some(800),
        };
        let cluster = Simulated::start(with_faults(1, [(1_500, crash)]));
        let mut client = cluster.client().await;
        client.put("a", "1", None).await.unwrap();
        let mut watch = client.watch("a", None).await.unwrap();
        soon(watch.message()).await.unwrap();
        let broken = soon(watch.message()).await;
        assert!(!matches!(broken, Ok(Some(_))), "{broken:?}");
        assert!(TcpStream::connect(cluster.member(0)).is_err(), "it refuses");
        pause(1_200).await;
        let answer = soon(async {
            loop {
                match client.get("a", None).await {
                    Ok(answer) => return answer,
                    Err(_) => pause(20).await,
                }
            }
        });
        assert_eq!(answer.await.kvs()[0].value(), b"1");
    });
}

/// As a real 3.5.30 did: it refuses connections 0.06 s after the signal, and its process
/// ends after 7.0 s if a stream is open. What was asked before is answered meanwhile.
#[test]
#[expect(clippy::disallowed_methods, reason = "there is no madsim here")]
fn a_member_that_is_told_to_stop_ends_what_it_was_asked_and_takes_nothing_new() {
    with_runtime(async {
        let stop = FaultKind::StopMember {
            member: 0,
            down_ms: 300,
        };
        let cluster = Simulated::start(with_faults(1, [(1_500, stop)]));
        let mut client = cluster.client().await;
        let mut watch = client.watch("a", None).await.unwrap();
        soon(watch.message()).await.unwrap();
        client.lock("lock", None).await.unwrap();
        let mut other = cluster.client().await;
        let waits = tokio::spawn(async move { other.lock("lock", None).await });
        pause(2_000).await;
        let refused = TcpStream::connect(cluster.member(0));
        assert!(refused.is_err(), "nobody new is let in");
        assert!(!waits.is_finished(), "what was asked before goes on");
        let is_silent = {
            let silent = Box::pin(watch.message());
            let either = futures_util::future::select(silent, Box::pin(pause(3_000))).await;
            matches!(either, futures_util::future::Either::Right(_))
        };
        assert!(is_silent, "streams go on");
        let ended = soon(waits).await.unwrap();
        assert!(ended.is_err(), "nobody has unlocked: {ended:?}");
        let broken = soon(watch.message()).await;
        assert!(!matches!(broken, Ok(Some(_))), "{broken:?}");
        let mut again = cluster.client().await;
        soon(async { while again.get("a", None).await.is_err() {} }).await;
    });
}

/// With nothing to answer it ends at once, and is back before anybody could have looked.
#[test]
fn connections_do_not_outlive_the_process_that_accepted_them() {
    with_runtime(async {
        let stop = FaultKind::StopMember {
            member: 0,
            down_ms: 0,
        };
        let cluster = Simulated::start(with_faults(1, [(1_000, stop)]));
        let mut idle = TcpStream::connect(cluster.member(0)).unwrap();
        let timeout = Some(std::time::Duration::from_secs(10));
        idle.set_read_timeout(timeout).unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let mut rest = Vec::new();
            std::io::Read::read_to_end(&mut idle, &mut rest)
        });
        match soon(read).await.unwrap() {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
        let mut client = cluster.client().await;
        soon(async { while client.get("a", None).await.is_err() {} }).await;
    });
}

#[test]
fn a_reset_breaks_streams_and_a_partition_is_silent() {
    with_runtime(async {
        let faults = [
            (1_000, FaultKind::Reset { client: 0 }),
            (
                2_000,
                FaultKind::Partition {
                    client: 0,
                    for_ms: 700,
                },
            ),
        ];
        let cluster = Simulated::start(with_faults(1, faults));
        let mut client = cluster.client().await;
        let options = Some(WatchOptions::new().with_prefix());
        let mut watch = client.watch("a", options).await.unwrap();
        soon(watch.message()).await.unwrap();
        let broken = soon(watch.message()).await;
        assert!(!matches!(broken, Ok(Some(_))), "{broken:?}");
        client.put("a", "1", None).await.unwrap();
        pause(1_200).await;
        let silent = Box::pin(client.put("a", "2", None));
        let either = futures_util::future::select(silent, Box::pin(pause(300))).await;
        assert!(matches!(either, futures_util::future::Either::Right(_)));
        pause(700).await;
        let mut again = cluster.client().await;
        let answer = soon(again.get("a", None)).await.unwrap();
        assert_eq!(
            answer.kvs()[0].value(),
            b"1",
            "what was sent meanwhile is lost"
        );
    });
}

#[test]
fn an_address_that_is_taken_is_an_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = Options::new(taken.local_addr().unwrap());
    let error = run(options, |_| async {}).unwrap_err();
    assert!(matches!(error, ServeError::Listen { .. }), "{error}");
    let last = Options {
        plan: Plan::quiet(0).with_members(3),
        ..Options::new("127.0.0.1:65534".parse().unwrap())
    };
    let error = run(last, |_| async {}).unwrap_err();
    let wrong = matches!(error, ServeError::NoPort { .. } | ServeError::Listen { .. });
    assert!(wrong, "{error}");
}

#[test]
fn faults_of_processes_of_clocks_and_of_other_clients_cannot_strike_strangers() {
    let skew = |client| FaultKind::SkewClock {
        client,
        permille: 1500,
        for_ms: 1,
    };
    for (kind, idle) in [
        (FaultKind::Reset { client: 0 }, None),
        (FaultKind::Reset { client: 1 }, Some(Idle::NoSuchClient)),
        (FaultKind::KillClient { client: 0 }, Some(Idle::Process)),
        (skew(0), Some(Idle::Clock)),
        (skew(2), Some(Idle::NoSuchClient)),
        (FaultKind::Compact, None),
    ] {
        assert_eq!(cannot_strike(&kind), idle, "{kind:?}");
    }
    let cut = |from: Vec<Party>, to: Vec<Party>| FaultKind::Cut {
        from,
        to,
        one_way: false,
        for_ms: 1,
    };
    let of_members = cut(vec![Party::Member(0)], vec![Party::Member(1)]);
    assert_eq!(cannot_strike(&of_members), None);
    let of_another = cut(vec![Party::Member(0)], vec![Party::Client(2)]);
    assert_eq!(cannot_strike(&of_another), Some(Idle::NoSuchClient));
}

/// Which alarms are raised.
async fn alarms(client: &mut Client) -> Vec<AlarmType> {
    let get = AlarmOptions::new();
    let answer = client.alarm(AlarmAction::Get, AlarmType::None, Some(get));
    let answer = soon(answer).await.unwrap();
    answer.alarms().iter().map(AlarmMember::alarm).collect()
}

/// Disarms all of them, as etcdctl does.
async fn disarm(client: &mut Client) {
    let get = client.alarm(AlarmAction::Get, AlarmType::None, None);
    for alarm in soon(get).await.unwrap().alarms() {
        let mut of = AlarmOptions::new();
        of.with_member(alarm.member_id());
        let disarm = client.alarm(AlarmAction::Deactivate, alarm.alarm(), Some(of));
        soon(disarm).await.unwrap();
    }
}

#[test]
fn the_alarm_of_a_full_database_can_be_disarmed_and_is_raised_by_the_next_put() {
    with_runtime(async {
        let etcd = Etcd::start_with(&["--quota-backend-bytes", "20000"]).await;
        let real = etcd.client().await;
        let full = FaultKind::FillUp { for_ms: 600_000 };
        let cluster = Simulated::start(with_faults(1, [(0, full)]));
        pause(100).await;
        for mut client in [real, cluster.client().await] {
            let put = |client: &Client| {
                let mut client = client.clone();
                async move { soon(client.put("a", vec![b'x'; 3_000], None)).await }
            };
            while put(&client).await.is_ok() {}
            assert_eq!(alarms(&mut client).await, [AlarmType::Nospace]);
            let puts = Txn::new().and_then([TxnOp::put("b", "1", None)]);
            let refused = soon(client.txn(puts.clone())).await.unwrap_err();
            assert!(
                refused.to_string().contains("database space exceeded"),
                "{refused}"
            );
            // What is put further within is not counted.
            let within = Txn::new().and_then([TxnOp::txn(puts)]);
            assert!(soon(client.txn(within)).await.unwrap().succeeded());
            disarm(&mut client).await;
            assert_eq!(alarms(&mut client).await, []);
            soon(client.delete("none", None)).await.unwrap();
            assert_eq!(alarms(&mut client).await, []);
            let refused = put(&client).await.unwrap_err().to_string();
            assert!(refused.contains("database space exceeded"), "{refused}");
            // Nobody waits for the alarm, but it comes.
            soon(async { while alarms(&mut client).await != [AlarmType::Nospace] {} }).await;
        }
    });
}

#[test]
fn to_disarm_the_alarm_of_members_that_disagree_ends_it() {
    with_runtime(async {
        let corrupt = FaultKind::Corrupt { for_ms: 600_000 };
        let again = FaultKind::Corrupt { for_ms: 500 };
        let hold = FaultKind::HoldEvents {
            member: 0,
            for_ms: 100,
        };
        let faults = [(0, corrupt), (2_000, hold), (4_000, again)];
        let cluster = Simulated::start(with_faults(3, faults));
        pause(200).await;
        let mut client = cluster.client().await;
        let refused = soon(client.put("a", "1", None)).await.unwrap_err();
        assert!(refused.to_string().contains("corrupt cluster"), "{refused}");
        assert_eq!(alarms(&mut client).await, [AlarmType::Corrupt; 3]);
        disarm(&mut client).await;
        assert_eq!(alarms(&mut client).await, []);
        soon(client.put("a", "1", None)).await.unwrap();
        pause(2_200).await;
        assert_eq!(
            alarms(&mut client).await,
            [],
            "no other fault brings it back"
        );
        soon(async { while alarms(&mut client).await.is_empty() {} }).await;
    });
}
