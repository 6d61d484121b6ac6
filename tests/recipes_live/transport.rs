//! Connections that coalesce their writes.

use std::time::Duration;

use etcd_recipes::etcd_client::{Client, ConnectOptions};
use etcd_recipes::transport::WriteCoalescing;
use etcd_recipes::{Mutex, Queue, Session, runtime};
use futures_util::future::join;

use super::proxy::Proxy;
use super::server::{Server, connect, free_port};
use super::{A_MINUTE, within};

async fn coalescing(endpoints: &[String]) -> Client {
    let options = ConnectOptions::new().with_connect_timeout(Duration::from_secs(3));
    Client::connect_with_balanced_channel(endpoints, Some(options), WriteCoalescing::new())
        .await
        .unwrap()
}

/// The types of the HTTP/2 frames in `bytes`: 0 is DATA, 1 HEADERS (RFC 9113,
/// sections 4.1 and 6).
fn frames(mut bytes: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = bytes {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        types.push(*kind);
        bytes = rest.get(length..).expect("whole frames");
    }
    types
}

#[tokio::test]
async fn the_head_and_the_body_of_a_request_arrive_together() {
    const REQUESTS: usize = 20;
    let server = Server::shared();
    server.client().await;
    let proxy = Proxy::new(server.port());
    let mut client = coalescing(&[proxy.endpoint()]).await;
    client.get("transport/warm", None).await.unwrap();
    proxy.take_heard();
    for _ in 0..REQUESTS {
        client.put("transport/a", "1", None).await.unwrap();
    }
    let heard: Vec<Vec<u8>> = proxy.take_heard().iter().map(|b| frames(b)).collect();
    let with = |kind| heard.iter().filter(move |chunk| chunk.contains(&kind));
    assert_eq!(with(1).count(), REQUESTS, "{heard:?}");
    assert!(with(1).all(|chunk| chunk.contains(&0)), "{heard:?}");
}

#[tokio::test]
async fn recipes_wait_and_are_woken_through_it() {
    let server = Server::shared();
    let other = connect(&server.endpoint()).await;
    let client = coalescing(&[server.endpoint()]).await;
    let queue = Queue::new(&client, "transport/jobs").unwrap();
    let items = async {
        let mut items = Vec::new();
        for _ in 0..3 {
            items.push(queue.dequeue().await.unwrap().value);
        }
        items
    };
    let producer = Queue::new(&other, "transport/jobs").unwrap();
    let produce = async {
        for value in ["1", "2", "3"] {
            runtime::sleep(Duration::from_millis(20)).await;
            producer.enqueue(value).await.unwrap();
        }
    };
    let (items, ()) = within(A_MINUTE, join(items, produce)).await;
    assert_eq!(items, [b"1", b"2", b"3"]);

    let session = Session::new(&client).await.unwrap();
    let mutex = Mutex::new(&session, "transport/lock").unwrap();
    let held = within(A_MINUTE, mutex.lock()).await.unwrap();
    held.unlock().await.unwrap();
    session.close().await.unwrap();
}

#[tokio::test]
async fn two_mebibytes_get_through() {
    let server = Server::with_arguments(&["--max-request-bytes", "4000000"]);
    server.client().await;
    let mut client = coalescing(&[server.endpoint()]).await;
    let big = vec![7; 2 << 20];
    within(A_MINUTE, client.put("big", big.clone(), None))
        .await
        .unwrap();
    let read = within(A_MINUTE, client.get("big", None)).await.unwrap();
    assert_eq!(read.kvs()[0].value(), big);
}

#[tokio::test]
async fn a_member_that_is_down_costs_its_requests_only_and_is_used_when_it_is_back() {
    let server = Server::own();
    server.client().await;
    let proxy_port = free_port();
    let down = format!("127.0.0.1:{proxy_port}");
    let mut client = coalescing(&[server.endpoint(), down]).await;
    let mut outcomes = Vec::new();
    for _ in 0..4 {
        outcomes.push(within(A_MINUTE, client.get("a", None)).await.is_ok());
    }
    assert_eq!(outcomes, [true, false, true, false]);
    let _back = Proxy::at(proxy_port, server.port());
    for _ in 0..4 {
        within(A_MINUTE, client.get("a", None)).await.unwrap();
    }
}
