//! What recipes count, seen through a recorder of the `metrics` facade.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_recipes::{Mutex, Session, SessionOptions, runtime};
use etcd_sim::fault::{Fault, FaultKind};
use etcd_sim::plan::Plan;
use etcd_sim::simulation::{Options, Simulation, run};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

async fn mutex(simulation: &Simulation, client: u32) -> Mutex {
    let client = simulation.client(client).await.unwrap();
    let options = SessionOptions::new().ttl(Duration::from_secs(9));
    let session = Session::with_options(&client, options).await.unwrap();
    Mutex::new(&session, "lock").unwrap()
}

#[test]
fn operations_waits_losses_and_broken_watches_are_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().unwrap();
    let cut_off = FaultKind::Partition {
        client: 1,
        for_ms: 30_000,
    };
    let plan = Plan {
        faults: vec![Fault {
            at_ms: 5_000,
            kind: cut_off,
        }],
        ..Plan::quiet(1)
    };
    run(Options::new(plan), |simulation| async move {
        let (first, second) = (mutex(&simulation, 0).await, mutex(&simulation, 1).await);
        let held = first.lock().await.unwrap();
        let unlock_later = async {
            runtime::sleep(Duration::from_secs(2)).await;
            held.unlock().await.unwrap();
        };
        let (locked, ()) = futures_util::future::join(second.lock(), unlock_later).await;
        let error = locked.unwrap().lost().await;
        assert_eq!(error.to_string(), "no keep-alive was answered in time");
        let refused = second.lock().await.unwrap_err();
        assert!(refused.is_session_lost());
        runtime::sleep(Duration::from_secs(5)).await;
    })
    .unwrap();

    let mut counted = BTreeMap::new();
    let mut waits = Vec::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let labels: Vec<String> = key
            .key()
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        let name = format!("{} {}", key.key().name(), labels.join(" "));
        match value {
            DebugValue::Counter(count) => drop(counted.insert(name, count)),
            DebugValue::Histogram(seconds) if name.ends_with("operation=lock") => {
                waits = seconds.into_iter().map(|s| *s).collect();
            }
            _ => {}
        }
    }
    let operation = |operation, outcome| {
        let name = format!(
            "etcd_recipes_operations_total recipe=mutex operation={operation} outcome={outcome}"
        );
        counted.get(&name).copied().unwrap_or_default()
    };
    assert_eq!(operation("lock", "ok"), 2, "{counted:?}");
    assert_eq!(operation("unlock", "ok"), 1, "{counted:?}");
    assert_eq!(operation("lock", "session_lost"), 1, "{counted:?}");
    assert_eq!(
        counted.get("etcd_recipes_sessions_lost_total reason=expired"),
        Some(&1)
    );
    assert!(
        counted.get("etcd_recipes_watches_opened_again_total ") > Some(&0),
        "{counted:?}"
    );
    let longest = waits.iter().copied().fold(0.0, f64::max);
    assert!((1.9..2.5).contains(&longest), "{waits:?}");
}
