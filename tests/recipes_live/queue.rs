use std::time::Duration;

use etcd_recipes::runtime;
use etcd_recipes::watch::PrefixWatch;
use etcd_recipes::{Item, Queue, QueueOptions};

use super::server::Server;
use super::{A_MINUTE, all, within};

#[tokio::test]
async fn items_come_out_once_and_in_the_order_of_their_commits() {
    const EACH: usize = 100;
    let server = Server::shared();
    let client = server.client().await;
    let queue = Queue::new(&client, "fifo/jobs").unwrap();
    let mut work: Vec<std::pin::Pin<Box<dyn Future<Output = Vec<Item>> + Send>>> = Vec::new();
    // Consumers first, so that they wait.
    for consumer in 0..3 {
        let queue = if consumer == 0 {
            queue.clone()
        } else {
            Queue::new(&client, "fifo/jobs").unwrap()
        };
        work.push(Box::pin(async move {
            let mut items = Vec::new();
            loop {
                let item = queue.dequeue().await.unwrap();
                if item.value == b"end" {
                    return items;
                }
                items.push(item);
            }
        }));
    }
    let producers = (0..2).map(|producer| {
        let queue = Queue::new(&client, "fifo/jobs").unwrap();
        async move {
            for n in 0..EACH {
                let done = queue.enqueue(format!("{producer}-{n}")).await.unwrap();
                assert!(done.key.starts_with("fifo/jobs/"));
            }
        }
    });
    let producers = producers.collect::<Vec<_>>();
    let end = queue.clone();
    work.push(Box::pin(async move {
        all(producers).await;
        for _ in 0..3 {
            end.enqueue("end").await.unwrap();
        }
        Vec::new()
    }));
    let taken = within(A_MINUTE, all(work)).await;
    let mut items: Vec<Item> = taken.into_iter().flatten().collect();
    assert_eq!(items.len(), 2 * EACH);
    items.sort_by_key(|item| item.revision);
    assert!(items.is_sorted_by(|a, b| a.revision < b.revision && a.mod_revision < b.mod_revision));
    for producer in ["0-", "1-"] {
        let own = items
            .iter()
            .filter(|i| i.value.starts_with(producer.as_bytes()));
        let numbers = own.map(|i| String::from_utf8(i.value[2..].to_vec()).unwrap());
        let expected = (0..EACH).map(|n| n.to_string());
        assert!(numbers.eq(expected), "items of producer {producer}");
    }
    assert_eq!(queue.len().await.unwrap(), 0);
    assert!(queue.is_empty().await.unwrap());
}

#[tokio::test]
async fn a_queue_sees_only_its_own_items() {
    let server = Server::shared();
    let mut client = server.client().await;
    // More foreign keys than one page holds, all older than the item.
    for n in 0..40 {
        client
            .put(format!("own/jobs/{n}/1"), "", None)
            .await
            .unwrap();
    }
    for foreign in ["own/jobs", "own/jobs/x/1", "own/jobs/1a", "own/jobs2/7"] {
        client.put(foreign, "foreign", None).await.unwrap();
    }
    let queue = Queue::new(&client, "own/jobs").unwrap();
    let neighbour = Queue::new(&client, "own/jobs2").unwrap();
    assert_eq!(queue.try_dequeue().await.unwrap(), None);
    assert!(queue.is_empty().await.unwrap());
    queue.enqueue("mine").await.unwrap();
    assert_eq!(queue.peek().await.unwrap().unwrap().value, b"mine");
    assert_eq!(queue.try_dequeue().await.unwrap().unwrap().value, b"mine");
    assert_eq!(queue.try_dequeue().await.unwrap(), None);
    let next = neighbour.try_dequeue().await.unwrap().unwrap();
    assert_eq!(
        (next.value.as_slice(), next.key.as_str()),
        (&b"foreign"[..], "own/jobs2/7")
    );
    let left = client.get("own/jobs/x/1", None).await.unwrap();
    assert_eq!(left.kvs().len(), 1);
}

