use std::time::Duration;

use etcd_recipes::{ReliableQueue, Session, SessionOptions};

use super::server::Server;
use super::{A_MINUTE, within};

#[tokio::test]
async fn items_are_claimed_in_order_given_back_and_acknowledged() {
    let server = Server::shared();
    let client = server.client().await;
    let session = Session::new(&client).await.unwrap();
    let queue = ReliableQueue::new(&session, "rq/jobs").unwrap();
    queue.enqueue_batch(["a", "b", "c", "d"]).await.unwrap();
    queue.enqueue("e").await.unwrap();
    let peeked = queue.peek(2).await.unwrap();
    assert_eq!(peeked[1].value, b"b");
    let first = queue.claim().await.unwrap();
    assert_eq!(first.item.value, b"a");
    let rest = queue.claim_batch(3).await.unwrap();
    let values: Vec<&[u8]> = rest
        .iter()
        .map(|claim| claim.item.value.as_slice())
        .collect();
    assert_eq!(values, [b"b", b"c", b"d"]);
    first.release().await.unwrap();
    let again = queue.claim().await.unwrap();
    assert_eq!(again.item.value, b"a");
    assert_eq!(queue.len().await.unwrap(), 5);
    for claim in rest.into_iter().chain([again]) {
        assert!(claim.acknowledge().await.unwrap().is_some());
    }
    assert_eq!(queue.claim().await.unwrap().item.value, b"e");
}

#[tokio::test]
async fn what_a_dead_session_had_comes_back() {
    let server = Server::shared();
    let client = server.client().await;
    let short = SessionOptions::new().ttl(Duration::from_secs(2));
    let dying = Session::with_options(&client, short).await.unwrap();
    let session = Session::new(&client).await.unwrap();
    let theirs = ReliableQueue::new(&dying, "rq/dead").unwrap();
    let queue = ReliableQueue::new(&session, "rq/dead").unwrap();
    queue.enqueue("a").await.unwrap();
    let claim = theirs.claim().await.unwrap();
    assert!(queue.try_claim().await.unwrap().is_none());
    let waiting = queue.claim();
    client
        .lease_client()
        .revoke(dying.lease_id())
        .await
        .unwrap();
    let again = within(A_MINUTE, waiting).await.unwrap();
    assert_eq!(again.item.value, b"a");
    assert!(claim.acknowledge().await.unwrap_err().is_not_held());
    again.acknowledge().await.unwrap();
    assert!(queue.is_empty().await.unwrap());
}

#[tokio::test]
async fn more_claimed_items_than_a_page_hide_nothing() {
    let server = Server::shared();
    let client = server.client().await;
    let session = Session::new(&client).await.unwrap();
    let queue = ReliableQueue::new(&session, "rq/long").unwrap();
    for _ in 0..2 {
        queue
            .enqueue_batch((0..100).map(|n| n.to_string()))
            .await
            .unwrap();
    }
    let mut claims = Vec::new();
    for _ in 0..5 {
        claims.extend(queue.claim_batch(30).await.unwrap());
    }
    assert_eq!(claims.len(), 150);
    assert_eq!(queue.claim().await.unwrap().item.value, b"50");
    assert!(
        queue
            .enqueue_batch((0..101).map(|n| n.to_string()))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn large_items_are_claimed_one_by_one_and_together() {
    let server = Server::shared();
    let client = server.client().await;
    let session = Session::new(&client).await.unwrap();
    let queue = ReliableQueue::new(&session, "rq/large").unwrap();
    let value = vec![7; 1_400_000];
    for _ in 0..5 {
        queue.enqueue(value.clone()).await.unwrap();
    }
    let claims = queue.claim_batch(4).await.unwrap();
    assert_eq!(claims.len(), 4);
    assert!(claims.iter().all(|claim| claim.item.value == value));
    assert!(queue.claim().await.unwrap().item.value == value);
}
