//! The cycle that tells most: the strongest anomaly, and its shortest instance.

use std::collections::VecDeque;

use super::graph::{Edge, Graph, Why};
use super::level::Rule;
use super::model::Model;
use crate::verdict::Kind;

/// How many dependencies one search may look at. The verdict does not depend on
/// it, only which of several cycles is shown.
const STEPS_MAX: usize = 2_000_000;

/// Transactions each of which must come before the next, and the last before the
/// first.
pub(super) struct Cycle {
    pub(super) kind: Kind,
    pub(super) edges: Vec<Edge>,
}

/// One sort of cycle: how it begins and what the rest may consist of.
struct Sort {
    kind: Kind,
    first: Why,
    rest: &'static [Why],
}

const LOST_UPDATE: Kind = Kind {
    name: "lost-update",
    meaning: "a write was overwritten by a transaction that had read the version before it",
};
const FRACTURED: Kind = Kind {
    name: "fractured-read",
    meaning: "a transaction saw one write of another but not all",
};
const STALE: Kind = Kind {
    name: "stale-read",
    meaning: "a transaction did not see what was acknowledged before it began",
};
const NONADJACENT: Kind = Kind {
    name: "G-nonadjacent",
    meaning: "transactions missed each other's writes, but no two in a row",
};
const CYCLE: Kind = Kind {
    name: "cycle",
    meaning: "transactions that each must come before the next",
};

/// From the strongest anomaly to the weakest, in Adya's names. The suffix says that
/// real time is needed for the cycle.
const SORTS: [Sort; 8] = [
    sort(
        "G0",
        "write cycle: transactions overwrote each other",
        Why::Overwrote,
        &[Why::Overwrote],
    ),
    sort(
        "G1c",
        "circular information flow",
        Why::Read,
        &[Why::Overwrote, Why::Read],
    ),
    sort(
        "G-single",
        "read skew: a transaction saw the effects of another and missed it",
        Why::Missed,
        &[Why::Overwrote, Why::Read],
    ),
    sort(
        "G2-item",
        "write skew: transactions missed each other's writes",
        Why::Missed,
        &[Why::Overwrote, Why::Read, Why::Missed],
    ),
    sort(
        "G0-realtime",
        "writes in another order than they were acknowledged",
        Why::RealTime,
        &[Why::Overwrote, Why::RealTime],
    ),
    sort(
        "G1c-realtime",
        "a transaction saw what had not begun",
        Why::RealTime,
        &[Why::Overwrote, Why::Read, Why::RealTime],
    ),
    sort(
        "G-single-realtime",
        "read skew with what was acknowledged",
        Why::Missed,
        &[Why::Overwrote, Why::Read, Why::RealTime],
    ),
    sort(
        "G2-item-realtime",
        "write skew with what was acknowledged",
        Why::Missed,
        &[Why::Overwrote, Why::Read, Why::Missed, Why::RealTime],
    ),
];

const fn sort(name: &'static str, meaning: &'static str, first: Why, rest: &'static [Why]) -> Sort {
    Sort {
        kind: Kind { name, meaning },
        first,
        rest,
    }
}

/// The cycle to show. `nodes` are those that can be in one.
pub(super) fn find(graph: &Graph, model: &Model, nodes: &[usize]) -> Cycle {
    if graph.rule().counts(Why::Missed)
        && let Some(cycle) = find_lost_update(graph, model, nodes)
    {
        return cycle;
    }
    let mut search = Search::new(graph, model, nodes);
    for sort in SORTS.iter().filter(|sort| sort.is_under(graph.rule())) {
        if let Some(edges) = search.shortest(sort) {
            let edges = shorten(graph, model, edges, sort);
            return Cycle {
                kind: name(sort.kind, &edges, graph),
                edges,
            };
        }
    }
    match graph.rule() {
        Rule::NoLoneMissed => Cycle {
            kind: NONADJACENT,
            edges: search.any_nonadjacent(),
        },
        _ => Cycle {
            kind: CYCLE,
            edges: search.any(),
        },
    }
}

