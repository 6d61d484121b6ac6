//! Strongly connected components: who must come before itself.
//!
//! Tarjan's algorithm (1972) on the graph and the orders that count, without recursion.
//! O(nodes + edges).

use super::anomaly::Order;
use super::effort::Effort;
use super::graph::{Graph, Why};
use super::txns::NONE;

/// How many places are visited between two looks at the clock.
const PLACES_PER_LOOK: u32 = 1 << 14;

/// Which dependencies count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rule {
    /// A set of [`Why`].
    pub(crate) whys: u8,
    /// Whether real time does.
    pub(crate) order: Order,
    /// Which edges do that assume an order of the versions: those of no later order.
    pub(crate) assumes: Order,
    /// Whether two `rw` in a row lead nowhere.
    pub(crate) nonadjacent: bool,
}

/// The components that have several nodes.
pub(crate) struct Components {
    /// The nodes of each, ascending.
    pub(crate) members: Vec<Vec<u32>>,
}

/// The graph as it is walked: its nodes, each once more if `rw` counts only alone, and the
/// moments of real time.
struct Walk<'g> {
    graph: &'g Graph,
    rule: Rule,
    /// Moments, in the order of time. By transaction: that of its return.
    moment: Vec<u32>,
    /// By moment: the first transaction that was invoked after it.
    invoked_after: Vec<u32>,
    /// The nodes before the moments.
    places: u32,
}

impl Components {
    /// All of them, however long that takes.
    pub(crate) fn of(graph: &Graph, rule: Rule) -> Self {
        Self::within(graph, rule, &Effort::none()).expect("it has no limit")
    }

    /// All of them; none when the time is over.
    pub(crate) fn within(graph: &Graph, rule: Rule, effort: &Effort) -> Option<Self> {
        if effort.is_over() {
            return None;
        }
        let walk = Walk::new(graph, rule);
        let nodes = graph.nodes();
        let mut members = Vec::new();
        let is_done = walk.components(effort, |component| {
            let of_place = |place: &u32| (*place < walk.places).then(|| place % nodes);
            let mut nodes: Vec<u32> = component.iter().filter_map(of_place).collect();
            nodes.sort_unstable();
            nodes.dedup();
            members.push(nodes);
        });
        is_done.then_some(Self { members })
    }
}

impl<'g> Walk<'g> {
    fn new(graph: &'g Graph, rule: Rule) -> Self {
        let nodes = graph.nodes();
        let mut walk = Self {
            graph,
            rule,
            moment: Vec::new(),
            invoked_after: Vec::new(),
            places: if rule.nonadjacent { nodes * 2 } else { nodes },
        };
        if rule.order == Order::RealTime {
            walk.add_moments();
        }
        walk
    }

    fn add_moments(&mut self) {
        let spans = &self.graph.spans;
        let mut returns: Vec<(u32, u32)> = (0..)
            .zip(spans)
            .filter(|(_, span)| span.returned != NONE)
            .map(|(txn, span)| (span.returned, txn))
            .collect();
        returns.sort_unstable();
        self.moment = vec![NONE; spans.len()];
        let mut after = 0;
        for (moment, (returned, txn)) in (0..).zip(returns) {
            self.moment[txn as usize] = moment;
            while spans.get(after).is_some_and(|span| span.invoked < returned) {
                after += 1;
            }
            self.invoked_after
                .push(u32::try_from(after).expect("transactions are few"));
        }
    }

    fn total(&self) -> u32 {
        self.places + u32::try_from(self.invoked_after.len()).expect("transactions are few")
    }

