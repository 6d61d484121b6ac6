//! What the locks promise when sessions are lost, watches break and answers do not
//! come, shown one by one in the simulation.

use std::sync::{Arc, Mutex as SyncMutex};
use std::time::Duration;

use etcd_client::{PutOptions, TxnOp};
use etcd_recipes::{Error, Hold, Locker, Mutex, RwLock, Session, SessionOptions, Watches, runtime};
use etcd_sim::executor::{SimTime, now, sleep, sleep_until};
use etcd_sim::fault::FaultKind;

use crate::support::{SECOND, exists, session, simulated};

fn mutex(session: &Session) -> Mutex {
    Mutex::new(session, "lock").unwrap()
}

fn key_of(session: &Session) -> String {
    format!("lock/{:x}", session.lease_id())
}

/// Whether it is still not done after a while.
async fn waits<T>(future: impl Future<Output = T>) -> bool {
    runtime::timeout(2 * SECOND, future).await.is_err()
}

#[test]
fn a_hundred_waiters_of_one_session_cost_one_watch() {
    simulated(vec![], |simulation| async move {
        let holder = session(&simulation, 0, 30).await;
        let held = mutex(&holder).lock().await.unwrap();
        let waiter = session(&simulation, 1, 30).await;
        let order = Arc::new(SyncMutex::new(Vec::new()));
        let arrivals = Arc::new(SyncMutex::new(Vec::new()));
        let tasks: Vec<runtime::Task> = (0..100)
            .map(|number| {
                let (mutex, order) = (mutex(&waiter), Arc::clone(&order));
                let arrivals = Arc::clone(&arrivals);
                runtime::spawn(async move {
                    arrivals.lock().unwrap().push(number);
                    let guard = mutex.lock().await.unwrap();
                    order.lock().unwrap().push(number);
                    guard.unlock().await.unwrap();
                })
            })
            .collect();
        sleep(SECOND).await;
        assert_eq!(simulation.member().watches(), 1);
        held.unlock().await.unwrap();
        sleep(5 * SECOND).await;
        let order = order.lock().unwrap().clone();
        assert_eq!(order.len(), 100);
        assert_eq!(order, *arrivals.lock().unwrap(), "in order of arrival");
        drop(tasks);
    });
}

#[test]
fn a_hundred_sessions_that_share_watches_cost_one_watch() {
    simulated(vec![], |simulation| async move {
        let holder = session(&simulation, 0, 30).await;
        let held = mutex(&holder).lock().await.unwrap();
        let client = simulation.client(1).await.unwrap();
        let watches = Watches::new(&client);
        let done = Arc::new(SyncMutex::new(0));
        let mut tasks = Vec::new();
        for _ in 0..100 {
            let options = SessionOptions::new().ttl(30 * SECOND).watches(&watches);
            let session = Session::with_options(&client, options).await.unwrap();
            let done = Arc::clone(&done);
            tasks.push(runtime::spawn(async move {
                let guard = mutex(&session).lock().await.unwrap();
                *done.lock().unwrap() += 1;
                guard.unlock().await.unwrap();
            }));
        }
        sleep(2 * SECOND).await;
        assert_eq!(simulation.member().watches(), 1);
        held.unlock().await.unwrap();
        sleep(10 * SECOND).await;
        assert_eq!(*done.lock().unwrap(), 100);
        drop(tasks);
    });
}

#[test]
fn a_wait_survives_a_compaction_beyond_its_watch() {
    let cut_off = vec![
        (4_000, FaultKind::Reset { client: 1 }),
        (
            4_000,
            FaultKind::Partition {
                client: 1,
                for_ms: 3_000,
            },
        ),
    ];
    simulated(cut_off, |simulation| async move {
        let holder = session(&simulation, 0, 30).await;
        let held = mutex(&holder).lock().await.unwrap();
        let waiter = session(&simulation, 1, 30).await;
        let lock = async {
            let guard = mutex(&waiter).lock().await.unwrap();
            assert!(now() < SimTime::from_millis(20_000));
            guard.confirm().await.unwrap();
        };
        let free = async {
            sleep_until(SimTime::from_millis(5_000)).await;
            held.unlock().await.unwrap();
            let mut client = simulation.client(2).await.unwrap();
            for number in 0..10 {
                client
                    .put(format!("lock/other-{number}"), "", None)
                    .await
                    .unwrap();
            }
            assert!(simulation.member().compact());
        };
        futures_util::future::join(lock, free).await;
    });
}

