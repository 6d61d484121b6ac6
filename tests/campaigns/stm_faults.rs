//! What the Go STM gets wrong, put to ours one by one, on the simulated etcd.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use etcd_recipes::etcd_client::{Channel, Client};
use etcd_recipes::stm::{Isolation, StmError};
use etcd_recipes::{Error, Stm, runtime};
use etcd_sim::network::ChannelOptions;
use etcd_sim::simulation::Simulation;
use futures_util::FutureExt as _;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service as _;
use tower::util::BoxCloneSyncService;

use crate::support::quiet;

/// What becomes of a txn on its way.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Arrives,
    /// Answered with this text instead of being sent.
    Refused(&'static str),
    /// Sent, and its answer is lost.
    Unanswered,
}

/// A client whose txns, counted from 1, meet their fates, and the count.
async fn client(
    simulation: &Simulation,
    fate: impl Fn(u32) -> Fate + Clone + Send + Sync + 'static,
) -> (Client, Arc<AtomicU32>) {
    let channel = simulation
        .channel(0, ChannelOptions::default())
        .into_etcd_channel();
    let Channel::Custom(wire) = channel else {
        panic!("a simulated channel is a custom one")
    };
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (mut wire, fate) = (wire.clone(), fate.clone());
        let fate = match request.uri().path() {
            "/etcdserverpb.KV/Txn" => fate(counted.fetch_add(1, Ordering::SeqCst) + 1),
            _ => Fate::Arrives,
        };
        async move {
            match fate {
                Fate::Arrives => wire.call(request).await,
                Fate::Refused(text) => Ok(Status::new(Code::OutOfRange, text).into_http()),
                Fate::Unanswered => {
                    wire.call(request).await?;
                    Ok(Status::new(Code::Unavailable, "transport error").into_http())
                }
            }
        }
    });
    let channel = Channel::Custom(BoxCloneSyncService::new(service));
    (Client::from_channel(channel, None).await.unwrap(), count)
}

async fn put(client: &Client, key: &str, value: &str) -> i64 {
    let answer = client.clone().put(key, value, None).await.unwrap();
    answer.header().unwrap().revision()
}

/// Later reads of a snapshot may go to any member, and one that lags behind says
/// that the revision is a future one. The transaction asks through the cluster.
#[test]
fn a_member_that_lags_behind_the_snapshot_is_not_the_callers_concern() {
    quiet(|simulation| async move {
        let lags = |txn| match txn {
            2 => Fate::Refused("etcdserver: mvcc: required revision is a future revision"),
            _ => Fate::Arrives,
        };
        let (client, txns) = client(&simulation, lags).await;
        put(&client, "a", "1").await;
        let done = Stm::new(&client)
            .run(|txn| async move { Ok::<_, Error>((txn.get("a").await?, txn.get("b").await?)) })
            .await
            .unwrap();
        assert_eq!(done.value, (Some(b"1".to_vec()), None));
        assert_eq!((done.attempts, txns.load(Ordering::SeqCst)), (1, 3));
    });
}

#[test]
fn a_snapshot_that_was_compacted_away_begins_a_new_attempt() {
    quiet(|simulation| async move {
        let (client, _) = client(&simulation, |_| Fate::Arrives).await;
        put(&client, "a", "1").await;
        let attempts = AtomicU32::new(0);
        let done = Stm::new(&client)
            .run(|txn| {
                let attempt = attempts.fetch_add(1, Ordering::SeqCst);
                let client = client.clone();
                async move {
                    let a = txn.get("a").await?;
                    if attempt == 0 {
                        put(&client, "a", "2").await;
                        let revision = put(&client, "b", "2").await;
                        client.clone().compact(revision, None).await.unwrap();
                    }
                    Ok::<_, Error>((a, txn.get("b").await?))
                }
            })
            .await
            .unwrap();
        let two = Some(b"2".to_vec());
        assert_eq!((done.value, done.attempts), ((two.clone(), two), 2));
    });
}

#[test]
fn a_commit_that_is_not_answered_is_unknown_and_not_sent_again() {
    quiet(|simulation| async move {
        let lost = |txn| match txn {
            2 => Fate::Unanswered,
            _ => Fate::Arrives,
        };
        let (client, txns) = client(&simulation, lost).await;
        let runs = AtomicU32::new(0);
        let error = Stm::new(&client)
            .run(|txn| {
                runs.fetch_add(1, Ordering::SeqCst);
                async move {
                    let count = txn.get("count").await?.unwrap_or_default().len();
                    txn.put("count", "x".repeat(count + 1));
                    Ok::<_, Error>(())
                }
            })
            .await
            .unwrap_err();
        assert!(error.is_outcome_unknown(), "{error}");
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert_eq!(txns.load(Ordering::SeqCst), 2);
        let kept = client.clone().get("count", None).await.unwrap();
        assert_eq!(kept.kvs()[0].value(), b"x");
    });
}

