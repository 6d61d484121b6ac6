//! The barrier that is held and released: a search through all orders, as the
//! answers come.

use std::collections::{BTreeMap, BTreeSet};

use super::minimal;
use super::value::{Holder, stuck, unknown_operation};
use crate::history::{History, HistoryError, Operation, Outcome};
use crate::liveness::Deadline;
use crate::verdict::{Class, Kind, Seconds, Summary, Verdict, Violation};

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
    meaning: "a hold found the barrier standing although it never stood",
};
const DOUBLE_RELEASE: Kind = Kind {
    name: "double-release",
    meaning: "a barrier was taken down that did not stand",
};
const BLIND_RELEASE: Kind = Kind {
    name: "blind-release",
    meaning: "a release found no barrier although it stood all the time",
};

/// A lease that no history names: it may fall at any time.
const ANY_TIME: Option<u64> = Some(u64::MAX);

/// So many configurations at one answer are too many.
const CONFIGURATIONS_MAX: usize = 50_000;

/// Decides whether the history is that of a barrier.
///
/// Operations: `hold`, whose result is true, or false when the barrier stood
/// already; `release`, whose result is true, or false when it did not stand;
/// `wait`. A hold may name the lease that it falls with, `{"lease": 7}`; a release
/// that names it says that this lease could be relied on at that moment.
///
/// # Errors
/// When an event is no such operation.
pub fn check(history: &History) -> Result<Verdict, HistoryError> {
    let operations = history.operations();
    let steps = Step::all(&operations)?;
    let all = vec![true; steps.len()];
    let failed = match Sweep::new(&steps, &all).run(usize::MAX) {
        Ok(_) => None,
        Err(Stop::Failed(step)) => Some(step),
        Err(Stop::TooMany) => {
            let reason =
                format!("more than {CONFIGURATIONS_MAX} explanations had to be kept at a time");
            return Ok(Verdict::Unknown { reason });
        }
    };
    let violation = match failed {
        Some(step) => Some(violation(&operations, &steps, step)),
        None => find_stuck(history, &operations, &steps),
    };
    Ok(violation.map_or_else(
        || Verdict::Valid(Summary::of(&operations)),
        Verdict::Violation,
    ))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Hold,
    Release,
    Wait,
}

/// An operation that happened, or may have.
#[derive(Clone, Copy, Debug)]
struct Step {
    action: Action,
    /// None when nobody knows.
    answer: Option<bool>,
    lease: Option<u64>,
    invoked: usize,
    completed: usize,
    operation: usize,
}