#[test]
fn a_waiter_whose_session_is_lost_is_told_at_once_and_never_let_in() {
    // Reference: a Go waiter stays blocked, and is then let in.
    let cut_off = FaultKind::Partition {
        client: 1,
        for_ms: 60_000,
    };
    simulated(vec![(2_000, cut_off)], |simulation| async move {
        let holder = session(&simulation, 0, 30).await;
        let _held = mutex(&holder).lock().await.unwrap();
        let waiter = session(&simulation, 1, 5).await;
        let locks = RwLock::new(&holder, "rw").unwrap();
        let _writing = locks.write().await.unwrap();
        let ours = RwLock::new(&waiter, "rw").unwrap();
        let mutex = mutex(&waiter);
        let lock = mutex.lock();
        let read = ours.read();
        let (locked, read) = futures_util::future::join(lock, read).await;
        assert!(locked.unwrap_err().is_session_lost());
        assert!(read.unwrap_err().is_session_lost());
        assert!(now() < SimTime::from_millis(8_000), "{}", now());
        let write = ours.write().await.unwrap_err();
        let tried = ours.try_read().await.unwrap_err();
        assert!(write.is_session_lost() && tried.is_session_lost());
        assert!(mutex.try_lock().await.unwrap_err().is_session_lost());
    });
}

#[test]
fn a_waiter_whose_key_is_gone_is_not_let_in() {
    simulated(vec![], |simulation| async move {
        let holder = session(&simulation, 0, 30).await;
        let _held = mutex(&holder).lock().await.unwrap();
        let waiter = session(&simulation, 1, 30).await;
        let mut client = simulation.client(2).await.unwrap();
        // Somebody deletes the key.
        let delete = async {
            sleep(SECOND).await;
            client.delete(key_of(&waiter), None).await.unwrap();
        };
        let (locked, ()) = futures_util::future::join(mutex(&waiter).lock(), delete).await;
        assert!(locked.unwrap_err().is_not_held());
        // Somebody revokes the lease.
        let revoke = async {
            sleep(SECOND).await;
            client.lease_revoke(waiter.lease_id()).await.unwrap();
        };
        let start = runtime::now();
        let (locked, ()) = futures_util::future::join(mutex(&waiter).lock(), revoke).await;
        let error = locked.unwrap_err();
        assert!(error.is_not_held() || error.is_session_lost(), "{error}");
        assert!(runtime::now() - start < 2 * SECOND);
    });
}

#[test]
fn two_objects_of_one_session_exclude_each_other() {
    simulated(vec![], |simulation| async move {
        let session = session(&simulation, 0, 30).await;
        let (one, other) = (mutex(&session), mutex(&session));
        let held = one.lock().await.unwrap();
        assert!(waits(other.lock()).await);
        assert!(other.try_lock().await.unwrap().is_none());
        assert!(
            exists(&simulation, held.key()),
            "the try has not deleted it"
        );
        held.confirm().await.unwrap();
        let token = held.fencing_token();
        held.unlock().await.unwrap();
        let next = other.lock().await.unwrap();
        assert!(next.fencing_token() > token);
        next.unlock().await.unwrap();
    });
}

