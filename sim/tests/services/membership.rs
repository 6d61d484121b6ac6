//! Who joins a cluster and who leaves it: on a real etcd and on a simulated one, and in
//! simulated time.

use std::time::Duration;

use etcd_client::{Client, Error, GetOptions, MemberAddOptions};
use etcd_sim::executor::{Executor, now, sleep};
use etcd_sim::fault::Party;
use etcd_sim::network::{ChannelOptions, Endpoints};
use etcd_sim::plan::Plan;
use etcd_sim::simulation::{Options, Simulation, run};

use crate::live::compare;
use crate::real::Endpoint;
use crate::transcript::{Transcript, refusal};

#[test]
fn members_are_added_updated_promoted_and_removed_as_in_a_real_etcd() {
    compare!(session, 50);
}

/// A line of the list without what differs by nature: ids, and where the one member that
/// runs is.
type Line = (String, Vec<String>, usize, bool);

fn line(member: &etcd_client::Member) -> Line {
    let urls = match member.name() {
        "" => member.peer_urls().to_vec(),
        _ => vec![format!("{} of its own", member.peer_urls().len())],
    };
    let name = member.name().to_owned();
    (name, urls, member.client_urls().len(), member.is_learner())
}

fn owned(urls: &[&str]) -> Vec<String> {
    urls.iter().map(|url| (*url).to_owned()).collect()
}

fn url(url: &str) -> Vec<String> {
    owned(&[url])
}

/// The list is by ids, which differ.
fn lines(members: &[etcd_client::Member]) -> Vec<Line> {
    assert!(members.is_sorted_by_key(etcd_client::Member::id));
    let mut lines: Vec<Line> = members.iter().map(line).collect();
    lines.sort();
    lines
}

/// Until a change that was answered is over. Before 3.6 etcd answers it before its raft
/// counts it as applied, and a change that comes in between is dropped without an answer
/// ("possible unapplied conf change"). What is written comes after it.
async fn settle(client: &mut Client) {
    let has_leader = client.status().await.unwrap().leader() != 0;
    if has_leader {
        client.put("settled", "", None).await.unwrap();
    }
}

async fn list(client: &mut Client, said: &mut Transcript) {
    let list = client.member_list().await;
    said.note("list", list.map(|list| lines(list.members())));
}

async fn add(
    client: &mut Client,
    said: &mut Transcript,
    urls: &[&str],
    is_learner: bool,
) -> Option<u64> {
    settle(client).await;
    let options = MemberAddOptions::new();
    let options = if is_learner {
        options.with_is_learner()
    } else {
        options
    };
    let added = client.member_add(owned(urls), Some(options)).await;
    let id = added
        .as_ref()
        .ok()
        .and_then(|added| Some(added.member()?.id()));
    let added = added.map(|added| {
        let header = added.header().cloned();
        (header, added.member().map(line), lines(added.member_list()))
    });
    said.note(&format!("add {urls:?}"), added);
    id
}

async fn remove(client: &mut Client, said: &mut Transcript, id: u64) {
    settle(client).await;
    let removed = client.member_remove(id).await;
    let removed = removed.map(|removed| (removed.header().cloned(), lines(removed.members())));
    said.note("remove", removed);
}

async fn update(client: &mut Client, said: &mut Transcript, id: u64, urls: &[&str]) {
    settle(client).await;
    let updated = client.member_update(id, owned(urls)).await;
    let updated = updated.map(|updated| (updated.header().cloned(), lines(updated.members())));
    said.note(&format!("update {urls:?}"), updated);
}

async fn promote(client: &mut Client, said: &mut Transcript, id: u64) {
    settle(client).await;
    let promoted = client.member_promote(id).await;
    said.note(
        "promote",
        promoted.map(|promoted| lines(promoted.members())),
    );
}

