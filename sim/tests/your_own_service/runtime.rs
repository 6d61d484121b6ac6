//! What a program asks of its runtime: how often it likes, and what of it comes from the
//! seed. The latter is the table "What is deterministic" of `docs/test-your-own-service.md`.
//!
//! To be run with both cfgs as well: `RUSTFLAGS="--cfg madsim --cfg tokio_unstable"`.

use std::collections::BTreeSet;

use etcd_sim::Simulation;
use etcd_sim::executor::Executor;

#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::disallowed_types,
    reason = "what a user's program does"
)]
mod on_tokio {
    include!("uses.rs");
}

#[cfg(madsim)]
#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::disallowed_types,
    reason = "what a user's program does"
)]
mod on_madsim {
    use madsim_tokio as tokio;
    include!("uses.rs");
}

/// What a program of `uses.rs` gives in the run of a seed.
macro_rules! run {
    ($executor:expr, $seed:expr, $program:ident($($argument:expr)?)) => {{
        let executor: Executor = $executor;
        let builder = Simulation::builder().executor(executor).seed($seed);
        let given = builder.run(move |_| async move {
            match executor {
                Executor::Tokio => on_tokio::$program($($argument)?).await,
                #[cfg(madsim)]
                _ => on_madsim::$program($($argument)?).await,
                #[cfg(not(madsim))]
                _ => unreachable!("there is no other executor"),
            }
        });
        given.unwrap_or_else(|failure| {
            panic!("{} on {} {failure}", stringify!($program), executor.name())
        })
    }};
}

/// Tokio lets a task do some hundred operations before it must wait for its next turn.
#[test]
fn channels_and_locks_work_however_often() {
    for executor in crate::executors() {
        assert_eq!(run!(executor, 1, locks(2_000)), 2_000);
        assert_eq!(run!(executor, 1, messages(5_000)), 5_000);
        assert_eq!(run!(executor, 1, changes(2_000)), 2_000);
        assert_eq!(run!(executor, 1, answers(2_000)), 2_000);
    }
}

#[derive(Clone, Copy)]
enum Comes {
    /// It is the same in every run of the seed, and another in that of another seed.
    FromTheSeed,
    /// It is the same in every run.
    Always,
    Anyhow,
}

/// What ten runs of a program give: the first five of one seed, the others of others.
fn check(what: &str, executor: Executor, comes: Comes, run: impl Fn(u64) -> String) {
    let same: BTreeSet<String> = (0..5).map(|_| run(7)).collect();
    let others: BTreeSet<String> = (8..13).map(run).collect();
    let of_all = same.union(&others).count();
    let numbers = (same.len(), of_all);
    let is_so = match comes {
        Comes::FromTheSeed => same.len() == 1 && of_all > 2,
        Comes::Always => of_all == 1,
        Comes::Anyhow => same.len() > 1,
    };
    assert!(is_so, "{what} on {}: {numbers:?} {same:?}", executor.name());
}

#[test]
fn what_the_seed_decides_is_what_the_table_says() {
    let from_the_seed = |is_so| {
        if is_so {
            Comes::FromTheSeed
        } else {
            Comes::Anyhow
        }
    };
    for executor in crate::executors() {
        let is_tokio = executor == Executor::Tokio;
        // Tokio runs tasks in the order in which they became ready, whatever the seed is.
        let turns = from_the_seed(!is_tokio);
        let turns = if is_tokio { Comes::Always } else { turns };
        check("turns", executor, turns, |seed| {
            run!(executor, seed, turns())
        });
        let unstable = from_the_seed(cfg!(tokio_unstable));
        check("select!", executor, unstable, |seed| {
            run!(executor, seed, chosen_branches())
        });
        check("watch", executor, unstable, |seed| {
            run!(executor, seed, watchers())
        });
        let madsim = from_the_seed(!is_tokio);
        check("HashMap", executor, madsim, |seed| {
            run!(executor, seed, order_of_a_map())
        });
        check("a while", executor, madsim, |seed| {
            run!(executor, seed, a_while())
        });
    }
}
