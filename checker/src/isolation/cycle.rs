//! The shortest cycle of a sort.
//!
//! A cycle that needs real time needs it once. Take one with two such edges:
//!
//! ```text
//! a ══▶ b ─▶ .. ─▶ c ══▶ d ─▶ .. ─▶ a      ══▶ returned before the other was invoked
//! ```
//!
//! Either `a` had returned before `d` was invoked, or else `c` returned before `b` was
//! invoked, since then `d` was invoked before `a` returned, and `c` had returned by then. So
//! one of `a ══▶ d ─▶ .. ─▶ a` and `c ══▶ b ─▶ .. ─▶ c` is a cycle, it is shorter, and its
//! dependencies are some of those of the first. Hence the shortest one is a path of
//! dependencies whose end had returned before its beginning was invoked, and real time
//! costs the search one comparison for each place that it reaches.
//!
//! The search is breadth first from each possible beginning, first for cycles of two, then of
//! three, and so on: what it finds first is the shortest. Junctions cost nothing.

use std::collections::VecDeque;

use super::anomaly::{Dependencies, Order};
use super::components::{Components, Rule};
use super::effort::Effort;
use super::graph::{Graph, Why};
use super::txns::NONE;

/// How many edges the search for one sort of cycle may look at.
const STEPS_MAX: usize = 40_000_000;
/// How many of them there may be between two looks at the clock.
const STEPS_PER_LOOK: usize = 1 << 16;

/// One transaction comes before the next, for this reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) why: Why,
    pub(crate) key: u32,
    /// The order that is assumed to be that of the versions.
    pub(crate) assumes: Order,
}

/// A way along these edges, each with the node from which it leads on.
pub(super) fn steps(graph: &Graph, edges: &[(u32, u32)]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (from, edge) in edges {
        let (to, why, key) = graph.edge(*edge);
        match steps.last_mut() {
            Some(last) if why == Why::Onward => last.to = to,
            _ => steps.push(Step {
                from: *from,
                to,
                why,
                key,
                assumes: graph.assumes(*edge),
            }),
        }
    }
    steps
}

/// What became of a search.
pub(crate) enum Answer {
    /// There is such a cycle; each step begins where the one before ends.
    Cycle(Vec<Step>),
    None,
    /// There are too many ways to look at, or the time is over.
    Unknown,
}

/// The shortest cycle of these dependencies. Worse ones in the same order must not exist,
/// where they are a case of it.
pub(crate) fn shortest(
    graph: &Graph,
    dependencies: Dependencies,
    order: Order,
    effort: &Effort,
) -> Answer {
    let rule = rule(dependencies, order);
    let Some(components) = Components::within(graph, rule, effort) else {
        return Answer::Unknown;
    };
    if components.members.is_empty() {
        return Answer::None;
    }
    let mut component_of = vec![NONE; graph.nodes() as usize];
    for (number, members) in (0..).zip(&components.members) {
        // A node may be in two of them, once as reached by a missed write.
        let number = if rule.nonadjacent { 0 } else { number };
        members
            .iter()
            .for_each(|node| component_of[*node as usize] = number);
    }
    Search {
        graph,
        dependencies,
        order,
        whys: rule.whys,
        assumes: rule.assumes,
        component_of,
        reached: vec![(0, NONE, NONE); graph.nodes() as usize * STATES],
        number: 0,
        steps: 0,
        next_look: STEPS_PER_LOOK,
        effort,
        was_cut: false,
    }
    .shortest()
}

/// What sort of cycle these steps are.
pub(crate) fn classify(steps: &[Step]) -> (Dependencies, Order) {
    let count = |why| steps.iter().filter(|step| step.why == why).count();
    let order = match (count(Why::RealTime), count(Why::Process)) {
        (0, 0) => Order::Any,
        (0, _) => Order::Process,
        _ => Order::RealTime,
    };
    let order = steps
        .iter()
        .map(|step| step.assumes)
        .fold(order, Order::max);
    let follows = steps.iter().cycle().skip(1);
    let is_adjacent =
        |(one, next): (&Step, &Step)| one.why == Why::Missed && next.why == Why::Missed;
    let dependencies = match (count(Why::Missed), count(Why::Read)) {
        (0, 0) => Dependencies::G0,
        (0, _) => Dependencies::G1c,
        (1, _) => Dependencies::GSingle,
        _ if steps.iter().zip(follows).any(is_adjacent) => Dependencies::G2Item,
        _ => Dependencies::GNonadjacent,
    };
    let is_assumed = steps.iter().any(|step| step.assumes != Order::Any);
    let at_least = if is_assumed {
        Dependencies::GSingle
    } else {
        Dependencies::G0
    };
    (dependencies.max(at_least), order)
}