async fn session(etcd: &impl Endpoint) -> Transcript {
    let mut said = Transcript::default();
    let said = &mut said;
    let mut client = etcd.client().await;
    let client = &mut client;
    list(client, said).await;
    for urls in [
        &[][..],
        &["bad"],
        &["ftp://a:1"],
        &["http://a"],
        &["http://a:1/"],
        &["http://a:1/path"],
        &["http://a:1", "http://b"],
        &["http://a:b"],
        &["http://a:1:2"],
        &["://a:1"],
        &[""],
    ] {
        add(client, said, urls, true).await;
    }
    let own = client.member_list().await.unwrap().members()[0].clone();
    let own_url = own.peer_urls()[0].clone();
    settle(client).await;
    let taken = client.member_add(url(&own_url), None).await;
    said.note("add what is there", taken.map(|_| ()));
    for id in [7, u64::MAX, 0] {
        remove(client, said, id).await;
        promote(client, said, id).await;
        update(client, said, id, &["http://c:1"]).await;
    }
    promote(client, said, own.id()).await;
    remove(client, said, own.id()).await;
    let learner = add(client, said, &["https://b:2", "http://a:1"], true).await;
    let learner = learner.expect("a learner costs no quorum");
    list(client, said).await;
    add(client, said, &["http://d:4"], true).await;
    add(client, said, &["http://a:1"], false).await;
    promote(client, said, learner).await;
    said.note("put", client.put("a", "1", None).await);
    settle(client).await;
    let taken = client.member_update(learner, url(&own_url)).await;
    said.note("update to what is there", taken.map(|_| ()));
    update(client, said, learner, &["http://f:6", "http://e:5"]).await;
    // The list has forgotten that it is a learner; the quorum has not.
    list(client, said).await;
    promote(client, said, learner).await;
    said.note("move the lead to it", client.move_leader(7).await);
    said.note("put", client.put("a", "2", None).await);
    remove(client, said, own.id()).await;
    remove(client, said, learner).await;
    remove(client, said, learner).await;
    update(client, said, learner, &["http://g:7"]).await;
    promote(client, said, learner).await;
    list(client, said).await;
    lose_quorum(client, said).await;
    std::mem::take(said)
}

/// One member of two that vote is no quorum.
async fn lose_quorum(client: &mut Client, said: &mut Transcript) {
    let added = add(client, said, &["http://127.0.0.1:9"], false).await;
    let added = added.expect("one member may be joined by a second one");
    said.note("put", client.put("a", "3", None).await);
    said.note("get", client.get("a", None).await);
    let serializable = Some(GetOptions::new().with_serializable());
    said.note("old get", client.get("a", serializable).await);
    list(client, said).await;
    add(client, said, &["http://h:8"], false).await;
    add(client, said, &["http://h:8"], true).await;
    let own = client.member_list().await.unwrap();
    let own = own
        .members()
        .iter()
        .find(|member| !member.name().is_empty());
    remove(client, said, own.expect("it is there").id()).await;
    promote(client, said, added).await;
    let status = client.status().await.unwrap();
    said.say("status", (status.leader(), status.errors()));
}

fn simulate<Fut>(members: usize, body: fn(Simulation) -> Fut)
where
    Fut: Future<Output = ()> + 'static,
{
    for executor in [Executor::Tokio, Executor::BEST] {
        let options = Options {
            executor,
            ..Options::new(Plan::quiet(3).with_members(members))
        };
        run(options, body).unwrap();
    }
}

/// A client that knows one member.
async fn at(simulation: &Simulation, client: u32, member: usize) -> Client {
    let channel = simulation.channel(client, ChannelOptions::default());
    let channel = channel.with_endpoints(Endpoints::One(member));
    let client = Client::from_channel(channel.into_etcd_channel(), None).await;
    client.unwrap()
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    refusal(&answer.unwrap_err())
}

/// Which member, counted from 0, a line of the list is.
async fn id_of(client: &mut Client, member: usize) -> u64 {
    let name = format!("default-{member}");
    let list = client.member_list().await.unwrap();
    let named = list.members().iter().find(|member| member.name() == name);
    named.expect("it is in the list").id()
}

const UNHEALTHY: &str = "Unavailable: etcdserver: unhealthy cluster";

#[test]
fn a_young_cluster_and_one_of_which_a_member_is_down_is_not_changed() {
    simulate(3, |simulation| async move {
        let leader = simulation.cluster().leader().unwrap();
        let (down, up) = ((leader + 1) % 3, (leader + 2) % 3);
        let mut client = at(&simulation, 0, leader).await;
        let id = id_of(&mut client, up).await;
        assert_eq!(
            refused(client.member_add(url("http://a:1"), None).await),
            UNHEALTHY
        );
        assert_eq!(refused(client.member_remove(id).await), UNHEALTHY);
        sleep(Duration::from_secs(6)).await;
        let crash = simulation.crash(Party::Member(down));
        assert_eq!(refused(client.member_remove(id).await), UNHEALTHY);
        // Of four members three would have to be there.
        assert_eq!(
            refused(client.member_add(url("http://a:1"), None).await),
            UNHEALTHY
        );
        crash.heal();
        sleep(Duration::from_secs(4)).await;
        assert_eq!(
            refused(client.member_add(url("http://a:1"), None).await),
            UNHEALTHY
        );
        sleep(Duration::from_secs(2)).await;
        client.member_add(url("http://a:1"), None).await.unwrap();
    });
}

