use std::time::Duration;

use etcd_recipes::{PriorityQueue, runtime};

use super::server::Server;
use super::{A_MINUTE, all, within};

#[tokio::test]
async fn the_best_comes_first_and_ties_in_order() {
    let server = Server::shared();
    let client = server.client().await;
    let queue = PriorityQueue::new(&client, "best/jobs").unwrap();
    for (value, priority) in [("d", 9), ("a", 1), ("b", 1), ("e", 65535), ("c", 2)] {
        queue.enqueue(value, priority).await.unwrap();
    }
    assert_eq!(queue.len().await.unwrap(), 5);
    assert_eq!(queue.peek().await.unwrap().unwrap().value, b"a");
    for (value, priority) in [("a", 1), ("b", 1), ("c", 2), ("d", 9), ("e", 65535)] {
        let item = queue.dequeue().await.unwrap();
        assert_eq!(
            (item.value.as_slice(), item.priority),
            (value.as_bytes(), priority)
        );
    }
    assert_eq!(queue.try_dequeue().await.unwrap(), None);
    assert!(queue.is_empty().await.unwrap());
}

#[tokio::test]
async fn many_producers_and_consumers_lose_nothing_and_share_nothing() {
    const EACH: usize = 100;
    let server = Server::shared();
    let client = server.client().await;
    let mut work: Vec<std::pin::Pin<Box<dyn Future<Output = Vec<String>> + Send>>> = Vec::new();
    for _ in 0..4 {
        let queue = PriorityQueue::new(&client, "many/jobs").unwrap();
        work.push(Box::pin(async move {
            let mut values = Vec::new();
            loop {
                let item = queue.dequeue().await.unwrap();
                if item.value == b"end" {
                    return values;
                }
                values.push(String::from_utf8(item.value).unwrap());
            }
        }));
    }
    let producers = (0..4).map(|producer| {
        let queue = PriorityQueue::new(&client, "many/jobs").unwrap();
        async move {
            for n in 0..EACH {
                let priority = u16::try_from(n % 3).unwrap();
                queue
                    .enqueue(format!("{producer}-{n}"), priority)
                    .await
                    .unwrap();
            }
        }
    });
    let producers = producers.collect::<Vec<_>>();
    let end = PriorityQueue::new(&client, "many/jobs").unwrap();
    work.push(Box::pin(async move {
        all(producers).await;
        for _ in 0..4 {
            end.enqueue("end", 9).await.unwrap();
        }
        Vec::new()
    }));
    let mut taken: Vec<String> = within(A_MINUTE, all(work)).await.concat();
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 4 * EACH);
}

#[tokio::test]
async fn foreign_keys_are_left_alone() {
    let server = Server::shared();
    let mut client = server.client().await;
    for n in 0..100 {
        client
            .put(format!("odd/jobs/{n:05}"), "", None)
            .await
            .unwrap();
    }
    let queue = PriorityQueue::new(&client, "odd/jobs").unwrap();
    for _ in 0..2 {
        queue.enqueue("mine", 100).await.unwrap();
        assert_eq!(queue.dequeue().await.unwrap().value, b"mine");
    }
    let left = client.get("odd/jobs/00099", None).await.unwrap();
    assert_eq!(left.count(), 1);
}

#[tokio::test]
async fn large_values_fit_as_in_go() {
    let server = Server::shared();
    let client = server.client().await;
    let queue = PriorityQueue::new(&client, "large/pq").unwrap();
    let value = vec![7; 1_400_000];
    for priority in [2, 1, 1] {
        queue.enqueue(value.clone(), priority).await.unwrap();
    }
    for priority in [1, 1, 2] {
        let item = queue.dequeue().await.unwrap();
        assert!(item.priority == priority && item.value == value);
    }
}

#[tokio::test]
async fn an_item_wakes_a_waiting_consumer_at_once() {
    let server = Server::shared();
    let client = server.client().await;
    let queue = PriorityQueue::new(&client, "wake/pq").unwrap();
    let waiting = queue.clone();
    let (sender, mut taken) = tokio::sync::mpsc::unbounded_channel();
    let _task = runtime::spawn(async move {
        while let Ok(item) = waiting.dequeue().await {
            sender.send((runtime::now(), item)).ok();
        }
    });
    let mut waits = Vec::new();
    for n in 0..20 {
        runtime::sleep(Duration::from_millis(10)).await;
        let start = runtime::now();
        queue.enqueue(n.to_string(), 5).await.unwrap();
        let (at, _) = within(A_MINUTE, taken.recv()).await.unwrap();
        waits.push(at - start);
    }
    waits.sort();
    assert!(waits[10] < Duration::from_millis(50), "{waits:?}");
}
