//! What a member promises, seen through the unmodified client and a direct
//! channel without a network: watches, leases, a crash.

use std::future::Future;
use std::time::Duration;

use etcd_client::proto::{PbPutRequest, PbRangeRequest};
use etcd_client::{
    Channel, Client, Compare, CompareOp, EventType, LeaseGrantOptions, PutOptions, Txn, TxnOp,
    WatchOptions, WatchResponse,
};
use etcd_sim::cluster::{Applied, Member, MemberOptions, Router};
use etcd_sim::executor::{self, Executor, Node, now, sleep};
use etcd_sim::version::Version;
use http_body_util::{BodyExt as _, Full};
use tower::{BoxError, Service as _};

/// Runs `body` with a new member, on each executor.
fn with_member<Fut>(body: fn(Member, Client) -> Fut)
where
    Fut: Future<Output = ()> + 'static,
{
    with_member_of(Version::default(), body);
}

/// The same with a member of another release.
fn with_member_of<Fut>(version: Version, body: fn(Member, Client) -> Fut)
where
    Fut: Future<Output = ()> + 'static,
{
    for executor in [Executor::Tokio, Executor::BEST] {
        let run = move || async move {
            let member = Member::new(MemberOptions {
                version,
                ..MemberOptions::default()
            });
            member.start(&Node::new("member"));
            let client = connect(&member).await;
            body(member, client).await;
        };
        executor::block_on(executor, 1, run).unwrap();
    }
}

