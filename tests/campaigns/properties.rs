//! For any plan within bounds the recipes keep their promises.
//!
//! Plans that failed once are saved, shrunk, under `tests/plans/` and are run
//! again before any new ones. `PROPTEST_CASES` sets how many new ones there
//! are.

use std::fs;
use std::path::{Path, PathBuf};

use etcd_recipes::campaign::plan::RunPlan;
use etcd_recipes::campaign::simulate::simulate;
use etcd_recipes::workload::{self, Bug, Parameters, Workload};
use etcd_sim::executor::Executor;
use etcd_sim::fault::{Fault, FaultKind};
use etcd_sim::plan::{Latency, Plan, Profile};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

const SAVED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plans");

/// Runs a plan; the error says what it broke.
fn promise_is_kept(plan: &RunPlan) -> Result<(), String> {
    match simulate(plan) {
        Ok(report) if report.verdict.is_valid() => Ok(()),
        // What of its operations of unknown outcome happened cannot always be told.
        Ok(report)
            if plan.workload.name() == "reliable-queue" && report.verdict.violation().is_none() =>
        {
            Ok(())
        }
        Ok(report) => Err(report.verdict.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn any_fault(clients: u32) -> impl Strategy<Value = Fault> {
    let client = 0..clients;
    let lasts_ms = prop_oneof![1..200u64, 200..8_000u64];
    let kind = (0..10u8, client, lasts_ms).prop_map(|(kind, client, lasts_ms)| match kind {
        0 => FaultKind::LoseRequest { client },
        1 => FaultKind::LoseResponse { client },
        2 => FaultKind::Delay {
            client,
            by_ms: lasts_ms / 10,
            for_ms: lasts_ms,
        },
        3 => FaultKind::Reset { client },
        4 => FaultKind::Partition {
            client,
            for_ms: lasts_ms,
        },
        5 => FaultKind::RestartMember {
            down_ms: lasts_ms / 4,
        },
        6 => FaultKind::PauseClient {
            client,
            for_ms: lasts_ms,
        },
        7 => FaultKind::KillClient { client },
        8 => FaultKind::RestartClient {
            client,
            down_ms: lasts_ms,
        },
        _ => FaultKind::Compact,
    });
    (5..1_500u64, kind).prop_map(|(at_ms, kind)| Fault { at_ms, kind })
}

/// One member, and faults of which each part can become smaller.
fn simple_environment(clients: u32) -> impl Strategy<Value = Plan> {
    let latency = prop_oneof![Just(0), Just(3_000), Just(30_000u64)];
    (any::<u64>(), latency, vec(any_fault(clients), 0..10)).prop_map(
        |(seed, max_us, mut faults)| {
            faults.sort_by_key(|fault| fault.at_ms);
            Plan {
                seed,
                latency: Latency { min_us: 0, max_us },
                faults,
                ..Plan::quiet(seed)
            }
        },
    )
}

/// Any number of members, and some of the faults that a seed draws, of all kinds.
fn drawn_environment(clients: u32) -> impl Strategy<Value = Plan> {
    (any::<u64>(), 1..=5_usize).prop_flat_map(move |(seed, members)| {
        let profile = Profile {
            clients,
            until_ms: 1_500,
            faults_max: 10,
            members: Some(members),
        };
        let plan = Plan::draw(seed, &profile);
        let all = 0..=plan.faults.len();
        subsequence(plan.faults.clone(), all).prop_map(move |faults| Plan {
            faults,
            ..plan.clone()
        })
    })
}

fn any_environment(clients: u32) -> impl Strategy<Value = Plan> {
    prop_oneof![simple_environment(clients), drawn_environment(clients)]
}

/// Anything between the least that makes sense and the most that a seed draws.
fn any_parameters(workload: &'static dyn Workload) -> impl Strategy<Value = Parameters> {
    let listed = workload.parameters().iter();
    let ranges: Vec<_> = listed
        .clone()
        .map(|parameter| parameter.bounds.0..=parameter.drawn.1)
        .collect();
    let names: Vec<_> = listed.map(|parameter| parameter.name).collect();
    let base = RunPlan::draw(workload, 0).parameters;
    ranges.prop_map(move |values| {
        let named = names.iter().zip(values);
        named.fold(base.clone(), |all, (name, value)| all.with(name, value))
    })
}

fn any_plan(workload: &'static dyn Workload, bug: Option<Bug>) -> BoxedStrategy<RunPlan> {
    let base = RunPlan::draw(workload, 0);
    any_parameters(workload)
        .prop_flat_map(move |parameters| {
            let clients = workload.clients(&parameters);
            let plan = RunPlan {
                parameters,
                bug,
                executor: Executor::BEST,
                ..base.clone()
            };
            any_environment(clients).prop_map(move |environment| RunPlan {
                environment,
                ..plan.clone()
            })
        })
        .boxed()
}

/// Tries `cases` plans; the first that fails comes back as small as possible,
/// with what it broke.
fn find_failure(strategy: &BoxedStrategy<RunPlan>, cases: u32) -> Option<(RunPlan, String)> {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(strategy, |plan| {
        promise_is_kept(&plan).map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => None,
        Err(TestError::Fail(reason, plan)) => Some((plan, reason.to_string())),
        Err(abort) => panic!("{abort}"),
    }
}

fn save(plan: &RunPlan, folder: &Path) -> PathBuf {
    let name = format!("{}-{}.json", plan.workload.name(), plan.environment.seed);
    let path = folder.join(name);
    fs::write(&path, plan.to_json()).unwrap();
    path
}

fn keeps_its_promise_under_any_plan(name: &str) {
    let workload = workload::find(name).unwrap();
    let cases = std::env::var("PROPTEST_CASES").ok();
    let cases = cases.and_then(|cases| cases.parse().ok()).unwrap_or(60);
    if let Some((plan, broken)) = find_failure(&any_plan(workload, None), cases) {
        let path = save(&plan, Path::new(SAVED));
        panic!(
            "{broken}\nthe plan is saved; see it with: cargo run -- replay {}",
            path.display()
        );
    }
}

#[test]
fn saved_plans_keep_their_promises() {
    let mut plans: Vec<PathBuf> = fs::read_dir(SAVED)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    plans.sort();
    for path in plans {
        let plan = RunPlan::from_json(&fs::read_to_string(&path).unwrap()).unwrap();
        if let Err(broken) = promise_is_kept(&plan) {
            panic!("{}: {broken}", path.display());
        }
    }
}

#[test]
fn the_queue_keeps_its_promise_under_any_plan() {
    keeps_its_promise_under_any_plan("queue");
}

#[test]
fn the_priority_queue_keeps_its_promise_under_any_plan() {
    keeps_its_promise_under_any_plan("priority-queue");
}

#[test]
fn the_reliable_queue_keeps_its_promise_under_any_plan() {
    keeps_its_promise_under_any_plan("reliable-queue");
}

#[test]
fn the_bank_keeps_its_promise_under_any_plan() {
    keeps_its_promise_under_any_plan("bank");
}

#[test]
fn the_mutex_keeps_its_promise_under_any_plan() {
    keeps_its_promise_under_any_plan("mutex");
}

#[test]
fn the_read_write_lock_keeps_its_promise_under_any_plan() {
    keeps_its_promise_under_any_plan("rwlock");
}

#[test]
fn transactions_keep_their_promise_at_every_level_under_any_plan() {
    keeps_its_promise_under_any_plan("stm");
}

#[test]
fn the_election_keeps_its_promise_under_any_plan() {
    keeps_its_promise_under_any_plan("election");
}

#[test]
fn the_barrier_keeps_its_promise_under_any_plan() {
    keeps_its_promise_under_any_plan("barrier");
}

#[test]
fn the_double_barrier_keeps_its_promise_under_any_plan() {
    keeps_its_promise_under_any_plan("double-barrier");
}

#[test]
fn the_cyclic_barrier_keeps_its_promise_under_any_plan() {
    keeps_its_promise_under_any_plan("cyclic-barrier");
}

#[test]
fn etcd_itself_keeps_its_promises_under_any_plan() {
    keeps_its_promise_under_any_plan("kv");
    keeps_its_promise_under_any_plan("watch");
}

#[test]
fn a_broken_recipe_is_found_and_its_plan_is_made_small_and_saved() {
    let (workload, bug) = workload::find_bug("queue-unguarded-delete").unwrap();
    let found = find_failure(&any_plan(workload, Some(bug)), 200);
    let (plan, broken) = found.expect("the bug shows in some plan");
    let folder = tempfile::tempdir().unwrap();
    let saved = fs::read_to_string(save(&plan, folder.path())).unwrap();
    assert!(
        plan.environment.faults.is_empty(),
        "it shows without faults: {saved}"
    );
    let loaded = RunPlan::from_json(&saved).unwrap();
    assert_eq!(promise_is_kept(&loaded).unwrap_err(), broken);
}
