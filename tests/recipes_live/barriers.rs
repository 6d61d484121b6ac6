use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_recipes::etcd_client::{GetOptions, PutOptions};
use etcd_recipes::runtime;
use etcd_recipes::{Barrier, CyclicBarrier, DoubleBarrier, Session, SessionOptions};
use futures_util::future::join;

use super::server::Server;
use super::{A_MINUTE, all, within};

async fn session(server: &Server) -> Session {
    let options = SessionOptions::new().ttl(Duration::from_secs(10));
    Session::with_options(&server.client().await, options)
        .await
        .unwrap()
}

async fn keys(server: &Server, prefix: &str) -> Vec<String> {
    let below = GetOptions::new().with_prefix().with_keys_only();
    let read = server.client().await.get(prefix, Some(below)).await;
    let read = read.unwrap();
    let names = read.kvs().iter().map(|kv| kv.key_str().unwrap().to_owned());
    names.collect()
}

async fn no_keys(server: &Server, prefix: &str) {
    while !keys(server, prefix).await.is_empty() {
        runtime::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_release_wakes_fifty_who_wait() {
    let server = Server::shared();
    let holder = Barrier::new(&server.client().await, "live-barrier/start").unwrap();
    let waiter = Barrier::new(&server.client().await, "live-barrier/start").unwrap();
    assert!(holder.hold().await.unwrap());
    assert!(!waiter.hold().await.unwrap());
    let passed = Arc::new(AtomicUsize::new(0));
    let waiting = (0..50).map(|_| {
        let (waiter, passed) = (waiter.clone(), Arc::clone(&passed));
        async move {
            waiter.wait().await.unwrap();
            passed.fetch_add(1, Ordering::SeqCst);
        }
    });
    let release = async {
        runtime::sleep(Duration::from_millis(200)).await;
        assert_eq!(passed.load(Ordering::SeqCst), 0, "the barrier stands");
        assert!(holder.release().await.unwrap());
    };
    within(A_MINUTE, join(all(waiting.collect()), release)).await;
    assert_eq!(passed.load(Ordering::SeqCst), 50);
    assert!(!holder.release().await.unwrap());
    within(A_MINUTE, waiter.wait()).await.unwrap();
}

#[tokio::test]
async fn a_barrier_held_with_a_session_falls_with_its_lease() {
    let server = Server::shared();
    let mut client = server.client().await;
    let barrier = Barrier::new(&client, "live-barrier/leased").unwrap();
    let session = session(&server).await;
    let _held = barrier.hold_with_session(&session).await.unwrap().unwrap();
    assert!(!barrier.hold().await.unwrap());
    let revoke = async {
        runtime::sleep(Duration::from_millis(200)).await;
        client.lease_revoke(session.lease_id()).await.unwrap();
    };
    let (waited, ()) = within(A_MINUTE, join(barrier.wait(), revoke)).await;
    waited.unwrap();
}

#[tokio::test]
async fn five_sessions_begin_and_end_together_round_after_round() {
    const COUNT: usize = 5;
    let server = Server::shared();
    let (inside, outside) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut parties = Vec::new();
    for _ in 0..COUNT {
        let session = session(&server).await;
        let (inside, outside) = (Arc::clone(&inside), Arc::clone(&outside));
        parties.push(async move {
            let party = DoubleBarrier::new(&session, "live-barrier/double", COUNT).unwrap();
            for round in 1..=10 {
                inside.fetch_add(1, Ordering::SeqCst);
                // Who is quick comes while the others of the last round go.
                while let Err(error) = party.enter().await {
                    assert!(error.is_too_many_clients(), "{error}");
                    runtime::sleep(Duration::from_millis(5)).await;
                }
                assert!(inside.load(Ordering::SeqCst) >= round * COUNT);
                outside.fetch_add(1, Ordering::SeqCst);
                party.leave().await.unwrap();
                assert!(outside.load(Ordering::SeqCst) >= round * COUNT);
            }
        });
    }
    within(A_MINUTE, all(parties)).await;
    assert_eq!(keys(&server, "live-barrier/double/").await.len(), 0);
}

#[tokio::test]
async fn a_participant_whose_lease_is_gone_does_not_count_and_one_too_many_is_refused() {
    let server = Server::shared();
    let (gone, second, third, fourth) = (
        session(&server).await,
        session(&server).await,
        session(&server).await,
        session(&server).await,
    );
    let double = |session| DoubleBarrier::new(session, "live-barrier/expired", 2).unwrap();
    let (a, b, c, d) = (
        double(&gone),
        double(&second),
        double(&third),
        double(&fourth),
    );
    let mut client = server.client().await;
    let revoke = async {
        runtime::sleep(Duration::from_millis(200)).await;
        client.lease_revoke(gone.lease_id()).await.unwrap();
    };
    let (entered, ()) = within(A_MINUTE, join(a.enter(), revoke)).await;
    let error = entered.unwrap_err();
    assert!(error.is_not_held() || error.is_session_lost(), "{error}");
    let alone = runtime::timeout(Duration::from_millis(300), b.enter()).await;
    assert!(alone.is_err(), "it is alone");
    // It goes in the background.
    within(A_MINUTE, no_keys(&server, "live-barrier/expired/")).await;
    let (one, other) = within(A_MINUTE, join(b.enter(), c.enter())).await;
    one.unwrap();
    other.unwrap();
    let refused = within(A_MINUTE, d.enter()).await.unwrap_err();
    assert!(refused.is_too_many_clients(), "{refused}");
    let (one, other) = within(A_MINUTE, join(b.leave(), c.leave())).await;
    one.unwrap();
    other.unwrap();
}

/// What Go participants need: see `DoubleBarrier`.
#[tokio::test]
async fn the_oldest_of_three_deletes_its_key_last() {
    let server = Server::shared();
    let name = "live-barrier/oldest";
    let (first, second) = (session(&server).await, session(&server).await);
    let [a, b] = [&first, &second].map(|session| DoubleBarrier::new(session, name, 3).unwrap());
    let mut client = server.client().await;
    // Another program's participant.
    let theirs = format!("{name}/waiters/1795215111064444187");
    let waiters = format!("{name}/waiters/");
    let others = async {
        while keys(&server, &waiters).await.is_empty() {
            runtime::sleep(Duration::from_millis(5)).await;
        }
        let leased = PutOptions::new().with_lease(second.lease_id());
        client.put(&*theirs, "", Some(leased)).await.unwrap();
        b.enter().await
    };
    let (one, other) = within(A_MINUTE, join(a.enter(), others)).await;
    one.unwrap();
    other.unwrap();
    let mut client = server.client().await;
    let others = async {
        runtime::sleep(Duration::from_millis(200)).await;
        assert_eq!(keys(&server, &waiters).await.len(), 3, "it stays");
        let theirs = async {
            runtime::sleep(Duration::from_millis(200)).await;
            assert_eq!(keys(&server, &waiters).await.len(), 2, "it stays");
            client.delete(&*theirs, None).await.unwrap();
        };
        join(b.leave(), theirs).await.0
    };
    let (one, other) = within(A_MINUTE, join(a.leave(), others)).await;
    one.unwrap();
    other.unwrap();
    assert_eq!(keys(&server, name).await.len(), 0);
}

#[tokio::test]
async fn rounds_of_a_cyclic_barrier_rise_and_every_place_is_taken_once() {
    const COUNT: usize = 4;
    const ROUNDS: usize = 10;
    let server = Server::shared();
    let mut parties = Vec::new();
    for _ in 0..COUNT {
        let session = session(&server).await;
        parties.push(async move {
            let party = CyclicBarrier::new(&session, "live-barrier/cyclic", COUNT).unwrap();
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                let round = party.wait().await.unwrap();
                rounds.push((round.number, round.index));
            }
            rounds
        });
    }
    let mut places = within(A_MINUTE, all(parties)).await.concat();
    places.sort_unstable();
    let expected = (1..=ROUNDS as u64).flat_map(|number| (0..COUNT).map(move |at| (number, at)));
    assert!(places.into_iter().eq(expected));
}

#[tokio::test]
async fn a_participant_of_a_cyclic_barrier_whose_lease_is_gone_does_not_count() {
    let server = Server::shared();
    let (gone, second, third) = (
        session(&server).await,
        session(&server).await,
        session(&server).await,
    );
    let cyclic = |session| CyclicBarrier::new(session, "live-barrier/cyclic-gone", 2).unwrap();
    let (a, b, c) = (cyclic(&gone), cyclic(&second), cyclic(&third));
    let mut client = server.client().await;
    let revoke = async {
        runtime::sleep(Duration::from_millis(200)).await;
        client.lease_revoke(gone.lease_id()).await.unwrap();
    };
    let (waited, ()) = within(A_MINUTE, join(a.wait(), revoke)).await;
    let error = waited.unwrap_err();
    assert!(error.is_not_held() || error.is_session_lost(), "{error}");
    let alone = runtime::timeout(Duration::from_millis(300), b.wait()).await;
    assert!(alone.is_err(), "it is alone");
    // It goes in the background.
    within(
        A_MINUTE,
        no_keys(&server, "live-barrier/cyclic-gone/round/"),
    )
    .await;
    let (one, other) = within(A_MINUTE, join(b.wait(), c.wait())).await;
    assert_eq!((one.unwrap().number, other.unwrap().number), (1, 1));
}
