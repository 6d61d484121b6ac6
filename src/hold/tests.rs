//! Keys come and go with their holds, in the simulation.

use std::time::Duration;

use etcd_client::{Compare, CompareOp, PutOptions, TxnOp};
use etcd_sim::fault::{Fault, FaultKind};
use etcd_sim::plan::{Latency, Plan};
use etcd_sim::simulation::{Options, Simulation, run};

use super::*;
use crate::request::revision_of;
use crate::session::SessionOptions;
use crate::watch::View;

fn simulated<T: Send + 'static, Fut>(
    faults: Vec<FaultKind>,
    body: impl FnOnce(Simulation) -> Fut + Send + 'static,
) -> T
where
    Fut: Future<Output = T> + 'static,
{
    let at = |kind| Fault { at_ms: 1_000, kind };
    let plan = Plan {
        faults: faults.into_iter().map(at).collect(),
        latency: Latency {
            min_us: 4_000,
            max_us: 9_000,
        },
        ..Plan::quiet(5)
    };
    run(Options::new(plan), move |simulation| {
        let seeded = runtime::seed_thread(5);
        let running = body(simulation);
        async move {
            let result = running.await;
            drop(seeded);
            result
        }
    })
    .unwrap()
}

fn exists(simulation: &Simulation, key: &str) -> bool {
    simulation
        .member()
        .with_store(|store| store.key_at(key.as_bytes(), store.revision()).is_some())
}

async fn session(simulation: &Simulation) -> Session {
    let client = simulation.client(0).await.unwrap();
    let options = SessionOptions::new().ttl(Duration::from_secs(30));
    Session::with_options(&client, options).await.unwrap()
}

/// Creates the key as a lock does.
async fn hold(session: &Session, key: &str) -> Result<Hold, Error> {
    let mut claim = Claim::new(session, key).with_turn(session.turn("prefix/").await);
    let why = Purpose {
        operation: "create",
        target: key,
    };
    let attached = PutOptions::new().with_lease(session.lease_id());
    let txn = Txn::new()
        .when([Compare::create_revision(key, CompareOp::Equal, 0)])
        .and_then([TxnOp::put(key, "", Some(attached))])
        .or_else([TxnOp::get(key, None)]);
    let answer = claim.send(why, txn).await?;
    let existing = answer.op_responses().into_iter().next();
    let created = match existing {
        Some(etcd_client::TxnOpResponse::Get(read)) if !answer.succeeded() => read
            .kvs()
            .first()
            .map(etcd_client::KeyValue::create_revision),
        _ => None,
    };
    Ok(claim.into_hold(created.unwrap_or_else(|| revision_of(answer.header()))))
}

#[test]
fn a_claim_that_is_dropped_at_any_moment_leaves_no_key() {
    let mut cancelled = 0;
    for after_ms in 0.. {
        let done = simulated(vec![], move |simulation| async move {
            let session = session(&simulation).await;
            let limit = Duration::from_millis(after_ms);
            let held = runtime::timeout(limit, hold(&session, "prefix/key")).await;
            let done = held.is_ok();
            drop(held);
            runtime::sleep(Duration::from_secs(1)).await;
            assert!(session.is_alive());
            assert!(!exists(&simulation, "prefix/key"), "after {after_ms} ms");
            // The turn is free again, and the key can be had.
            let again = hold(&session, "prefix/key").await.unwrap();
            again.confirm().await.unwrap();
            assert!(exists(&simulation, "prefix/key"));
            done
        });
        if done {
            break;
        }
        cancelled += 1;
    }
    assert!(cancelled >= 10, "cancelled at {cancelled} moments only");
}

#[test]
fn a_lost_answer_is_found_out_and_what_comes_late_is_swept_away() {
    for kind in [
        FaultKind::LoseResponse { client: 0 },
        FaultKind::LoseRequest { client: 0 },
    ] {
        simulated(vec![kind], |simulation| async move {
            let session = session(&simulation).await;
            runtime::sleep(Duration::from_millis(1_500)).await;
            let held = hold(&session, "prefix/key").await.unwrap();
            held.confirm().await.unwrap();
            held.release("release").await.unwrap();
            assert!(!exists(&simulation, "prefix/key"));
            // As a request that was given up would, when it arrives at last.
            let late = PutOptions::new().with_lease(session.lease_id());
            let client = simulation.client(1).await.unwrap();
            client
                .kv_client()
                .put("prefix/key", "", Some(late))
                .await
                .unwrap();
            runtime::sleep(Duration::from_secs(10)).await;
            assert!(!exists(&simulation, "prefix/key"));
        });
    }
}

