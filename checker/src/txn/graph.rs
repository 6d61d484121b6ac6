//! Who must come before whom.
//!
//! Adya's dependencies between transactions, and real time:
//! - `ww`: the next version of a key is the other's;
//! - `wr`: the other read a version;
//! - `rw`: the other wrote the version after the one that was read;
//! - `rt`: the other was invoked after the return.
//!
//! As the versions of each key are in the order of their revisions, all edges are
//! known, and the history is strictly serializable exactly when they form no cycle.
//! Real time would be O(n^2) edges; a chain of one extra node for each return makes
//! it O(n).

use super::extract::Txns;
use super::level::Rule;
use super::model::{Model, What};

/// Why one transaction comes before another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub(super) enum Why {
    /// The second overwrote what the first wrote.
    Overwrote,
    /// The second read what the first wrote.
    Read,
    /// The second overwrote what the first read.
    Missed,
    /// The first had returned before the second was invoked.
    RealTime,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) why: Why,
    pub(super) key: usize,
}

/// The dependencies of a model's nodes.
pub(super) struct Graph {
    /// Dependencies through keys, by the node that comes first.
    edges: Vec<Edge>,
    /// Index of the first edge of each node, and the end.
    starts: Vec<usize>,
    /// Whether some read could be explained in several ways and so gives no edge.
    pub(super) ambiguous: bool,
    rule: Rule,
}

/// What sorting the nodes gave.
pub(super) enum Order {
    /// There is an order. For each node: the index of the first event by which it
    /// must have happened, because something that comes after it had returned.
    Sorted { deadlines: Vec<usize> },
    /// There is none: these nodes are in forbidden cycles or between them.
    Cyclic { nodes: Vec<usize> },
}

impl Graph {
    pub(super) fn of(txns: &Txns<'_>, model: &Model, commits: &[Option<i64>], rule: Rule) -> Self {
        let mut edges = Vec::with_capacity(model.reads.len() * 3);
        for (key, versions) in model.versions.iter().enumerate() {
            // Of deletions at one revision only one found something; which, and so
            // which came first, is not known.
            for pair in versions
                .windows(2)
                .filter(|pair| pair[0].revision < pair[1].revision)
            {
                push(
                    &mut edges,
                    pair[0].writer,
                    pair[1].writer,
                    Why::Overwrote,
                    key,
                );
            }
        }
        let deletable = Deletable::of(txns, commits);
        let mut ambiguous = false;
        for read in &model.reads {
            let versions = &model.versions[read.key];
            let version = match read.what {
                What::Version(version) => Some(version),
                What::Absent => match deletable.absence(model, read.key, rule) {
                    Some(version) => version,
                    None => {
                        ambiguous = true;
                        continue;
                    }
                },
            };
            let writer = version.and_then(|version| versions[version].writer);
            push(&mut edges, writer, Some(read.node), Why::Read, read.key);
            let next = versions.get(version.map_or(0, |version| version + 1));
            push(
                &mut edges,
                Some(read.node),
                next.and_then(|next| next.writer),
                Why::Missed,
                read.key,
            );
        }
        edges.sort_unstable_by_key(|edge| (edge.from, edge.to, edge.why, edge.key));
        let mut starts = vec![0; model.nodes.len() + 1];
        for edge in &edges {
            starts[edge.from + 1] += 1;
        }
        for index in 1..starts.len() {
            starts[index] += starts[index - 1];
        }
        Self {
            edges,
            starts,
            ambiguous,
            rule,
        }
    }

    /// Which dependencies count.
    pub(super) fn rule(&self) -> Rule {
        self.rule
    }

    /// The dependencies through keys that leave a node.
    pub(super) fn from(&self, node: usize) -> &[Edge] {
        &self.edges[self.starts[node]..self.starts[node + 1]]
    }

    /// Sorts the nodes by the dependencies that count.
    pub(super) fn sort(&self, model: &Model) -> Order {
        let chain = match self.rule {
            Rule::RealTime => Chain::of(model),
            _ => Chain::none(model),
        };
        let total = match self.rule {
            // Each node once more: as reached by a missed write.
            Rule::NoLoneMissed => model.nodes.len() * 2,
            _ => model.nodes.len() + chain.returns.len(),
        };
        let mut waiting = vec![0_u32; total];
        for node in 0..total {
            self.successors(&chain, model, node, |next| waiting[next] += 1);
        }
        let mut order: Vec<usize> = (0..total).filter(|node| waiting[*node] == 0).collect();
        let mut done = 0;
        while let Some(node) = order.get(done).copied() {
            done += 1;
            self.successors(&chain, model, node, |next| {
                waiting[next] -= 1;
                if waiting[next] == 0 {
                    order.push(next);
                }
            });
        }
        if order.len() < total {
            let mut is_left = vec![false; model.nodes.len()];
            let left = (0..total).filter(|node| waiting[*node] > 0);
            left.for_each(|node| {
                if let Some(node) = self.node_of(node, model) {
                    is_left[node] = true;
                }
            });
            let nodes = (0..is_left.len()).filter(|node| is_left[*node]).collect();
            return Order::Cyclic { nodes };
        }
        let returned = |node: &super::model::Node| match self.rule {
            Rule::RealTime => node.returned,
            _ => usize::MAX,
        };
        let mut deadlines: Vec<usize> = model.nodes.iter().map(returned).collect();
        deadlines.resize(total, usize::MAX);
        for node in order.into_iter().rev() {
            let mut deadline = deadlines[node];
            self.successors(&chain, model, node, |next| {
                deadline = deadline.min(deadlines[next]);
            });
            deadlines[node] = deadline;
        }
        deadlines.truncate(model.nodes.len());
        Order::Sorted { deadlines }
    }

