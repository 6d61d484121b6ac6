//! What is wrong, in words.

use super::{EARLY, Failure, ORDER, SAME_PLACE, TOO_MANY, Visits};
use crate::verdict::{Kind, count};

impl Visits<'_, '_> {
    pub(super) fn describe(&self, failure: &Failure) -> (Kind, String) {
        let process = |index: usize| self.operations[index].process();
        let parties = count(self.count as u64, "participant");
        match *failure {
            Failure::TooFew {
                round,
                missing,
                first,
            } => {
                let sentence = format!(
                    "round {round} needs {parties}, but of these {} cannot have been waiting when the wait by process {} returned",
                    missing.max(1),
                    process(first),
                );
                (EARLY, sentence)
            }
            Failure::GivenUp(_) => unreachable!("a violation is what cannot be explained"),
            Failure::TooMany { round } => {
                let sentence =
                    format!("more than {parties} were told that they made round {round}");
                (TOO_MANY, sentence)
            }
            Failure::SamePlace { wait, other } => {
                let Some(place) = self.places[wait] else {
                    unreachable!("only waits that were answered have a place")
                };
                let sentence = match other {
                    Some(other) => format!(
                        "processes {} and {} were both told place {} of round {}",
                        process(other),
                        process(wait),
                        place.index,
                        place.round
                    ),
                    None => format!(
                        "process {} was told place {} of round {}; there are {parties} and rounds are counted from 1",
                        process(wait),
                        place.index,
                        place.round
                    ),
                };
                (SAME_PLACE, sentence)
            }
            Failure::Apart {
                round,
                first,
                second,
            } => {
                let sentence = format!(
                    "process {} had returned from round {round}, or its session had been closed, before process {}, which was told the same round, began to wait",
                    process(first),
                    process(second)
                );
                (EARLY, sentence)
            }
            Failure::Order {
                round,
                first,
                earlier,
                second,
            } => {
                let sentence = format!(
                    "round {round} was over when process {} returned, but round {earlier} cannot have been: process {}, which was told that one, came later",
                    process(first),
                    process(second)
                );
                (ORDER, sentence)
            }
        }
    }
}