#[tokio::test]
async fn an_item_that_a_go_program_put_is_taken_by_commit_order() {
    let server = Server::shared();
    let mut client = server.client().await;
    // Clocks that disagree: the later item has the smaller key.
    client
        .put("go/q/1795215111050153261", "first", None)
        .await
        .unwrap();
    client
        .put("go/q/1595215111050153261", "second", None)
        .await
        .unwrap();
    let queue = Queue::new(&client, "go/q").unwrap();
    assert_eq!(queue.dequeue().await.unwrap().value, b"first");
    assert_eq!(queue.dequeue().await.unwrap().value, b"second");
}

#[tokio::test]
async fn a_list_of_heads_that_are_all_gone_is_no_empty_queue() {
    let server = Server::shared();
    let mut client = server.client().await;
    let queue = Queue::new(&client, "gone/jobs").unwrap();
    for n in 0..80 {
        queue.enqueue(n.to_string()).await.unwrap();
    }
    // Now 31 heads are known, and others take 69 items: all of these and more.
    assert_eq!(queue.dequeue().await.unwrap().value, b"0");
    let others = Queue::new(&client, "gone/jobs").unwrap();
    for n in 1..70 {
        assert_eq!(
            others.dequeue().await.unwrap().value,
            n.to_string().as_bytes()
        );
    }
    for n in 70..80 {
        assert_eq!(
            queue.dequeue().await.unwrap().value,
            n.to_string().as_bytes()
        );
    }
    assert_eq!(queue.try_dequeue().await.unwrap(), None);
    // A chain of full length whose candidates are all gone can be read too.
    for n in 0..33 {
        queue.enqueue(n.to_string()).await.unwrap();
    }
    assert_eq!(queue.dequeue().await.unwrap().value, b"0");
    let options = etcd_recipes::etcd_client::DeleteOptions::new().with_prefix();
    client.delete("gone/jobs/", Some(options)).await.unwrap();
    assert_eq!(queue.try_dequeue().await.unwrap(), None);
}

#[tokio::test]
async fn an_item_wakes_a_blocked_consumer_at_once() {
    let server = Server::shared();
    let client = server.client().await;
    let queue = Queue::new(&client, "wake/jobs").unwrap();
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
        queue.enqueue(n.to_string()).await.unwrap();
        let (at, item) = within(A_MINUTE, taken.recv()).await.unwrap();
        assert_eq!(item.value, n.to_string().as_bytes());
        waits.push(at - start);
    }
    waits.sort();
    // A watch that is opened for each wait takes up to 100 ms.
    assert!(waits[10] < Duration::from_millis(50), "{waits:?}");
}

#[tokio::test]
async fn large_items_do_not_get_stuck() {
    let server = Server::shared();
    let client = server.client().await;
    let options = QueueOptions::new().receipts("large/receipts");
    let queue = Queue::with_options(&client, "large/jobs", options).unwrap();
    let value = vec![7; 1_400_000];
    for _ in 0..10 {
        queue.enqueue(value.clone()).await.unwrap();
    }
    for _ in 0..5 {
        assert!(queue.dequeue().await.unwrap().value == value);
        let item = queue.dequeue_with_receipt("c").await.unwrap();
        assert!(item.value == value);
        queue.acknowledge(&item).await.unwrap();
    }
    assert_eq!(queue.try_dequeue().await.unwrap(), None);
}

#[tokio::test]
async fn a_watch_can_be_shared_if_it_fits() {
    let server = Server::shared();
    let client = server.client().await;
    let watch = PrefixWatch::new(&client, "shared/jobs/");
    let options = QueueOptions::new().watch(watch.clone());
    let queue = Queue::with_options(&client, "shared/jobs", options.clone()).unwrap();
    let waiting = queue.clone();
    let consumer = async move { waiting.dequeue().await.unwrap().value };
    let producer = async move {
        runtime::sleep(Duration::from_millis(200)).await;
        queue.enqueue("x").await.unwrap();
        Vec::new()
    };
    let work: Vec<std::pin::Pin<Box<dyn Future<Output = Vec<u8>> + Send>>> =
        vec![Box::pin(consumer), Box::pin(producer)];
    assert_eq!(within(A_MINUTE, all(work)).await.concat(), b"x");
    assert!(Queue::with_options(&client, "shared/other", options).is_err());
}