/// What may take part in such a cycle. Where no component exists under the rule, there is
/// no such cycle; the reverse holds for all but G-single.
pub(crate) fn rule(dependencies: Dependencies, order: Order) -> Rule {
    let bits = |whys: &[Why]| whys.iter().fold(0, |bits, why| bits | why.bit());
    let whys = match dependencies {
        Dependencies::G0 => bits(&[Why::Overwrote, Why::Onward]),
        Dependencies::G1c => bits(&[Why::Overwrote, Why::Read, Why::Onward]),
        _ => bits(&[Why::Overwrote, Why::Read, Why::Missed, Why::Onward]),
    };
    Rule {
        whys: match order {
            Order::Process => whys | Why::Process.bit(),
            _ => whys,
        },
        order,
        assumes: assumes(dependencies, order),
        nonadjacent: matches!(
            dependencies,
            Dependencies::GSingle | Dependencies::GNonadjacent
        ),
    }
}

/// Which order of versions may be assumed. If it were another one, there would be read skew in
/// that order: so where nothing milder is looked for, it may not.
fn assumes(dependencies: Dependencies, order: Order) -> Order {
    match dependencies {
        Dependencies::G0 | Dependencies::G1c => Order::Any,
        _ => order,
    }
}

/// Of missed writes on the way: none yet; some; some, the last step among them.
const NO_MISS: u8 = 0;
const MISSED: u8 = 1;
const JUST_MISSED: u8 = 2;
const STATES: usize = 3;

struct Search<'g> {
    graph: &'g Graph,
    dependencies: Dependencies,
    order: Order,
    whys: u8,
    assumes: Order,
    component_of: Vec<u32>,
    /// By node and state: the number of the search that reached it, the place it was reached
    /// from, and the edge.
    reached: Vec<(u32, u32, u32)>,
    number: u32,
    steps: usize,
    /// After how many steps to look at the clock.
    next_look: usize,
    effort: &'g Effort,
    /// Whether something lay too far away.
    was_cut: bool,
}

