//! The values of the operations on barriers.

use serde::Deserialize;

use crate::history::{
    Event, History, HistoryError, Json, Operation, Outcome, Problem, plain_object, put,
};
use crate::liveness::{Deadline, STUCK};
use crate::verdict::{Class, Violation, count, that_failed};

/// `{"lease": 7587, "alive": true}`, or nothing.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Holder {
    /// The lease of the session that the operation is done with.
    pub(super) lease: Option<u64>,
    /// Whether the session said, at this very moment, that its lease can be relied
    /// on.
    #[serde(default)]
    pub(super) alive: bool,
}

impl Holder {
    pub(super) fn of(event: &Event) -> Result<Self, HistoryError> {
        if let Some(plain) = Self::plain(event.value()) {
            return Ok(plain);
        }
        let holder: Result<Option<Self>, _> = event.value().parse();
        let expected = "null or an object with \"lease\", a whole number";
        holder
            .map(Option::unwrap_or_default)
            .map_err(|error| HistoryError::value(event, expected, &error))
    }
}

impl Holder {
    /// As almost every program writes it. Of anything else nothing is said here.
    fn plain(json: &Json) -> Option<Self> {
        if json.as_str() == "null" {
            return Some(Self::default());
        }
        let (mut lease, mut alive) = (None, None);
        plain_object(json, |name, scanner| match name {
            // Leases have more digits than most numbers.
            "lease" => put(&mut lease, scanner.any()?.parse().ok()?),
            "alive" => put(&mut alive, scanner.boolean()?),
            _ => None,
        })?;
        Some(Self {
            lease,
            alive: alive.unwrap_or_default(),
        })
    }
}

/// The lease that an operation must name.
pub(super) fn lease(event: &Event) -> Result<u64, HistoryError> {
    if let Some(lease) = Holder::plain(event.value()).and_then(|plain| plain.lease) {
        return Ok(lease);
    }
    #[derive(Deserialize)]
    struct Named {
        lease: u64,
    }
    let named: Result<Named, _> = event.value().parse();
    named.map(|named| named.lease).map_err(|error| {
        let expected = "an object with \"lease\", a whole number";
        HistoryError::value(event, expected, &error)
    })
}

/// How many participants a round has, from the header.
pub(super) fn participants(history: &History) -> Result<usize, HistoryError> {
    #[derive(Deserialize)]
    struct Parameters {
        count: usize,
    }
    let parameters: Result<Parameters, _> = history.header().parameters.parse();
    let wrong = |detail: String| {
        let detail = format!("\"count\", the participants of a round, at least 1: {detail}");
        HistoryError::at(1, Problem::Parameters { detail })
    };
    match parameters {
        Ok(Parameters { count: 0 }) => Err(wrong("it is 0".to_owned())),
        Ok(Parameters { count }) => Ok(count),
        Err(error) => {
            let text = error.to_string();
            Err(wrong(
                text.split(" at line ")
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            ))
        }
    }
}

/// Whether a completed operation tells something: it happened.
pub(super) fn happened(operation: &Operation<'_>) -> bool {
    operation.outcome() == Outcome::Ok
}

/// Whether it did nothing, if that it failed counts; else it may have happened while it went on.
pub(super) fn is_absent(operation: &Operation<'_>, counts: bool) -> bool {
    operation.outcome() == Outcome::Fail && counts
}

/// What is said of those of a proof that failed.
pub(super) fn failures(witness: &[&Operation<'_>]) -> String {
    let failed = witness.iter().filter(|one| one.outcome() == Outcome::Fail);
    that_failed(&failed.copied().collect::<Vec<_>>())
}

/// So many of those who waited are named.
const NAMED_MAX: usize = 8;

/// Who was waiting at this event, in an operation of this name, besides those who are listed; a
/// sentence, unless there was nobody.
pub(super) fn who_waited(
    f: &str,
    operations: &[Operation<'_>],
    event: usize,
    listed: &[usize],
) -> Option<String> {
    let waited = operations.iter().enumerate().filter(|(index, operation)| {
        operation.invoke.f() == f
            && operation.outcome() != Outcome::Fail
            && operation.invoked < event
            && event <= operation.completed
            && !listed.contains(index)
    });
    let mut named: Vec<String> = waited
        .map(|(_, one)| format!("process {} (line {})", one.process(), one.invoke.line()))
        .collect();
    if named.len() > NAMED_MAX {
        let more = named.split_off(NAMED_MAX).len();
        named.push(format!("{more} more"));
    }
    let last = named.pop()?;
    let who = if named.is_empty() {
        format!("{last} was")
    } else {
        format!("{} and {last} were", named.join(", "))
    };
    Some(format!("{who} waiting at that time, too"))
}

/// Operations that had to finish and did not; `why` says what they waited for in
/// vain.
pub(super) fn stuck<'h>(
    deadline: &Deadline,
    overdue: &[&Operation<'h>],
    why: &str,
    beside: impl IntoIterator<Item = &'h Operation<'h>>,
) -> Option<Violation>
where
{
    let (first, others) = overdue.split_first()?;
    let sentence = deadline.sentence(first) + why;
    let mut violation = Violation::new(Class::Liveness, STUCK, sentence, [*first]);
    let beside = Violation::new(Class::Liveness, STUCK, String::new(), beside);
    violation.witness.extend(beside.witness);
    violation.witness.sort_by_key(|operation| operation.event);
    if !others.is_empty() {
        violation.also.push(format!(
            "{} had not finished either",
            count(others.len() as u64, "other operation")
        ));
    }
    Some(violation)
}
