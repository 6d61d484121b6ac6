//! How long a decision may take, and how much it may hold.

use std::cell::Cell;

use crate::search::{Budget, Clock, Limit};

/// So many steps are enough for one of the many questions that a witness asks. Where they
/// are not, an operation is shown that could be spared.
const QUESTION_STEPS: u64 = 300_000;

/// What is left of a budget, which several searches share.
pub(super) struct Bounds<'c> {
    /// None when nothing bounds the search.
    clock: Option<&'c Clock<'static>>,
    budget: Budget,
    steps: Cell<u64>,
    steps_max: u64,
}

impl<'c> Bounds<'c> {
    /// That budget, whose clock runs.
    pub(super) fn of(budget: &Budget, clock: &'c Clock<'static>) -> Self {
        Self {
            clock: Some(clock),
            budget: *budget,
            steps: Cell::new(0),
            steps_max: u64::MAX,
        }
    }

    /// For what is known to end.
    pub(super) fn none() -> Self {
        Self {
            clock: None,
            budget: Budget {
                time: None,
                memory_bytes: usize::MAX,
            },
            steps: Cell::new(0),
            steps_max: u64::MAX,
        }
    }

    /// For a question on the way to a witness.
    pub(super) fn of_question(&self) -> Self {
        Self {
            steps: Cell::new(0),
            steps_max: QUESTION_STEPS,
            ..*self
        }
    }

    /// How many steps it has been.
    pub(super) fn steps(&self) -> u64 {
        self.steps.get()
    }

    /// Whether the time is over.
    pub(super) fn is_over(&self) -> bool {
        self.clock.is_some_and(Clock::is_over)
    }

    /// One step more, while so many bytes are held.
    ///
    /// # Errors
    /// When something is spent.
    pub(super) fn step(&self, bytes: usize) -> Result<(), Limit> {
        self.steps.set(self.steps.get() + 1);
        if self.is_over() || self.steps.get() > self.steps_max {
            return Err(Limit::Time(self.budget.time.unwrap_or_default()));
        }
        if bytes > self.budget.memory_bytes {
            return Err(Limit::Memory(self.budget.memory_bytes));
        }
        Ok(())
    }
}

/// Why nothing is said.
pub(super) fn reason(limit: Limit) -> String {
    format!("{limit} did not suffice to find an explanation, or to see that there is none")
}
