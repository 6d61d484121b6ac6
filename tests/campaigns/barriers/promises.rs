//! What the barriers promise when sessions are lost, watches break and participants
//! die, one by one in the simulation.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_client::{Client, GetOptions, TxnOp};
use etcd_recipes::{Barrier, CyclicBarrier, DoubleBarrier, Error, Round, Session, runtime};
use etcd_sim::executor::{SimTime, now, sleep, sleep_until};
use etcd_sim::fault::FaultKind;
use etcd_sim::simulation::Simulation;

use crate::support::{self, cut_off, simulated};

async fn session(simulation: &Simulation, client: u32) -> Session {
    support::session(simulation, client, 3).await
}

fn keys(simulation: &Simulation) -> Vec<String> {
    simulation.member().with_store(|store| {
        let current = store.current();
        current
            .map(|kv| String::from_utf8_lossy(kv.key()).into_owned())
            .collect()
    })
}

type Seen<T> = Arc<Mutex<Option<(SimTime, T)>>>;

/// Does `work` in a task of its own, and notes when it was done.
fn noted<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> (Seen<T>, runtime::Task) {
    let seen: Seen<T> = Arc::default();
    let mine = Arc::clone(&seen);
    let task = runtime::spawn(async move {
        let result = work.await;
        *mine.lock().unwrap() = Some((now(), result));
    });
    (seen, task)
}

fn taken<T>(seen: &Seen<T>) -> Option<(SimTime, T)> {
    seen.lock().unwrap().take()
}

fn waits(barrier: &Barrier) -> (Seen<Result<(), Error>>, runtime::Task) {
    let barrier = barrier.clone();
    noted(async move { barrier.wait().await })
}

async fn barrier(simulation: &Simulation, client: u32) -> (Client, Barrier) {
    let client = simulation.client(client).await.unwrap();
    let barrier = Barrier::new(&client, "bar").unwrap();
    (client, barrier)
}

#[test]
fn a_barrier_is_held_once_and_wakes_all_who_wait() {
    simulated(vec![], |simulation| async move {
        let (_, holder) = barrier(&simulation, 0).await;
        let (mut client, waiter) = barrier(&simulation, 1).await;
        waiter.wait().await.unwrap();
        assert!(!holder.release().await.unwrap());
        assert!(holder.hold().await.unwrap());
        assert!(!waiter.hold().await.unwrap());
        // Another barrier whose name begins in the same way, and a key below.
        client.put("bar2", "", None).await.unwrap();
        client.put("bar/child", "", None).await.unwrap();
        let waiting: Vec<_> = (0..100).map(|_| waits(&waiter)).collect();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(simulation.member().watches(), 1);
        assert!(waiting.iter().all(|(seen, _)| taken(seen).is_none()));
        assert!(holder.release().await.unwrap());
        sleep(Duration::from_millis(100)).await;
        for (seen, _) in &waiting {
            taken(seen).expect("it was woken").1.unwrap();
        }
    });
}

#[test]
fn a_wait_ends_with_the_hold_that_it_found_although_another_one_follows_at_once() {
    simulated(vec![], |simulation| async move {
        let (mut client, waiter) = barrier(&simulation, 0).await;
        assert!(waiter.hold().await.unwrap());
        let (seen, _task) = waits(&waiter);
        sleep(Duration::from_secs(1)).await;
        client.delete("bar", None).await.unwrap();
        client.put("bar", "", None).await.unwrap();
        sleep(Duration::from_millis(100)).await;
        taken(&seen).expect("it was woken").1.unwrap();
    });
}

#[test]
fn a_wait_takes_no_broken_watch_for_a_release() {
    let client = 1;
    let faults = vec![
        (2_000, FaultKind::Reset { client }),
        (3_000, FaultKind::LoseResponse { client }),
        (10_000, FaultKind::RestartMember { down_ms: 500 }),
        (
            20_000,
            FaultKind::Partition {
                client,
                for_ms: 8_000,
            },
        ),
        (20_000, FaultKind::Reset { client }),
    ];
    simulated(faults, |simulation| async move {
        let (mut etcd, holder) = barrier(&simulation, 0).await;
        let (_, waiter) = barrier(&simulation, 1).await;
        assert!(holder.hold().await.unwrap());
        let (seen, _task) = waits(&waiter);
        // While the waiter is cut off, history goes on and is compacted.
        sleep_until(SimTime::from_millis(22_000)).await;
        let put = etcd.put("other", "", None).await.unwrap();
        let revision = put.header().unwrap().revision();
        etcd.compact(revision, None).await.unwrap();
        sleep_until(SimTime::from_millis(45_000)).await;
        assert!(taken(&seen).is_none(), "the barrier stood all the time");
        assert!(holder.release().await.unwrap());
        sleep(Duration::from_secs(10)).await;
        taken(&seen).expect("it was woken").1.unwrap();
    });
}

