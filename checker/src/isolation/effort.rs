//! What the searches for orders in one history may take together, and what of it did not
//! suffice.
//!
//! Steps are counted, and so what is found within them is the same on every machine; how many
//! there may be goes by the time that is allowed. On any machine that is not a slow one they take
//! less than that, and on a slow one the clock ends the search.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use crate::search::{Budget, Clock, Limit};

/// How many steps go into a minute: each is a look at a word of a row, an arc, or the like.
const STEPS_PER_MINUTE: u64 = 50_000_000_000;
/// One question may take so much of what there is, for it is not the only one.
const SHARE: u64 = 2;
/// The same of a small question, of which many are asked.
const SMALL_SHARE: u64 = 128;
/// When what was asked for is known, the rest may take so much, or as much as that took.
const REST_SHARE: u64 = 100;
/// How many steps there may be between two looks at the clock.
const STEPS_PER_LOOK: u64 = 1 << 14;

/// What is left for the searches in a history.
pub(crate) struct Effort {
    time: Option<Duration>,
    memory_bytes: usize,
    clock: Clock<'static>,
    steps_max: u64,
    steps: Cell<u64>,
    /// After how many steps the present question has had its share.
    share_end: Cell<u64>,
    /// How many steps there may be for what was not asked for; none while more is.
    allowance: Cell<Option<u64>>,
    /// After how many steps these are over.
    allowance_end: Cell<u64>,
    /// After how many steps to look at the clock again.
    next_look: Cell<u64>,
    is_over: Cell<bool>,
    shortage: Cell<Option<Shortage>>,
}

/// What did not suffice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    Time(Duration),
    /// So many steps, which are what this time allows.
    Steps(u64, Duration),
    /// In bytes.
    Memory(usize),
    /// So many transactions can be put in an order without real time, and no more.
    Transactions(usize),
    /// There may be so many arcs, and no more.
    Arcs(usize),
    /// What is tried cannot all be taken back.
    Trail,
}

impl Effort {
    /// What this budget allows, from now on.
    pub(crate) fn of(budget: &Budget) -> Self {
        Self {
            time: budget.time,
            memory_bytes: budget.memory_bytes,
            clock: budget.clock(),
            steps_max: budget.steps(STEPS_PER_MINUTE),
            steps: Cell::new(0),
            share_end: Cell::new(u64::MAX),
            allowance: Cell::new(None),
            allowance_end: Cell::new(u64::MAX),
            next_look: Cell::new(0),
            is_over: Cell::new(false),
            shortage: Cell::new(None),
        }
    }

    /// That of who asks for no search.
    pub(crate) fn none() -> Self {
        Self::of(&Budget {
            time: None,
            memory_bytes: 0,
        })
    }

    /// How many bytes a search may take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// The next question is asked.
    pub(crate) fn begin(&self) {
        self.begin_with(self.steps_max / SHARE);
    }

    /// The next of many small questions is asked, the answers to which are of use but not needed.
    pub(crate) fn begin_small(&self) {
        self.begin_with(self.steps_max / SMALL_SHARE);
    }

    fn begin_with(&self, share: u64) {
        self.share_end.set(self.steps.get().saturating_add(share));
    }

    /// What was asked for is known: what else there is to tell may take as long again, or a
    /// little.
    pub(crate) fn leave_rest(&self) {
        if self.allowance.get().is_none() {
            let least = self.steps_max / REST_SHARE;
            self.allowance.set(Some(self.steps.get().max(least)));
            self.renew_rest();
        }
    }

    /// The same again, if it is known: for something else of the rest.
    pub(crate) fn renew_rest(&self) {
        if let Some(steps) = self.allowance.get() {
            self.allowance_end
                .set(self.steps.get().saturating_add(steps));
        }
    }

    /// Takes some steps. Whether there may be none after them.
    pub(crate) fn spend(&self, steps: u64) -> bool {
        let all = self.steps.get().saturating_add(steps);
        self.steps.set(all);
        if all >= self.next_look.get() && !self.is_over.get() {
            self.next_look.set(all.saturating_add(STEPS_PER_LOOK));
            self.is_over.set(self.clock.is_over());
        }
        let shortage = match self.time {
            Some(time) if self.is_over.get() => Shortage::Time(time),
            Some(time) if all > self.steps_max.min(self.share_end.get()) => {
                Shortage::Steps(self.steps_max, time)
            }
            // Nobody misses what was not asked for.
            Some(_) if all > self.allowance_end.get() => return true,
            _ => return false,
        };
        self.lacks(shortage);
        true
    }

