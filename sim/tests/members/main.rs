//! A cluster of several members, as clients see it: who leads, what a quorum
//! decides, what members that lag or are cut off show.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use etcd_client::{Client, Error as EtcdError, GetOptions, PutOptions, WatchOptions};
use etcd_sim::executor::{Executor, SimTime, now, sleep, sleep_until};
use etcd_sim::fault::{Fault, FaultKind, Party, Pending};
use etcd_sim::network::{ChannelOptions, Endpoints};
use etcd_sim::plan::{Latency, Plan};
use etcd_sim::simulation::{Options, Simulation, run};
use etcd_sim::version::Version;
use futures_util::future::{Either, select};
use tonic::Code;

mod ending;
mod lost_leader;
mod refusals;

/// Messages take 10 ms, between members as well.
fn plan(members: usize, faults: Vec<(u64, FaultKind)>) -> Plan {
    let (min_us, max_us) = (10_000, 10_000);
    let fault = |(at_ms, kind)| Fault { at_ms, kind };
    Plan {
        latency: Latency { min_us, max_us },
        members,
        faults: faults.into_iter().map(fault).collect(),
        ..Plan::quiet(3)
    }
}

/// Runs `body` on every executor.
fn on_each<Fut>(plan: &Plan, body: fn(Simulation) -> Fut)
where
    Fut: Future<Output = ()> + 'static,
{
    on_each_as(Version::default(), plan, body);
}

/// The same with members of another release.
fn on_each_as<Fut>(version: Version, plan: &Plan, body: fn(Simulation) -> Fut)
where
    Fut: Future<Output = ()> + 'static,
{
    let mut executors = vec![Executor::Tokio];
    if Executor::BEST != Executor::Tokio {
        executors.push(Executor::BEST);
    }
    for executor in executors {
        let options = Options {
            executor,
            version,
            ..Options::new(plan.clone())
        };
        run(options, body).unwrap();
    }
}

/// A client that knows one member.
async fn at(simulation: &Simulation, client: u32, member: usize) -> Client {
    let channel = simulation.channel(client, ChannelOptions::default());
    let channel = channel.with_endpoints(Endpoints::One(member));
    Client::from_channel(channel.into_etcd_channel(), None)
        .await
        .unwrap()
}

fn leader(simulation: &Simulation) -> usize {
    simulation.cluster().leader().expect("there is a leader")
}

/// Any member that does not lead.
fn follower(simulation: &Simulation) -> usize {
    (leader(simulation) + 1) % simulation.cluster().len()
}

/// The id of a member.
async fn id_of(simulation: &Simulation, member: usize) -> u64 {
    let mut client = at(simulation, 9, member).await;
    let status = client.status().await.unwrap();
    status.header().expect("it has one").member_id()
}

fn refusal<T>(result: Result<T, EtcdError>) -> (Code, String) {
    match result {
        Err(EtcdError::GRpcStatus(status)) => (status.code(), status.message().to_owned()),
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it was not refused"),
    }
}

async fn value(client: &mut Client, options: Option<GetOptions>) -> Option<String> {
    let answer = client.get("key", options).await.unwrap();
    let kv = answer.kvs().first();
    kv.map(|kv| kv.value_str().unwrap().to_owned())
}

