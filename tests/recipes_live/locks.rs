use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use etcd_recipes::etcd_client::TxnOp;
use etcd_recipes::runtime;
use etcd_recipes::{Mutex, RwLock, Session, SessionOptions, Watches};

use super::server::Server;
use super::{A_MINUTE, all, within};

async fn session(server: &Server) -> Session {
    let options = SessionOptions::new().ttl(Duration::from_secs(10));
    Session::with_options(&server.client().await, options)
        .await
        .unwrap()
}

#[tokio::test]
async fn ten_sessions_exclude_each_other_and_tokens_rise() {
    let server = Server::shared();
    let inside = Arc::new(AtomicU32::new(0));
    let mut tasks = Vec::new();
    for _ in 0..10 {
        let session = session(&server).await;
        let inside = Arc::clone(&inside);
        tasks.push(async move {
            let mutex = Mutex::new(&session, "live-locks/contended").unwrap();
            let mut tokens = Vec::new();
            for _ in 0..20 {
                let guard = mutex.lock().await.unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                let write = TxnOp::put("live-locks/data", "x", None);
                guard.txn().and_then([write]).commit().await.unwrap();
                assert!(guard.revision() >= guard.fencing_token());
                tokens.push(guard.fencing_token());
                inside.fetch_sub(1, Ordering::SeqCst);
                guard.unlock().await.unwrap();
            }
            tokens
        });
    }
    let tokens = within(A_MINUTE, all(tasks)).await;
    assert!(
        tokens
            .iter()
            .all(|tokens| tokens.is_sorted_by(|a, b| a < b))
    );
    let mut all: Vec<i64> = tokens.concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 200, "each holding has a token of its own");
    let left = server
        .client()
        .await
        .get("live-locks/contended/", None)
        .await;
    assert!(left.unwrap().kvs().is_empty());
}

#[tokio::test]
async fn a_hundred_sessions_that_share_watches_take_turns() {
    let server = Server::shared();
    let client = server.client().await;
    let watches = Watches::new(&client);
    let mut tasks = Vec::new();
    for _ in 0..100 {
        let options = SessionOptions::new()
            .ttl(Duration::from_secs(10))
            .watches(&watches);
        let session = Session::with_options(&client, options).await.unwrap();
        tasks.push(async move {
            let mutex = Mutex::new(&session, "live-locks/hundred").unwrap();
            mutex.with(async |hold| hold.fencing_token()).await.unwrap()
        });
    }
    let mut tokens = within(A_MINUTE, all(tasks)).await;
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 100);
}

#[tokio::test]
async fn a_waiter_whose_lease_is_revoked_is_told() {
    let server = Server::shared();
    let held = Mutex::new(&session(&server).await, "live-locks/revoked").unwrap();
    let held = held.lock().await.unwrap();
    let waiter = session(&server).await;
    let lease = waiter.lease_id();
    let mutex = Mutex::new(&waiter, "live-locks/revoked").unwrap();
    let mut client = server.client().await;
    let revoke = async {
        runtime::sleep(Duration::from_millis(300)).await;
        client.lease_revoke(lease).await.unwrap();
    };
    let start = runtime::now();
    let (locked, ()) = within(A_MINUTE, futures_util::future::join(mutex.lock(), revoke)).await;
    let error = locked.unwrap_err();
    assert!(error.is_not_held() || error.is_session_lost(), "{error}");
    assert!(runtime::now() - start < Duration::from_secs(2));
    held.unlock().await.unwrap();
}

#[tokio::test]
async fn tries_timeouts_and_nested_names_on_a_real_etcd() {
    let server = Server::shared();
    let [one, two] = [session(&server).await, session(&server).await];
    let nested = Mutex::new(&one, "live-locks/names/nested").unwrap();
    let _nested = nested.lock().await.unwrap();
    let held = Mutex::new(&one, "live-locks/names").unwrap();
    let held = within(A_MINUTE, held.lock()).await.unwrap();
    let ours = Mutex::new(&two, "live-locks/names").unwrap();
    assert!(ours.try_lock().await.unwrap().is_none());
    let waited = ours.lock_timeout(Duration::from_millis(200)).await;
    assert!(waited.unwrap_err().is_deadline_elapsed());
    held.confirm().await.unwrap();
    held.unlock().await.unwrap();
    let taken = within(A_MINUTE, ours.lock()).await.unwrap();
    taken.unlock().await.unwrap();
}

#[tokio::test]
async fn readers_share_and_writers_exclude_on_a_real_etcd() {
    let server = Server::shared();
    let [one, two] = [session(&server).await, session(&server).await];
    let [one, two] = [&one, &two].map(|session| RwLock::new(session, "live-locks/rw").unwrap());
    let first = one.read().await.unwrap();
    let second = within(A_MINUTE, two.read()).await.unwrap();
    assert!(two.try_write().await.unwrap().is_none());
    let write = async { two.write().await.unwrap() };
    let free = async {
        runtime::sleep(Duration::from_millis(200)).await;
        first.unlock().await.unwrap();
        second.unlock().await.unwrap();
    };
    let (writing, ()) = within(A_MINUTE, futures_util::future::join(write, free)).await;
    assert!(one.try_read().await.unwrap().is_none());
    writing.confirm().await.unwrap();
    writing.unlock().await.unwrap();
    within(A_MINUTE, one.read())
        .await
        .unwrap()
        .unlock()
        .await
        .unwrap();
}
