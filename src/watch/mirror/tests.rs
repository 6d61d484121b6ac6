//! The local copy, in the simulation.

use std::time::Duration;

use etcd_client::{Client, CompactionOptions};
use etcd_sim::fault::{Fault, FaultKind};
use etcd_sim::plan::Plan;
use etcd_sim::simulation::{Options, Simulation, run};

use super::*;
use crate::request::DEFAULT_REQUEST_DEADLINE;
use crate::watch::Watches;

/// Runs `body` on a cluster that suffers these faults.
fn simulated<Fut>(faults: Vec<Fault>, body: impl FnOnce(Simulation) -> Fut + Send + 'static)
where
    Fut: Future<Output = ()> + 'static,
{
    let plan = Plan {
        faults,
        ..Plan::quiet(3)
    };
    run(Options::new(plan), move |simulation| {
        let seeded = runtime::seed_thread(3);
        let running = body(simulation);
        async move {
            running.await;
            drop(seeded);
        }
    })
    .unwrap();
}

fn mirror(client: &Client, prefix: &str) -> Mirror {
    let requests = Requests::new(client, DEFAULT_REQUEST_DEADLINE);
    Mirror::new(client, requests, Range::Prefix(prefix.to_owned()))
}

async fn put(client: &Client, key: &str) -> i64 {
    let answer = client.kv_client().put(key, "v", None).await.unwrap();
    revision_of(answer.header())
}

async fn delete(client: &Client, key: &str) -> i64 {
    let answer = client.kv_client().delete(key, None).await.unwrap();
    revision_of(answer.header())
}

fn names(view: &View) -> Vec<&str> {
    view.keys.keys().map(String::as_str).collect()
}

#[test]
fn a_view_is_the_keys_as_of_one_revision() {
    simulated(vec![], |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        put(&client, "a/1").await;
        put(&client, "ab").await;
        let mirror = mirror(&client, "a/");
        let second = put(&client, "a/2").await;
        let seen = mirror
            .wait(second, |view| {
                assert!(view.revision >= second);
                Some(names(view).join(" "))
            })
            .await;
        assert_eq!(seen.unwrap(), "a/1 a/2");
        let gone = delete(&client, "a/1").await;
        let seen = mirror
            .wait(gone, |view| Some((names(view).join(" "), view.revision)))
            .await;
        assert_eq!(seen.unwrap(), ("a/2".to_owned(), gone));
    });
}

#[test]
fn two_lives_of_a_key_are_told_apart() {
    simulated(vec![], |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        let created = put(&client, "a/1").await;
        let mirror = mirror(&client, "a/");
        let first = mirror
            .wait(created, |view| Some(view.holds("a/1", created)))
            .await;
        assert!(first.unwrap());
        delete(&client, "a/1").await;
        put(&client, "a/1").await;
        mirror
            .wait(created, |view| (!view.holds("a/1", created)).then_some(()))
            .await
            .unwrap();
    });
}

#[test]
fn a_hundred_who_wait_cost_one_watch() {
    simulated(vec![], |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        let watches = Watches::new(&client);
        let mut waiting = Vec::new();
        for _ in 0..100 {
            let mirror = watches.mirror("a/");
            waiting.push(async move { mirror.wait(0, |v| v.keys.get("a/1").map(|_| ())).await });
        }
        let all = futures_util::future::join_all(waiting);
        let put_later = async {
            runtime::sleep(Duration::from_secs(1)).await;
            let watches = simulation.member().watches();
            put(&client, "a/1").await;
            watches
        };
        let (all, watches) = futures_util::future::join(all, put_later).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(watches, 1);
    });
}

