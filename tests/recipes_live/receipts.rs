use std::collections::BTreeSet;
use std::time::Duration;

use etcd_recipes::runtime;
use etcd_recipes::{Queue, QueueOptions};

use super::proxy::Proxy;
use super::server::{Server, connect};
use super::{A_MINUTE, within};

fn options(prefix: &str) -> QueueOptions {
    QueueOptions::new().receipts(format!("{prefix}/receipts"))
}

#[tokio::test]
async fn a_receipt_returns_its_item_until_it_is_acknowledged() {
    let server = Server::shared();
    let client = server.client().await;
    let queue = Queue::with_options(&client, "again/jobs", options("again")).unwrap();
    for value in ["a", "b"] {
        queue.enqueue(value).await.unwrap();
    }
    let first = queue.dequeue_with_receipt("c1").await.unwrap();
    let again = queue.dequeue_with_receipt("c1").await.unwrap();
    assert_eq!(first, again);
    assert_eq!(queue.receipt("c1").await.unwrap(), Some(first.clone()));
    let other = queue.dequeue_with_receipt("c2").await.unwrap();
    assert_eq!(
        (first.value.as_slice(), other.value.as_slice()),
        (&b"a"[..], &b"b"[..])
    );
    queue.acknowledge(&first).await.unwrap();
    assert_eq!(queue.try_dequeue_with_receipt("c1").await.unwrap(), None);
    // Doing it again does not touch a later receipt.
    queue.enqueue("c").await.unwrap();
    let later = queue.dequeue_with_receipt("c1").await.unwrap();
    queue.acknowledge(&first).await.unwrap();
    assert_eq!(queue.receipt("c1").await.unwrap(), Some(later));
}

#[tokio::test]
async fn a_cancelled_dequeue_with_a_receipt_loses_nothing() {
    const ITEMS: usize = 60;
    let server = Server::shared();
    let client = server.client().await;
    let queue = Queue::with_options(&client, "cancel/jobs", options("cancel")).unwrap();
    for n in 0..ITEMS {
        queue.enqueue(n.to_string()).await.unwrap();
    }
    let mut order = Vec::new();
    let mut cancelled = 0;
    let mut micros = 0;
    within(A_MINUTE, async {
        while order.len() < ITEMS {
            // Cuts the future off at ever different moments, by the clock of the
            // machine: tokio's timer is too coarse.
            micros = (micros + 37) % 1500;
            let start = runtime::now();
            let mut dequeue = Box::pin(queue.dequeue_with_receipt("c"));
            let item = std::future::poll_fn(|cx| {
                if let std::task::Poll::Ready(item) = dequeue.as_mut().poll(cx) {
                    return std::task::Poll::Ready(Some(item.unwrap()));
                }
                if runtime::now() - start > Duration::from_micros(micros) {
                    return std::task::Poll::Ready(None);
                }
                cx.waker().wake_by_ref();
                std::task::Poll::Pending
            })
            .await;
            drop(dequeue);
            match item {
                Some(item) => {
                    queue.acknowledge(&item).await.unwrap();
                    order.push(item.mod_revision);
                }
                None => cancelled += 1,
            }
        }
    })
    .await;
    assert!(cancelled > 0);
    assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
    assert_eq!(queue.try_dequeue_with_receipt("c").await.unwrap(), None);
}

#[tokio::test]
async fn a_lost_answer_is_settled_by_the_receipt() {
    let server = Server::shared();
    let direct = server.client().await;
    let proxy = Proxy::new(server.port());
    let client = connect(&proxy.endpoint()).await;
    let options = options("lost").request_deadline(Duration::from_millis(300));
    let queue = Queue::with_options(&client, "lost/jobs", options).unwrap();
    let producer = Queue::new(&direct, "lost/jobs").unwrap();
    let mut taken = BTreeSet::new();
    for n in 0..5_u8 {
        producer.enqueue([n]).await.unwrap();
        let consumer = queue.clone();
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        proxy.lose_answers();
        let _task = runtime::spawn(async move {
            loop {
                // Definite errors and unknown outcomes alike: try again.
                if let Ok(item) = consumer.dequeue_with_receipt("c").await {
                    sender.send(item).ok();
                    return;
                }
            }
        });
        runtime::sleep(Duration::from_millis(400)).await;
        proxy.heal();
        let item = within(A_MINUTE, receiver.recv()).await.unwrap();
        assert!(taken.insert(item.value.clone()), "item {n} came twice");
        assert_eq!(item.value, [n]);
        within(A_MINUTE, async {
            while queue.acknowledge(&item).await.is_err() {}
        })
        .await;
    }
}

#[tokio::test]
async fn a_claim_that_lands_late_does_nothing() {
    // The guard that makes it so: the slot was written or deleted since.
    use etcd_recipes::etcd_client::{Compare, CompareOp, Txn, TxnOp};
    let server = Server::shared();
    let mut client = server.client().await;
    let queue = Queue::with_options(&client, "late/jobs", options("late")).unwrap();
    let a = queue.enqueue("a").await.unwrap();
    let slot = client.put("late/receipts/c", "", None).await.unwrap();
    let seen = slot.header().unwrap().revision();
    let late = Txn::new()
        .when([
            Compare::mod_revision("late/receipts/c", CompareOp::Equal, seen),
            Compare::mod_revision(a.key.as_str(), CompareOp::Equal, a.revision),
        ])
        .and_then([TxnOp::delete(a.key.as_str(), None)]);
    let item = queue.dequeue_with_receipt("c").await.unwrap();
    assert!(!client.txn(late.clone()).await.unwrap().succeeded());
    queue.acknowledge(&item).await.unwrap();
    assert!(!client.txn(late.clone()).await.unwrap().succeeded());
    queue.enqueue("b").await.unwrap();
    queue.dequeue_with_receipt("c").await.unwrap();
    assert!(!client.txn(late).await.unwrap().succeeded());
}

#[tokio::test]
async fn wrong_use_of_receipts_is_told() {
    let server = Server::shared();
    let mut client = server.client().await;
    for inside in ["wrong/jobs", "wrong/jobs/receipts", "wrong/jobs-receipts"] {
        let options = QueueOptions::new().receipts(inside);
        let error = Queue::with_options(&client, "wrong/jobs", options).unwrap_err();
        assert!(error.is_invalid_name(), "{error}");
    }
    let plain = Queue::new(&client, "wrong/jobs").unwrap();
    let error = plain.dequeue_with_receipt("c").await.unwrap_err();
    assert!(
        error.to_string().contains("QueueOptions::receipts"),
        "{error}"
    );
    plain.enqueue("x").await.unwrap();
    let item = plain.dequeue().await.unwrap();
    assert!(plain.acknowledge(&item).await.is_err());
    let queue = Queue::with_options(&client, "wrong/jobs", options("wrong")).unwrap();
    assert!(
        queue
            .dequeue_with_receipt("a/b")
            .await
            .unwrap_err()
            .is_invalid_name()
    );
    client.put("wrong/receipts/c", "hello", None).await.unwrap();
    let error = queue.dequeue_with_receipt("c").await.unwrap_err();
    assert!(error.to_string().contains("no recipe wrote"), "{error}");
    assert!(!error.to_string().contains("hello"), "{error}");
}