impl Sort {
    /// Whether the rule forbids all cycles of this sort.
    fn is_under(&self, rule: Rule) -> bool {
        let is_counted = std::iter::once(&self.first)
            .chain(self.rest)
            .all(|why| rule.counts(*why));
        is_counted && (rule != Rule::NoLoneMissed || !self.rest.contains(&Why::Missed))
    }
}

/// A transaction that read a version and overwrote a later one. It is shown by two
/// transactions even where the way back from the second leads through others.
fn find_lost_update(graph: &Graph, model: &Model, nodes: &[usize]) -> Option<Cycle> {
    let edges = nodes.iter().flat_map(|node| graph.from(*node));
    let mut missed = edges.filter(|edge| edge.why == Why::Missed);
    missed.find_map(|missed| {
        let own = model.nodes[missed.from].revision?;
        let versions = &model.versions[missed.key];
        let at = versions
            .binary_search_by_key(&own, |version| version.revision)
            .ok()?;
        let is_later = model.nodes[missed.to]
            .revision
            .is_some_and(|other| other < own);
        if !is_later || versions[at].writer != Some(missed.from) {
            return None;
        }
        let (from, to) = (missed.to, missed.from);
        let overwrote = Edge {
            from,
            to,
            why: Why::Overwrote,
            key: missed.key,
        };
        Some(Cycle {
            kind: LOST_UPDATE,
            edges: vec![*missed, overwrote],
        })
    })
}

/// Leaves out what lies between two versions of one key: whoever overwrote a version
/// also overwrote, or was missed by those who read, what was before it.
fn shorten(graph: &Graph, model: &Model, mut edges: Vec<Edge>, sort: &Sort) -> Vec<Edge> {
    let mut turn = 0;
    while turn < edges.len() {
        edges.rotate_left(1);
        turn += 1;
        let spans = (1..edges.len()).flat_map(|end| (0..end).map(move |start| (start, end)));
        let shortcut = |(start, end): (usize, usize)| {
            // The first edge must stay what it is.
            let allowed = if start == 0 {
                std::slice::from_ref(&sort.first)
            } else {
                sort.rest
            };
            let (first, last) = (&edges[start], &edges[end]);
            if first.from == last.to {
                return None;
            }
            let direct = later_writer(graph, model, first.from, last.to, allowed)?;
            Some((start, end, direct))
        };
        if edges[0].why == sort.first
            && let Some((start, end, direct)) = spans.rev().find_map(shortcut)
        {
            edges.splice(start..=end, [direct]);
            turn = 0;
        }
    }
    // The edge that gives the cycle its name comes first.
    let first = edges
        .iter()
        .position(|edge| edge.why == sort.first)
        .unwrap_or(0);
    edges.rotate_left(first);
    edges
}

/// The dependency that leads from a node to one that wrote a later version of the
/// same key.
fn later_writer(
    graph: &Graph,
    model: &Model,
    from: usize,
    to: usize,
    allowed: &[Why],
) -> Option<Edge> {
    let last = model.nodes[to].revision?;
    let first = graph.from(from).iter();
    let first = first.filter(|edge| matches!(edge.why, Why::Overwrote | Why::Missed));
    first
        .filter(|edge| allowed.contains(&edge.why))
        .find_map(|edge| {
            let next = |node: &usize| {
                let overwrote = |next: &&Edge| next.why == Why::Overwrote && next.key == edge.key;
                graph.from(*node).iter().find(overwrote).map(|next| next.to)
            };
            let is_before = |node: &usize| model.nodes[*node].revision.is_some_and(|at| at <= last);
            let mut writers = std::iter::successors(Some(edge.to), next).take_while(is_before);
            writers
                .any(|writer| writer == to)
                .then_some(Edge { to, ..*edge })
        })
}

/// The plainer name that some cycles of two have.
fn name(kind: Kind, edges: &[Edge], graph: &Graph) -> Kind {
    let [first, second] = edges else { return kind };
    let joined = |why| {
        graph
            .from(second.from)
            .iter()
            .any(|edge| edge.to == second.to && edge.why == why)
    };
    match kind.name {
        "G-single" if first.why == Why::Missed && joined(Why::Read) => FRACTURED,
        "G-single-realtime" if first.why == Why::Missed && second.why == Why::RealTime => STALE,
        _ => kind,
    }
}