#[test]
fn a_try_leaves_the_key_of_a_waiter_of_the_same_session_alone() {
    simulated(vec![], |simulation| async move {
        let holder = session(&simulation, 0, 30).await;
        let held = mutex(&holder).lock().await.unwrap();
        let waiter = session(&simulation, 1, 30).await;
        let (waiting, trying) = (mutex(&waiter), mutex(&waiter));
        let meanwhile = async {
            sleep(SECOND).await;
            assert!(trying.try_lock().await.unwrap().is_none());
            assert!(exists(&simulation, &key_of(&waiter)));
            held.unlock().await.unwrap();
        };
        let (locked, ()) = futures_util::future::join(waiting.lock(), meanwhile).await;
        locked.unwrap().confirm().await.unwrap();
    });
}

#[test]
fn other_names_and_foreign_keys_are_in_nobodys_way() {
    simulated(vec![], |simulation| async move {
        let session = session(&simulation, 0, 30).await;
        let name = |name: &str| Mutex::new(&session, name).unwrap();
        let _child = name("lock/child").lock().await.unwrap();
        let _sibling = name("lock2").lock().await.unwrap();
        let mut client = simulation.client(1).await.unwrap();
        // A key without a lease that nobody would ever delete.
        client.put("lock/abc", "", None).await.unwrap();
        client.put("lock/stray", "", None).await.unwrap();
        let held = runtime::timeout(2 * SECOND, name("lock").lock()).await;
        held.expect("it waits").unwrap().unlock().await.unwrap();
        let tried = name("lock").try_lock().await.unwrap();
        tried.expect("it is free").unlock().await.unwrap();

        let rw = RwLock::new(&session, "rw").unwrap();
        for stray in ["rw/write/7", "rw/write/x", "rw/read/x/1", "rw/other/1"] {
            client.put(stray, "", None).await.unwrap();
        }
        let _child = RwLock::new(&session, "rw/write")
            .unwrap()
            .write()
            .await
            .unwrap();
        let _sibling = RwLock::new(&session, "rw2").unwrap().write().await.unwrap();
        let held = runtime::timeout(2 * SECOND, rw.write()).await;
        held.expect("it waits").unwrap().unlock().await.unwrap();
    });
}

#[test]
fn a_lock_whose_answer_is_lost_is_found_out_and_leaves_nothing_behind() {
    for lost in [
        FaultKind::LoseResponse { client: 0 },
        FaultKind::LoseRequest { client: 0 },
    ] {
        simulated(vec![(2_000, lost)], |simulation| async move {
            let session = session(&simulation, 0, 60).await;
            sleep_until(SimTime::from_millis(2_100)).await;
            let guard = mutex(&session).lock().await.unwrap();
            guard.confirm().await.unwrap();
            guard.unlock().await.unwrap();
            assert!(!exists(&simulation, &key_of(&session)));
        });
    }
}

#[test]
fn an_unlock_whose_answer_is_lost_does_not_delete_the_next_hold() {
    let lost = FaultKind::LoseResponse { client: 0 };
    simulated(vec![(2_000, lost)], |simulation| async move {
        let session = session(&simulation, 0, 60).await;
        let mutex = mutex(&session);
        let guard = mutex.lock().await.unwrap();
        sleep_until(SimTime::from_millis(2_100)).await;
        // Given up by its caller while the answer is missing.
        let given_up = runtime::timeout(SECOND, guard.unlock()).await;
        assert!(given_up.is_err(), "it was answered");
        let next = mutex.lock().await.unwrap();
        for _ in 0..30 {
            sleep(SECOND).await;
            next.confirm().await.unwrap();
        }
        next.unlock().await.unwrap();
    });
}

/// A request that was given up may arrive at any time later.
#[test]
fn an_unlock_that_arrives_late_does_not_delete_the_next_hold() {
    let delay = FaultKind::Delay {
        client: 0,
        by_ms: 8_000,
        for_ms: 200,
    };
    simulated(vec![(2_000, delay)], |simulation| async move {
        let session = session(&simulation, 0, 60).await;
        let mutex = mutex(&session);
        let guard = mutex.lock().await.unwrap();
        let first = guard.fencing_token();
        sleep_until(SimTime::from_millis(2_100)).await;
        guard.unlock().await.unwrap();
        assert!(now() > SimTime::from_millis(7_000), "it was sent twice");
        let next = mutex.lock().await.unwrap();
        assert!(now() < SimTime::from_millis(10_000) && next.fencing_token() > first);
        for _ in 0..10 {
            sleep(SECOND).await;
            next.confirm().await.unwrap();
        }
        next.unlock().await.unwrap();
    });
}