fn serializable() -> Option<GetOptions> {
    Some(GetOptions::new().with_serializable())
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Cuts a member off from the others, both ways, until then.
fn isolate(simulation: &Simulation, member: usize, until: SimTime) {
    for other in (0..simulation.cluster().len()).filter(|other| *other != member) {
        simulation.cluster().cut(member, other, until);
        simulation.cluster().cut(other, member, until);
    }
}

#[test]
fn all_members_answer_from_one_history_each_with_its_own_id() {
    on_each(&plan(3, vec![]), |simulation| async move {
        let mut ids = std::collections::BTreeSet::new();
        for member in 0..3 {
            let mut client = at(&simulation, member as u32, member).await;
            let answer = client.put("key", format!("{member}"), None).await.unwrap();
            let header = answer.header().unwrap();
            assert_eq!(header.revision(), 2 + member as i64);
            assert_eq!(header.raft_term(), 2);
            ids.insert(header.member_id());
            let read = client.get("key", None).await.unwrap();
            assert_eq!(read.header().unwrap().revision(), 2 + member as i64);
            assert_eq!(read.header().unwrap().cluster_id(), header.cluster_id());
        }
        assert_eq!(ids.len(), 3);
        let mut client = at(&simulation, 0, 0).await;
        let members = client.member_list().await.unwrap();
        let listed: Vec<u64> = members
            .members()
            .iter()
            .map(etcd_client::Member::id)
            .collect();
        assert!(ids.iter().all(|id| listed.contains(id)));
    });
}

#[test]
fn a_write_takes_as_long_as_its_way_to_a_quorum() {
    on_each(&plan(3, vec![]), |simulation| async move {
        let mut client = at(&simulation, 0, leader(&simulation)).await;
        let start = now();
        client.put("key", "value", None).await.unwrap();
        // To the member, to a follower and back, to the client.
        let took = now().saturating_sub(start);
        assert!(ms(40) <= took && took < ms(46), "{took:?}");
        let mut client = at(&simulation, 1, follower(&simulation)).await;
        let start = now();
        client.put("key", "value", None).await.unwrap();
        // Beside that to the leader and, when it is committed, back from there.
        let took = now().saturating_sub(start);
        assert!(ms(60) <= took && took < ms(68), "{took:?}");
    });
}

#[test]
fn who_has_written_reads_its_write_at_the_same_member_even_serializably() {
    on_each(&plan(3, vec![]), |simulation| async move {
        for member in 0..3 {
            let mut client = at(&simulation, member as u32, member).await;
            client.put("key", format!("{member}"), None).await.unwrap();
            assert_eq!(
                value(&mut client, serializable()).await,
                Some(format!("{member}"))
            );
        }
    });
}

#[test]
fn a_minority_member_refuses_linearizable_reads_and_answers_serializable_ones_stale() {
    on_each(&plan(3, vec![]), |simulation| async move {
        simulation.healed().await;
        let member = follower(&simulation);
        let mut cut_off = at(&simulation, 0, member).await;
        let mut other = at(&simulation, 1, leader(&simulation)).await;
        cut_off.put("key", "old", None).await.unwrap();
        isolate(&simulation, member, SimTime::from_millis(60_000));
        other.put("key", "new", None).await.unwrap();
        assert_eq!(
            value(&mut cut_off, serializable()).await,
            Some("old".to_owned())
        );
        let start = now();
        let (code, text) = refusal(cut_off.get("key", None).await);
        assert_eq!(
            (code, &*text),
            (Code::Unavailable, "etcdserver: request timed out")
        );
        let took = now().saturating_sub(start);
        assert!(ms(7_000) <= took && took < ms(7_600), "{took:?}");
        let (code, text) = refusal(cut_off.put("key", "lost", None).await);
        assert_eq!(code, Code::Unavailable);
        assert!(text.starts_with("etcdserver: request timed out"), "{text}");
        assert_eq!(value(&mut other, None).await, Some("new".to_owned()));
        // The cut ends, and the member learns what it has missed.
        simulation.cluster().heal();
        simulation.cluster().look_again();
        sleep(ms(3_000)).await;
        assert_eq!(
            value(&mut cut_off, serializable()).await,
            Some("new".to_owned())
        );
    });
}

#[test]
fn an_acknowledged_write_survives_the_crash_of_any_minority() {
    for crashed in 0..3 {
        let kind = FaultKind::CrashMember {
            member: crashed,
            down_ms: Some(20_000),
        };
        let plan = plan(3, vec![(500, kind)]);
        on_each(&plan, |simulation| async move {
            let mut client = at(&simulation, 0, 1).await;
            client.put("key", "value", None).await.unwrap();
            sleep_until(SimTime::from_millis(4_000)).await;
            // By now the others have a leader, if they had lost it.
            assert!(simulation.cluster().leader().is_some());
            let up = (0..3).find(|member| simulation.cluster().member(*member).leader().is_some());
            let mut client = at(&simulation, 1, up.unwrap()).await;
            assert_eq!(value(&mut client, None).await, Some("value".to_owned()));
        });
    }
}

#[test]
fn a_leader_that_is_lost_is_replaced_within_a_few_seconds_and_the_term_rises() {
    let restart = FaultKind::RestartMember { down_ms: 10_000 };
    on_each(&plan(3, vec![(100, restart)]), |simulation| async move {
        let old = leader(&simulation);
        let others: Vec<usize> = (0..3).filter(|member| *member != old).collect();
        let mut client = at(&simulation, 0, others[0]).await;
        let before = client.put("key", "1", None).await.unwrap();
        assert_eq!(before.header().unwrap().raft_term(), 2);
        sleep_until(SimTime::from_millis(200)).await;
        assert_eq!(simulation.cluster().leader(), None);
        // What is passed on to a leader that is no more is lost.
        let (code, text) = refusal(client.put("key", "lost", None).await);
        assert_eq!(code, Code::Unavailable);
        assert!(text.starts_with("etcdserver: request timed out"), "{text}");
        let elected = simulation.cluster().member(others[0]).term();
        assert!(elected > 2);
        let after = client.put("key", "2", None).await.unwrap();
        assert!(after.header().unwrap().raft_term() > 2);
        assert!(others.contains(&leader(&simulation)));
        sleep_until(SimTime::from_millis(12_000)).await;
        // The old one follows.
        let member = simulation.cluster().member(old);
        assert_eq!(member.leader(), simulation.cluster().leader());
        assert_eq!(member.revision(), 3);
        assert_eq!(member.term(), after.header().unwrap().raft_term());
    });
}

#[test]
fn a_read_that_waits_when_the_leader_changes_is_told_so() {
    let lose = FaultKind::LoseLeader { for_ms: 1_000 };
    on_each(&plan(3, vec![(100, lose)]), |simulation| async move {
        sleep_until(SimTime::from_millis(150)).await;
        let mut client = at(&simulation, 0, 0).await;
        let answer = refusal(client.get("key", None).await);
        assert_eq!(
            answer,
            (Code::Unavailable, "etcdserver: leader changed".to_owned())
        );
        assert_eq!(value(&mut client, None).await, None);
    });
}

#[test]
fn a_client_that_requires_a_leader_is_refused_at_once_while_there_is_none() {
    let lose = FaultKind::LoseLeader { for_ms: 1_000 };
    on_each(&plan(3, vec![(100, lose)]), |simulation| async move {
        sleep_until(SimTime::from_millis(150)).await;
        let mut client = requiring_a_leader(&simulation).await;
        let answer = refusal(client.get("key", serializable()).await);
        assert_eq!(
            answer,
            (Code::Unavailable, "etcdserver: no leader".to_owned())
        );
    });
}

/// What comes within this time.
async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    match select(pin!(future), pin!(sleep(limit))).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

async fn requiring_a_leader(simulation: &Simulation) -> Client {
    let channel = simulation.channel(0, ChannelOptions::default());
    let channel = channel.with_endpoints(Endpoints::One(0));
    let options = etcd_client::ConnectOptions::new().with_require_leader(true);
    let client = Client::from_channel(channel.into_etcd_channel(), Some(options));
    client.await.unwrap()
}

/// etcd looks each second; when it has found no leader three times, it ends these streams.
#[test]
fn streams_that_require_a_leader_end_when_there_is_none_for_long() {
    let lose = FaultKind::LoseLeader { for_ms: 10_000 };
    on_each(&plan(3, vec![(1_500, lose)]), |simulation| async move {
        let mut client = requiring_a_leader(&simulation).await;
        let mut watch = client.watch("key", None).await.unwrap();
        assert!(watch.message().await.unwrap().unwrap().created());
        let lease = client.lease_grant(60, None).await.unwrap().id();
        let (mut keeper, mut kept) = client.lease_keep_alive(lease).await.unwrap();
        keeper.keep_alive().await.unwrap();
        kept.message().await.unwrap();
        let mut others = at(&simulation, 1, 0).await;
        let mut other = others.watch("key", None).await.unwrap();
        assert!(other.message().await.unwrap().unwrap().created());
        let no_leader = (Code::Unavailable, "etcdserver: no leader".to_owned());
        let ended = within(Duration::from_secs(7), watch.message()).await;
        assert_eq!(refusal(ended.expect("it ends")), no_leader);
        let range = SimTime::from_millis(4_000)..=SimTime::from_millis(5_500);
        assert!(range.contains(&now()), "{}", now());
        assert_eq!(refusal(kept.message().await), no_leader);
        let said = within(Duration::from_secs(1), other.message()).await;
        assert!(said.is_none(), "who requires none waits for one: {said:?}");
    });
}

#[test]
fn streams_that_require_a_leader_outlive_a_short_time_without_one() {
    let lose = FaultKind::LoseLeader { for_ms: 500 };
    on_each(&plan(3, vec![(1_500, lose)]), |simulation| async move {
        let mut client = requiring_a_leader(&simulation).await;
        let mut watch = client.watch("key", None).await.unwrap();
        assert!(watch.message().await.unwrap().unwrap().created());
        sleep_until(SimTime::from_millis(6_000)).await;
        client.put("key", "value", None).await.unwrap();
        let told = within(Duration::from_secs(1), watch.message()).await;
        let told = told.expect("it goes on").unwrap().unwrap();
        assert_eq!(told.events().len(), 1);
    });
}

/// Puts through a follower; another member takes the lead before that is
/// committed.
async fn put_during_change(simulation: Simulation) -> (Result<(), (Code, String)>, Option<String>) {
    let mut client = at(&simulation, 0, leader(&simulation)).await;
    sleep_until(SimTime::from_millis(200)).await;
    let answer = client.put("key", "value", None).await;
    let answer = match answer {
        Ok(_) => Ok(()),
        refused => Err(refusal(refused)),
    };
    let mut other = simulation.client(1).await.unwrap();
    (answer, value(&mut other, None).await)
}

fn leader_change(pending: Pending) -> Plan {
    let change = FaultKind::ChangeLeader { to: None, pending };
    plan(3, vec![(222, change)])
}

#[test]
fn a_proposal_that_a_leader_change_drops_is_ambiguous_to_its_client() {
    on_each(&leader_change(Pending::Dropped), |simulation| async move {
        let (answer, stored) = put_during_change(simulation).await;
        let (code, text) = answer.unwrap_err();
        assert_eq!(code, Code::Unavailable);
        assert!(text.starts_with("etcdserver: request timed out"), "{text}");
        assert_eq!(stored, None);
    });
}

#[test]
fn a_proposal_that_a_new_leader_has_happens() {
    on_each(&leader_change(Pending::Kept), |simulation| async move {
        let (answer, stored) = put_during_change(simulation).await;
        assert_eq!(answer, Ok(()));
        assert_eq!(stored.as_deref(), Some("value"));
    });
}

#[test]
fn a_new_leader_extends_all_leases() {
    let restart = FaultKind::RestartMember { down_ms: 500 };
    on_each(&plan(3, vec![(3_000, restart)]), |simulation| async move {
        let mut client = at(&simulation, 0, follower(&simulation)).await;
        let lease = client.lease_grant(4, None).await.unwrap().id();
        let options = PutOptions::new().with_lease(lease);
        client.put("key", "value", Some(options)).await.unwrap();
        // Nobody renews it. Without the change it would have ended at 4 s.
        sleep_until(SimTime::from_millis(7_500)).await;
        assert_eq!(value(&mut client, None).await, Some("value".to_owned()));
        let left = client.lease_time_to_live(lease, None).await.unwrap().ttl();
        assert!((0..=3).contains(&left), "{left}");
        sleep_until(SimTime::from_millis(11_500)).await;
        assert_eq!(value(&mut client, None).await, None);
    });
}

#[test]
fn a_watch_on_a_lagging_member_hears_late_but_of_everything_in_order() {
    on_each(&plan(3, vec![]), |simulation| async move {
        simulation.healed().await;
        let member = follower(&simulation);
        let mut lagging = at(&simulation, 0, member).await;
        let mut other = at(&simulation, 1, leader(&simulation)).await;
        let mut watch = lagging.watch("key", None).await.unwrap();
        sleep(ms(100)).await;
        let late = ms(3_000);
        simulation
            .cluster()
            .member(member)
            .lag(now() + ms(1_000), late);
        let start = now();
        for number in 0..5 {
            other.put("key", format!("{number}"), None).await.unwrap();
        }
        let mut seen = Vec::new();
        while seen.len() < 5 {
            let answer = watch.message().await.unwrap().unwrap();
            assert!(answer.created() || now().saturating_sub(start) >= late);
            let revisions = answer
                .events()
                .iter()
                .map(|event| event.kv().unwrap().mod_revision());
            seen.extend(revisions);
        }
        assert_eq!(seen, [2, 3, 4, 5, 6]);
    });
}

#[test]
fn a_lagging_member_shows_the_past_until_a_linearizable_read_waits_for_it() {
    on_each(&plan(3, vec![]), |simulation| async move {
        simulation.healed().await;
        let member = follower(&simulation);
        let mut lagging = at(&simulation, 0, member).await;
        let mut other = at(&simulation, 1, leader(&simulation)).await;
        other.put("key", "old", None).await.unwrap();
        sleep(ms(100)).await;
        simulation
            .cluster()
            .member(member)
            .lag(now() + ms(5_000), ms(1_000));
        other.put("key", "new", None).await.unwrap();
        let compact = other.compact(3, None).await.unwrap();
        assert_eq!(compact.header().unwrap().revision(), 3);
        // It has not heard of the compaction either.
        let past = GetOptions::new().with_serializable().with_revision(2);
        assert_eq!(
            value(&mut lagging, Some(past)).await,
            Some("old".to_owned())
        );
        assert_eq!(
            value(&mut lagging, serializable()).await,
            Some("old".to_owned())
        );
        let start = now();
        assert_eq!(value(&mut lagging, None).await, Some("new".to_owned()));
        assert!(now().saturating_sub(start) > ms(500));
    });
}

/// A stream of keep-alives.
type KeepAlives = (etcd_client::LeaseKeeper, etcd_client::LeaseKeepAliveStream);

/// What a keep-alive is answered, and how long that takes.
async fn keep_alive((keeper, answers): &mut KeepAlives) -> (Result<i64, String>, Duration) {
    let start = now();
    keeper.keep_alive().await.unwrap();
    let answer = match answers.message().await {
        Ok(answer) => Ok(answer.expect("it is answered").ttl()),
        Err(etcd_client::Error::GRpcStatus(status)) => Err(status.message().to_owned()),
        Err(error) => Err(error.to_string()),
    };
    (answer, now().saturating_sub(start))
}

#[test]
fn a_lease_is_kept_alive_when_the_leader_has_applied_what_is_committed() {
    on_each(&plan(3, vec![]), |simulation| async move {
        simulation.healed().await;
        let leads = leader(&simulation);
        let mut own = at(&simulation, 0, leads).await;
        let mut other = at(&simulation, 1, follower(&simulation)).await;
        let lease = other.lease_grant(60, None).await.unwrap().id();
        let mut owns = own.lease_keep_alive(lease).await.unwrap();
        let mut others = other.lease_keep_alive(lease).await.unwrap();
        let lags = |by: Duration| {
            let leader = simulation.cluster().member(leads);
            leader.lag(now() + ms(100), by);
        };
        // It waits for what was committed before.
        lags(ms(600));
        other.put("key", "1", None).await.unwrap();
        let (answer, took) = keep_alive(&mut owns).await;
        assert_eq!(answer, Ok(60));
        assert!(ms(500) < took && took < ms(700), "{took:?}");
        // But no longer than a second; another member asks once more.
        lags(ms(1_500));
        other.put("key", "2", None).await.unwrap();
        let (answer, took) = keep_alive(&mut owns).await;
        let late = "etcdserver: request timed out, waiting for the applied index took too long";
        assert_eq!(answer, Err(late.to_owned()));
        assert!(ms(1_000) <= took && took < ms(1_100), "{took:?}");
        sleep(ms(1_000)).await;
        lags(ms(1_500));
        other.put("key", "3", None).await.unwrap();
        let (answer, took) = keep_alive(&mut others).await;
        assert_eq!(answer, Ok(60));
        assert!(ms(1_400) < took && took < ms(1_700), "{took:?}");
    });
}

#[test]
fn who_finds_no_leader_waits_for_one() {
    let lose = FaultKind::LoseLeader { for_ms: 1_000 };
    on_each(&plan(3, vec![(100, lose)]), |simulation| async move {
        sleep_until(SimTime::from_millis(150)).await;
        let mut client = at(&simulation, 0, 0).await;
        let start = now();
        client.put("key", "value", None).await.unwrap();
        let took = now().saturating_sub(start);
        assert!(ms(900) < took && took < ms(4_000), "{took:?}");
    });
}

/// Who leads in the beginning of a run.
fn first_leader(plan: &Plan) -> usize {
    let first = |simulation: Simulation| async move { leader(&simulation) };
    run(Options::new(plan.clone()), first).unwrap()
}

#[test]
fn a_member_that_is_defragmented_stalls_alone() {
    let member = (first_leader(&plan(3, vec![])) + 1) % 3;
    let stall = FaultKind::StallMember {
        member,
        for_ms: 2_000,
    };
    on_each(&plan(3, vec![(100, stall)]), |simulation| async move {
        sleep_until(SimTime::from_millis(110)).await;
        let mut stalled = at(&simulation, 0, follower(&simulation)).await;
        let mut other = at(&simulation, 1, leader(&simulation)).await;
        let start = now();
        other.put("key", "value", None).await.unwrap();
        assert!(now().saturating_sub(start) < ms(100));
        assert_eq!(value(&mut stalled, None).await, Some("value".to_owned()));
        assert!(now() >= SimTime::from_millis(2_100));
    });
}

#[test]
fn without_a_quorum_nothing_is_written_and_with_one_again_everything_is() {
    let down = |member| FaultKind::CrashMember {
        member,
        down_ms: Some(9_000),
    };
    let plan = plan(3, vec![(100, down(0)), (100, down(1))]);
    on_each(&plan, |simulation| async move {
        sleep_until(SimTime::from_millis(200)).await;
        let mut client = at(&simulation, 0, 2).await;
        let (code, _) = refusal(client.put("key", "value", None).await);
        assert_eq!(code, Code::Unavailable);
        simulation.healed().await;
        sleep(ms(4_000)).await;
        client.put("key", "later", None).await.unwrap();
        assert_eq!(value(&mut client, None).await, Some("later".to_owned()));
    });
}

#[test]
fn a_leader_that_stands_still_is_replaced_and_follows_when_it_goes_on() {
    let plan = plan(3, vec![]);
    let member = first_leader(&plan);
    let pause = FaultKind::PauseMember {
        member,
        for_ms: 6_000,
    };
    let plan = Plan {
        faults: vec![Fault {
            at_ms: 100,
            kind: pause,
        }],
        ..plan
    };
    on_each(&plan, |simulation| async move {
        let old = leader(&simulation);
        let mut client = at(&simulation, 0, follower(&simulation)).await;
        sleep_until(SimTime::from_millis(4_000)).await;
        assert_ne!(leader(&simulation), old);
        client.put("key", "value", None).await.unwrap();
        sleep_until(SimTime::from_millis(7_000)).await;
        assert_eq!(
            simulation.cluster().member(old).leader(),
            Some(leader(&simulation))
        );
        let mut client = at(&simulation, 1, old).await;
        assert_eq!(value(&mut client, None).await, Some("value".to_owned()));
    });
}

#[test]
fn a_leader_that_hears_nobody_gives_up() {
    on_each(&plan(3, vec![]), |simulation| async move {
        simulation.healed().await;
        let old = leader(&simulation);
        let until = SimTime::from_millis(60_000);
        for other in (0..3).filter(|other| *other != old) {
            // Its own heartbeats arrive.
            simulation.cluster().cut(other, old, until);
        }
        sleep(ms(6_000)).await;
        assert_ne!(simulation.cluster().member(old).leader(), Some(old));
        assert!(
            simulation
                .cluster()
                .leader()
                .is_some_and(|leader| leader != old)
        );
    });
}

#[test]
fn who_is_cut_off_alone_does_not_disturb_the_others() {
    on_each(&plan(5, vec![]), |simulation| async move {
        simulation.healed().await;
        let (old, member) = (leader(&simulation), follower(&simulation));
        isolate(&simulation, member, now() + ms(5_000));
        sleep(ms(8_000)).await;
        simulation.cluster().look_again();
        sleep(ms(1_000)).await;
        assert_eq!(simulation.cluster().leader(), Some(old));
        assert_eq!(simulation.cluster().member(member).leader(), Some(old));
        assert_eq!(simulation.cluster().member(member).term(), 2);
    });
}

#[test]
fn a_client_that_knows_all_members_fails_over_and_one_that_knows_one_does_not() {
    let down = FaultKind::CrashMember {
        member: 2,
        down_ms: Some(60_000),
    };
    on_each(&plan(3, vec![(2_000, down)]), |simulation| async move {
        let mut all = simulation.client(0).await.unwrap();
        let mut members = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let answer = all.get("key", serializable()).await.unwrap();
            members.insert(answer.header().unwrap().member_id());
        }
        assert_eq!(members.len(), 3, "calls go to any");
        sleep_until(SimTime::from_millis(5_000)).await;
        let mut one = at(&simulation, 1, 2).await;
        let answer = refusal(one.get("key", serializable()).await);
        assert_eq!(answer, (Code::Unavailable, "tcp connect error".to_owned()));
        let mut good = 0;
        for _ in 0..30 {
            good += u32::from(all.get("key", serializable()).await.is_ok());
        }
        assert!(
            (10..30).contains(&good),
            "a refused connection fails one call: {good}"
        );
    });
}