    /// Whether the time is over. Who works without steps asks for this, now and then.
    pub(crate) fn is_over(&self) -> bool {
        if !self.is_over.get() {
            self.is_over.set(self.clock.is_over());
        }
        if let Some(time) = self.time.filter(|_| self.is_over.get()) {
            self.lacks(Shortage::Time(time));
        }
        self.is_over.get()
    }

    /// Whether it is bounded what the rest may take.
    #[cfg(test)]
    pub(super) fn leaves_rest(&self) -> bool {
        self.allowance.get().is_some()
    }

    /// How many steps were taken.
    #[cfg(test)]
    pub(super) fn steps(&self) -> u64 {
        self.steps.get()
    }

    /// Notes what did not suffice: rather what could be more than what never is.
    pub(crate) fn lacks(&self, shortage: Shortage) {
        let is_fixed = !matches!(
            shortage,
            Shortage::Time(_) | Shortage::Steps(..) | Shortage::Memory(_)
        );
        if !is_fixed || self.shortage.get().is_none() {
            self.shortage.set(Some(shortage));
        }
    }

    /// Notes that the memory did not suffice.
    pub(crate) fn lacks_memory(&self) {
        self.lacks(Shortage::Memory(self.memory_bytes));
    }

    /// What did not suffice last.
    pub(crate) fn shortage(&self) -> Option<Shortage> {
        self.shortage.get()
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => write!(f, "{} did not suffice", Limit::Time(*time)),
            Self::Steps(steps, time) => write!(
                f,
                "the {steps} steps that are allowed in {} s did not suffice",
                time.as_secs_f64()
            ),
            Self::Memory(bytes) => write!(
                f,
                "{} that a search may take did not suffice",
                Limit::Memory(*bytes)
            ),
            Self::Transactions(most) => write!(
                f,
                "without real time no more than {most} transactions are put in an order at once"
            ),
            Self::Arcs(most) => write!(
                f,
                "no more than {most} conditions that an order has to meet are looked at"
            ),
            Self::Trail => f.write_str("what was tried first could not be taken back any more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effort(time: Option<Duration>) -> Effort {
        Effort::of(&Budget {
            time,
            ..Budget::default()
        })
    }

    #[test]
    fn steps_go_by_the_time_and_a_question_has_a_share_of_them() {
        let minute = Duration::from_secs(60);
        let effort = effort(Some(minute));
        let share = STEPS_PER_MINUTE / SHARE;
        effort.begin();
        assert!(!effort.spend(share) && effort.shortage().is_none());
        assert!(effort.spend(1));
        let steps = Shortage::Steps(STEPS_PER_MINUTE, minute);
        assert_eq!(effort.shortage(), Some(steps));
        effort.lacks(Shortage::Trail);
        assert_eq!(effort.shortage(), Some(steps));
        effort.begin();
        assert!(!effort.spend(share - 1) && effort.spend(1));
    }

    #[test]
    fn a_small_question_has_a_small_share() {
        let effort = effort(Some(Duration::from_secs(60)));
        effort.begin_small();
        let share = STEPS_PER_MINUTE / SMALL_SHARE;
        assert!(!effort.spend(share) && effort.spend(1));
        effort.begin();
        assert!(!effort.spend(share));
    }

    #[test]
    fn what_was_not_asked_for_may_take_as_long_again_or_a_little() {
        let least = STEPS_PER_MINUTE / REST_SHARE;
        for spent in [0, least * 3] {
            let effort = effort(Some(Duration::from_secs(60)));
            effort.begin();
            assert!(!effort.spend(spent));
            effort.renew_rest();
            effort.leave_rest();
            assert!(!effort.spend(spent.max(least)));
            effort.leave_rest();
            assert!(effort.spend(1) && effort.shortage().is_none());
            effort.renew_rest();
            assert!(!effort.spend(spent.max(least)) && effort.spend(1));
        }
    }

    #[test]
    fn without_a_limit_there_is_none() {
        let effort = effort(None);
        effort.leave_rest();
        effort.begin();
        assert!(!effort.spend(u64::MAX / 2) && !effort.spend(u64::MAX / 2));
    }

    #[test]
    fn without_time_nothing_is_done() {
        let effort = effort(Some(Duration::ZERO));
        effort.begin();
        assert!(effort.spend(0));
        assert_eq!(effort.shortage(), Some(Shortage::Time(Duration::ZERO)));
    }
}
