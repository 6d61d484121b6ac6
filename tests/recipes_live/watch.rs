use std::time::Duration;

use etcd_recipes::etcd_client::Client;
use etcd_recipes::runtime;
use etcd_recipes::watch::{PrefixWatch, PrefixWatchOptions, Wake};

use super::proxy::Proxy;
use super::server::{Server, connect};
use super::{A_MINUTE, within};

async fn put(client: &mut Client, key: &str) -> i64 {
    let answer = client.put(key, "", None).await.unwrap();
    answer.header().unwrap().revision()
}

/// Waits in a task of its own, which is given time to begin.
async fn waiting(watch: &PrefixWatch, revision: i64) -> tokio::sync::oneshot::Receiver<Wake> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let watch = watch.clone();
    tokio::task::yield_now().await;
    let task = runtime::spawn(async move {
        let wake = watch.wait_for_put_after(revision).await.unwrap();
        sender.send(wake).ok();
    });
    // Ends by itself, or with the test's runtime.
    std::mem::forget(task);
    runtime::sleep(Duration::from_millis(300)).await;
    receiver
}

#[tokio::test]
async fn a_put_wakes_and_a_deletion_does_not() {
    let server = Server::shared();
    let mut client = server.client().await;
    let watch = PrefixWatch::new(&client, "w1/");
    let start = put(&mut client, "w1/a").await;
    let waits = waiting(&watch, start).await;
    client.delete("w1/a", None).await.unwrap();
    put(&mut client, "w10/a").await;
    let revision = put(&mut client, "w1/a").await;
    assert_eq!(
        within(A_MINUTE, waits).await.unwrap(),
        Wake::Event(revision)
    );
    let deleted = watch.wait_for_delete_after(start).await.unwrap();
    assert_eq!(deleted, Wake::Event(start + 1));
    // What happened before the watch was opened it cannot know.
    assert_eq!(
        watch.wait_for_put_after(start - 1).await.unwrap(),
        Wake::Event(revision)
    );
    assert_eq!(
        watch.wait_for_delete_after(start - 1).await.unwrap(),
        Wake::Event(start + 1)
    );
}

#[tokio::test]
async fn nothing_is_missed_while_the_stream_is_cut() {
    let server = Server::shared();
    let mut direct = server.client().await;
    let proxy = Proxy::new(server.port());
    let client = connect(&proxy.endpoint()).await;
    let watch = PrefixWatch::new(&client, "w2/");
    let mut revision = put(&mut direct, "w2/a").await;
    for _ in 0..3 {
        let waits = waiting(&watch, revision).await;
        proxy.cut();
        revision = put(&mut direct, "w2/a").await;
        assert_eq!(
            within(A_MINUTE, waits).await.unwrap(),
            Wake::Event(revision)
        );
    }
}

#[tokio::test]
async fn a_silent_stream_is_noticed() {
    let server = Server::shared();
    let mut direct = server.client().await;
    let proxy = Proxy::new(server.port());
    let client = connect(&proxy.endpoint()).await;
    let options = PrefixWatchOptions::new()
        .progress_interval(Duration::from_millis(200))
        .silence_limit(Duration::from_millis(700));
    let watch = PrefixWatch::with_options(&client, "w3/", options);
    let revision = put(&mut direct, "w3/a").await;
    let mut waits = waiting(&watch, revision).await;
    // Longer than the limit: signs of life keep the stream.
    runtime::sleep(Duration::from_secs(1)).await;
    assert!(waits.try_recv().is_err());
    proxy.lose_answers();
    let put_at = put(&mut direct, "w3/a").await;
    runtime::sleep(Duration::from_millis(300)).await;
    assert!(waits.try_recv().is_err());
    proxy.heal();
    assert_eq!(within(A_MINUTE, waits).await.unwrap(), Wake::Event(put_at));
}

#[tokio::test]
async fn a_compaction_and_a_restart_of_etcd_lose_nobody() {
    let server = Server::own();
    let mut client = server.client().await;
    let proxy = Proxy::new(server.port());
    let watched = connect(&proxy.endpoint()).await;
    let watch = PrefixWatch::new(&watched, "w4/");
    let revision = put(&mut client, "w4/a").await;
    let waits = waiting(&watch, revision).await;
    // While the answers are lost, history goes on and is compacted.
    proxy.lose_answers();
    put(&mut client, "w4/a").await;
    client.delete("w4/a", None).await.unwrap();
    let last = put(&mut client, "elsewhere").await;
    client.compact(last, None).await.unwrap();
    proxy.heal();
    let wake = within(A_MINUTE, waits).await.unwrap();
    assert_eq!(wake, Wake::Reread);
    let waits = waiting(&watch, last).await;
    server.stop();
    server.start();
    let mut client = server.client().await;
    let revision = put(&mut client, "w4/b").await;
    assert_eq!(
        within(A_MINUTE, waits).await.unwrap(),
        Wake::Event(revision)
    );
}

#[tokio::test]
async fn the_watch_ends_with_its_last_handle() {
    let server = Server::own();
    let mut client = server.client().await;
    let revision = put(&mut client, "w5/a").await;
    let watch = PrefixWatch::new(&client, "w5/");
    let waits = waiting(&watch, revision).await;
    put(&mut client, "w5/a").await;
    within(A_MINUTE, waits).await.unwrap();
    let clone = watch.clone();
    drop(watch);
    let again = put(&mut client, "w5/a").await;
    assert_eq!(
        clone.wait_for_put_after(again - 1).await.unwrap(),
        Wake::Event(again)
    );
    assert!(watchers(&server) > 0);
    drop(clone);
    within(A_MINUTE, async {
        while watchers(&server) > 0 {
            runtime::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// How many watches etcd has, from its metrics.
fn watchers(server: &Server) -> u64 {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(server.endpoint()).unwrap();
    let host = server.endpoint();
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("etcd_debugging_mvcc_watcher_total "))
        .expect("etcd counts its watchers");
    line.split(' ').nth(1).unwrap().parse().unwrap()
}
