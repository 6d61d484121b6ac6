//! Mutex and read-write lock: keys and requests as etcd's Go recipes have them.

use std::time::Duration;

use etcd_recipes::{Mutex, RwLock, Session, runtime};

use super::tap::{Tap, plain, quiet, stored};

/// What was sent since the last time, with the ids that differ replaced.
fn sent(tap: &Tap, session: &Session) -> Vec<String> {
    let sent = tap.take();
    sent.iter()
        .map(|request| plain(request, session.lease_id()))
        .collect()
}

const LOCK: &str = "if lk/LEASE created = 0 \
    then put lk/LEASE \"\" with lease, get lk/..lk0 by create ascending limit 1 \
    else get lk/LEASE, get lk/..lk0 by create ascending limit 1";

#[test]
fn a_mutex_that_is_free_is_one_request_to_lock_and_one_to_unlock() {
    quiet(|simulation| async move {
        let tap = Tap::default();
        let client = tap.client(&simulation, 0).await;
        let session = Session::new(&client).await.unwrap();
        let mutex = Mutex::new(&session, "lk").unwrap();
        let guard = mutex.lock().await.unwrap();
        assert_eq!(sent(&tap, &session), [LOCK]);
        let key = format!("lk/{:x} \"\" with lease", session.lease_id());
        assert_eq!(stored(&simulation), [key]);
        let token = guard.fencing_token();
        guard.unlock().await.unwrap();
        let unlock = format!("if lk/LEASE created = {token} then delete lk/LEASE");
        assert_eq!(sent(&tap, &session), [unlock]);
        assert!(stored(&simulation).is_empty());
    });
}

#[test]
fn who_waits_for_a_mutex_watches_once_and_then_asks_no_more() {
    quiet(|simulation| async move {
        let tap = Tap::default();
        let client = tap.client(&simulation, 0).await;
        let session = Session::new(&client).await.unwrap();
        let mutex = Mutex::new(&session, "lk").unwrap();
        let others = Session::new(&simulation.client(1).await.unwrap())
            .await
            .unwrap();
        let theirs = Mutex::new(&others, "lk").unwrap();
        for round in 0..3 {
            let held = theirs.lock().await.unwrap();
            let free = async {
                runtime::sleep(Duration::from_secs(1)).await;
                held.unlock().await.unwrap();
            };
            let (guard, ()) = futures_util::future::join(mutex.lock(), free).await;
            let guard = guard.unwrap();
            let expected = match round {
                0 => vec![LOCK, "watch", "get lk/..lk0"],
                _ => vec![LOCK],
            };
            assert_eq!(sent(&tap, &session), expected, "round {round}");
            guard.unlock().await.unwrap();
            tap.take();
        }
    });
}

#[test]
fn a_try_that_fails_deletes_its_own_key_and_no_other() {
    quiet(|simulation| async move {
        let tap = Tap::default();
        let client = tap.client(&simulation, 0).await;
        let session = Session::new(&client).await.unwrap();
        let others = Session::new(&simulation.client(1).await.unwrap())
            .await
            .unwrap();
        let theirs = Mutex::new(&others, "lk").unwrap();
        let held = theirs.lock().await.unwrap();
        let tried = Mutex::new(&session, "lk")
            .unwrap()
            .try_lock()
            .await
            .unwrap();
        assert!(tried.is_none());
        let token = held.fencing_token() + 1;
        let unlock = format!("if lk/LEASE created = {token} then delete lk/LEASE");
        assert_eq!(
            sent(&tap, &session),
            [LOCK, "get lk/..lk0 keys only", &unlock]
        );
        assert_eq!(stored(&simulation).len(), 1);
    });
}

#[test]
fn a_read_write_lock_has_a_key_for_each_holding() {
    quiet(|simulation| async move {
        let tap = Tap::default();
        let client = tap.client(&simulation, 0).await;
        let session = Session::new(&client).await.unwrap();
        let lock = RwLock::new(&session, "rw").unwrap();
        let first = lock.read().await.unwrap();
        let second = lock.read().await.unwrap();
        let read = "if rw/read/NANOS version = 0 \
            then put rw/read/NANOS \"\" with lease, get rw/write/..rw/write0 by create ascending limit 1 \
            else get rw/read/NANOS, get rw/write/..rw/write0 by create ascending limit 1";
        assert_eq!(sent(&tap, &session), [read, read]);
        let keys = stored(&simulation);
        let keys: Vec<String> = keys
            .iter()
            .map(|key| plain(key, session.lease_id()))
            .collect();
        assert_eq!(keys, ["rw/read/NANOS \"\" with lease"; 2]);
        first.unlock().await.unwrap();
        second.unlock().await.unwrap();
        tap.take();

        let writing = lock.write().await.unwrap();
        let write = "if rw/write/NANOS version = 0 \
            then put rw/write/NANOS \"\" with lease, get rw/..rw0 by create ascending limit 1 \
            else get rw/write/NANOS, get rw/..rw0 by create ascending limit 1";
        assert_eq!(sent(&tap, &session), [write]);
        let keys = stored(&simulation);
        assert_eq!(
            plain(&keys[0], session.lease_id()),
            "rw/write/NANOS \"\" with lease"
        );
        let token = writing.fencing_token();
        writing.unlock().await.unwrap();
        let unlock = format!("if rw/write/NANOS created = {token} then delete rw/write/NANOS");
        assert_eq!(sent(&tap, &session), [unlock]);
        assert!(stored(&simulation).is_empty());
    });
}