impl Step {
    fn all(operations: &[Operation<'_>]) -> Result<Vec<Self>, HistoryError> {
        let mut steps = Vec::with_capacity(operations.len());
        for (index, operation) in operations.iter().enumerate() {
            let action = match operation.invoke.f.as_ref() {
                "hold" => Action::Hold,
                "release" => Action::Release,
                "wait" => Action::Wait,
                _ => {
                    let known = "hold, release and wait";
                    return Err(unknown_operation(operation.invoke, "barrier", known));
                }
            };
            let holder = Holder::of(operation.invoke)?;
            let answer =
                match operation.ok() {
                    Some(_) if action == Action::Wait => Some(true),
                    Some(completion) => Some(completion.value.parse().map_err(|error| {
                        HistoryError::value(completion, "true or false", &error)
                    })?),
                    None => None,
                };
            if operation.outcome() != Outcome::Fail {
                steps.push(Self {
                    action,
                    answer,
                    lease: holder.lease,
                    invoked: operation.invoked,
                    completed: operation.completed,
                    operation: index,
                });
            }
        }
        Ok(steps)
    }

    /// What the barrier must be for an answer that changes nothing.
    fn asks_for(&self) -> Option<bool> {
        match (self.action, self.answer) {
            (Action::Wait, Some(_)) | (Action::Release, Some(false)) => Some(false),
            (Action::Hold, Some(false)) => Some(true),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Down,
    /// It stands, with the lease that it falls with.
    Up(Option<u64>),
}

impl State {
    fn is_up(self) -> bool {
        self != Self::Down
    }
}

/// One way to explain what has been answered so far.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Configuration {
    state: State,
    /// Operations that took effect ahead of their answer, and holds of unknown
    /// outcome whose lease matters.
    done: Vec<u32>,
    /// How many of unknown outcome it needs: holds, holds that may fall at any
    /// time, releases.
    used: [u32; 3],
    /// The event before which the barrier last was the other way.
    other_seen: usize,
}

impl Configuration {
    fn has_done(&self, step: usize) -> bool {
        self.done.binary_search(&small(step)).is_ok()
    }

    /// Whether it explains all that the other one does, and more.
    fn covers(&self, other: &Self) -> bool {
        let used = self.used.iter().zip(&other.used);
        self.other_seen >= other.other_seen && used.into_iter().all(|(mine, its)| mine <= its)
    }

    fn turned(&self, event: usize, state: State) -> Self {
        Self {
            state,
            other_seen: event,
            ..self.clone()
        }
    }
}

fn small(index: usize) -> u32 {
    u32::try_from(index).expect("a history has fewer than 2^32 operations")
}

/// The configurations that no other one covers.
#[derive(Default)]
struct Front {
    by_state: BTreeMap<(State, Vec<u32>), Vec<Configuration>>,
    len: usize,
}

impl Front {
    /// Whether it was worth keeping.
    fn add(&mut self, new: Configuration) -> bool {
        let kept = self
            .by_state
            .entry((new.state, new.done.clone()))
            .or_default();
        if kept.iter().any(|one| one.covers(&new)) {
            return false;
        }
        let before = kept.len();
        kept.retain(|one| !new.covers(one));
        self.len -= before - kept.len();
        self.len += 1;
        kept.push(new);
        true
    }

    fn into_vec(self) -> Vec<Configuration> {
        self.by_state.into_values().flatten().collect()
    }
}

enum Stop {
    /// Nothing explains the answer of this step.
    Failed(usize),
    TooMany,
}

/// The pass over the events.
struct Sweep<'s> {
    steps: &'s [Step],
    /// Whether the answer of a step counts.
    counts: &'s [bool],
    /// Until which event a lease can be relied on. One that is not named may fall
    /// at any time.
    alive_until: BTreeMap<u64, usize>,
    /// What has been invoked and not been answered: holds and releases that
    /// change something, and holds of unknown outcome whose lease matters.
    open: BTreeSet<usize>,
    /// How many of unknown outcome have been invoked, as in
    /// [`Configuration::used`].
    unknown: [u32; 3],
}

impl<'s> Sweep<'s> {
    fn new(steps: &'s [Step], counts: &'s [bool]) -> Self {
        let mut alive_until = BTreeMap::new();
        for (step, counts) in steps.iter().zip(counts) {
            if let (Action::Release, Some(lease), true) = (step.action, step.lease, counts) {
                alive_until.insert(lease, step.invoked);
            }
        }
        Self {
            steps,
            counts,
            alive_until,
            open: BTreeSet::new(),
            unknown: [0; 3],
        }
    }

    fn answer(&self, step: usize) -> Option<bool> {
        self.steps[step].answer.filter(|_| self.counts[step])
    }

    /// Whether it is over by its return, but its answer does not count.
    fn is_spared(&self, step: usize) -> bool {
        !self.counts[step] && self.steps[step].answer.is_some()
    }

    /// What explains all events before `end`.
    fn run(&mut self, end: usize) -> Result<Vec<Configuration>, Stop> {
        let mut events: Vec<(usize, usize, bool)> = Vec::with_capacity(self.steps.len() * 2);
        for (index, step) in self.steps.iter().enumerate() {
            events.push((step.invoked, index, true));
            let is_spared = self.is_spared(index) && step.action != Action::Wait;
            if is_spared || self.answer(index).is_some() {
                events.push((step.completed, index, false));
            }
        }
        events.sort_unstable();
        let mut all = vec![Configuration {
            state: State::Down,
            done: Vec::new(),
            used: [0; 3],
            other_seen: 0,
        }];
        for (event, step, is_invoked) in events {
            if event >= end {
                break;
            }
            if is_invoked {
                self.invoke(step);
                all = self.expire(all, event, step);
            } else {
                all = self.complete(all, event, step)?;
                self.open.remove(&step);
            }
        }
        Ok(all)
    }

    fn invoke(&mut self, index: usize) {
        let step = &self.steps[index];
        match (step.action, self.answer(index)) {
            (Action::Hold | Action::Release, Some(true)) => {
                self.open.insert(index);
            }
            (Action::Hold | Action::Release, None) if self.is_spared(index) => {
                self.open.insert(index);
            }
            (Action::Hold, None) => match step.lease {
                None => self.unknown[0] += 1,
                Some(lease) if self.alive_until.get(&lease) > Some(&step.invoked) => {
                    self.open.insert(index);
                }
                Some(_) => self.unknown[1] += 1,
            },
            (Action::Release, None) => self.unknown[2] += 1,
            _ => {}
        }
    }

