//! Which level a history satisfies, and whether that is what was promised.

use serde::Deserialize;

use super::extract::{Attempts, Txns};
use super::level::Level;
use super::resolve;
use super::{find_stuck, missing_revision};
use crate::history::{History, HistoryError, Problem};
use crate::search::Budget;
use crate::verdict::{Guarantee, Summary, Verdict, Violation};

/// What the header says.
#[derive(Deserialize)]
struct Parameters {
    /// The level that was promised; strict serializability when left out.
    promise: Option<String>,
}

/// Decides which isolation [`Level`] the history satisfies, and whether it is at
/// least the one that the header promises. A valid verdict and a violation say which
/// one it is.
///
/// Operations are those of [`check`](super::check), and `attempt`: one run of the
/// closure of a transaction of the same client. Its completion holds what it saw and
/// tried to write, whatever became of it. The header parameter `promise` is the name
/// of a level; left out it is strict serializability.
///
/// # Errors
/// As for [`check`](super::check); and when there is no level of the promised name.
pub fn check_levels(history: &History, budget: &Budget) -> Result<Verdict, HistoryError> {
    let promise = promise(history)?;
    let attempted = Txns::of(history, Attempts::Read, budget)?;
    let committed = Txns::of(history, Attempts::LeaveOut, budget)?;
    let judge = Judge {
        attempted: &attempted,
        committed: &committed,
    };
    let verdict = judge.verdict(promise);
    if verdict.violation().is_none()
        && let Some(stuck) = find_stuck(history, &attempted)
    {
        return Ok(Verdict::Violation(stuck));
    }
    Ok(verdict)
}

fn promise(history: &History) -> Result<Level, HistoryError> {
    let refused = |detail| HistoryError::at(1, Problem::Parameters { detail });
    let parameters: Parameters =
        history.header().parameters.parse().map_err(|error| {
            refused(format!("\"promise\" must be the name of a level: {error}"))
        })?;
    match parameters.promise {
        None => Ok(Level::StrictSerializable),
        Some(name) => name
            .parse()
            .map_err(|error| refused(format!("\"promise\": {error}"))),
    }
}

/// Whether a history satisfies a level.
#[derive(Clone)]
enum Answer {
    Yes,
    No(Box<Violation>),
    Undecided(String),
}

struct Judge<'t, 'h> {
    /// Attempts as transactions that only read.
    attempted: &'t Txns<'h>,
    /// Without attempts.
    committed: &'t Txns<'h>,
}

impl Judge<'_, '_> {
    fn verdict(&self, promise: Level) -> Verdict {
        let mut answers = Vec::new();
        let mut sound = None;
        let mut strongest = None;
        for level in Level::ALL {
            match self.satisfies(level, &mut sound) {
                Answer::Yes => {
                    strongest = Some(level);
                    break;
                }
                answer => answers.push((level, answer)),
            }
        }
        let is_exact = answers
            .iter()
            .all(|(_, answer)| matches!(answer, Answer::No(_)));
        let guarantee = strongest.map(|level| level.guarantee(is_exact));
        if strongest.is_some_and(|level| level <= promise) {
            let mut summary = Summary::of(&self.attempted.operations);
            summary.guarantee = guarantee;
            return Verdict::Valid(summary);
        }
        // A level is broken by what breaks itself or a weaker one.
        let mut answers = answers
            .into_iter()
            .skip_while(|(level, _)| *level < promise);
        let promised = answers.next().map(|(_, answer)| answer);
        let weaker = answers.find_map(|(_, answer)| match answer {
            Answer::No(violation) => Some(violation),
            _ => None,
        });
        match (promised, weaker) {
            (Some(Answer::No(violation)), _) | (_, Some(violation)) => {
                violated(*violation, promise, guarantee)
            }
            (Some(Answer::Undecided(reason)), None) => Verdict::Unknown { reason },
            (Some(Answer::Yes) | None, None) => unreachable!("no such level was satisfied"),
        }
    }

    /// `sound` keeps whether attempts have seen only what was committed, once that
    /// is known.
    fn satisfies(&self, level: Level, sound: &mut Option<Answer>) -> Answer {
        if level == Level::Opaque {
            return decide(self.attempted, level);
        }
        let sound = sound.get_or_insert_with(|| decide(self.attempted, Level::ReadCommitted));
        if level == Level::ReadCommitted || matches!(sound, Answer::No(_)) {
            return sound.clone();
        }
        match decide(self.committed, level) {
            Answer::Yes => sound.clone(),
            answer => answer,
        }
    }
}

fn decide(txns: &Txns<'_>, level: Level) -> Answer {
    let is_asked = |anomaly| level.forbids(anomaly);
    let finding = resolve::resolve(txns, &is_asked);
    match finding.answer {
        resolve::Answer::Certain(_) => {
            let found = finding.certain.first(is_asked);
            let found = found.expect("something that is asked about is certain");
            Answer::No(Box::new(found.violation))
        }
        resolve::Answer::Always(_, found) => Answer::No(Box::new(found.violation)),
        resolve::Answer::Unknown => Answer::Undecided(finding.reason),
        resolve::Answer::Explained(commits) => match missing_revision(txns, &commits) {
            Some(reason) => Answer::Undecided(reason),
            None => Answer::Yes,
        },
    }
}

fn violated(mut violation: Violation, promise: Level, found: Option<Guarantee>) -> Verdict {
    let promised = format!("{promise} was promised ({})", promise.meaning());
    let found_text = match &found {
        Some(found) => format!("the strongest level that the history satisfies is {found}"),
        None => format!("the history satisfies not even {}", Level::ReadCommitted),
    };
    violation.also.push(format!("{promised}; {found_text}"));
    violation.guarantee = found;
    Verdict::Violation(violation)
}