    /// The node that a place in the order stands for; none for a moment.
    fn node_of(&self, place: usize, model: &Model) -> Option<usize> {
        let nodes = model.nodes.len();
        match self.rule {
            Rule::NoLoneMissed => Some(place % nodes),
            _ => Some(place).filter(|place| *place < nodes),
        }
    }

    fn successors(&self, chain: &Chain, model: &Model, node: usize, mut visit: impl FnMut(usize)) {
        let nodes = model.nodes.len();
        if self.rule == Rule::NoLoneMissed {
            // After one missed write no other one may follow.
            for edge in self.from(node % nodes) {
                match edge.why {
                    Why::Missed if node < nodes => visit(nodes + edge.to),
                    Why::Missed => {}
                    _ => visit(edge.to),
                }
            }
            return;
        }
        if node < nodes {
            let counted = self.from(node).iter();
            counted
                .filter(|edge| self.rule.counts(edge.why))
                .for_each(|edge| visit(edge.to));
            if let Some(link) = chain.of_node[node] {
                visit(nodes + link);
            }
            return;
        }
        let link = node - nodes;
        if link + 1 < chain.returns.len() {
            visit(node + 1);
        }
        chain.invoked_after[link]
            .iter()
            .for_each(|next| visit(*next));
    }
}

fn push(edges: &mut Vec<Edge>, from: Option<usize>, to: Option<usize>, why: Why, key: usize) {
    if let (Some(from), Some(to)) = (from, to)
        && from != to
    {
        edges.push(Edge { from, to, why, key });
    }
}

/// Real time: the returns in order, each link before the next one and before what
/// was invoked between the two.
struct Chain {
    /// Index of the event of each return, ascending.
    returns: Vec<usize>,
    /// The link of each node that has returned.
    of_node: Vec<Option<usize>>,
    /// The nodes invoked after a link and before the next.
    invoked_after: Vec<Vec<usize>>,
}

impl Chain {
    /// No real time.
    fn none(model: &Model) -> Self {
        Self {
            returns: Vec::new(),
            of_node: vec![None; model.nodes.len()],
            invoked_after: Vec::new(),
        }
    }

    fn of(model: &Model) -> Self {
        let nodes = &model.nodes;
        let mut returned: Vec<(usize, usize)> = nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.returned != usize::MAX)
            .map(|(at, node)| (node.returned, at))
            .collect();
        returned.sort_unstable();
        let returns: Vec<usize> = returned.iter().map(|(index, _)| *index).collect();
        let mut of_node = vec![None; nodes.len()];
        for (link, (_, at)) in returned.iter().enumerate() {
            of_node[*at] = Some(link);
        }
        let mut invoked_after = vec![Vec::new(); returns.len()];
        for (at, node) in nodes.iter().enumerate() {
            let before = returns.partition_point(|index| *index < node.invoked);
            if let Some(link) = before.checked_sub(1) {
                invoked_after[link].push(at);
            }
        }
        Self {
            returns,
            of_node,
            invoked_after,
        }
    }
}

/// Which keys a transaction of unknown outcome may have deleted, unseen: a deletion
/// leaves no version that a reader could name.
pub(super) struct Deletable {
    any: bool,
    keys: Vec<bool>,
}

impl Deletable {
    pub(super) fn of(txns: &Txns<'_>, commits: &[Option<i64>]) -> Self {
        let mut keys = vec![false; txns.keys.len()];
        for (txn, _) in txns
            .txns
            .iter()
            .zip(commits)
            .filter(|(_, revision)| revision.is_none())
        {
            txn.writes
                .iter()
                .filter(|write| write.value.is_none())
                .for_each(|write| keys[write.key] = true);
        }
        Self {
            any: !txns.blank.is_empty(),
            keys,
        }
    }

    pub(super) fn may_be(&self, key: usize) -> bool {
        self.any || self.keys[key]
    }

    /// The version that a reader saw who found the key absent, the inner none being
    /// the time before the first version; none when there are several or nobody can
    /// tell.
    ///
    /// Where only `ww` and `wr` count, the first of several serves all: whoever comes
    /// after a later one comes after it too.
    fn absence(&self, model: &Model, key: usize, rule: Rule) -> Option<Option<usize>> {
        let versions = &model.versions[key];
        let before = versions.first().is_none_or(|first| first.writer.is_some());
        if rule == Rule::Information && before {
            return Some(None);
        }
        if self.may_be(key) {
            return None;
        }
        let deletions = (0..versions.len())
            .filter(|version| !versions[*version].present)
            .map(Some);
        let mut absences = before.then_some(None).into_iter().chain(deletions);
        let first = absences.next()?;
        let is_only = rule == Rule::Information || absences.next().is_none();
        is_only.then_some(first)
    }
}