    /// After the last event that says that a lease can be relied on, it is like any
    /// other that may fall at any time.
    fn expire(
        &mut self,
        mut all: Vec<Configuration>,
        event: usize,
        step: usize,
    ) -> Vec<Configuration> {
        let lease = self.steps[step].lease;
        let until = lease.and_then(|lease| self.alive_until.get(&lease));
        if until != Some(&event) {
            return all;
        }
        let is_unknown = |index: &usize| {
            let step = &self.steps[*index];
            step.action == Action::Hold && step.lease == lease && step.answer.is_none()
        };
        let unknown: Vec<usize> = self.open.iter().copied().filter(is_unknown).collect();
        for index in unknown {
            self.open.remove(&index);
            self.unknown[1] += 1;
            for configuration in &mut all {
                if let Ok(place) = configuration.done.binary_search(&small(index)) {
                    configuration.done.remove(place);
                    configuration.used[1] += 1;
                }
            }
        }
        let mut front = Front::default();
        for mut configuration in all {
            if configuration.state == State::Up(lease) {
                configuration.state = State::Up(ANY_TIME);
            }
            front.add(configuration);
        }
        front.into_vec()
    }

    /// What explains the answer of `step` too, which is the event `event`.
    fn complete(
        &self,
        all: Vec<Configuration>,
        event: usize,
        step: usize,
    ) -> Result<Vec<Configuration>, Stop> {
        let mut explained = Front::default();
        let mut seen = Front::default();
        if self.is_spared(step) {
            // It need not have done anything.
            let did_nothing = |one: &&Configuration| !one.has_done(step);
            for configuration in all.iter().filter(did_nothing) {
                explained.add(configuration.clone());
            }
        }
        let mut next: Vec<Configuration> = all;
        while let Some(configuration) = next.pop() {
            if let Some(answered) = self.answered(&configuration, step) {
                explained.add(answered);
                continue;
            }
            for turned in self.turns(&configuration, event) {
                if seen.add(turned.clone()) {
                    next.push(turned);
                }
            }
            if seen.len + explained.len > CONFIGURATIONS_MAX {
                return Err(Stop::TooMany);
            }
        }
        if explained.len == 0 {
            return Err(Stop::Failed(step));
        }
        Ok(explained.into_vec())
    }

    /// The configuration after the answer, if it explains it as it is.
    fn answered(&self, configuration: &Configuration, step: usize) -> Option<Configuration> {
        if let Some(up) = self.steps[step].asks_for()
            && !self.is_spared(step)
        {
            let is_so = configuration.state.is_up() == up;
            let was_so = configuration.other_seen > self.steps[step].invoked;
            return (is_so || was_so).then(|| configuration.clone());
        }
        let place = configuration.done.binary_search(&small(step)).ok()?;
        let mut answered = configuration.clone();
        answered.done.remove(place);
        Some(answered)
    }

    /// What can become of a configuration by one operation that takes effect just
    /// before `event`.
    fn turns(&self, from: &Configuration, event: usize) -> Vec<Configuration> {
        let mut turns = Vec::new();
        let mut take_effect = |step: usize, state: State| {
            let mut turned = from.turned(event, state);
            let place = turned.done.partition_point(|done| *done < small(step));
            turned.done.insert(place, small(step));
            turns.push(turned);
        };
        let is_hold = |step: &usize| self.steps[*step].action == Action::Hold;
        let open = self
            .open
            .iter()
            .copied()
            .filter(|step| !from.has_done(*step));
        // Of a kind the one whose answer comes first; also of those that are spared.
        let first = |steps: Vec<usize>| {
            let answered = |step: &usize| self.steps[*step].completed;
            let (spared, others): (Vec<usize>, Vec<usize>) =
                steps.into_iter().partition(|step| self.is_spared(*step));
            let first = |steps: Vec<usize>| steps.into_iter().min_by_key(answered);
            first(spared).into_iter().chain(first(others))
        };
        let mut unknown = Vec::new();
        match from.state {
            State::Down => {
                let (leased, lasting): (Vec<usize>, Vec<usize>) = open
                    .filter(is_hold)
                    .partition(|step| self.steps[*step].lease.is_some());
                for step in leased.into_iter().chain(first(lasting)) {
                    take_effect(step, State::Up(self.steps[step].lease));
                }
                unknown.push((0, State::Up(None)));
                unknown.push((1, State::Up(ANY_TIME)));
            }
            State::Up(lease) => {
                for step in first(open.filter(|step| !is_hold(step)).collect()) {
                    take_effect(step, State::Down);
                }
                unknown.push((2, State::Down));
                let may_fall =
                    |lease: u64| self.alive_until.get(&lease).is_none_or(|at| *at < event);
                if lease.is_some_and(may_fall) {
                    turns.push(from.turned(event, State::Down));
                }
            }
        }
        for (kind, state) in unknown {
            if from.used[kind] < self.unknown[kind] {
                let mut turned = from.turned(event, state);
                turned.used[kind] += 1;
                turns.push(turned);
            }
        }
        turns
    }

