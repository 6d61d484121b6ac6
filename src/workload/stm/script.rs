//! What a transaction does, drawn before it runs.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// One thing that a closure does.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Get(String),
    GetMany(Vec<String>),
    Rev(String),
    Put(String),
    Delete(String),
    Pause(Duration),
}

/// The steps of a closure, for each of its runs.
#[derive(Clone, Debug)]
pub(super) struct Script {
    steps: Vec<Step>,
    aborts: bool,
    /// A closure whose way depends on what it sees reads other keys, or the same
    /// in another order, when it runs again.
    other: Option<Box<Script>>,
}

impl Script {
    pub(super) fn draw(rng: &mut ChaCha8Rng, keys: u32, think_ms: u64) -> Self {
        let mut rng = ChaCha8Rng::from_rng(rng);
        let first = Self::draw_one(&mut rng, keys, think_ms);
        let mut other = Self::draw_one(&mut rng, keys, think_ms);
        if rng.random_bool(0.7) {
            // The same, but it looks at something else before.
            other.steps.clone_from(&first.steps);
            let key = format!("k{}", rng.random_range(0..keys));
            other.steps.insert(0, Step::Get(key));
        }
        // Whoever deletes says so in every run, or in none.
        let goes_elsewhere = rng.random_bool(0.8) && first.deletes() == other.deletes();
        Self {
            other: goes_elsewhere.then(|| Box::new(other)),
            ..first
        }
    }

    /// A script that reads these keys at once.
    pub(super) fn reading(keys: impl Iterator<Item = String>) -> Self {
        Self {
            steps: vec![Step::GetMany(keys.collect())],
            aborts: false,
            other: None,
        }
    }

    /// The script of the closure's run of this number, counted from 1.
    pub(super) fn of_run(&self, run: u64) -> Self {
        match &self.other {
            Some(other) if run.is_multiple_of(2) => (**other).clone(),
            _ => self.clone(),
        }
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(super) fn aborts(&self) -> bool {
        self.aborts
    }

    pub(super) fn deletes(&self) -> bool {
        let is_deletion = |step: &Step| matches!(step, Step::Delete(_));
        self.steps.iter().any(is_deletion)
    }

    fn draw_one(rng: &mut ChaCha8Rng, keys: u32, think_ms: u64) -> Self {
        let only_reads = rng.random_bool(0.2);
        let mut steps = Vec::new();
        for _ in 0..rng.random_range(1..=5) {
            if think_ms > 0 && rng.random_bool(0.3) {
                let pause = rng.random_range(1..=think_ms);
                steps.push(Step::Pause(Duration::from_millis(pause)));
            }
            let mut key = || format!("k{}", rng.random_range(0..keys));
            let (one, two, three) = (key(), key(), key());
            match rng.random_range(0..if only_reads { 10 } else { 20 }) {
                0..6 => steps.push(Step::Get(one)),
                6..9 => steps.push(Step::GetMany(vec![one, two, three])),
                9 => steps.push(Step::Rev(one)),
                10..17 => steps.push(Step::Put(one)),
                17 => steps.push(Step::Delete(one)),
                // What a program does that adds to a list: writes a key, and
                // looks at its revision before it reads others.
                _ => steps.extend([
                    Step::Put(one.clone()),
                    Step::Rev(one),
                    Step::Get(two),
                    Step::Get(three),
                ]),
            }
        }
        Self {
            steps,
            aborts: rng.random_bool(0.1),
            other: None,
        }
    }
}