#[test]
fn a_watch_that_is_opened_while_a_put_is_on_its_way_hears_of_it_in_time() {
    on_each(&plan(3, vec![]), |simulation| async move {
        simulation.healed().await;
        let mut watching = at(&simulation, 0, follower(&simulation)).await;
        let mut putting = at(&simulation, 1, leader(&simulation)).await;
        // Members look after watches that lag behind at each 100 ms: not soon.
        sleep_until(SimTime::from_millis(1_010)).await;
        let start = now();
        let put = async { putting.put("key", "value", None).await.unwrap() };
        let watch = async {
            // When this arrives the put is committed, and the follower does not know it.
            sleep(ms(25)).await;
            let mut watch = watching.watch("key", None).await.unwrap();
            while watch.message().await.unwrap().unwrap().events().is_empty() {}
            now().saturating_sub(start)
        };
        let (_, heard) = futures_util::future::join(put, watch).await;
        assert!(heard < ms(60), "heard after {heard:?}");
    });
}

#[test]
fn held_events_come_at_once_and_in_order() {
    on_each(&plan(1, vec![]), |simulation| async move {
        simulation.healed().await;
        let mut client = simulation.client(0).await.unwrap();
        let options = WatchOptions::new().with_prev_key();
        let mut watch = client.watch("key", Some(options)).await.unwrap();
        sleep(ms(100)).await;
        simulation.member().hold_events(now() + ms(2_000));
        let start = now();
        for number in 0..5 {
            client.put("key", format!("{number}"), None).await.unwrap();
        }
        let mut answers = Vec::new();
        while answers.iter().sum::<usize>() < 5 {
            let answer = watch.message().await.unwrap().unwrap();
            if !answer.events().is_empty() {
                assert!(now().saturating_sub(start) >= ms(2_000));
                answers.push(answer.events().len());
            }
        }
        assert_eq!(answers, [5], "they come in one batch");
    });
}