struct Search<'g> {
    graph: &'g Graph,
    model: &'g Model,
    /// The nodes that can be in a cycle, by the time of their invocation.
    nodes: Vec<usize>,
    /// The edge by which each node was reached, in the search of that number.
    reached: Vec<(usize, Option<Edge>)>,
    number: usize,
    steps: usize,
}

impl<'g> Search<'g> {
    fn new(graph: &'g Graph, model: &'g Model, nodes: &[usize]) -> Self {
        let mut nodes = nodes.to_vec();
        nodes.sort_by_key(|node| (model.nodes[*node].invoked, *node));
        Self {
            graph,
            model,
            nodes,
            reached: vec![(0, None); model.nodes.len()],
            number: 0,
            steps: 0,
        }
    }

    /// The shortest cycle of this sort, or a short one when there are too many to
    /// look at.
    fn shortest(&mut self, sort: &Sort) -> Option<Vec<Edge>> {
        self.steps = 0;
        let mut best: Option<Vec<Edge>> = None;
        for start in self.nodes.clone() {
            let leaving = self.leaving(start, sort.first);
            self.steps += leaving.len();
            for first in leaving {
                let longest = best.as_ref().map_or(usize::MAX, |best| best.len() - 2);
                if let Some(rest) = self.path(first.to, start, sort.rest, longest) {
                    best = Some(std::iter::once(first).chain(rest).collect());
                }
                if self.steps > STEPS_MAX || best.as_ref().is_some_and(|best| best.len() == 2) {
                    return best;
                }
            }
        }
        best
    }

    fn leaving(&self, node: usize, why: Why) -> Vec<Edge> {
        if why != Why::RealTime {
            return self
                .graph
                .from(node)
                .iter()
                .filter(|edge| edge.why == why)
                .copied()
                .collect();
        }
        let returned = self.model.nodes[node].returned;
        let first = self
            .nodes
            .partition_point(|next| self.model.nodes[*next].invoked <= returned);
        self.nodes[first..]
            .iter()
            .map(|to| Edge {
                from: node,
                to: *to,
                why,
                key: 0,
            })
            .collect()
    }

    /// The shortest path, of at most `longest` edges, by a breadth-first search.
    fn path(
        &mut self,
        from: usize,
        to: usize,
        allowed: &[Why],
        longest: usize,
    ) -> Option<Vec<Edge>> {
        self.number += 1;
        self.reached[from] = (self.number, None);
        let mut queue = VecDeque::from([(from, 0)]);
        // Everything that was invoked later than this has been reached: what real
        // time leads to is always a suffix of the nodes.
        let mut suffix = self.nodes.len();
        while let Some((node, length)) = queue.pop_front() {
            if node == to {
                return Some(self.walk_back(to));
            }
            if length == longest || self.steps > STEPS_MAX {
                continue;
            }
            let graph = self.graph;
            for edge in graph
                .from(node)
                .iter()
                .filter(|edge| allowed.contains(&edge.why))
            {
                self.reach(*edge, length, &mut queue);
            }
            let returned = self.model.nodes[node].returned;
            while allowed.contains(&Why::RealTime)
                && suffix > 0
                && self.model.nodes[self.nodes[suffix - 1]].invoked > returned
            {
                suffix -= 1;
                let edge = Edge {
                    from: node,
                    to: self.nodes[suffix],
                    why: Why::RealTime,
                    key: 0,
                };
                self.reach(edge, length, &mut queue);
            }
        }
        None
    }

    fn reach(&mut self, edge: Edge, length: usize, queue: &mut VecDeque<(usize, usize)>) {
        self.steps += 1;
        if self.reached[edge.to].0 != self.number {
            self.reached[edge.to] = (self.number, Some(edge));
            queue.push_back((edge.to, length + 1));
        }
    }

    fn walk_back(&self, to: usize) -> Vec<Edge> {
        let mut edges: Vec<Edge> =
            std::iter::successors(self.reached[to].1, |edge| self.reached[edge.from].1).collect();
        edges.reverse();
        edges
    }