impl Search<'_> {
    fn shortest(&mut self) -> Answer {
        let begins = self.begins();
        for longest in 1.. {
            self.was_cut = false;
            for begin in &begins {
                if let Some(cycle) = self.search(*begin, longest) {
                    return Answer::Cycle(cycle);
                }
                if self.is_late() {
                    return Answer::Unknown;
                }
                if self.steps > STEPS_MAX {
                    return self.any(&begins);
                }
            }
            if !self.was_cut {
                break;
            }
        }
        Answer::None
    }

    /// Where to begin: with real time at each transaction, else behind each edge of the
    /// sort that the cycle must have.
    fn begins(&self) -> Vec<Begin> {
        let graph = self.graph;
        let mut begins = Vec::new();
        let lead = match self.dependencies {
            Dependencies::G0 => Why::Overwrote,
            Dependencies::G1c => Why::Read,
            _ => Why::Missed,
        };
        for txn in 0..graph.txns() {
            if self.component_of[txn as usize] == NONE {
                continue;
            }
            if self.order == Order::RealTime {
                begins.push(Begin {
                    at: txn,
                    target: NONE,
                    state: NO_MISS,
                    edge: NONE,
                });
                continue;
            }
            for edge in graph.range(txn) {
                let (at, why, _) = graph.edge(edge);
                let assumed = graph.assumes(edge);
                let is_lead = why == lead || assumed != Order::Any;
                if is_lead && assumed <= self.assumes && self.is_inside(txn, at) {
                    begins.push(Begin {
                        at,
                        target: txn,
                        state: self.after(NO_MISS, why, assumed).unwrap_or(NO_MISS),
                        edge,
                    });
                }
            }
        }
        begins
    }

    fn is_inside(&self, from: u32, to: u32) -> bool {
        self.component_of[from as usize] == self.component_of[to as usize]
    }

    /// The state after a step, if it is allowed. An order that is assumed counts as a missed
    /// write: if it were another one, there would be one.
    fn after(&self, state: u8, why: Why, assumed: Order) -> Option<u8> {
        use Dependencies as D;
        if why == Why::Onward {
            return Some(state);
        }
        if why != Why::Missed {
            return Some(if assumed == Order::Any {
                state.min(MISSED)
            } else {
                MISSED
            });
        }
        match (self.dependencies, state) {
            (D::G0 | D::G1c, _) | (D::GSingle, MISSED | JUST_MISSED) => None,
            (D::GSingle, _) => Some(MISSED),
            (D::GNonadjacent, JUST_MISSED) => None,
            (D::GNonadjacent, _) => Some(JUST_MISSED),
            (D::G2Item, _) => Some(MISSED),
        }
    }

    /// Whether a way that came here in this state is a cycle of the sort.
    fn is_closed(&self, begin: &Begin, node: u32, state: u8) -> bool {
        use Dependencies as D;
        let needs_miss = !matches!(self.dependencies, D::G0 | D::G1c);
        if needs_miss && state == NO_MISS {
            return false;
        }
        if self.order != Order::RealTime {
            return node == begin.target
                && (state != JUST_MISSED || self.dependencies != D::GNonadjacent);
        }
        let spans = &self.graph.spans;
        node == begin.at
            || node < self.graph.txns()
                && spans[node as usize].returned < spans[begin.at as usize].invoked
    }

    /// A shortest cycle from here, of at most `longest` steps besides the first.
    fn search(&mut self, begin: Begin, longest: u32) -> Option<Vec<Step>> {
        let graph = self.graph;
        self.number += 1;
        let place = |node: u32, state: u8| node as usize * STATES + usize::from(state);
        let is_junction = |node: u32| node >= graph.txns();
        // Where it comes back to with real time, it may.
        let is_open = self.order == Order::RealTime;
        let origin = (if is_open { 0 } else { self.number }, NONE, NONE);
        self.reached[place(begin.at, begin.state)] = origin;
        let length = u32::from(is_junction(begin.at));
        let mut queue = VecDeque::from([(begin.at, begin.state, 0_u32)]);
        // A way into a junction counts when it leaves it.
        let longest = longest + length;
        while let Some((node, state, length)) = queue.pop_front() {
            if (length > 0 || !is_open) && self.is_closed(&begin, node, state) {
                return Some(self.walk_back(&begin, node, state));
            }
            if length >= longest && !is_junction(node) {
                self.was_cut |= !graph.range(node).is_empty();
                continue;
            }
            for edge in graph.range(node) {
                let (to, why, _) = graph.edge(edge);
                self.steps += 1;
                let counts = self.whys & why.bit() != 0 && graph.assumes(edge) <= self.assumes;
                if !counts || !self.is_inside(node, to) {
                    continue;
                }
                let Some(after) = self.after(state, why, graph.assumes(edge)) else {
                    continue;
                };
                let reached = &mut self.reached[place(to, after)];
                if reached.0 == self.number {
                    continue;
                }
                let from = u32::try_from(place(node, state)).expect("places are few");
                *reached = (self.number, from, edge);
                match is_junction(to) {
                    true => queue.push_front((to, after, length)),
                    false => queue.push_back((to, after, length + 1)),
                }
            }
        }
        None
    }

    /// The steps of the way that was found, without the junctions.
    fn walk_back(&self, begin: &Begin, node: u32, state: u8) -> Vec<Step> {
        let states = u32::try_from(STATES).expect("it is 3");
        let mut edges = Vec::new();
        let first = begin.at * states + u32::from(begin.state);
        let mut place = node * states + u32::from(state);
        loop {
            let (_, from, edge) = self.reached[place as usize];
            if from == NONE {
                break;
            }
            edges.push((from / states, edge));
            place = from;
            if place == first {
                break;
            }
        }
        if begin.edge != NONE {
            edges.push((begin.target, begin.edge));
        }
        edges.reverse();
        let mut steps = steps(self.graph, &edges);
        if self.order == Order::RealTime && node != begin.at {
            steps.push(Step {
                from: node,
                to: begin.at,
                why: Why::RealTime,
                key: 0,
                assumes: Order::Any,
            });
        }
        steps
    }

    /// Whether the time is over, as far as it is time to look.
    fn is_late(&mut self) -> bool {
        if self.steps < self.next_look {
            return false;
        }
        self.next_look = self.steps + STEPS_PER_LOOK;
        self.effort.is_over()
    }

    /// Some cycle, when there are too many to look for the shortest.
    fn any(&mut self, begins: &[Begin]) -> Answer {
        (self.steps, self.next_look) = (0, STEPS_PER_LOOK);
        for begin in begins {
            if let Some(cycle) = self.search(*begin, NONE / 2) {
                return Answer::Cycle(cycle);
            }
            if self.steps > STEPS_MAX || self.is_late() {
                break;
            }
        }
        Answer::Unknown
    }
}

#[derive(Clone, Copy)]
struct Begin {
    at: u32,
    /// Where the way must end; with real time [`NONE`].
    target: u32,
    state: u8,
    /// The first edge of the cycle, or [`NONE`].
    edge: u32,
}