#[test]
fn crashes_resets_and_compactions_are_survived() {
    let fault = |at_ms, kind| Fault { at_ms, kind };
    let faults = vec![
        fault(500, FaultKind::RestartMember { down_ms: 700 }),
        fault(
            3_000,
            FaultKind::Partition {
                client: 0,
                for_ms: 12_000,
            },
        ),
    ];
    simulated(faults, |simulation| async move {
        let waiting = simulation.client(0).await.unwrap();
        let other = simulation.client(1).await.unwrap();
        let first = put(&other, "a/1").await;
        let mirror = mirror(&waiting, "a/");
        assert!(
            mirror
                .wait(first, |v| Some(v.holds("a/1", first)))
                .await
                .unwrap()
        );
        // While the member is down, and again while the watch is cut off, what
        // happens is compacted away before the watch is back.
        for (until, key) in [(1_500, "a/2"), (5_000, "a/3")] {
            etcd_sim::executor::sleep_until(etcd_sim::executor::SimTime::from_millis(until)).await;
            let revision = put(&other, key).await;
            let revision = revision.max(delete(&other, "a/1").await);
            put(&other, "elsewhere").await;
            let compaction = Some(CompactionOptions::new().with_physical());
            other
                .kv_client()
                .compact(revision + 1, compaction)
                .await
                .unwrap();
            let seen = mirror
                .wait(revision, |view| Some(names(view).contains(&key)))
                .await;
            assert!(seen.unwrap());
        }
    });
}

/// What etcd does to a watch that it opens while somebody writes cannot be had on
/// request; this is what follows from the revisions that it says.
#[test]
fn a_watch_that_may_begin_in_the_past_is_backed_by_reads_until_its_first_event() {
    simulated(vec![], |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        let written = put(&client, "a/1").await;
        let mirror = mirror(&client, "a/");
        let shared = &mirror.handle.shared;
        // Written between the revision that etcd took down and the watch.
        shared.opened(written - 1).await;
        assert!(shared.is_behind());
        put(&client, "a/2").await;
        shared.look().await;
        assert_eq!(names(shared.lock().view.as_ref().unwrap()), ["a/1", "a/2"]);
        assert!(shared.is_behind());
        shared.take(&[]);
        assert!(!shared.is_behind());
        let latest = put(&client, "a/3").await;
        shared.opened(latest).await;
        assert!(!shared.is_behind());
    });
}

/// The keys of another prefix are given for those of this one: so it shows that the
/// copy did not read for itself.
#[test]
fn a_copy_begins_with_what_a_transaction_has_read_unless_that_is_older_than_its_watch() {
    simulated(vec![], |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        put(&client, "a/1").await;
        let second = put(&client, "b/2").await;
        let prefix = Some(GetOptions::new().with_prefix());
        let read = client.kv_client().get("b/", prefix).await.unwrap();
        for (revision, seen) in [(second, "b/2"), (second - 1, "a/1")] {
            let mirror = mirror(&client, "a/");
            mirror.open_for().done(revision, &read);
            let names = mirror.wait(0, |view| Some(names(view).join(" "))).await;
            assert_eq!(names.unwrap(), seen);
        }
    });
}

#[test]
fn a_copy_reads_for_itself_when_nobody_does_it_after_all() {
    simulated(vec![], |simulation| async move {
        let client = simulation.client(0).await.unwrap();
        put(&client, "a/1").await;
        let mirror = mirror(&client, "a/");
        let reading = mirror.open_for();
        let waiting = mirror.wait(0, |view| Some(names(view).join(" ")));
        let start = runtime::now();
        let dropped_later = async {
            runtime::sleep(Duration::from_millis(100)).await;
            drop(reading);
        };
        let (names, ()) = futures_util::future::join(waiting, dropped_later).await;
        assert_eq!(names.unwrap(), "a/1");
        assert!(runtime::now() - start < Duration::from_millis(300));
        // Neither does it wait for ever for somebody who hangs.
        let hanging = mirror_that_hangs(&client).await;
        assert_eq!(hanging, "a/1");
    });
}

async fn mirror_that_hangs(client: &Client) -> String {
    let mirror = mirror(client, "a/");
    let _reading = mirror.open_for();
    let names = mirror.wait(0, |view| Some(names(view).join(" "))).await;
    names.unwrap()
}
