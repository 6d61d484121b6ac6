//! The cluster over TCP: what a client sees of its faults.

use std::net::TcpStream;

use etcd_client::{Client, Error, WatchOptions};
use etcd_sim::fault::{Fault, FaultKind, Party};
use etcd_sim::plan::Plan;
use etcd_sim::serve::{Options, ServeError, can_strike, run};
use tonic::Code;

use crate::real::{Endpoint as _, Simulated, options, pause, soon};

fn with_runtime<T>(work: impl Future<Output = T>) -> T {
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
fn faults_of_processes_and_of_other_clients_cannot_strike_strangers() {
    assert!(can_strike(&FaultKind::Reset { client: 0 }));
    assert!(!can_strike(&FaultKind::Reset { client: 1 }));
    assert!(!can_strike(&FaultKind::KillClient { client: 0 }));
    assert!(can_strike(&FaultKind::Compact));
    let cut = |from: Vec<Party>, to: Vec<Party>| FaultKind::Cut {
        from,
        to,
        one_way: false,
        for_ms: 1,
    };
    assert!(can_strike(&cut(
        vec![Party::Member(0)],
        vec![Party::Member(1)]
    )));
    assert!(!can_strike(&cut(
        vec![Party::Member(0)],
        vec![Party::Client(2)]
    )));
}