#[test]
fn a_panic_in_the_closure_reaches_the_caller_and_nobody_else() {
    quiet(|simulation| async move {
        let (client, _) = client(&simulation, |_| Fate::Arrives).await;
        let stm = Stm::new(&client);
        let panics = stm.run(|txn| async move {
            txn.put("a", "never");
            txn.get("b").await?;
            if !txn.writes().is_empty() {
                // Without the hook for panics, by which a simulation ends that meets one.
                std::panic::resume_unwind(Box::new("the closure panics"));
            }
            Ok::<_, Error>(())
        });
        let caught = AssertUnwindSafe(panics).catch_unwind();
        let caught = runtime::timeout(Duration::from_secs(9), caught).await;
        let caught = caught.expect("it does not hang");
        assert!(caught.is_err(), "the caller can catch it");
        let done = stm.run(|txn| async move { txn.get("a").await }).await;
        assert_eq!(done.unwrap().value, None);
    });
}

#[test]
fn a_key_that_is_missing_is_not_one_that_is_empty() {
    quiet(|simulation| async move {
        let (client, _) = client(&simulation, |_| Fate::Arrives).await;
        put(&client, "empty", "").await;
        let done = Stm::new(&client)
            .run(|txn| async move {
                txn.put("written", "");
                let keys = ["empty", "missing", "written"];
                Ok::<_, Error>((txn.get_many(keys).await?, txn.rev("missing").await?))
            })
            .await
            .unwrap();
        let empty = Some(Vec::new());
        assert_eq!(done.value, (vec![empty.clone(), None, empty], 0));
    });
}

#[test]
fn several_keys_that_are_read_at_once_each_have_their_own_value() {
    quiet(|simulation| async move {
        let (client, txns) = client(&simulation, |_| Fate::Arrives).await;
        for key in ["a", "b", "c"] {
            put(&client, key, key).await;
        }
        let done = Stm::new(&client)
            .run(|txn| async move {
                txn.get("a").await?;
                txn.put("b", "mine");
                txn.get_many(["c", "b", "a", "c"]).await
            })
            .await
            .unwrap();
        let expected = ["c", "mine", "a", "c"].map(|value| Some(value.as_bytes().to_vec()));
        assert_eq!(done.value, expected);
        // One for `a`, one for `c`, the commit.
        assert_eq!(txns.load(Ordering::SeqCst), 3);
    });
}

/// `Put(k); Rev(k); Get(a); Get(b)`: in Go the snapshot stays open.
#[test]
fn the_revision_of_a_key_that_was_written_decides_the_snapshot() {
    for isolation in [Isolation::SerializableSnapshot, Isolation::Serializable] {
        quiet(move |simulation| async move {
            let (client, _) = client(&simulation, |_| Fate::Arrives).await;
            for key in ["k", "a", "b"] {
                put(&client, key, "1").await;
            }
            let attempts = AtomicU32::new(0);
            let stm = Stm::new(&client).isolation(isolation);
            let done = stm.run(|txn| {
                let attempt = attempts.fetch_add(1, Ordering::SeqCst);
                let client = client.clone();
                async move {
                    txn.put("k", "mine");
                    txn.rev("k").await?;
                    let a = txn.get("a").await?;
                    if attempt == 0 {
                        put(&client, "a", "2").await;
                        put(&client, "b", "2").await;
                    }
                    let b = txn.get("b").await?;
                    assert_eq!(a, b, "attempt {attempt}");
                    Ok::<_, Error>(())
                }
            });
            assert_eq!(done.await.unwrap().attempts, 2);
        });
    }
}

#[test]
fn attempts_have_a_cap_and_pauses_between_them() {
    quiet(|simulation| async move {
        let (client, _) = client(&simulation, |_| Fate::Arrives).await;
        let runs = AtomicU32::new(0);
        let start = runtime::now();
        let error = Stm::new(&client)
            .max_attempts(20)
            .run(|txn| {
                let run = runs.fetch_add(1, Ordering::SeqCst);
                let client = client.clone();
                async move {
                    txn.get("a").await?;
                    put(&client, "a", &run.to_string()).await;
                    txn.put("a", "mine");
                    Ok::<_, Error>(())
                }
            })
            .await
            .unwrap_err();
        assert!(matches!(&error, StmError::Recipe(e) if e.is_too_many_attempts()));
        assert_eq!(runs.load(Ordering::SeqCst), 20);
        // Nothing else takes time here.
        let paused = runtime::now() - start;
        assert!(paused > Duration::from_millis(100), "{paused:?}");
    });
}
