// What ordinary programs use of tokio, included twice, once for each executor; nothing in
// it differs.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex as Lock};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot, watch};

/// Takes a lock so many times.
pub(crate) async fn locks(times: u32) -> u32 {
    let number = Mutex::new(0);
    for _ in 0..times {
        *number.lock().await += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    number.into_inner()
}

/// Sends so many messages through a channel that takes one; how many arrived.
pub(crate) async fn messages(number: u32) -> u32 {
    let (sender, mut receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        for message in 0..number {
            sender.send(message).await.unwrap();
        }
    });
    let mut arrived = 0;
    while let Some(message) = receiver.recv().await {
        assert_eq!(message, arrived);
        arrived += 1;
    }
    arrived
}

/// Changes a watched value so many times; how many changes were seen.
pub(crate) async fn changes(number: u32) -> u32 {
    let (sender, mut receiver) = watch::channel(0);
    tokio::spawn(async move {
        for change in 1..=number {
            tokio::time::sleep(Duration::from_millis(2)).await;
            sender.send(change).unwrap();
        }
    });
    let mut seen = 0;
    while receiver.changed().await.is_ok() {
        seen += 1;
        assert_eq!(*receiver.borrow_and_update(), seen);
    }
    seen
}

/// Asks another task for so many answers, and waits for each until a time limit.
pub(crate) async fn answers(number: u32) -> u32 {
    let (ask, mut asked) = mpsc::unbounded_channel::<oneshot::Sender<u32>>();
    tokio::spawn(async move {
        let mut answers = 0;
        while let Some(answer) = asked.recv().await {
            answers += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
            answer.send(answers).unwrap();
        }
    });
    let mut answered = 0;
    for _ in 0..number {
        let (answer, receiver) = oneshot::channel();
        ask.send(answer).unwrap();
        tokio::select! {
            answer = receiver => answered = answer.unwrap(),
            () = tokio::time::sleep(Duration::from_secs(1)) => panic!("nobody answers"),
        }
    }
    answered
}

/// Which branch `select!` takes where two are ready, again and again.
pub(crate) async fn chosen_branches() -> String {
    let mut chosen = String::new();
    for _ in 0..100 {
        tokio::select! {
            () = std::future::ready(()) => chosen.push('a'),
            () = std::future::ready(()) => chosen.push('b'),
        }
    }
    chosen
}

/// In which order those who watch a value hear of its changes.
pub(crate) async fn watchers() -> String {
    let heard = Arc::new(Lock::new(String::new()));
    let (sender, receiver) = watch::channel(0);
    for watcher in 0..20 {
        let (heard, mut receiver) = (heard.clone(), receiver.clone());
        tokio::spawn(async move {
            while receiver.changed().await.is_ok() {
                write!(heard.lock().unwrap(), "{watcher} ").unwrap();
            }
        });
    }
    for change in 1..=20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        sender.send(change).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    let heard = heard.lock().unwrap();
    heard.clone()
}

/// Which of several tasks that take turns at a lock comes when, with `biased;`.
pub(crate) async fn turns() -> String {
    let turns = Arc::new(Mutex::new(String::new()));
    let mut tasks = Vec::new();
    for task in 0..10 {
        let turns = Arc::clone(&turns);
        tasks.push(tokio::spawn(async move {
            let mut every = tokio::time::interval(Duration::from_millis(3));
            for _ in 0..10 {
                tokio::select! {
                    biased;
                    _ = every.tick() => write!(turns.lock().await, "{task} ").unwrap(),
                    () = std::future::ready(()) => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let turns = turns.lock().await;
    turns.clone()
}

/// The order of a map that hashes as the standard library does.
pub(crate) async fn order_of_a_map() -> String {
    let map: std::collections::HashMap<u32, ()> = (0..100).map(|key| (key, ())).collect();
    format!("{:?}", map.keys())
}

/// How long five minutes take by the clocks of the standard library.
pub(crate) async fn a_while() -> String {
    let (start, on_the_wall) = (std::time::Instant::now(), std::time::SystemTime::now());
    tokio::time::sleep(Duration::from_secs(300)).await;
    format!("{:?} from {on_the_wall:?} on", start.elapsed())
}
