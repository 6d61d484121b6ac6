//! The builder, and what becomes of a seed that fails.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use etcd_sim::executor::Executor;
use etcd_sim::harness::SavedPlan;
use etcd_sim::simulation::Builder;
use etcd_sim::{Failure, Faults, Simulation};

use crate::{executors, secs};

#[test]
fn a_run_that_waits_for_ever_ends_with_its_time_limit() {
    for executor in executors() {
        let builder = Simulation::builder()
            .executor(executor)
            .time_limit(secs(30));
        let waits = builder.run(|_| std::future::pending::<()>());
        assert_eq!(waits, Err(Failure::TimeLimit(secs(30))));
    }
}

#[test]
fn what_cannot_be_simulated_is_refused_with_the_reason() {
    let refused = |builder: Builder| match builder.run(async |_| ()) {
        Err(Failure::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(refused(Simulation::builder().members(6)).contains("1 to 5 members, not 6"));
    assert!(refused(Simulation::builder().seeds(0)).contains("no seeds"));
    let unknown = Faults::swarm().without(["gremlins"]);
    assert!(refused(Simulation::builder().faults(unknown)).contains("\"gremlins\""));
}

#[test]
fn a_task_of_the_program_that_panics_fails_the_run_with_its_message_and_line() {
    let run = Simulation::builder()
        .executor(Executor::Tokio)
        .run(|simulation| async move {
            // As an ordinary service spawns; nobody looks at the handle.
            #[expect(clippy::disallowed_methods, reason = "what a user's program does")]
            tokio::spawn(async { panic!("deep inside") });
            simulation.sleep(secs(1)).await;
        });
    let Err(Failure::Panicked(panicked)) = run else {
        panic!("it went unnoticed");
    };
    assert_eq!(panicked.message, "deep inside");
    let location = panicked.location.unwrap();
    assert!(location.contains("builder.rs:"), "{location}");
}

#[test]
fn a_panic_that_the_program_catches_fails_the_run_unless_it_says_so() {
    async fn catches(_: Simulation) {
        std::panic::catch_unwind(|| panic!("on purpose")).unwrap_err();
    }
    async fn ends_by_one(simulation: Simulation) {
        catches(simulation.clone()).await;
        simulation.spawn(0, async |_| {
            let caught = std::panic::catch_unwind(|| panic!("by mistake")).unwrap_err();
            std::panic::resume_unwind(caught);
        });
        simulation.sleep(secs(1)).await;
    }
    let message = |run| match run {
        Err(Failure::Panicked(panicked)) => panicked.message,
        other => panic!("{other:?}"),
    };
    for executor in executors() {
        let builder = Simulation::builder().executor(executor);
        assert_eq!(message(builder.run(catches)), "on purpose");
        let builder = builder.catches_panics(true);
        assert_eq!(builder.run(catches), Ok(()));
        assert_eq!(message(builder.run(ends_by_one)), "by mistake");
    }
    // A task of tokio's, whose handle somebody looks at.
    let builder = Simulation::builder()
        .executor(Executor::Tokio)
        .catches_panics(true);
    let looked = builder.run(|_| async {
        #[expect(clippy::disallowed_methods, reason = "what a user's program does")]
        let task = tokio::spawn(async { panic!("on purpose") });
        task.await.unwrap_err().is_panic()
    });
    assert_eq!(looked, Ok(true));
}

/// Fails when the second answer to the client is lost.
fn fragile() -> Builder {
    let builder = Simulation::builder().members(3).faults(Faults::swarm());
    builder.timeout(secs(1)).lasts(secs(2))
}

async fn puts_without_doubt(simulation: Simulation) {
    let mut client = simulation.client(0).await.unwrap();
    for round in 0..20 {
        client
            .put("key", format!("{round}"), None)
            .await
            .expect("etcd answers");
        simulation.sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn the_first_failing_seed_is_shrunk_saved_and_runs_again() {
    let folder = tempfile::tempdir().unwrap();
    let builder = fragile().seeds(0..100).save_plans_in(folder.path());
    let broken = builder.try_check(puts_without_doubt).unwrap_err();
    let shrunk = broken.shrunk.clone().expect("it fails again");
    assert!(shrunk.faults.len() <= 1 && shrunk.members == 1, "{broken}");
    for index in 0..shrunk.faults.len() {
        let mut without = shrunk.clone();
        without.faults.remove(index);
        assert_eq!(
            Simulation::builder()
                .timeout(secs(1))
                .plan(without)
                .run(puts_without_doubt),
            Ok(())
        );
    }

    let saved = SavedPlan::load(broken.saved.as_ref().unwrap()).unwrap();
    assert_eq!(saved.plan, shrunk);
    let again = fragile()
        .plan(saved.plan)
        .executor(saved.executor)
        .run(puts_without_doubt);
    assert!(again.unwrap_err().is_like(&broken.failure));

    let report = broken.to_string();
    for part in [
        "builder::the_first_failing_seed_is_shrunk_saved_and_runs_again failed with seed",
        "etcd answers",
        "builder.rs:",
        "drawn from the seed: 3 members",
        &format!("ETCD_SIM_SEED={} cargo test -p etcd-sim", broken.plan.seed),
        &format!("ETCD_SIM_PLAN={}", broken.saved.unwrap().display()),
        "-- --exact builder::the_first_failing_seed_is_shrunk_saved_and_runs_again",
    ] {
        assert!(report.contains(part), "{part:?} is not in\n{report}");
    }
}

#[test]
fn the_threads_that_run_seeds_do_not_change_what_is_found() {
    let found = |seeds| {
        let folder = tempfile::tempdir().unwrap();
        let builder = fragile().seeds(seeds).save_plans_in(folder.path());
        let broken = builder.try_check(puts_without_doubt).unwrap_err();
        (broken.plan, broken.shrunk, broken.failure)
    };
    let first = found(0..100);
    assert_eq!(found(first.0.seed..100), first);
}

#[test]
fn an_error_that_the_body_returns_fails_the_seed() {
    let folder = tempfile::tempdir().unwrap();
    let builder = Simulation::builder()
        .seeds(3..9)
        .save_plans_in(folder.path());
    let broken = builder.try_check(async |simulation| match simulation.seed() {
        5 => Err("late-jobs: three of them"),
        _ => Ok(()),
    });
    let broken = broken.unwrap_err();
    assert_eq!(broken.plan.seed, 5);
    assert!(
        broken.to_string().contains("late-jobs: three of them"),
        "{broken}"
    );
}

#[test]
fn a_failure_that_depends_on_more_than_the_seed_is_told_as_such() {
    let runs = AtomicU32::new(0);
    let broken = Simulation::builder().try_check(move |_| {
        let first = runs.fetch_add(1, Ordering::Relaxed) == 0;
        async move { assert!(!first, "only once") }
    });
    let broken = broken.unwrap_err();
    assert_eq!((&broken.shrunk, &broken.saved), (&None, &None));
    let report = broken.to_string();
    assert!(
        report.contains("something besides the seed decides"),
        "{report}"
    );
}

#[test]
#[should_panic(expected = "the message of the test itself")]
fn a_checked_test_fails_with_the_message_of_its_own_panic() {
    Simulation::builder().check(async |simulation| {
        assert!(simulation.seed() > 0, "the message of the test itself");
    });
}
