use std::time::Duration;

use etcd_recipes::etcd_client::PutOptions;
use etcd_recipes::runtime;
use etcd_recipes::session::{Loss, Session, SessionOptions};

use super::proxy::Proxy;
use super::server::{Server, connect};
use super::{A_MINUTE, within};

fn two_seconds() -> SessionOptions {
    SessionOptions::new().ttl(Duration::from_secs(2))
}

#[tokio::test]
async fn a_session_lives_beyond_its_ttl_and_ends_its_keys_when_closed() {
    let server = Server::shared();
    let mut client = server.client().await;
    let session = Session::with_options(&client, two_seconds()).await.unwrap();
    let attached = PutOptions::new().with_lease(session.lease_id());
    client
        .put("session/key", "x", Some(attached))
        .await
        .unwrap();
    let first = session.deadline();
    runtime::sleep(Duration::from_millis(3500)).await;
    assert!(session.is_alive() && session.check().is_ok());
    assert!(session.deadline() > first);
    assert!(session.remaining() <= session.ttl());
    let clone = session.clone();
    session.close().await.unwrap();
    assert_eq!(within(A_MINUTE, clone.lost()).await, Loss::Closed);
    assert!(clone.check().unwrap_err().is_session_lost());
    assert!(clone.deadline() <= runtime::now());
    assert!(
        client
            .get("session/key", None)
            .await
            .unwrap()
            .kvs()
            .is_empty()
    );
    // Closing what is closed is no error.
    clone.close().await.unwrap();
}

#[tokio::test]
async fn a_revoked_lease_is_noticed() {
    let server = Server::shared();
    let mut client = server.client().await;
    let session = Session::with_options(&client, two_seconds()).await.unwrap();
    client.lease_revoke(session.lease_id()).await.unwrap();
    let start = runtime::now();
    assert_eq!(within(A_MINUTE, session.lost()).await, Loss::Gone);
    assert!(runtime::now() - start < Duration::from_secs(2));
    assert!(!session.is_alive());
}

#[tokio::test]
async fn a_session_without_answers_is_given_up_before_etcd_ends_it() {
    let server = Server::shared();
    let mut direct = server.client().await;
    let proxy = Proxy::new(server.port());
    let client = connect(&proxy.endpoint()).await;
    let session = Session::with_options(&client, two_seconds()).await.unwrap();
    let attached = PutOptions::new().with_lease(session.lease_id());
    direct
        .put("unanswered/key", "x", Some(attached))
        .await
        .unwrap();
    runtime::sleep(Duration::from_millis(1000)).await;
    proxy.lose_answers();
    assert_eq!(within(A_MINUTE, session.lost()).await, Loss::Expired);
    let left = direct.get("unanswered/key", None).await.unwrap();
    assert_eq!(left.kvs().len(), 1, "etcd was faster");
    // A late heal does not bring it back.
    proxy.heal();
    runtime::sleep(Duration::from_millis(500)).await;
    assert_eq!(session.lost().await, Loss::Expired);
}

#[tokio::test]
async fn a_broken_keep_alive_stream_is_opened_again() {
    let server = Server::shared();
    let proxy = Proxy::new(server.port());
    let client = connect(&proxy.endpoint()).await;
    let session = Session::with_options(&client, two_seconds()).await.unwrap();
    for _ in 0..4 {
        runtime::sleep(Duration::from_millis(900)).await;
        proxy.cut();
    }
    assert!(session.is_alive());
    // Dropping the last handle leaves the lease to its time to live.
    let lease = session.lease_id();
    drop(session);
    let mut direct = server.client().await;
    let left = direct.lease_time_to_live(lease, None).await.unwrap();
    assert!(left.ttl() >= 0);
    within(A_MINUTE, async {
        while direct.lease_time_to_live(lease, None).await.unwrap().ttl() >= 0 {
            runtime::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}
