//! The attribute, as a stranger uses it. Only what a function of its own cannot show; the
//! rest is in `builder.rs`.

use std::time::Duration;

use etcd_sim::{Faults, Simulation};

#[etcd_sim::test]
async fn one_seed_and_one_member_without_faults(simulation: Simulation) {
    assert_eq!(simulation.seed(), 0);
    assert_eq!(simulation.members().iter().count(), 1);
    assert!(simulation.plan().faults.is_empty());
    let mut client = simulation.client(0).await.unwrap();
    client.put("key", "value", None).await.unwrap();
}

#[etcd_sim::test(seeds = 20, members = 3, faults = Faults::swarm(), lasts = Duration::from_secs(2))]
async fn settings_reach_the_builder(
    simulation: Simulation,
) -> Result<(), etcd_sim::etcd_client::Error> {
    assert!(simulation.seed() < 20);
    assert_eq!(simulation.members().iter().count(), 3);
    assert!(
        simulation
            .plan()
            .faults
            .iter()
            .all(|fault| fault.at_ms < 2_000)
    );
    let mut client = simulation.client(7).await?;
    simulation.healed().await;
    // Requests that were under way fail yet, and a leader has to be elected.
    while client.put("key", "value", None).await.is_err() {
        etcd_sim::executor::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[etcd_sim::test(seeds = 5)]
#[should_panic(expected = "three is too much")]
async fn other_attributes_stay_and_so_does_the_message(simulation: Simulation) {
    assert!(simulation.seed() < 3, "three is too much");
}

#[etcd_sim::test(seeds = 5)]
#[should_panic(expected = "returned an error: \"no more\"")]
async fn an_error_fails_the_test(simulation: Simulation) -> Result<(), &'static str> {
    match simulation.seed() {
        4 => Err("no more"),
        _ => Ok(()),
    }
}