#[test]
fn leases_end_early_or_late_within_what_etcd_allows() {
    let ends = |kind: Option<FaultKind>| {
        let faults = kind.into_iter().map(|kind| (10, kind)).collect();
        let body = |simulation: Simulation| async move {
            let mut client = simulation.client(0).await.unwrap();
            sleep_until(SimTime::from_millis(700)).await;
            let lease = client.lease_grant(2, None).await.unwrap().id();
            let granted = now();
            let options = PutOptions::new().with_lease(lease);
            client.put("key", "value", Some(options)).await.unwrap();
            while simulation
                .member()
                .with_store(etcd_sim::store::Store::revision)
                < 3
            {
                sleep(ms(1)).await;
            }
            now().saturating_sub(granted)
        };
        run(Options::new(plan(1, faults)), body).unwrap()
    };
    let usual = ends(None);
    assert!(ms(1_980) <= usual && usual <= ms(2_500), "{usual:?}");
    let early = ends(Some(FaultKind::ExpireAtOnce { for_ms: 9_000 }));
    assert!(ms(1_980) <= early && early <= ms(2_005), "{early:?}");
    let late = ends(Some(FaultKind::ExpireLate { for_ms: 6_000 }));
    assert!(ms(5_000) <= late && late <= ms(6_500), "{late:?}");
}