#[test]
fn a_release_beyond_a_compaction_is_not_missed() {
    let client = 1;
    let faults = vec![
        (
            2_000,
            FaultKind::Partition {
                client,
                for_ms: 3_000,
            },
        ),
        (2_000, FaultKind::Reset { client }),
    ];
    simulated(faults, |simulation| async move {
        let (mut etcd, holder) = barrier(&simulation, 0).await;
        let (_, waiter) = barrier(&simulation, 1).await;
        assert!(holder.hold().await.unwrap());
        let (seen, _task) = waits(&waiter);
        sleep_until(SimTime::from_millis(3_000)).await;
        assert!(holder.release().await.unwrap());
        let put = etcd.put("other", "", None).await.unwrap();
        let revision = put.header().unwrap().revision();
        etcd.compact(revision, None).await.unwrap();
        sleep_until(SimTime::from_millis(20_000)).await;
        taken(&seen).expect("it was woken").1.unwrap();
    });
}

#[test]
fn a_barrier_that_is_held_with_a_session_falls_with_it() {
    simulated(vec![], |simulation| async move {
        let (_, waiter) = barrier(&simulation, 1).await;
        for way in 0..3 {
            let session = session(&simulation, 0).await;
            let held = waiter.hold_with_session(&session).await.unwrap().unwrap();
            assert!(waiter.hold_with_session(&session).await.unwrap().is_none());
            assert!(!waiter.hold().await.unwrap());
            let (seen, _task) = waits(&waiter);
            sleep(Duration::from_millis(500)).await;
            assert!(taken(&seen).is_none());
            match way {
                0 => held.release().await.unwrap(),
                1 => drop(held),
                _ => session.close().await.unwrap(),
            }
            sleep(Duration::from_secs(1)).await;
            taken(&seen).expect("it was woken").1.unwrap();
            assert!(keys(&simulation).is_empty());
        }
    });
}

fn double(session: &Session, count: usize) -> DoubleBarrier {
    DoubleBarrier::new(session, "db", count).unwrap()
}

fn enters(barrier: &DoubleBarrier) -> (Seen<Result<(), Error>>, runtime::Task) {
    let barrier = barrier.clone();
    noted(async move { barrier.enter().await })
}

fn leaves(barrier: &DoubleBarrier) -> (Seen<Result<(), Error>>, runtime::Task) {
    let barrier = barrier.clone();
    noted(async move { barrier.leave().await })
}

#[test]
fn a_name_is_used_round_after_round() {
    simulated(vec![], |simulation| async move {
        let mut parties = Vec::new();
        for client in 0..3 {
            parties.push(double(&session(&simulation, client).await, 3));
        }
        let rounds = parties.iter().map(|party| async move {
            for _ in 0..20 {
                party.enter().await.unwrap();
                assert!(party.is_inside());
                party.leave().await.unwrap();
            }
        });
        futures_util::future::join_all(rounds).await;
        assert!(keys(&simulation).is_empty(), "{:?}", keys(&simulation));
    });
}

#[test]
fn who_comes_while_others_leave_is_refused_and_not_let_in_alone() {
    simulated(vec![], |simulation| async move {
        let [a, b, c] = [
            double(&session(&simulation, 0).await, 2),
            double(&session(&simulation, 1).await, 2),
            double(&session(&simulation, 2).await, 2),
        ];
        let (entered, _task) = enters(&a);
        b.enter().await.unwrap();
        let (left, _task) = leaves(&b);
        sleep(Duration::from_millis(500)).await;
        assert!(taken(&entered).is_some() && taken(&left).is_none());
        let refused = c.enter().await.unwrap_err();
        assert!(refused.is_too_many_clients(), "{refused}");
        a.leave().await.unwrap();
        sleep(Duration::from_millis(100)).await;
        taken(&left).expect("everybody has left").1.unwrap();
        assert!(keys(&simulation).is_empty());
    });
}

#[test]
fn one_too_many_is_refused() {
    simulated(vec![], |simulation| async move {
        let mut parties = Vec::new();
        for client in 0..4 {
            let party = double(&session(&simulation, client).await, 2);
            parties.push((enters(&party), party));
        }
        sleep(Duration::from_secs(1)).await;
        let results: Vec<_> = parties.iter().map(|((seen, _), _)| taken(seen)).collect();
        let results = results.into_iter().map(|seen| seen.expect("it is over").1);
        let (entered, refused): (Vec<_>, Vec<_>) = results.partition(Result::is_ok);
        assert_eq!((entered.len(), refused.len()), (2, 2));
        let is_refusal =
            |result: &Result<(), Error>| result.as_ref().is_err_and(Error::is_too_many_clients);
        assert!(refused.iter().all(is_refusal), "{refused:?}");
    });
}