async fn connect(member: &Member) -> Client {
    let router = member.router();
    let service = tower::service_fn(move |request| {
        let answer = router.clone().call(request);
        async move { answer.await.map_err(BoxError::from) }
    });
    let channel = Channel::Custom(tower::util::BoxCloneSyncService::new(service));
    Client::from_channel(channel, None).await.unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The keys and revisions of the events of one answer.
fn events(answer: &WatchResponse) -> Vec<(String, i64)> {
    let of = |event: &etcd_client::Event| {
        let kv = event.kv().unwrap();
        (kv.key_str().unwrap().to_owned(), kv.mod_revision())
    };
    answer.events().iter().map(of).collect()
}

/// Where a watch from a negative revision is not refused, and nothing was ever compacted.
#[test]
fn a_watch_from_minus_one_and_who_lags_behind_beside_it_hear_nothing_of_the_past() {
    with_member_of(Version::new(3, 5, 16), |_, mut client| async move {
        for revision in ["2", "3", "4"] {
            client.put("key", revision, None).await.unwrap();
        }
        let from = |start| Some(WatchOptions::new().with_start_revision(start));
        for (number, beside) in [[-1, 1], [1, -1]].into_iter().enumerate() {
            let mut watches = client.watch("key", from(beside[0])).await.unwrap();
            watches.watch("key", from(beside[1])).await.unwrap();
            for _ in beside {
                assert!(watches.message().await.unwrap().unwrap().created());
            }
            sleep(seconds(1)).await;
            client.put("key", "later", None).await.unwrap();
            for _ in beside {
                let heard = watches.message().await.unwrap().unwrap();
                assert_eq!(events(&heard), [("key".to_owned(), 5 + number as i64)]);
            }
        }
        // By itself one from long ago hears of all.
        let mut watch = client.watch("key", from(1)).await.unwrap();
        assert!(watch.message().await.unwrap().unwrap().created());
        assert_eq!(events(&watch.message().await.unwrap().unwrap()).len(), 5);
    });
}

#[test]
fn a_watch_hears_of_each_mutation_as_it_happens() {
    with_member(|_, mut client| async move {
        let options = WatchOptions::new().with_prefix().with_prev_key();
        let mut watch = client.watch("k/", Some(options)).await.unwrap();
        assert!(watch.message().await.unwrap().unwrap().created());
        client.put("k/1", "a", None).await.unwrap();
        client.put("other", "", None).await.unwrap();
        client.delete("k/1", None).await.unwrap();
        let start = now();
        let put = watch.message().await.unwrap().unwrap();
        assert_eq!(events(&put), [("k/1".to_owned(), 2)]);
        let delete = watch.message().await.unwrap().unwrap();
        let event = &delete.events()[0];
        assert_eq!(event.event_type(), EventType::Delete);
        assert_eq!(event.prev_kv().unwrap().value(), b"a");
        assert_eq!(delete.header().unwrap().revision(), 4);
        assert!(now().saturating_sub(start) < millis(1));
    });
}

#[test]
fn all_events_of_a_revision_come_in_one_answer() {
    with_member(|_, mut client| async move {
        let mut watch = client
            .watch("", Some(WatchOptions::new().with_all_keys()))
            .await
            .unwrap();
        watch.message().await.unwrap();
        let ops = [TxnOp::put("b", "", None), TxnOp::put("a", "", None)];
        client.txn(Txn::new().and_then(ops)).await.unwrap();
        let answer = watch.message().await.unwrap().unwrap();
        assert_eq!(events(&answer), [("b".to_owned(), 2), ("a".to_owned(), 2)]);
    });
}

#[test]
fn a_watch_from_the_past_is_served_by_the_loop_that_runs_each_100_ms() {
    with_member(|_, mut client| async move {
        client.put("a", "1", None).await.unwrap();
        client.put("a", "2", None).await.unwrap();
        sleep(millis(10)).await;
        let start = now();
        let options = WatchOptions::new().with_start_revision(2);
        let mut watch = client.watch("a", Some(options)).await.unwrap();
        assert!(watch.message().await.unwrap().unwrap().created());
        client.put("a", "3", None).await.unwrap();
        let answer = watch.message().await.unwrap().unwrap();
        assert_eq!(events(&answer).len(), 3);
        let waited = now().saturating_sub(start);
        assert!(waited > millis(50) && waited < millis(101), "{waited:?}");
    });
}

#[test]
fn a_future_watch_starts_at_its_revision() {
    with_member(|_, mut client| async move {
        let options = WatchOptions::new().with_start_revision(3);
        let mut watch = client.watch("a", Some(options)).await.unwrap();
        watch.message().await.unwrap();
        client.put("a", "1", None).await.unwrap();
        client.put("a", "2", None).await.unwrap();
        let answer = watch.message().await.unwrap().unwrap();
        assert_eq!(events(&answer), [("a".to_owned(), 3)]);
    });
}

#[test]
fn a_compacted_watch_is_created_and_then_cancelled_without_a_reason() {
    with_member(|_, mut client| async move {
        for _ in 0..3 {
            client.put("a", "", None).await.unwrap();
        }
        client.compact(4, None).await.unwrap();
        let options = WatchOptions::new().with_start_revision(2);
        let mut watch = client.watch("a", Some(options)).await.unwrap();
        let created = watch.message().await.unwrap().unwrap();
        assert!(created.created() && !created.canceled());
        let canceled = watch.message().await.unwrap().unwrap();
        assert!(canceled.canceled() && canceled.cancel_reason().is_empty());
        assert_eq!(canceled.compact_revision(), 4);
    });
}

#[test]
fn a_watch_from_the_compacted_revision_hears_of_it() {
    with_member(|_, mut client| async move {
        client.put("a", "", None).await.unwrap();
        client.delete("a", None).await.unwrap();
        client.compact(3, None).await.unwrap();
        let options = WatchOptions::new().with_start_revision(3);
        let mut watch = client.watch("a", Some(options)).await.unwrap();
        watch.message().await.unwrap();
        let answer = watch.message().await.unwrap().unwrap();
        assert_eq!(events(&answer), [("a".to_owned(), 3)]);
    });
}

#[test]
fn progress_is_reported_only_when_every_watch_of_the_stream_is_synced() {
    with_member(|_, mut client| async move {
        client.put("a", "", None).await.unwrap();
        let mut watch = client.watch("b", None).await.unwrap();
        watch.message().await.unwrap();
        watch.request_progress().await.unwrap();
        let answer = watch.message().await.unwrap().unwrap();
        assert_eq!(
            (answer.watch_id(), answer.header().unwrap().revision()),
            (-1, 2)
        );
        let options = WatchOptions::new().with_start_revision(2);
        watch.watch("a", Some(options)).await.unwrap();
        watch.request_progress().await.unwrap();
        assert!(watch.message().await.unwrap().unwrap().created());
        let answer = watch.message().await.unwrap().unwrap();
        assert_eq!(events(&answer).len(), 1, "no progress before the events");
        watch.request_progress().await.unwrap();
        assert_eq!(watch.message().await.unwrap().unwrap().watch_id(), -1);
    });
}

#[test]
fn a_watch_that_asks_for_it_hears_of_progress_every_ten_minutes() {
    with_member(|_, mut client| async move {
        let options = WatchOptions::new().with_progress_notify();
        let mut watch = client.watch("a", Some(options)).await.unwrap();
        watch.message().await.unwrap();
        client.put("b", "", None).await.unwrap();
        for minutes in [10, 20] {
            let answer = watch.message().await.unwrap().unwrap();
            assert!(answer.events().is_empty());
            assert_eq!(answer.header().unwrap().revision(), 2);
            assert_eq!(now().as_nanos() / 60_000_000_000, minutes);
        }
    });
}

#[test]
fn a_reader_that_stops_reading_misses_nothing() {
    with_member(|_, mut client| async move {
        let mut watch = client.watch("a", None).await.unwrap();
        watch.message().await.unwrap();
        for _ in 0..5_000 {
            client.put("a", "", None).await.unwrap();
        }
        sleep(seconds(1)).await;
        let (mut next, mut answers) = (2, 0);
        while next < 5_002 {
            let answer = watch.message().await.unwrap().unwrap();
            answers += 1;
            for (_, revision) in events(&answer) {
                assert_eq!(revision, next);
                next += 1;
            }
        }
        assert!(
            answers < 200,
            "the answers that wait are bounded: {answers}"
        );
    });
}

#[test]
fn a_cancelled_watch_is_silent() {
    with_member(|_, mut client| async move {
        let mut watch = client.watch("a", None).await.unwrap();
        let id = watch.message().await.unwrap().unwrap().watch_id();
        watch.cancel(id).await.unwrap();
        assert!(watch.message().await.unwrap().unwrap().canceled());
        client.put("a", "", None).await.unwrap();
        watch.request_progress().await.unwrap();
        watch.watch("b", None).await.unwrap();
        let answer = watch.message().await.unwrap().unwrap();
        assert!(answer.created() && answer.watch_id() == 1);
    });
}

#[test]
fn the_watches_end_with_their_stream() {
    with_member(|member, mut client| async move {
        let mut watch = client.watch("a", None).await.unwrap();
        watch.message().await.unwrap();
        assert_eq!(member.watches(), 1);
        drop(watch);
        sleep(millis(1)).await;
        assert_eq!(member.watches(), 0);
    });
}

#[test]
fn an_expired_lease_takes_its_keys_within_half_a_second() {
    with_member(|_, mut client| async move {
        let lease = client.lease_grant(3, None).await.unwrap().id();
        let with_lease = || Some(PutOptions::new().with_lease(lease));
        client.put("b", "", with_lease()).await.unwrap();
        client.put("a", "", with_lease()).await.unwrap();
        let options = WatchOptions::new().with_all_keys();
        let mut watch = client.watch("", Some(options)).await.unwrap();
        watch.message().await.unwrap();
        let answer = watch.message().await.unwrap().unwrap();
        assert_eq!(events(&answer), [("a".to_owned(), 4), ("b".to_owned(), 4)]);
        let at = Duration::from_nanos(now().as_nanos());
        assert!(at >= seconds(3) && at < millis(3_502), "{at:?}");
        assert_eq!(
            client.lease_time_to_live(lease, None).await.unwrap().ttl(),
            -1
        );
    });
}

#[test]
fn keep_alives_keep_a_lease_alive() {
    with_member(|_, mut client| async move {
        let options = LeaseGrantOptions::new().with_id(7);
        assert_eq!(client.lease_grant(1, Some(options)).await.unwrap().ttl(), 2);
        let (mut keeper, mut answers) = client.lease_keep_alive(7).await.unwrap();
        for _ in 0..10 {
            sleep(seconds(1)).await;
            keeper.keep_alive().await.unwrap();
            assert_eq!(answers.message().await.unwrap().unwrap().ttl(), 2);
        }
        sleep(seconds(3)).await;
        keeper.keep_alive().await.unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap().ttl(), 0);
    });
}