#[test]
fn a_cut_works_one_way_too() {
    let cut = FaultKind::Cut {
        from: vec![Party::Member(0)],
        to: vec![Party::Client(0)],
        one_way: true,
        for_ms: 3_000,
    };
    on_each(&plan(1, vec![(10, cut)]), |simulation| async move {
        sleep_until(SimTime::from_millis(20)).await;
        let options = ChannelOptions {
            timeout: Some(ms(500)),
        };
        let channel = simulation.channel(0, options).into_etcd_channel();
        let mut client = Client::from_channel(channel, None).await.unwrap();
        client.put("key", "value", None).await.unwrap_err();
        // It has arrived; the answer has not.
        assert_eq!(
            simulation
                .member()
                .with_store(etcd_sim::store::Store::revision),
            2
        );
    });
}

#[test]
fn the_same_seed_gives_the_same_run_under_every_fault() {
    let drawn = |seed, executor| {
        let profile = etcd_sim::plan::Profile {
            clients: 3,
            until_ms: 3_000,
            faults_max: 20,
            members: Some(3),
        };
        let options = Options {
            executor,
            ..Options::new(Plan::draw(seed, &profile))
        };
        run(options, |simulation| async move {
            for client in 0..3 {
                simulation.spawn(client, move |process| async move {
                    let options = ChannelOptions {
                        timeout: Some(ms(700)),
                    };
                    let channel = process.channel(options).into_etcd_channel();
                    let mut etcd = Client::from_channel(channel, None).await.unwrap();
                    for number in 0..40 {
                        let key = format!("{}", number % 4);
                        let put = etcd.put(key.as_str(), format!("{client}-{number}"), None);
                        drop(put.await);
                        drop(etcd.get(key.as_str(), None).await);
                        sleep(ms(20)).await;
                    }
                });
            }
            simulation.settle(Duration::from_secs(60)).await;
            let hash = simulation.member().with_store(|store| store.hash(0));
            (simulation.report(), hash, now())
        })
        .unwrap()
    };
    for seed in 0..30 {
        for executor in [Executor::BEST, Executor::Tokio] {
            assert_eq!(drawn(seed, executor), drawn(seed, executor), "seed {seed}");
        }
    }
}