#[test]
fn a_waiter_whose_lease_is_gone_does_not_enter_and_does_not_count() {
    simulated(vec![], |simulation| async move {
        let [first, second, third] = [
            session(&simulation, 0).await,
            session(&simulation, 1).await,
            session(&simulation, 2).await,
        ];
        let (a, b, c) = (double(&first, 2), double(&second, 2), double(&third, 2));
        let (lost, _task) = enters(&a);
        sleep(Duration::from_millis(200)).await;
        let mut leases = simulation.client(3).await.unwrap().lease_client();
        leases.revoke(first.lease_id()).await.unwrap();
        let (entered, _task) = enters(&b);
        sleep(Duration::from_millis(500)).await;
        assert!(taken(&entered).is_none(), "it is alone");
        c.enter().await.unwrap();
        let error = taken(&lost).expect("it was told").1.unwrap_err();
        assert!(error.is_not_held() || error.is_session_lost(), "{error}");
        sleep(Duration::from_millis(200)).await;
        taken(&entered).expect("both have come").1.unwrap();
    });
}

#[test]
fn a_leave_without_an_enter_is_an_error() {
    simulated(vec![], |simulation| async move {
        let session = session(&simulation, 0).await;
        let party = double(&session, 1);
        let error = party.leave().await.unwrap_err();
        assert!(error.to_string().contains("has not entered"), "{error}");
        party.enter().await.unwrap();
        let again = party.enter().await.unwrap_err();
        assert!(again.to_string().contains("entered already"), "{again}");
        party.leave().await.unwrap();
        assert!(DoubleBarrier::new(&session, "db", 0).is_err());
    });
}

#[test]
fn a_signal_that_was_left_behind_does_not_count() {
    simulated(vec![], |simulation| async move {
        let mut client = simulation.client(3).await.unwrap();
        client.put("db/ready", "", None).await.unwrap();
        let (a, b) = (
            double(&session(&simulation, 0).await, 2),
            double(&session(&simulation, 1).await, 2),
        );
        let (entered, _task) = enters(&a);
        sleep(Duration::from_millis(500)).await;
        assert!(taken(&entered).is_none(), "it is alone");
        b.enter().await.unwrap();
        sleep(Duration::from_millis(200)).await;
        taken(&entered).expect("both have come").1.unwrap();
        let (_left, _task) = leaves(&a);
        b.leave().await.unwrap();
        sleep(Duration::from_millis(200)).await;
        assert!(keys(&simulation).is_empty(), "{:?}", keys(&simulation));
    });
}

#[test]
fn the_death_of_the_last_to_come_before_it_has_said_so_strands_nobody() {
    simulated(vec![], |simulation| async move {
        let a = double(&session(&simulation, 0).await, 2);
        let (entered, _task) = enters(&a);
        sleep(Duration::from_millis(500)).await;
        // As a Go participant that dies between its two requests.
        let dying = session(&simulation, 1).await;
        let leased = etcd_client::PutOptions::new().with_lease(dying.lease_id());
        let put = TxnOp::put("db/waiters/1795215111064444187", "", Some(leased));
        let txn = etcd_client::Txn::new().and_then([put]);
        simulation.client(2).await.unwrap().txn(txn).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        taken(&entered).expect("somebody says so").1.unwrap();
    });
}

#[test]
fn an_enter_and_a_leave_survive_broken_watches_and_compactions() {
    async fn compact_everything(simulation: &Simulation) {
        let mut client = simulation.client(3).await.unwrap();
        let put = client.put("other", "", None).await.unwrap();
        let revision = put.header().unwrap().revision();
        client.compact(revision, None).await.unwrap();
    }
    let client = 0;
    // Each time the watch breaks, and comes back before anything has happened; then
    // it is away while that happens, and what it missed is compacted.
    let breaks = [1_000, 3_000, 16_000, 18_000].map(|at_ms| (at_ms, FaultKind::Reset { client }));
    let away = [3_000, 18_000].map(|at_ms| (at_ms, cut_off(client, 1_500)));
    let faults = breaks.into_iter().chain(away).collect();
    simulated(faults, |simulation| async move {
        let (a, b) = (
            double(&session(&simulation, 0).await, 2),
            double(&session(&simulation, 1).await, 2),
        );
        let (entered, _task) = enters(&a);
        sleep_until(SimTime::from_millis(3_500)).await;
        assert!(taken(&entered).is_none(), "nobody else has come");
        b.enter().await.unwrap();
        compact_everything(&simulation).await;
        sleep_until(SimTime::from_millis(15_000)).await;
        taken(&entered).expect("the round had begun").1.unwrap();

        let (left, _task) = leaves(&a);
        sleep_until(SimTime::from_millis(18_500)).await;
        assert!(taken(&left).is_none(), "the other one is inside");
        b.leave().await.unwrap();
        compact_everything(&simulation).await;
        sleep_until(SimTime::from_millis(30_000)).await;
        taken(&left).expect("everybody has gone").1.unwrap();
    });
}