    /// Whether the barrier may stand now, and not fall by itself.
    fn may_stand(&self, configuration: &Configuration) -> bool {
        let may_hold = || {
            let is_hold = |step: &&usize| {
                let step = &self.steps[**step];
                step.action == Action::Hold && step.lease.is_none()
            };
            configuration.used[0] < self.unknown[0] || self.open.iter().any(|s| is_hold(&s))
        };
        configuration.state == State::Up(None) || may_hold()
    }
}

/// Waits for a barrier that certainly does not stand, and other operations, which
/// never wait. A hold with a lease has fallen by the time of the mark.
fn find_stuck(
    history: &History,
    operations: &[Operation<'_>],
    steps: &[Step],
) -> Option<Violation> {
    let deadline = Deadline::of(history)?;
    let mut overdue = deadline.overdue(operations);
    let all = vec![true; steps.len()];
    let mut sweep = Sweep::new(steps, &all);
    let at_mark = sweep.run(deadline.index).ok()?;
    let may_stand = at_mark.iter().any(|one| sweep.may_stand(one));
    overdue.retain(|operation| operation.invoke.f != "wait" || !may_stand);
    let is_wait = overdue.first()?.invoke.f == "wait";
    let why = if is_wait {
        ", although the barrier did not stand any more"
    } else {
        ""
    };
    let last_release = operations.iter().rev().find(|operation| {
        is_wait && operation.invoke.f == "release" && operation.completed < deadline.index
    });
    stuck(&deadline, &overdue, why, last_release)
}

fn violation(operations: &[Operation<'_>], steps: &[Step], failed: usize) -> Violation {
    let violates = |counts: &[bool]| {
        let run = Sweep::new(steps, counts).run(usize::MAX);
        matches!(run, Err(Stop::Failed(_)))
    };
    let needed = minimal::needed(steps.len(), violates);
    let mut counts = vec![false; steps.len()];
    for index in &needed {
        counts[*index] = true;
    }
    // The last of the answers that are needed may be another one of its kind.
    let failed = match Sweep::new(steps, &counts).run(usize::MAX) {
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
        .iter()
        .map(|index| &operations[steps[*index].operation])
        .collect();
    let operation = &operations[step.operation];
    let sentence = sentence(kind, operation, &witness);
    Violation::new(Class::Safety, kind, sentence, witness)
}

fn sentence(kind: Kind, operation: &Operation<'_>, witness: &[&Operation<'_>]) -> String {
    let process = operation.process();
    let holder = witness
        .iter()
        .filter(|other| other.invoke.f == "hold" && other.invoked != operation.invoked)
        .max_by_key(|other| other.completed);
    let since = holder.map_or_else(String::new, |hold| {
        let at = hold.completion.map_or(hold.invoke.time, |event| event.time);
        format!(
            " process {} had raised it by {},",
            hold.process(),
            Seconds(at)
        )
    });
    let by = Seconds(operation.completion.map_or(0, |event| event.time));
    match kind.name {
        "early-wait" => format!(
            "the wait by process {process} returned at {by} although the barrier stood:{since} and nobody can have taken it down before the wait returned"
        ),
        "double-hold" => format!(
            "process {process} raised the barrier by {by} although it stood:{since} and nobody can have taken it down in between"
        ),
        "false-refusal" => format!(
            "process {process} was told by {by} that the barrier stood, but nobody can have held it meanwhile"
        ),
        "double-release" => format!(
            "process {process} was told by {by} that it took the barrier down, but it cannot have stood"
        ),
        _ => format!(
            "process {process} was told by {by} that there was no barrier to take down, although it stood:{since} and nobody can have taken it down before"
        ),
    }
}