#[test]
fn who_was_added_counts_for_the_quorum_until_it_is_removed() {
    simulate(3, |simulation| async move {
        sleep(Duration::from_secs(6)).await;
        let leader = simulation.cluster().leader().unwrap();
        let mut client = at(&simulation, 0, leader).await;
        let added = client.member_add(url("http://a:1"), None).await.unwrap();
        let added = added.member().unwrap().id();
        client.put("a", "1", None).await.unwrap();
        let crash = simulation.crash(Party::Member((leader + 1) % 3));
        let put = refused(client.put("a", "2", None).await);
        assert_eq!(put, "Unavailable: etcdserver: request timed out");
        crash.heal();
        sleep(Duration::from_secs(4)).await;
        let leader = simulation.cluster().leader().unwrap();
        let mut client = at(&simulation, 1, leader).await;
        client.member_remove(added).await.unwrap();
        let _crash = simulation.crash(Party::Member((leader + 1) % 3));
        client.put("a", "3", None).await.unwrap();
    });
}

#[test]
fn a_member_that_is_removed_ends_and_the_others_go_on_without_it() {
    simulate(3, |simulation| async move {
        sleep(Duration::from_secs(6)).await;
        let leader = simulation.cluster().leader().unwrap();
        let mut client = at(&simulation, 0, leader).await;
        client.put("a", "1", None).await.unwrap();
        let id = id_of(&mut client, leader).await;
        let removed = client.member_remove(id).await.unwrap();
        assert_eq!(removed.members().len(), 2);
        let mut others = simulation.client(1).await.unwrap();
        let start = now();
        others.put("a", "2", None).await.unwrap();
        assert!(
            now().saturating_sub(start) < Duration::from_secs(1),
            "it still leads"
        );
        sleep(Duration::from_secs(5)).await;
        let next = simulation
            .cluster()
            .leader()
            .expect("the others have found one");
        assert_ne!(next, leader);
        others.put("a", "3", None).await.unwrap();
        let refused = client.get("a", None).await;
        assert!(refused.is_err(), "its process has ended: {refused:?}");
        // Both that are left are the quorum.
        let third = 3 - leader - next;
        let _crash = simulation.crash(Party::Member(third));
        let mut client = at(&simulation, 2, next).await;
        assert!(client.put("a", "4", None).await.is_err());
    });
}

#[test]
fn a_follower_that_is_removed_is_told_of_nothing_more_and_blocks_no_compaction() {
    simulate(3, |simulation| async move {
        sleep(Duration::from_secs(6)).await;
        let leader = simulation.cluster().leader().unwrap();
        let follower = (leader + 1) % 3;
        let mut client = at(&simulation, 0, leader).await;
        client.put("a", "1", None).await.unwrap();
        let id = id_of(&mut client, follower).await;
        client.member_remove(id).await.unwrap();
        client.put("a", "2", None).await.unwrap();
        client.put("a", "3", None).await.unwrap();
        assert!(simulation.cluster().member(follower).revision() < 4);
        sleep(Duration::from_secs(2)).await;
        client.compact(4, None).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let kept = simulation
            .member()
            .with_store(|store| store.events(2).count());
        assert_eq!(kept, 1, "what was compacted is forgotten");
    });
}

#[test]
fn a_member_that_lags_shows_the_list_that_it_knows() {
    simulate(3, |simulation| async move {
        sleep(Duration::from_secs(6)).await;
        let leader = simulation.cluster().leader().unwrap();
        let late = (leader + 1) % 3;
        let lag = simulation.lag(late, Duration::from_secs(3));
        let options = Some(MemberAddOptions::new().with_is_learner());
        let mut client = at(&simulation, 0, leader).await;
        client.member_add(url("http://a:1"), options).await.unwrap();
        let mut of_late = at(&simulation, 1, late).await;
        let listed = of_late.member_list().await.unwrap();
        assert_eq!(listed.members().len(), 3);
        lag.heal();
        sleep(Duration::from_secs(4)).await;
        let listed = of_late.member_list().await.unwrap();
        assert_eq!(listed.members().len(), 4);
    });
}

#[test]
fn only_an_administrator_changes_the_list() {
    simulate(1, |simulation| async move {
        let mut client = simulation.client(0).await.unwrap();
        client.user_add("root", "secret", None).await.unwrap();
        client.user_grant_role("root", "root").await.unwrap();
        client.auth_enable().await.unwrap();
        let nobody = "InvalidArgument: etcdserver: user name is empty";
        assert_eq!(
            refused(client.member_add(url("http://a:1"), None).await),
            nobody
        );
        assert_eq!(refused(client.member_remove(1).await), nobody);
        assert_eq!(
            refused(client.member_update(1, url("http://a:1")).await),
            nobody
        );
        assert_eq!(refused(client.member_promote(1).await), nobody);
    });
}