/// Leaves as a participant of etcd's Go recipe (3.4.23) whose key is `own`: it goes
/// by the oldest key and the newest, and takes a single key for its own.
async fn leaves_as_go(mut client: Client, own: &str) {
    loop {
        let listed = GetOptions::new().with_prefix();
        let listed = client.get("db/waiters", Some(listed)).await.unwrap();
        let mut there: Vec<(i64, String)> = Vec::new();
        for kv in listed.kvs() {
            there.push((kv.mod_revision(), kv.key_str().unwrap().to_owned()));
        }
        there.sort();
        let (Some(oldest), Some(newest)) = (there.first(), there.last()) else {
            return;
        };
        if there.len() == 1 {
            client.delete("db/ready", None).await.unwrap();
            client.delete(own, None).await.unwrap();
            return;
        }
        if oldest.1 == own {
            until_deleted(&mut client, &newest.1).await;
        } else {
            client.delete(own, None).await.unwrap();
            until_deleted(&mut client, &oldest.1).await;
        }
    }
}

async fn until_deleted(client: &mut Client, key: &str) {
    while client.get(key, None).await.unwrap().count() > 0 {
        sleep(Duration::from_millis(5)).await;
    }
}

/// Comes as a Go participant; the key.
async fn comes_as_go(client: &mut Client, session: &Session) -> &'static str {
    const KEY: &str = "db/waiters/1795215111064444187";
    let leased = etcd_client::PutOptions::new().with_lease(session.lease_id());
    client.put(KEY, "", Some(leased)).await.unwrap();
    KEY
}

/// What happens to the oldest participant while it leaves.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Oldest {
    Leaves,
    GivesUp,
    Dies,
}

/// The oldest participant and the youngest are ours, the one between is Go's and
/// leaves first, then the oldest, then the youngest.
async fn a_round_with_go(simulation: &Simulation, oldest: Oldest) {
    let first = session(simulation, 0).await;
    let (a, b) = (double(&first, 3), double(&session(simulation, 1).await, 3));
    let (entered, _task) = enters(&a);
    sleep(Duration::from_millis(100)).await;
    let mut client = simulation.client(2).await.unwrap();
    let of_go = session(simulation, 3).await;
    let own = comes_as_go(&mut client, &of_go).await;
    sleep(Duration::from_millis(100)).await;
    b.enter().await.unwrap();
    sleep(Duration::from_millis(100)).await;
    taken(&entered).expect("all have come").1.unwrap();
    let (go_left, _task) = noted(async move { leaves_as_go(client, own).await });
    sleep(Duration::from_millis(100)).await;
    let (a_left, leaving) = leaves(&a);
    sleep(Duration::from_millis(500)).await;
    assert!(taken(&a_left).is_none(), "one is inside");
    assert!(taken(&go_left).is_none(), "one is inside");
    match oldest {
        Oldest::Leaves => {}
        Oldest::GivesUp => drop(leaving),
        Oldest::Dies => first.close().await.unwrap(),
    }
    sleep(Duration::from_millis(200)).await;
    b.leave().await.unwrap();
    sleep(Duration::from_millis(200)).await;
    taken(&go_left).expect("everybody has left");
    match oldest {
        Oldest::Leaves => taken(&a_left).expect("everybody has left").1.unwrap(),
        Oldest::GivesUp => assert!(taken(&a_left).is_none()),
        Oldest::Dies => {
            let lost = taken(&a_left).expect("it was told").1.unwrap_err();
            assert!(lost.is_session_lost(), "{lost}");
        }
    }
    assert!(keys(simulation).is_empty(), "{:?}", keys(simulation));
}

#[test]
fn a_go_participant_does_not_leave_before_all_others_when_the_oldest_is_ours() {
    simulated(vec![], |simulation| async move {
        a_round_with_go(&simulation, Oldest::Leaves).await;
    });
}

