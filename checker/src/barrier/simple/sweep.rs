//! The pass over the events of a history.

use std::collections::{BTreeMap, BTreeSet};

use super::super::bounds::Bounds;
use super::super::minimal::Known;
use super::configuration::{Configuration, Front, State, small};
use super::step::{Action, Step};
use crate::search::Limit;

/// A lease that no history names: it may fall at any time.
const ANY_TIME: Option<u64> = Some(u64::MAX);

pub(super) enum Stop {
    /// Nothing explains the answer of this step.
    Failed(usize),
    /// The budget did not suffice.
    Spent(Limit),
}

/// What there is to pass over.
pub(super) struct Course<'s> {
    pub(super) steps: &'s [Step],
    /// By their place in the history: which step, and whether it begins.
    events: Vec<(usize, usize, bool)>,
    /// Until which event a lease can be relied on. One that is not named may fall
    /// at any time.
    alive_until: BTreeMap<u64, usize>,
}

impl<'s> Course<'s> {
    pub(super) fn new(steps: &'s [Step]) -> Self {
        let mut alive_until = BTreeMap::new();
        let mut events = Vec::with_capacity(steps.len() * 2);
        for (index, step) in steps.iter().enumerate() {
            // It is said when it begins, whatever comes of it.
            if let (Action::Release, Some(lease)) = (step.action, step.lease) {
                alive_until.insert(lease, step.invoked);
            }
            events.push((step.invoked, index, true));
            if step.is_over() {
                events.push((step.completed, index, false));
            }
        }
        events.sort_unstable();
        Self {
            steps,
            events,
            alive_until,
        }
    }
}

/// The pass over the events.
pub(super) struct Sweep<'s> {
    course: &'s Course<'s>,
    /// Of which steps the answers count.
    known: &'s Known,
    /// What has been invoked and not been answered: holds and releases that
    /// change something, and holds of unknown outcome whose lease matters.
    open: BTreeSet<usize>,
    /// How many of unknown outcome have been invoked, as in
    /// [`Configuration::used`].
    unknown: [u32; 3],
    /// What explains all events so far.
    pub(super) all: Vec<Configuration>,
    /// How many of the events have been passed.
    passed: usize,
}

impl<'s> Sweep<'s> {
    pub(super) fn new(course: &'s Course<'s>, known: &'s Known) -> Self {
        Self {
            course,
            known,
            open: BTreeSet::new(),
            unknown: [0; 3],
            all: vec![Configuration {
                state: State::Down,
                done: Vec::new(),
                spared: Vec::new(),
                used: [0; 3],
                other_seen: 0,
            }],
            passed: 0,
        }
    }

    /// The same from here on, where something else is known of what has not begun.
    pub(super) fn with(&self, known: &'s Known) -> Self {
        Self {
            known,
            open: self.open.clone(),
            all: self.all.clone(),
            ..*self
        }
    }

    /// How many events there are from here to that one.
    pub(super) fn distance(&self, end: usize) -> usize {
        let (events, passed) = (&self.course.events, self.passed);
        events[passed..].partition_point(|(event, ..)| *event < end)
    }

    fn answer(&self, step: usize) -> Option<bool> {
        self.course.steps[step]
            .answer
            .filter(|_| self.known.counts(step))
    }

    /// Whether it is over by its return, but its answer does not count.
    fn is_spared(&self, step: usize) -> bool {
        self.known.others_are_in_time()
            && !self.known.counts(step)
            && self.course.steps[step].is_over()
    }

    /// Whether it is known that it did nothing.
    fn is_absent(&self, step: usize) -> bool {
        self.course.steps[step].has_failed && self.known.counts(step)
    }

    /// Goes on to what explains all events before `end`.
    pub(super) fn run(&mut self, end: usize, bounds: &Bounds<'_>) -> Result<(), Stop> {
        let course = self.course;
        while let Some((event, step, is_invoked)) = course.events.get(self.passed).copied()
            && event < end
        {
            self.passed += 1;
            if is_invoked {
                self.invoke(step);
                self.expire(event, step);
            } else if self.matters(step) {
                self.complete(event, step, bounds)?;
                self.open.remove(&step);
            }
        }
        Ok(())
    }

    /// Whether something is different from the return of this step on.
    fn matters(&self, step: usize) -> bool {
        let may_have_been = || self.course.steps[step].action != Action::Wait;
        self.answer(step).is_some() || self.is_spared(step) && may_have_been()
    }