/// What was held is gone, and the same key with the same lease is there again, as
/// another program with that lease would make it.
#[test]
fn a_guard_is_of_one_hold_and_not_of_the_next_one_with_the_same_key() {
    simulated(vec![], |simulation| async move {
        let session = session(&simulation, 0, 60).await;
        let guard = mutex(&session).lock().await.unwrap();
        let mut other = simulation.client(1).await.unwrap();
        let key = guard.key().to_owned();
        other.delete(key.as_str(), None).await.unwrap();
        let leased = PutOptions::new().with_lease(session.lease_id());
        other.put(key.as_str(), "", Some(leased)).await.unwrap();
        let write = TxnOp::put("data", "late", None);
        let late = guard.txn().and_then([write]).commit().await;
        assert!(late.unwrap_err().is_not_held());
        assert!(guard.confirm().await.unwrap_err().is_not_held());
        assert!(guard.unlock().await.unwrap_err().is_not_held());
        assert!(!exists(&simulation, "data") && exists(&simulation, &key));
    });
}

#[test]
fn a_dropped_guard_gives_the_lock_back() {
    simulated(vec![], |simulation| async move {
        let ours = session(&simulation, 0, 60).await;
        let theirs = session(&simulation, 1, 60).await;
        drop(mutex(&ours).lock().await.unwrap());
        let start = runtime::now();
        let next = mutex(&theirs).lock().await.unwrap();
        assert!(runtime::now() - start < SECOND);
        assert!(!exists(&simulation, &key_of(&ours)));
        drop(next);

        let rw = RwLock::new(&ours, "rw").unwrap();
        drop(rw.read().await.unwrap());
        drop(rw.write().await.unwrap());
        let theirs = RwLock::new(&theirs, "rw").unwrap();
        let next = runtime::timeout(SECOND, theirs.write()).await;
        next.expect("it waits").unwrap().unlock().await.unwrap();
    });
}

#[test]
fn a_wait_that_takes_too_long_gives_up_its_place() {
    simulated(vec![], |simulation| async move {
        let holder = session(&simulation, 0, 60).await;
        let held = mutex(&holder).lock().await.unwrap();
        let rw = RwLock::new(&holder, "rw").unwrap();
        let writing = rw.write().await.unwrap();
        let waiter = session(&simulation, 1, 60).await;
        let error = mutex(&waiter).lock_timeout(SECOND).await.unwrap_err();
        assert!(
            error.is_deadline_elapsed() && error.is_definite(),
            "{error}"
        );
        let ours = RwLock::new(&waiter, "rw").unwrap();
        let read = ours.read_timeout(SECOND).await.unwrap_err();
        let write = ours.write_timeout(SECOND).await.unwrap_err();
        assert!(read.is_deadline_elapsed() && write.is_deadline_elapsed());
        assert!(ours.try_read().await.unwrap().is_none());
        assert!(ours.try_write().await.unwrap().is_none());
        sleep(SECOND).await;
        let keys = simulation
            .member()
            .with_store(|store| store.current().count());
        assert_eq!(keys, 2, "only those of the holder are left");
        held.unlock().await.unwrap();
        writing.unlock().await.unwrap();
        let guard = mutex(&waiter).lock_timeout(SECOND).await.unwrap();
        guard.unlock().await.unwrap();
        ours.read_timeout(SECOND)
            .await
            .unwrap()
            .unlock()
            .await
            .unwrap();
    });
}