#[test]
fn a_keep_alive_does_not_save_a_lease_whose_time_is_over() {
    with_member(|member, mut client| async move {
        sleep(millis(100)).await;
        client
            .lease_grant(2, Some(LeaseGrantOptions::new().with_id(7)))
            .await
            .unwrap();
        let (mut keeper, mut answers) = client.lease_keep_alive(7).await.unwrap();
        sleep(millis(2_050)).await;
        assert_eq!(
            member.with_store(|store| store.leases().len()),
            1,
            "not revoked yet"
        );
        let start = now();
        keeper.keep_alive().await.unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap().ttl(), 0);
        assert!(
            now().saturating_sub(start) > millis(100),
            "it waited for the revocation"
        );
    });
}

#[test]
fn a_crash_ends_the_streams_and_extends_the_leases() {
    with_member(|member, mut client| async move {
        let lease = client.lease_grant(10, None).await.unwrap();
        let term = lease.header().unwrap().raft_term();
        let options = PutOptions::new().with_lease(lease.id());
        client.put("a", "kept", Some(options)).await.unwrap();
        let mut watch = client.watch("a", None).await.unwrap();
        watch.message().await.unwrap();
        sleep(seconds(9)).await;
        member.crash();
        assert!(!matches!(watch.message().await, Ok(Some(_))));
        sleep(seconds(60)).await;
        member.start(&Node::new("member again"));
        let mut client = connect(&member).await;
        let answer = client.get("a", None).await.unwrap();
        assert_eq!(answer.kvs()[0].value(), b"kept");
        assert_eq!(answer.header().unwrap().raft_term(), term + 1);
        let answer = client.lease_time_to_live(lease.id(), None).await.unwrap();
        assert_eq!((answer.ttl(), answer.granted_ttl()), (11, 10));
    });
}

