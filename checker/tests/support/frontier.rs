//! Whether a large history of a plain object has an order of its operations: by all states
//! that it may be in after each event. Nothing here knows the checkers.

use std::collections::{BTreeMap, BTreeSet};

use etcd_checker::history::Outcome;
use serde_json::Value;

use super::Op;
use super::naive::{Naive, Step, next, steps};

/// What the object may be like: its state, and which of the operations that have not
/// returned have taken effect. An operation is named by the time of its invocation.
type Possible<S> = BTreeSet<(S, BTreeSet<u64>)>;

/// All that is possible after each event of a history that has an order.
pub struct Frontier<N: Naive> {
    parameters: Value,
    ops: Vec<Op>,
    /// By the time of the event.
    after: BTreeMap<u64, Possible<N::State>>,
}

/// An operation is asked for, or returns. Times are distinct.
type Events = BTreeMap<u64, (usize, bool)>;

impl<N: Naive> Frontier<N> {
    /// # Panics
    /// When the operations have no order.
    pub fn of(parameters: &Value, ops: &[Op]) -> Self {
        let mut frontier = Self {
            parameters: parameters.clone(),
            ops: ops.to_vec(),
            after: BTreeMap::new(),
        };
        let mut after = BTreeMap::new();
        let has_order = frontier.run(ops, 0, |time, possible| {
            after.insert(time, possible.clone());
            false
        });
        assert!(has_order, "a real run has no order");
        frontier.after = after;
        frontier
    }

    /// Whether these operations have an order, which are mostly those of the frontier: what
    /// is possible is the same before the first one that differs, and when it is the same
    /// again after the last one, so is the rest.
    pub fn has_order(&self, changed: &[Op]) -> bool {
        let differ = |index: &usize| self.ops.get(*index) != changed.get(*index);
        let differing: Vec<usize> = (0..self.ops.len().max(changed.len()))
            .filter(differ)
            .collect();
        let times = || {
            let both = |index: &usize| [self.ops.get(*index), changed.get(*index)];
            let ops = differing.iter().flat_map(both).flatten();
            ops.flat_map(|op| [op.invoked, op.returned])
        };
        let (since, until) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
        self.run(changed, since, |time, possible| {
            time > until && self.after.get(&time) == Some(possible)
        })
    }

    /// Goes through the events from `since` on until nothing is possible, or `is_decided`.
    fn run(
        &self,
        ops: &[Op],
        since: u64,
        mut is_decided: impl FnMut(u64, &Possible<N::State>) -> bool,
    ) -> bool {
        let steps = steps(ops);
        let mut events = Events::new();
        for (index, step) in steps.iter().enumerate() {
            events.insert(step.invoked, (index, true));
            if step.answer.is_some() {
                events.insert(step.returned, (index, false));
            }
        }
        let before = self.after.range(..since).next_back();
        let mut possible = before.map_or_else(
            || Possible::from([(N::initial(&self.parameters), BTreeSet::new())]),
            |(_, possible)| possible.clone(),
        );
        let mut open: BTreeSet<usize> = BTreeSet::new();
        for (time, (index, is_invoked)) in events {
            if is_invoked {
                open.insert(index);
            } else if time >= since {
                possible = self.returns(&steps, &open, index, possible);
                open.remove(&index);
            } else {
                open.remove(&index);
            }
            if time < since {
                continue;
            }
            if possible.is_empty() {
                return false;
            }
            if is_decided(time, &possible) {
                return true;
            }
        }
        true
    }

    /// What is possible when this operation has returned: it took effect before, and others
    /// perhaps before it.
    fn returns(
        &self,
        steps: &[Step],
        open: &BTreeSet<usize>,
        returned: usize,
        possible: Possible<N::State>,
    ) -> Possible<N::State> {
        let name = steps[returned].invoked;
        let mut after = Possible::new();
        let mut seen = possible.clone();
        let mut left: Vec<_> = possible.into_iter().collect();
        while let Some((state, mut done)) = left.pop() {
            if done.remove(&name) {
                after.insert((state, done));
                continue;
            }
            for step in open.iter().map(|index| &steps[*index]) {
                if done.contains(&step.invoked) {
                    continue;
                }
                for state in next::<N>(&self.parameters, &state, step) {
                    let mut done = done.clone();
                    done.insert(step.invoked);
                    let one = (state, done);
                    if seen.insert(one.clone()) {
                        left.push(one);
                    }
                }
            }
        }
        after
    }
}

/// The same order of events at times far enough apart for others to happen between them.
pub fn spread(ops: &mut [Op]) {
    let mut events: Vec<(u64, bool, usize)> = Vec::new();
    for (index, op) in ops.iter().enumerate() {
        events.push((op.invoked, true, index));
        if op.outcome != Outcome::Open {
            events.push((op.returned, false, index));
        }
    }
    // Of two at one time, the return is first: that is stricter.
    events.sort_unstable();
    for (place, (_, is_invoked, index)) in events.into_iter().enumerate() {
        let time = (place as u64 + 1) * 8;
        if is_invoked {
            ops[index].invoked = time;
        } else {
            ops[index].returned = time;
        }
    }
}