#[test]
fn a_release_whose_answer_is_lost_deletes_no_later_key() {
    simulated(
        vec![FaultKind::LoseResponse { client: 0 }],
        |simulation| async move {
            let session = session(&simulation).await;
            let held = hold(&session, "prefix/key").await.unwrap();
            runtime::sleep(Duration::from_millis(1_500)).await;
            let released = held.release_and_tell("release").await.unwrap();
            // Nobody can say whose deletion it was.
            assert_eq!(released, Released::Before);
            let later = hold(&session, "prefix/key").await.unwrap();
            runtime::sleep(Duration::from_secs(20)).await;
            later.confirm().await.unwrap();
            let released = later.release_and_tell("release").await.unwrap();
            assert_eq!(released, Released::Now);
        },
    );
}

#[test]
fn a_guarded_transaction_does_nothing_once_the_key_is_gone() {
    simulated(vec![], |simulation| async move {
        let session = session(&simulation).await;
        let held = hold(&session, "prefix/key").await.unwrap();
        let put = |value: &str| TxnOp::put("data", value, None);
        held.txn().and_then([put("1")]).commit().await.unwrap();
        let absent = Compare::version("other", CompareOp::Greater, 0);
        let answer = held
            .txn()
            .when([absent])
            .and_then([put("2")])
            .commit()
            .await
            .unwrap();
        assert!(!answer.succeeded());
        let other = simulation.client(1).await.unwrap();
        other.kv_client().delete("prefix/key", None).await.unwrap();
        let error = held.txn().and_then([put("3")]).commit().await.unwrap_err();
        assert!(error.is_not_held(), "{error}");
        assert!(held.confirm().await.unwrap_err().is_not_held());
        let read = other.kv_client().get("data", None).await.unwrap();
        assert_eq!(read.kvs()[0].value(), b"1");
        assert!(held.release("release").await.unwrap_err().is_not_held());
    });
}

#[test]
fn dropping_the_last_handle_still_gives_the_key_back_at_once() {
    simulated(vec![], |simulation| async move {
        let session = session(&simulation).await;
        let held = hold(&session, "prefix/key").await.unwrap();
        drop(session);
        drop(held);
        runtime::sleep(Duration::from_millis(100)).await;
        assert!(!exists(&simulation, "prefix/key"));
    });
}

#[test]
fn a_key_is_not_asked_for_when_etcd_does_not_know_the_lease() {
    simulated(vec![], |simulation| async move {
        let session = session(&simulation).await;
        let other = simulation.client(1).await.unwrap();
        other
            .lease_client()
            .revoke(session.lease_id())
            .await
            .unwrap();
        let error = hold(&session, "prefix/key").await.unwrap_err();
        assert!(error.is_session_lost(), "{error}");
        assert!(!session.is_alive());
    });
}

/// Puts so many keys into the line, one of which goes every `moves_ms`, and comes to
/// it. How long the newcomer stood back, and how many keys there were then.
fn stands_back(keys: usize, moves_ms: u64) -> (Duration, usize) {
    simulated(vec![], move |simulation| async move {
        let session = session(&simulation).await;
        let client = simulation.client(1).await.unwrap();
        for key in 0..keys {
            client
                .kv_client()
                .put(format!("line/{key}"), "", None)
                .await
                .unwrap();
        }
        let mirror = session.mirror("line/");
        let all = |view: &View| (view.keys.len() == keys).then_some(());
        mirror.wait(0, all).await.unwrap();
        let moving = async {
            let mut kv = client.kv_client();
            for key in 0..keys {
                runtime::sleep(Duration::from_millis(moves_ms)).await;
                kv.delete(format!("line/{key}"), None).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let start = runtime::now();
        let standing_back = async {
            stand_back(&session, &mirror, |_, _| true).await.unwrap();
            let left = mirror.peek(|view| view.keys.len());
            (runtime::now() - start, left.unwrap())
        };
        match futures_util::future::select(Box::pin(standing_back), Box::pin(moving)).await {
            futures_util::future::Either::Left((stood, _)) => stood,
            futures_util::future::Either::Right(_) => unreachable!("it never ends"),
        }
    })
}

#[test]
fn newcomers_stand_back_until_a_line_that_moves_fast_has_become_short() {
    let (stood, left) = stands_back(5, 1);
    assert_eq!(left, 2);
    assert!(stood < Duration::from_millis(100), "{stood:?}");
}

#[test]
fn nobody_stands_back_for_long_and_nobody_from_a_short_line() {
    assert_eq!(stands_back(2, 1_000), (Duration::ZERO, 2));
    let (stood, left) = stands_back(5, 1_000);
    // The executor's timers are a few nanoseconds late.
    assert_eq!((stood.as_millis(), left), (20, 5));
    let (stood, left) = stands_back(1_000, 0);
    assert_eq!(stood.as_millis(), 100);
    assert!(left > 900, "{left}");
}
