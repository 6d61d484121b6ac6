//! What is wrong with a history.

use super::super::bounds::Bounds;
use super::super::value::{Holder, failures};
use super::step::Action;
use super::sweep::{Course, Stop, Sweep};
use super::witness;
use crate::history::{Event, Operation, Outcome};
use crate::search::Others;
use crate::verdict::{Class, Kind, Violation};

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
    course: &Course<'_>,
    failed: usize,
    bounds: &Bounds<'_>,
) -> Violation {
    let steps = course.steps;
    let operation = |step: usize| &operations[steps[step].operation];
    let line = |step: usize| operation(step).completion.map_or(0, Event::line) as u64;
    let needed = witness::needed(course, failed, line, bounds);
    // The last of the answers that are needed may be another one of its kind.
    let failed = match Sweep::new(course, &needed.known).run(usize::MAX, &Bounds::none()) {
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
        .map(|index| operation(*index))
        .collect();
    let mut sentence = sentence(
        kind,
        operation(failed),
        operations,
        &witness,
        needed.known.others(),
    );
    sentence += &failures(&witness);
    needed.judge(Violation::new(Class::Safety, kind, sentence, witness))
}

fn sentence(
    kind: Kind,
    operation: &Operation<'_>,
    operations: &[Operation<'_>],
    witness: &[&Operation<'_>],
    others: Others,
) -> String {
    let process = operation.process();
    let since = standing(operation, operations, witness);
    let nobody = nobody_took_it_down(operation, operations, witness, others);
    let by = end(operation);
    match kind.name {
        "early-wait" => format!(
            "the wait by process {process} returned on {by} although the barrier stood{since}{nobody} before the wait returned"
        ),
        "double-hold" => format!(
            "process {process} raised the barrier by {by} although it stood{since}{nobody} in between"
        ),
        "false-refusal" => found_standing(operation, witness, others),
        "double-release" => format!(
            "process {process} was told by {by} that it took the barrier down, but it cannot have stood"
        ),
        _ => format!(
            "process {process} was told by {by} that there was no barrier to take down, although it stood{since}{nobody} before"
        ),
    }
}

/// The line on which it ended, or began if it did not: not all histories have times.
fn end(operation: &Operation<'_>) -> String {
    let event = operation.completion.unwrap_or(operation.invoke);
    format!("line {}", event.line())
}

/// Who had raised the barrier before this operation returned, or else found it standing, as far
/// as it is listed.
fn standing(
    operation: &Operation<'_>,
    operations: &[Operation<'_>],
    witness: &[&Operation<'_>],
) -> String {
    let raised = raised(operation, witness);
    if let Some(last) = raised.last() {
        let who = processes(&raised);
        let relied_on = relied_on(last, operations);
        return format!(": {who} had raised it by {},{relied_on}", end(last));
    }
    let holds = witness.iter().filter(|other| is_another(other, operation));
    let found = holds.filter(|other| other.invoke.f() == "hold" && says(other, "false"));
    found.max_by_key(|other| other.completed).map_or_else(
        || ",".to_owned(),
        |found| {
            format!(
                ": process {} had found it standing by {},",
                found.process(),
                end(found)
            )
        },
    )
}

/// Those that are listed and raised the barrier, but for this operation; the last one of them
/// to return is the last one.
fn raised<'w, 'h>(
    operation: &Operation<'_>,
    witness: &[&'w Operation<'h>],
) -> Vec<&'w Operation<'h>> {
    let holds = witness.iter().filter(|other| other.invoke.f() == "hold");
    let mut raised: Vec<&Operation<'h>> = holds
        .filter(|hold| is_another(hold, operation) && says(hold, "true"))
        .copied()
        .collect();
    raised.sort_by_key(|hold| hold.completed);
    raised
}

fn is_another(one: &Operation<'_>, other: &Operation<'_>) -> bool {
    one.invoked != other.invoked
}

fn says(operation: &Operation<'_>, answer: &str) -> bool {
    operation
        .ok()
        .is_some_and(|ok| ok.value().as_str() == answer)
}

/// `process 3`, or `processes 3, 1 and 2`.
fn processes(operations: &[&Operation<'_>]) -> String {
    let numbers = operations.iter().map(|one| one.process().to_string());
    let numbers: Vec<String> = numbers.collect();
    match numbers.split_last() {
        Some((last, [])) => format!("process {last}"),
        Some((last, others)) => format!("processes {} and {last}", others.join(", ")),
        None => "nobody".to_owned(),
    }
}

/// That it cannot have been taken down again. Who may have done so went on at that time, but is
/// needed for what was before.
fn nobody_took_it_down(
    operation: &Operation<'_>,
    operations: &[Operation<'_>],
    witness: &[&Operation<'_>],
    others: Others,
) -> &'static str {
    let raised = raised(operation, witness);
    let Some(last) = raised.last() else {
        return " and nobody can have taken it down";
    };
    let may_have = |other: &&Operation<'_>| {
        let is_listed = witness.iter().any(|one| !is_another(one, other));
        let is_possible = !is_listed || says(other, "true");
        let is_by_then = other.invoked < operation.completed;
        let is_in_time = others.is_at_any_time() || other.completed > last.invoked;
        other.invoke.f() == "release" && is_possible && is_by_then && is_in_time
    };
    match raised.len() {
        1 if !operations.iter().any(|other| may_have(&other)) => {
            " and nobody can have taken it down"
        }
        1 => {
            " everybody who can have taken it down by then had to do so before that, and nobody is left who can have taken it down"
        }
        2 => " so it was taken down between the two, and nobody is left who can have taken it down",
        _ => {
            " so it was taken down between any two of them, and nobody is left who can have taken it down"
        }
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
fn found_standing(operation: &Operation<'_>, witness: &[&Operation<'_>], rest: Others) -> String {
    let told = format!(
        "process {} was told by {} that the barrier stood",
        operation.process(),
        end(operation)
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
            end(other)
        ),
        None if matches!(rest, Others::InTheirTimeSince(_)) => {
            format!("{told}, but it did not stand before, and nobody can have raised it by then")
        }
        None => format!("{told}, but nobody can have raised it by then"),
    }
}
