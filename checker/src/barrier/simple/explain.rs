//! What is wrong with a history, and which operations show it.

use super::super::bounds::Bounds;
use super::super::minimal::{self, Known};
use super::super::value::{Holder, failures};
use super::step::{Action, Step};
use super::sweep::{Stop, Sweep};
use crate::history::{Event, Operation, Outcome};
use crate::unsat_core::Answer;
use crate::verdict::{Class, Kind, Seconds, Violation};

const EARLY_WAIT: Kind = Kind {
    name: "early-wait",
    meaning: "a wait returned although the barrier stood all the time",
};
const DOUBLE_HOLD: Kind = Kind {
    name: "double-hold",
    meaning: "a barrier was raised that stood already",
};
const FALSE_HOLD: Kind = Kind {
    name: "false-refusal",
    meaning: "a hold found the barrier standing although it cannot have stood then",
};
const DOUBLE_RELEASE: Kind = Kind {
    name: "double-release",
    meaning: "a barrier was taken down that did not stand",
};
const BLIND_RELEASE: Kind = Kind {
    name: "blind-release",
    meaning: "a release found no barrier although it stood all the time",
};

pub(super) fn violation(
    operations: &[Operation<'_>],
    steps: &[Step],
    failed: usize,
    bounds: &Bounds<'_>,
) -> Violation {
    let answer = |known: &Known| {
        // Nothing can be wrong behind the last answer that counts.
        let counted = steps.iter().filter(|step| known.counts(step.operation));
        let answered = counted.filter(|step| step.answer.is_some());
        let end = answered.map(|step| step.completed + 1).max().unwrap_or(0);
        let run = Sweep::new(steps, known).run(end, &bounds.of_question());
        match run {
            Ok(_) => Answer::Possible,
            Err(Stop::Failed(_)) => Answer::Impossible,
            Err(Stop::Spent(_)) => Answer::Unknown,
        }
    };
    let needed = minimal::needed(steps.len(), answer);
    // The last of the answers that are needed may be another one of its kind.
    let failed = match Sweep::new(steps, &needed.known).run(usize::MAX, &Bounds::none()) {
        Err(Stop::Failed(step)) => step,
        _ => failed,
    };
    let step = &steps[failed];
    let kind = match (step.action, step.answer) {
        (Action::Wait, _) => EARLY_WAIT,
        (Action::Hold, Some(true)) => DOUBLE_HOLD,
        (Action::Hold, _) => FALSE_HOLD,
        (Action::Release, Some(true)) => DOUBLE_RELEASE,
        (Action::Release, _) => BLIND_RELEASE,
    };
    let witness: Vec<&Operation<'_>> = needed
        .indices
        .iter()
        .map(|index| &operations[steps[*index].operation])
        .collect();
    let operation = &operations[step.operation];
    let mut sentence = sentence(kind, operation, operations, &witness);
    sentence += &failures(&witness);
    needed.judge(Violation::new(Class::Safety, kind, sentence, witness))
}

fn sentence(
    kind: Kind,
    operation: &Operation<'_>,
    operations: &[Operation<'_>],
    witness: &[&Operation<'_>],
) -> String {
    let process = operation.process();
    let holder = witness
        .iter()
        .filter(|other| other.invoke.f() == "hold" && other.invoked != operation.invoked)
        .filter(|other| other.outcome() != Outcome::Fail)
        .max_by_key(|other| other.completed);
    let since = holder.map_or_else(String::new, |hold| {
        let at = hold.completion.map_or(hold.invoke.time(), Event::time);
        format!(
            " process {} had raised it by {},{}",
            hold.process(),
            Seconds(at),
            relied_on(hold, operations),
        )
    });
    let by = Seconds(operation.completion.map_or(0, Event::time));
    match kind.name {
        "early-wait" => format!(
            "the wait by process {process} returned at {by} although the barrier stood:{since} and nobody can have taken it down before the wait returned"
        ),
        "double-hold" => format!(
            "process {process} raised the barrier by {by} although it stood:{since} and nobody can have taken it down in between"
        ),
        "false-refusal" => found_standing(operation, witness),
        "double-release" => format!(
            "process {process} was told by {by} that it took the barrier down, but it cannot have stood"
        ),
        _ => format!(
            "process {process} was told by {by} that there was no barrier to take down, although it stood:{since} and nobody can have taken it down before"
        ),
    }
}

/// That a hold had not fallen by itself, if somebody says so.
fn relied_on(hold: &Operation<'_>, operations: &[Operation<'_>]) -> String {
    let lease = |one: &Operation<'_>| Holder::of(one.invoke).ok().and_then(|holder| holder.lease);
    let Some(held) = lease(hold) else {
        return String::new();
    };
    let says_so = |one: &&Operation<'_>| one.invoke.f() == "release" && lease(one) == Some(held);
    let last = operations.iter().rfind(says_so);
    last.map_or_else(String::new, |release| {
        let line = release.invoke.line();
        format!(" with a lease that line {line} says could still be relied on,")
    })
}

/// Somebody else may have seen that it did not stand.
fn found_standing(operation: &Operation<'_>, witness: &[&Operation<'_>]) -> String {
    let by = |operation: &Operation<'_>| Seconds(operation.completion.map_or(0, Event::time));
    let told = format!(
        "process {} was told by {} that the barrier stood",
        operation.process(),
        by(operation)
    );
    let others = witness.iter().filter(|other| {
        let is_other = other.invoked != operation.invoked;
        is_other && other.outcome() == Outcome::Ok && other.invoke.f() != "hold"
    });
    match others.max_by_key(|other| other.completed) {
        Some(other) => format!(
            "{told}, and the {} by process {} showed by {} that it did not; nobody can have \
             raised it or taken it down in between",
            other.invoke.f(),
            other.process(),
            by(other)
        ),
        None => format!("{told}, but nobody can have raised it by then"),
    }
}