#[test]
fn a_holder_that_was_paused_can_change_nothing_through_its_guard() {
    let paused = FaultKind::PauseClient {
        client: 0,
        for_ms: 10_000,
    };
    simulated(vec![(2_000, paused)], |simulation| async move {
        let refused = Arc::new(SyncMutex::new(None));
        let mine = Arc::clone(&refused);
        simulation.spawn(0, move |incarnation| {
            let refused = Arc::clone(&mine);
            async move {
                let client = incarnation.connect().await.unwrap();
                let options = SessionOptions::new().ttl(3 * SECOND);
                let session = Session::with_options(&client, options).await.unwrap();
                let guard = mutex(&session).lock().await.unwrap();
                sleep_until(SimTime::from_millis(2_500)).await;
                let late = guard.txn().and_then([TxnOp::put("data", "late", None)]);
                let error = late.commit().await.unwrap_err();
                let unlock = guard.unlock().await.unwrap_err();
                *refused.lock().unwrap() = Some((error, unlock));
            }
        });
        sleep(SECOND).await;
        let next = session(&simulation, 1, 30).await;
        let guard = mutex(&next).lock().await.unwrap();
        assert!(now() < SimTime::from_millis(9_000));
        let write = guard.txn().and_then([TxnOp::put("data", "new", None)]);
        write.commit().await.unwrap();
        sleep(10 * SECOND).await;
        let (late, unlock) = refused.lock().unwrap().take().expect("it went on");
        assert!(late.is_not_held(), "{late}");
        assert!(unlock.is_not_held() || unlock.is_session_lost(), "{unlock}");
        let read = simulation
            .client(2)
            .await
            .unwrap()
            .kv_client()
            .get("data", None)
            .await;
        assert_eq!(read.unwrap().kvs()[0].value(), b"new");
    });
}

/// Notes when it is dropped.
struct Dropped(Arc<SyncMutex<Option<SimTime>>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        *self.0.lock().unwrap() = Some(now());
    }
}

#[test]
fn work_under_the_lock_is_cancelled_before_the_lease_can_end() {
    let cut_off = FaultKind::Partition {
        client: 0,
        for_ms: 60_000,
    };
    simulated(vec![(4_000, cut_off)], |simulation| async move {
        let session = session(&simulation, 0, 5).await;
        let mutex = mutex(&session);
        let cancelled = Arc::new(SyncMutex::new(None));
        let work = async |_: &Hold| {
            let _dropped = Dropped(Arc::clone(&cancelled));
            std::future::pending::<()>().await;
        };
        let watch = async {
            let key = key_of(&session);
            while !exists(&simulation, &key) {
                sleep(Duration::from_millis(1)).await;
            }
            while exists(&simulation, &key) {
                sleep(Duration::from_millis(1)).await;
            }
            now()
        };
        let with = async {
            let done = mutex.with(work).await;
            (done, session.is_alive())
        };
        let both = futures_util::future::join(with, watch);
        let both = runtime::timeout(30 * SECOND, both).await;
        let ((done, was_alive), deleted) = both.expect("the work is cancelled");
        assert!(done.unwrap_err().is_session_lost());
        assert!(was_alive, "it is cancelled with a margin");
        let cancelled = cancelled.lock().unwrap().expect("it was cancelled");
        assert!(cancelled < deleted, "{cancelled}, {deleted}");
    });
}

#[test]
fn work_under_the_lock_returns_what_it_made_and_unlocks() {
    simulated(vec![], |simulation| async move {
        let session = session(&simulation, 0, 30).await;
        let mutex = mutex(&session);
        // It can be spawned.
        let made = Arc::new(SyncMutex::new(None));
        let task = {
            let (mutex, made) = (mutex.clone(), Arc::clone(&made));
            runtime::spawn(async move {
                let token = mutex.with(async |hold| {
                    runtime::sleep(Duration::from_millis(10)).await;
                    hold.fencing_token()
                });
                *made.lock().unwrap() = Some(token.await);
            })
        };
        sleep(SECOND).await;
        drop(task);
        let token: Result<i64, Error> = made.lock().unwrap().take().expect("it is done");
        assert!(token.unwrap() > 0);
        assert!(!exists(&simulation, &key_of(&session)));
        // What deletes the key under the work is not kept secret.
        let mut client = simulation.client(1).await.unwrap();
        let work = mutex.with(async |hold| {
            client.delete(hold.key(), None).await.unwrap();
        });
        assert!(work.await.unwrap_err().is_not_held());
    });
}