/// What was sent while a link was slow arrives late, and what is sent afterwards comes
/// after it. So the cluster counts as healed only when that has arrived.
#[test]
fn a_cluster_that_has_healed_answers_although_a_link_was_slow_until_then() {
    let slow = |a, b, ms| FaultKind::DelayLink {
        between: (Party::Member(a), Party::Member(b)),
        by_ms: ms,
        jitter_ms: 100,
        for_ms: ms,
    };
    let restart = |down_ms| FaultKind::RestartMember { down_ms };
    let faults = vec![
        (232, slow(0, 2, 7_918)),
        (310, slow(2, 0, 5_807)),
        (2_963, restart(255)),
        (7_299, restart(1)),
    ];
    let plan = Plan {
        endpoints: Endpoints::Own,
        ..plan(3, faults)
    };
    on_each(&plan, |simulation| async move {
        simulation.healed().await;
        // Time for an election.
        sleep(Duration::from_secs(5)).await;
        // Each knows the member of its number.
        for client in 9..12 {
            let options = ChannelOptions {
                timeout: Some(Duration::from_secs(2)),
            };
            let channel = simulation.channel(client, options).into_etcd_channel();
            let client = Client::from_channel(channel, None).await.unwrap();
            client.kv_client().get("k", None).await.unwrap();
        }
    });
}