    /// The successor of a place that comes `turn`-th, or a later one. Returns it with the
    /// turn after it.
    fn next(&self, place: u32, mut turn: u32) -> Option<(u32, u32)> {
        if place >= self.places {
            return self.next_of_moment(place - self.places, turn);
        }
        let nodes = self.graph.nodes();
        let (node, is_second) = (place % nodes, place >= nodes);
        let range = self.graph.range(node);
        while range.start + turn < range.end {
            let edge = range.start + turn;
            let (to, why, _) = self.graph.edge(edge);
            turn += 1;
            if self.rule.whys & why.bit() == 0 || self.graph.assumes(edge) > self.rule.assumes {
                continue;
            }
            if !self.rule.nonadjacent {
                return Some((to, turn));
            }
            // The second place of a node is that after a missed write.
            match why {
                Why::Missed if is_second => continue,
                Why::Missed => return Some((nodes + to, turn)),
                Why::Onward if is_second => return Some((nodes + to, turn)),
                _ => return Some((to, turn)),
            }
        }
        let moment = self.moment.get(node as usize).copied().unwrap_or(NONE);
        if moment != NONE && range.start + turn == range.end {
            return Some((self.places + moment, turn + 1));
        }
        None
    }

    fn next_of_moment(&self, moment: u32, turn: u32) -> Option<(u32, u32)> {
        let after = |moment: u32| self.invoked_after.get(moment as usize).copied();
        let first = after(moment)?;
        let end = after(moment + 1).unwrap_or(self.graph.txns());
        if first + turn < end {
            return Some((first + turn, turn + 1));
        }
        let has_next = after(moment + 1).is_some() && first + turn == end;
        has_next.then_some((self.places + moment + 1, turn + 1))
    }

    /// Calls `found` with each component of several places, while there is time. Whether that
    /// sufficed.
    fn components(&self, effort: &Effort, mut found: impl FnMut(&[u32])) -> bool {
        let total = self.total() as usize;
        // Numbers in the order of the visits, from 1; those that are done have the highest.
        let mut number = vec![0_u32; total];
        let mut low = vec![0_u32; total];
        let mut count = 0_u32;
        let mut stack: Vec<u32> = Vec::new();
        let mut calls: Vec<(u32, u32)> = Vec::new();
        for root in 0..self.total() {
            if number[root as usize] != 0 {
                continue;
            }
            calls.push((root, 0));
            while let Some((place, turn)) = calls.pop() {
                let at = place as usize;
                if turn == 0 {
                    count += 1;
                    if count.is_multiple_of(PLACES_PER_LOOK) && effort.is_over() {
                        return false;
                    }
                    number[at] = count;
                    low[at] = count;
                    stack.push(place);
                }
                let mut turn = turn;
                let mut deeper = None;
                while let Some((to, after)) = self.next(place, turn) {
                    turn = after;
                    match number[to as usize] {
                        0 => {
                            deeper = Some(to);
                            break;
                        }
                        NONE => {}
                        known => low[at] = low[at].min(known),
                    }
                }
                if let Some(to) = deeper {
                    calls.push((place, turn));
                    calls.push((to, 0));
                    continue;
                }
                if low[at] == number[at] {
                    let from = stack.iter().rposition(|other| *other == place);
                    let component = &stack[from.expect("it was pushed")..];
                    for done in component {
                        number[*done as usize] = NONE;
                    }
                    if component.len() > 1 {
                        found(component);
                    }
                    stack.truncate(from.expect("it was pushed"));
                }
                if let Some((caller, _)) = calls.last() {
                    let caller = *caller as usize;
                    low[caller] = low[caller].min(low[at]);
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::graph::{Builder, Span};
    use super::*;
    use crate::search::Budget;

    #[test]
    fn without_time_there_are_none() {
        let span = Span {
            invoked: 0,
            returned: NONE,
        };
        let mut builder = Builder::new(vec![span; 2], 2);
        builder.edge(0, 1, Why::Read, 0);
        builder.edge(1, 0, Why::Read, 0);
        let graph = builder.finish();
        let rule = Rule {
            whys: u8::MAX,
            order: Order::Any,
            assumes: Order::Any,
            nonadjacent: false,
        };
        for (time, expected) in [(None, Some(1)), (Some(Duration::ZERO), None)] {
            let effort = Effort::of(&Budget {
                time,
                memory_bytes: 0,
            });
            let found = Components::within(&graph, rule, &effort);
            assert_eq!(found.map(|found| found.members.len()), expected);
        }
    }
}