#[test]
fn only_a_call_that_changed_something_is_marked_as_applied() {
    with_member(|member, mut client| async move {
        let put = PbPutRequest {
            key: b"a".to_vec(),
            ..Default::default()
        };
        let mark = applied(member.router(), "Put", &put).await;
        assert_eq!(mark, Some(Applied { revision: 2 }));
        let get = PbRangeRequest {
            key: b"a".to_vec(),
            ..Default::default()
        };
        assert_eq!(applied(member.router(), "Range", &get).await, None);
        let refused = PbPutRequest { lease: 9, ..put };
        assert_eq!(applied(member.router(), "Put", &refused).await, None);
        let compare = Compare::version("a", CompareOp::Equal, 1);
        assert!(
            client
                .txn(Txn::new().when([compare]))
                .await
                .unwrap()
                .succeeded()
        );
    });
}

/// Sends one request of the service KV; the mark of its answer.
async fn applied(
    mut router: Router,
    method: &str,
    message: &impl prost::Message,
) -> Option<Applied> {
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
    message.encode(&mut frame).unwrap();
    let body = Full::from(frame).map_err(|never| match never {});
    let request = http::Request::post(format!("/etcdserverpb.KV/{method}"))
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(body))
        .unwrap();
    router
        .call(request)
        .await
        .unwrap()
        .extensions()
        .get()
        .copied()
}
