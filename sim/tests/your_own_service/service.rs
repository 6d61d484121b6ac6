// An ordinary tokio program: two workers that count a number up together, each with a
// task that reports, and a watcher that says what it sees. It is given its client and
// knows of no simulation. Included twice, once for each executor; nothing in it differs.

use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, Txn, TxnOp, WatchOptions};

/// Counts to `goal` with others, and sends a line for everything that happens.
pub(crate) async fn count(mut client: Client, name: String, goal: u64, log: Log) {
    let (done, mut stop) = tokio::sync::mpsc::channel::<()>(1);
    let reports = {
        let (log, name) = (log.clone(), name.clone());
        tokio::spawn(async move {
            let mut every = tokio::time::interval(Duration::from_millis(250));
            loop {
                tokio::select! {
                    biased;
                    _ = stop.recv() => break,
                    _ = every.tick() => log.say(format!("{name} is alive")),
                }
            }
        })
    };
    let watcher = tokio::spawn(watch(client.clone(), name.clone(), goal, log.clone()));
    loop {
        match step(&mut client).await {
            Ok(number) => {
                log.say(format!("{name} has {number}"));
                if number >= goal {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => {
                log.say(format!("{name} failed: {error}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(done);
    let _ = reports.await;
    let _ = tokio::time::timeout(Duration::from_secs(20), watcher).await;
}

/// Counts up by one, unless somebody else was faster; the number then.
async fn step(client: &mut Client) -> Result<u64, etcd_client::Error> {
    let answer = client.get("number", None).await?;
    let kv = answer.kvs().first();
    let number: u64 = kv.map_or(0, |kv| kv.value_str().unwrap().parse().unwrap());
    let revision = kv.map_or(0, etcd_client::KeyValue::mod_revision);
    let unchanged = Compare::mod_revision("number", CompareOp::Equal, revision);
    let put = TxnOp::put("number", (number + 1).to_string(), None);
    let txn = Txn::new().when([unchanged]).and_then([put]);
    let answer = client.txn(txn).await?;
    Ok(number + u64::from(answer.succeeded()))
}

async fn watch(mut client: Client, name: String, goal: u64, log: Log) {
    let mut next = 1;
    loop {
        let options = Some(WatchOptions::new().with_start_revision(next));
        let Ok(mut stream) = client.watch("number", options).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        while let Ok(Some(answer)) = stream.message().await {
            for event in answer.events() {
                let kv = event.kv().unwrap();
                let number = kv.value_str().unwrap();
                log.say(format!("{name} sees {number} at {}", kv.mod_revision()));
                next = kv.mod_revision() + 1;
                if number.parse::<u64>().unwrap() >= goal {
                    return;
                }
            }
        }
    }
}