#[test]
fn a_locker_locks_and_unlocks() {
    simulated(vec![], |simulation| async move {
        let ours = session(&simulation, 0, 30).await;
        let theirs = session(&simulation, 1, 30).await;
        let ours = Locker::new(&ours, "lock").unwrap();
        let theirs = Locker::new(&theirs, "lock").unwrap();
        assert!(ours.unlock().await.is_err());
        ours.lock().await.unwrap();
        assert!(waits(theirs.lock()).await);
        assert!(waits(ours.lock()).await, "it is not reentrant");
        ours.unlock().await.unwrap();
        theirs.lock().await.unwrap();
        assert!(theirs.is_locked() && !ours.is_locked());
        theirs.unlock().await.unwrap();
    });
}

#[test]
fn readers_share_writers_exclude_and_nobody_overtakes() {
    simulated(vec![], |simulation| async move {
        let one = session(&simulation, 0, 30).await;
        let two = session(&simulation, 1, 30).await;
        let [one, two] = [&one, &two].map(|session| RwLock::new(session, "rw").unwrap());
        let first = one.read().await.unwrap();
        let second = two.read().await.unwrap();
        assert!(two.try_write().await.unwrap().is_none());
        let order = Arc::new(SyncMutex::new(Vec::new()));
        let note = |what: &'static str| {
            let order = Arc::clone(&order);
            move || order.lock().unwrap().push(what)
        };
        let write = {
            let (lock, note) = (one.clone(), note("write"));
            runtime::spawn(async move {
                let guard = lock.write().await.unwrap();
                note();
                sleep(SECOND).await;
                guard.unlock().await.unwrap();
            })
        };
        sleep(SECOND).await;
        // A reader that comes now stands behind the writer.
        assert!(two.try_read().await.unwrap().is_none());
        let read = {
            let (lock, note) = (two.clone(), note("read"));
            runtime::spawn(async move {
                let guard = lock.read().await.unwrap();
                note();
                guard.unlock().await.unwrap();
            })
        };
        sleep(SECOND).await;
        assert!(order.lock().unwrap().is_empty());
        first.unlock().await.unwrap();
        second.unlock().await.unwrap();
        sleep(4 * SECOND).await;
        assert_eq!(*order.lock().unwrap(), ["write", "read"]);
        drop((write, read));
    });
}

#[test]
fn a_reader_whose_key_is_gone_is_not_let_in() {
    simulated(vec![], |simulation| async move {
        let holder = session(&simulation, 0, 30).await;
        let held = RwLock::new(&holder, "rw").unwrap().write().await.unwrap();
        let waiter = session(&simulation, 1, 30).await;
        let lock = RwLock::new(&waiter, "rw").unwrap();
        let mut client = simulation.client(2).await.unwrap();
        let revoke = async {
            sleep(SECOND).await;
            client.lease_revoke(waiter.lease_id()).await.unwrap();
            sleep(SECOND).await;
            held.unlock().await.unwrap();
        };
        let (read, ()) = futures_util::future::join(lock.read(), revoke).await;
        let error = read.unwrap_err();
        assert!(error.is_not_held() || error.is_session_lost(), "{error}");
    });
}

#[test]
fn a_key_that_belongs_to_another_lease_is_no_lock_of_ours() {
    simulated(vec![], |simulation| async move {
        let session = session(&simulation, 0, 30).await;
        let other = self::session(&simulation, 1, 30).await;
        let mut client = simulation.client(2).await.unwrap();
        let attached = PutOptions::new().with_lease(other.lease_id());
        client
            .put(key_of(&session), "", Some(attached))
            .await
            .unwrap();
        assert!(mutex(&session).lock().await.is_err());
        assert!(
            exists(&simulation, &key_of(&session)),
            "it is not ours to delete"
        );
    });
}