    /// Some cycle, when there are too many to look for a telling one. Each of the
    /// nodes has one of them before it, so whoever walks back must come round.
    fn any(&self) -> Vec<Edge> {
        let before = self.predecessors();
        let mut trail: Vec<Edge> = Vec::new();
        let mut position = vec![None; self.model.nodes.len()];
        let mut node = self.nodes[0];
        while position[node].is_none() {
            position[node] = Some(trail.len());
            let edge = before[node].expect("a node that cannot be sorted has another before it");
            trail.push(edge);
            node = edge.from;
        }
        let mut cycle = trail.split_off(position[node].expect("the walk came round"));
        cycle.reverse();
        cycle
    }

    /// Some cycle without two missed writes in a row, found by walking back like
    /// [`any`](Self::any), but among places: each node, and each once more as reached
    /// by a missed write.
    fn any_nonadjacent(&self) -> Vec<Edge> {
        let nodes = self.model.nodes.len();
        let mut is_left = vec![false; nodes];
        self.nodes.iter().for_each(|node| is_left[*node] = true);
        // The edges among the nodes that lead to each place, and where they come from.
        let mut into: Vec<Vec<(usize, Edge)>> = vec![Vec::new(); nodes * 2];
        let mut leaving = vec![0_usize; nodes * 2];
        for node in &self.nodes {
            for edge in self
                .graph
                .from(*node)
                .iter()
                .filter(|edge| is_left[edge.to])
            {
                let places: &[(usize, usize)] = match edge.why {
                    Why::Missed => &[(*node, nodes + edge.to)],
                    _ => &[(*node, edge.to), (nodes + *node, edge.to)],
                };
                for (from, to) in places {
                    into[*to].push((*from, *edge));
                    leaving[*from] += 1;
                }
            }
        }
        // What leads nowhere is in no cycle.
        let mut dead: Vec<usize> = (0..nodes * 2).filter(|at| leaving[*at] == 0).collect();
        let mut is_dead = vec![false; nodes * 2];
        while let Some(place) = dead.pop() {
            is_dead[place] = true;
            for (from, _) in &into[place] {
                leaving[*from] -= 1;
                if leaving[*from] == 0 {
                    dead.push(*from);
                }
            }
        }
        // Whoever is alive leads to someone alive, so the walk must come round.
        let next = |place: usize| {
            let edges = self.graph.from(place % nodes).iter();
            let mut steps = edges.filter_map(|edge| match edge.why {
                Why::Missed if place < nodes => Some((nodes + edge.to, *edge)),
                Why::Missed => None,
                _ => Some((edge.to, *edge)),
            });
            steps
                .find(|(to, edge)| is_left[edge.to] && !is_dead[*to])
                .expect("a place that is alive leads to another")
        };
        let mut position = vec![None; nodes * 2];
        let mut trail = Vec::new();
        let mut place = (0..nodes * 2)
            .find(|at| !is_dead[*at] && is_left[at % nodes])
            .expect("there is a cycle");
        while position[place].is_none() {
            position[place] = Some(trail.len());
            let (to, edge) = next(place);
            trail.push(edge);
            place = to;
        }
        trail.split_off(position[place].expect("the walk came round"))
    }

    /// For each of the nodes, some edge that leads to it from one of them.
    fn predecessors(&self) -> Vec<Option<Edge>> {
        let mut before = vec![None; self.model.nodes.len()];
        let first = self
            .nodes
            .iter()
            .copied()
            .min_by_key(|node| self.model.nodes[*node].returned);
        let rule = self.graph.rule();
        for node in &self.nodes {
            let counted = self.graph.from(*node).iter();
            for edge in counted.filter(|edge| rule.counts(edge.why)) {
                before[edge.to] = Some(*edge);
            }
            if let Some(from) = first
                .filter(|_| rule.counts(Why::RealTime))
                .filter(|first| self.model.nodes[*first].returned < self.model.nodes[*node].invoked)
            {
                before[*node].get_or_insert(Edge {
                    from,
                    to: *node,
                    why: Why::RealTime,
                    key: 0,
                });
            }
        }
        before
    }
}