    fn invoke(&mut self, index: usize) {
        if self.is_absent(index) {
            return;
        }
        let step = &self.course.steps[index];
        match (step.action, self.answer(index)) {
            (Action::Hold | Action::Release, Some(true)) => {
                self.open.insert(index);
            }
            (Action::Hold | Action::Release, None) if self.is_spared(index) => {
                self.open.insert(index);
            }
            (Action::Hold, None) => match step.lease {
                None => self.unknown[0] += 1,
                Some(lease) if self.course.alive_until.get(&lease) > Some(&step.invoked) => {
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
    fn expire(&mut self, event: usize, step: usize) {
        let lease = self.course.steps[step].lease;
        let until = lease.and_then(|lease| self.course.alive_until.get(&lease));
        if until != Some(&event) {
            return;
        }
        let is_unknown = |index: &usize| {
            let step = &self.course.steps[*index];
            let is_hold = step.action == Action::Hold && step.lease == lease;
            is_hold && self.answer(*index).is_none() && !self.is_spared(*index)
        };
        let unknown: Vec<usize> = self.open.iter().copied().filter(is_unknown).collect();
        for index in unknown {
            self.open.remove(&index);
            self.unknown[1] += 1;
            for configuration in &mut self.all {
                if let Ok(place) = configuration.done.binary_search(&small(index)) {
                    configuration.done.remove(place);
                    configuration.used[1] += 1;
                }
            }
        }
        let mut front = Front::default();
        for mut configuration in std::mem::take(&mut self.all) {
            if configuration.state == State::Up(lease) {
                configuration.state = State::Up(ANY_TIME);
            }
            front.add(configuration);
        }
        self.all = front.into_vec();
    }

    /// Goes on to what explains the answer of `step` too, which is the event `event`.
    fn complete(&mut self, event: usize, step: usize, bounds: &Bounds<'_>) -> Result<(), Stop> {
        let all = std::mem::take(&mut self.all);
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
            let held = seen.bytes + explained.bytes;
            bounds.step(held).map_err(Stop::Spent)?;
        }
        if explained.is_empty() {
            return Err(Stop::Failed(step));
        }
        self.all = explained.into_vec();
        Ok(())
    }

    /// The configuration after the answer, if it explains it as it is.
    fn answered(&self, configuration: &Configuration, step: usize) -> Option<Configuration> {
        if let Some(up) = self.course.steps[step].asks_for()
            && !self.is_spared(step)
        {
            let is_so = configuration.state.is_up() == up;
            let was_so = configuration.other_seen > self.course.steps[step].invoked;
            return (is_so || was_so).then(|| configuration.clone());
        }
        let mut answered = configuration.clone();
        let done = if self.is_spared(step) {
            &mut answered.spared
        } else {
            &mut answered.done
        };
        done.remove(done.binary_search(&small(step)).ok()?);
        Some(answered)
    }

    /// What can become of a configuration by one operation that takes effect just
    /// before `event`.
    fn turns(&self, from: &Configuration, event: usize) -> Vec<Configuration> {
        let mut turns = Vec::new();
        let mut take_effect = |step: usize, state: State| {
            let mut turned = from.turned(event, state);
            let done = if self.is_spared(step) {
                &mut turned.spared
            } else {
                &mut turned.done
            };
            done.insert(
                done.partition_point(|done| *done < small(step)),
                small(step),
            );
            turns.push(turned);
        };
        let is_hold = |step: &usize| self.course.steps[*step].action == Action::Hold;
        let open = self
            .open
            .iter()
            .copied()
            .filter(|step| !from.has_done(*step));
        // Of a kind the one whose answer comes first; also of those that are spared.
        let first = |steps: Vec<usize>| {
            let answered = |step: &usize| self.course.steps[*step].completed;
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
                    .partition(|step| self.course.steps[*step].lease.is_some());
                for step in leased.into_iter().chain(first(lasting)) {
                    take_effect(step, State::Up(self.course.steps[step].lease));
                }
                unknown.push((0, State::Up(None)));
                unknown.push((1, State::Up(ANY_TIME)));
            }
            State::Up(lease) => {
                for step in first(open.filter(|step| !is_hold(step)).collect()) {
                    take_effect(step, State::Down);
                }
                unknown.push((2, State::Down));
                let may_fall = |lease: u64| {
                    self.course
                        .alive_until
                        .get(&lease)
                        .is_none_or(|at| *at < event)
                };
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
    pub(super) fn may_stand(&self, configuration: &Configuration) -> bool {
        let may_hold = || {
            let is_hold = |step: &&usize| {
                let step = &self.course.steps[**step];
                step.action == Action::Hold && step.lease.is_none()
            };
            configuration.used[0] < self.unknown[0] || self.open.iter().any(|s| is_hold(&s))
        };
        configuration.state == State::Up(None) || may_hold()
    }
}
