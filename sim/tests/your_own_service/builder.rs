//! The builder, and what becomes of a seed that fails.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use etcd_sim::executor::Executor;
use etcd_sim::harness::SavedPlan;
use etcd_sim::simulation::Builder;
use etcd_sim::{Failure, Fault, FaultKind, Faults, Plan, Simulation};

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
    let empty = Faults::swarm().only(["reset"]).without(["reset"]);
    assert!(refused(Simulation::builder().faults(empty)).contains("come to nothing"));
    let endless = Faults::rates([("response lost", 1e12)]);
    assert!(refused(Simulation::builder().faults(endless)).contains("lower the rate"));
    let never = Simulation::builder().timeout(Duration::ZERO);
    assert!(refused(never).contains("a timeout of zero"));

    let of_a_stranger = Fault {
        at_ms: 7,
        kind: FaultKind::PauseMember {
            member: 6,
            for_ms: 100,
        },
    };
    let why = "the fault at 7 ms strikes Member(6), but the cluster has 1 member,";
    let listed = Simulation::builder().faults([of_a_stranger.clone()]);
    assert!(refused(listed).contains(why));
    let planned = Plan {
        faults: vec![of_a_stranger],
        ..Plan::quiet(1)
    };
    assert!(refused(Simulation::builder().plan(planned)).contains(why));
    let swapped = Simulation::builder().latency(secs(2), secs(1));
    assert!(refused(swapped).contains("`min_us` is at most `max_us`"));
}

/// It would stop the clock, and so the time limit.
#[test]
fn a_body_that_is_always_ready_to_go_on_is_stopped() {
    for executor in executors() {
        let builder = Simulation::builder().executor(executor).polls_max(1_000);
        let goes_on = builder.run(|_| async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(goes_on, Err::<(), _>(Failure::BusyLoop));
        // Each of these is polled once or twice.
        let waits = builder.run(async |simulation| {
            for _ in 0..400 {
                simulation.sleep(secs(1)).await;
            }
        });
        assert_eq!(waits, Ok(()));
    }
}

#[cfg(madsim)]
#[test]
fn a_program_that_calls_tokio_on_madsim_is_told_what_to_depend_on() {
    #[expect(clippy::disallowed_methods, reason = "what a user's program does")]
    fn calls(what: &str) {
        match what {
            "spawn" => drop(tokio::spawn(async {})),
            "sleep" => drop(tokio::time::sleep(secs(1))),
            _ => drop(tokio::time::timeout(secs(1), async {})),
        }
    }
    for what in ["spawn", "sleep", "timeout"] {
        let builder = Simulation::builder().executor(Executor::Madsim);
        let panicked = match builder.run(async move |_| calls(what)) {
            Err(Failure::Panicked(panicked)) => panicked.message,
            other => panic!("{other:?}"),
        };
        let advice = "depend on `madsim-tokio` under the name `tokio`";
        assert!(panicked.contains(advice), "{what}: {panicked}");
    }
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
        // Between them the RUSTFLAGS, if there are some.
        &format!("  ETCD_SIM_SEED={} ", broken.plan.seed),
        " cargo test -p etcd-sim ",
        &format!("ETCD_SIM_PLAN={}", broken.saved.unwrap().display()),
        "-- --exact builder::the_first_failing_seed_is_shrunk_saved_and_runs_again",
    ] {
        assert!(report.contains(part), "{part:?} is not in\n{report}");
    }
}

/// What a process of this test prints that runs one of these, which fails when this is set.
const IS_TO_FAIL: &str = "ETCD_SIM_TEST_IS_TO_FAIL";

fn fails_where_asked(simulation: &Simulation) {
    let is_to_fail = std::env::var_os(IS_TO_FAIL).is_some();
    assert!(!is_to_fail || simulation.seed() < 3, "it is to fail");
}

#[etcd_sim::test(seeds = 5)]
#[ignore = "fails where another test asks for it"]
async fn an_ignored_test(simulation: Simulation) {
    fails_where_asked(&simulation);
}

#[etcd_sim::test(seeds = 5, members = 3, faults = Faults::swarm())]
async fn a_test(simulation: Simulation) {
    fails_where_asked(&simulation);
}

/// What a test of this file reports that fails.
fn report_of(test: &str, variable: (&str, &str), is_ignored: bool) -> String {
    let mut process = std::process::Command::new(std::env::current_exe().unwrap());
    process.args(["--exact", test]).env(variable.0, variable.1);
    process.args(is_ignored.then_some("--ignored"));
    let output = process.env(IS_TO_FAIL, "1").output().unwrap();
    assert!(!output.status.success());
    let printed = [output.stdout, output.stderr].concat();
    String::from_utf8(printed).unwrap()
}

#[test]
fn the_command_for_an_ignored_test_runs_it() {
    let ignored = report_of("builder::an_ignored_test", ("ETCD_SIM_SEEDS", "5"), true);
    let command = "-- --exact --include-ignored builder::an_ignored_test\n";
    assert!(ignored.contains(command), "{ignored}");
    let other = report_of("builder::a_test", ("ETCD_SIM_SEEDS", "5"), false);
    assert!(other.contains("-- --exact builder::a_test\n"), "{other}");
}

#[test]
fn a_plan_that_could_have_been_made_smaller_is_told_as_such() {
    let report = |runs| report_of("builder::a_test", ("ETCD_SIM_SHRINK", runs), false);
    let cut_off = report("1");
    let says_so = "or fewer (cut off after 2 runs; ETCD_SIM_SHRINK allows more):";
    assert!(cut_off.contains(says_so), "{cut_off}");
    let whole = report("300");
    assert!(whole.contains("it needs 0 (found in "), "{whole}");
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