#[test]
fn an_oldest_participant_that_dies_or_gives_up_while_it_leaves_strands_nobody() {
    simulated(vec![], |simulation| async move {
        a_round_with_go(&simulation, Oldest::GivesUp).await;
        a_round_with_go(&simulation, Oldest::Dies).await;
    });
}

#[test]
fn an_oldest_participant_that_leaves_does_not_wait_for_who_came_too_late() {
    simulated(vec![], |simulation| async move {
        let mut parties = Vec::new();
        for client in 0..3 {
            parties.push(double(&session(&simulation, client).await, 3));
        }
        let entering = parties.iter().map(DoubleBarrier::enter);
        for entered in futures_util::future::join_all(entering).await {
            entered.unwrap();
        }
        // A Go participant that comes too late leaves its key behind.
        let mut client = simulation.client(3).await.unwrap();
        let late = session(&simulation, 4).await;
        comes_as_go(&mut client, &late).await;
        let leaving = parties.iter().map(DoubleBarrier::leave);
        let patience = Duration::from_secs(1);
        let left = runtime::timeout(patience, futures_util::future::join_all(leaving));
        for left in left.await.expect("nobody waits for it") {
            left.unwrap();
        }
    });
}

fn cyclic(session: &Session, count: usize) -> CyclicBarrier {
    CyclicBarrier::new(session, "cyc", count).unwrap()
}

fn waits_for_round(barrier: &CyclicBarrier) -> (Seen<Result<Round, Error>>, runtime::Task) {
    let barrier = barrier.clone();
    noted(async move { barrier.wait().await })
}

#[test]
fn rounds_rise_by_one_and_every_place_is_taken_once() {
    simulated(vec![], |simulation| async move {
        let mut parties = Vec::new();
        for client in 0..4 {
            parties.push(cyclic(&session(&simulation, client).await, 4));
        }
        let rounds = parties.iter().map(|party| async move {
            let mut rounds = Vec::new();
            for _ in 0..15 {
                rounds.push(party.wait().await.unwrap());
            }
            rounds
        });
        let rounds = futures_util::future::join_all(rounds).await;
        for round in 0..15 {
            let mut places: Vec<usize> = rounds.iter().map(|party| party[round].index).collect();
            places.sort_unstable();
            assert_eq!(places, [0, 1, 2, 3]);
            let number = round as u64 + 1;
            assert!(rounds.iter().all(|party| party[round].number == number));
        }
        sleep(Duration::from_secs(1)).await;
        assert_eq!(keys(&simulation), ["cyc/generation"]);
    });
}

#[test]
fn one_more_than_places_makes_the_next_round() {
    simulated(vec![], |simulation| async move {
        let session = session(&simulation, 0).await;
        let party = cyclic(&session, 2);
        let waiting: Vec<_> = (0..3).map(|_| waits_for_round(&party)).collect();
        sleep(Duration::from_secs(1)).await;
        let done = waiting.iter().filter_map(|(seen, _)| taken(seen));
        let done: Vec<u64> = done.map(|(_, round)| round.unwrap().number).collect();
        assert_eq!(done, [1, 1]);
        assert_eq!(party.wait().await.unwrap().number, 2);
    });
}

#[test]
fn a_participant_that_dies_or_gives_up_does_not_count() {
    simulated(vec![], |simulation| async move {
        let [first, second, third] = [
            session(&simulation, 0).await,
            session(&simulation, 1).await,
            session(&simulation, 2).await,
        ];
        let (a, b, c) = (cyclic(&first, 2), cyclic(&second, 2), cyclic(&third, 2));
        // One dies, and one gives up.
        let (lost, _task) = waits_for_round(&a);
        sleep(Duration::from_millis(200)).await;
        first.close().await.unwrap();
        sleep(Duration::from_millis(200)).await;
        assert!(
            taken(&lost)
                .expect("it was told")
                .1
                .unwrap_err()
                .is_session_lost()
        );
        let patience = Duration::from_millis(200);
        assert!(runtime::timeout(patience, b.wait()).await.is_err());
        sleep(Duration::from_secs(1)).await;
        let (waiting, _task) = waits_for_round(&b);
        sleep(Duration::from_secs(1)).await;
        assert!(taken(&waiting).is_none(), "it is alone");
        assert_eq!(c.wait().await.unwrap().number, 1);
        sleep(Duration::from_millis(200)).await;
        assert_eq!(
            taken(&waiting).expect("both have come").1.unwrap().number,
            1
        );
        for wrong in [0, 101] {
            assert!(CyclicBarrier::new(&second, "cyc", wrong).is_err());
        }
    });
}
