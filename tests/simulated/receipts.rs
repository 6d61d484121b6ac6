//! A dequeue with a receipt loses no item, whatever happens to the consumer;
//! a plain one does.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_client::Client;
use etcd_recipes::queue::{Queue, QueueOptions};
use etcd_recipes::runtime;
use etcd_sim::plan::{Plan, Profile};
use etcd_sim::simulation::{Incarnation, Options, Simulation, run};

const PRODUCERS: u32 = 2;
const CONSUMERS: u32 = 3;
const ITEMS: u32 = 25;

/// What the clients of a run know.
#[derive(Default)]
struct Seen {
    /// Items whose enqueue was acknowledged.
    acknowledged: BTreeSet<String>,
    /// Items that reached a consumer.
    delivered: BTreeSet<String>,
    produced: u32,
}

type Shared = Arc<Mutex<Seen>>;

fn queue(client: &Client) -> Queue {
    let options = QueueOptions::new().receipts("receipts");
    Queue::with_options(client, "jobs", options).unwrap()
}

async fn produce(incarnation: Incarnation, seen: Shared) {
    let queue = queue(&incarnation.connect().await.unwrap());
    loop {
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.produced += 1;
            seen.produced
        };
        if number > ITEMS {
            return;
        }
        let value = format!("item-{number}");
        if queue.enqueue(value.as_str()).await.is_ok() {
            seen.lock().unwrap().acknowledged.insert(value);
        }
        runtime::sleep(Duration::from_millis(40)).await;
    }
}

async fn consume(incarnation: Incarnation, seen: Shared, receipts: bool) {
    let queue = queue(&incarnation.connect().await.unwrap());
    let id = format!("consumer-{}", incarnation.client());
    loop {
        let taken = if receipts {
            queue.dequeue_with_receipt(&id).await
        } else {
            queue.dequeue().await
        };
        let Ok(item) = taken else {
            runtime::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let value = String::from_utf8(item.value.clone()).unwrap();
        seen.lock().unwrap().delivered.insert(value);
        if receipts {
            while queue.acknowledge(&item).await.is_err() {
                runtime::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// The acknowledged items that no consumer got, after every fault has passed,
/// the queue is empty, and the items of dead consumers were recovered.
async fn lost_items(simulation: Simulation, receipts: bool) -> BTreeSet<String> {
    let seen = Shared::default();
    for client in 0..PRODUCERS {
        let seen = Arc::clone(&seen);
        simulation.spawn(client, move |incarnation| {
            produce(incarnation, Arc::clone(&seen))
        });
    }
    for client in PRODUCERS..PRODUCERS + CONSUMERS {
        let seen = Arc::clone(&seen);
        simulation.spawn(client, move |incarnation| {
            consume(incarnation, Arc::clone(&seen), receipts)
        });
    }
    simulation.healed().await;
    let queue = queue(&simulation.client(PRODUCERS + CONSUMERS).await.unwrap());
    // Longer than any deadline: what is still under way comes to its end.
    runtime::sleep(Duration::from_secs(30)).await;
    while let Some(item) = queue.try_dequeue().await.unwrap() {
        let value = String::from_utf8(item.value).unwrap();
        seen.lock().unwrap().delivered.insert(value);
    }
    for client in PRODUCERS..PRODUCERS + CONSUMERS {
        let left = queue.receipt(&format!("consumer-{client}")).await.unwrap();
        if let Some(item) = left {
            let value = String::from_utf8(item.value).unwrap();
            seen.lock().unwrap().delivered.insert(value);
        }
    }
    let seen = seen.lock().unwrap();
    &seen.acknowledged - &seen.delivered
}

fn lost_over_seeds(receipts: bool) -> usize {
    let profile = Profile {
        clients: PRODUCERS + CONSUMERS,
        until_ms: 600,
        faults_max: 15,
        members: None,
    };
    (0..100)
        .map(|seed| {
            let options = Options::new(Plan::draw(seed, &profile));
            run(options, move |simulation| lost_items(simulation, receipts))
                .unwrap()
                .len()
        })
        .sum()
}

#[test]
fn with_receipts_no_item_is_lost() {
    assert_eq!(lost_over_seeds(true), 0);
}

#[test]
fn without_receipts_some_item_is_lost() {
    assert!(lost_over_seeds(false) > 0);
}
