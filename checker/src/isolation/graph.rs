//! Who must come before whom.
//!
//! Adya's dependencies between transactions:
//! - `ww`: the other wrote a later version of a key;
//! - `wr`: the other read what the one wrote;
//! - `rw`: the other wrote a later version of a key than the one read;
//!
//! and two orders: `process`, in which a process does one after the other, and real time.
//!
//! Some dependencies are of many on many. They go through *junctions*, nodes of their own:
//!
//! ```text
//! reader ─rw─▶ ◇ ─▶ writer          everybody on the left comes before everybody on the
//! reader ─rw─▶   ─▶ writer          right: a + b edges instead of a * b
//! ```
//!
//! Real time would be O(n^2) edges, and needs none at all: as the transactions are numbered
//! by their invocations, those that were invoked after a return are a suffix. A chain of
//! moments, one for each return, is walked as if it were part of the graph.
//!
//! ```text
//! return 1 ─▶ return 2 ─▶ return 3 ─▶ ..     each return comes before the next, and before
//!     └▶ T4 T5    └▶ T6       └▶ T7 T8       what was invoked between the two
//! ```

use super::anomaly::Order;
pub(crate) use super::txns::NONE;

/// Why one transaction comes before another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Why {
    /// `ww`
    Overwrote,
    /// `wr`
    Read,
    /// `rw`
    Missed,
    /// The same process did one after the other.
    Process,
    /// The way out of a junction: why, says the way in.
    Onward,
    /// The first had returned before the second was invoked.
    RealTime,
}

impl Why {
    const STORED: [Self; 5] = [
        Self::Overwrote,
        Self::Read,
        Self::Missed,
        Self::Process,
        Self::Onward,
    ];

    /// A set of one.
    pub(crate) fn bit(self) -> u8 {
        1 << self as u8
    }
}

const ORDER_SHIFT: u32 = 3;
const KEY_SHIFT: u32 = 5;

/// When a transaction may have happened, by the indices of events.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) invoked: u32,
    /// [`NONE`] when it has not returned.
    pub(crate) returned: u32,
}

/// An edge that is being collected.
#[derive(Clone, Copy)]
pub(crate) struct Edge {
    pub(crate) from: u32,
    pub(crate) to: u32,
    label: u32,
}

/// Dependencies between transactions. Nodes are the transactions, in the order of their
/// invocations, and then the junctions.
pub(crate) struct Graph {
    pub(crate) spans: Vec<Span>,
    /// Index of the first edge of each node, and the end.
    starts: Vec<u32>,
    targets: Vec<u32>,
    /// Why, what it assumes, and the key.
    labels: Vec<u32>,
}

/// Collects the edges of a graph.
pub(crate) struct Builder {
    spans: Vec<Span>,
    nodes: u32,
    edges: Vec<Edge>,
}

impl Builder {
    /// Transactions with these spans, ascending by invocation.
    pub(crate) fn new(spans: Vec<Span>, edges: usize) -> Self {
        Self {
            nodes: u32::try_from(spans.len()).expect("there are fewer transactions than bytes"),
            spans,
            edges: Vec::with_capacity(edges),
        }
    }

    pub(crate) fn junction(&mut self) -> u32 {
        self.nodes += 1;
        self.nodes - 1
    }

    pub(crate) fn edge(&mut self, from: u32, to: u32, why: Why, key: u32) {
        self.edge_assuming(from, to, why, key, Order::Any);
    }

    /// An edge that follows only if this order of transactions is that of the versions too.
    pub(crate) fn edge_assuming(&mut self, from: u32, to: u32, why: Why, key: u32, order: Order) {
        if from != to {
            let label = key << KEY_SHIFT | (order as u32) << ORDER_SHIFT | why as u32;
            self.edges.push(Edge { from, to, label });
        }
    }

    /// A way out of a junction.
    pub(crate) fn onward(&mut self, from: u32, to: u32) {
        self.edge(from, to, Why::Onward, 0);
    }

    pub(crate) fn finish(self) -> Graph {
        Graph::of(self.spans, self.nodes as usize, &self.edges)
    }
}

impl Graph {
    fn of(spans: Vec<Span>, nodes: usize, edges: &[Edge]) -> Self {
        let mut starts = vec![0_u32; nodes + 1];
        for edge in edges {
            starts[edge.from as usize + 1] += 1;
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        let mut next = starts.clone();
        let mut targets = vec![0; edges.len()];
        let mut labels = vec![0; edges.len()];
        for edge in edges {
            let at = &mut next[edge.from as usize];
            targets[*at as usize] = edge.to;
            labels[*at as usize] = edge.label;
            *at += 1;
        }
        Self {
            spans,
            starts,
            targets,
            labels,
        }
    }

    /// How many nodes are transactions.
    pub(crate) fn txns(&self) -> u32 {
        u32::try_from(self.spans.len()).expect("there are fewer transactions than bytes")
    }

    /// How many nodes there are.
    pub(crate) fn nodes(&self) -> u32 {
        u32::try_from(self.starts.len() - 1).expect("there are fewer nodes than bytes")
    }

    /// The edges that leave a node.
    pub(crate) fn range(&self, node: u32) -> std::ops::Range<u32> {
        self.starts[node as usize]..self.starts[node as usize + 1]
    }

    /// Where an edge leads, why, and by which key.
    pub(crate) fn edge(&self, edge: u32) -> (u32, Why, u32) {
        let label = self.labels[edge as usize];
        let why = Why::STORED[(label & 7) as usize];
        (self.targets[edge as usize], why, label >> KEY_SHIFT)
    }

    /// The order that an edge assumes to be that of the versions.
    pub(crate) fn assumes(&self, edge: u32) -> Order {
        Order::ALL[(self.labels[edge as usize] >> ORDER_SHIFT & 3) as usize]
    }

    /// The same with the order of the processes. `process` tells who did a transaction.
    pub(crate) fn with_processes(&self, process: impl Fn(u32) -> Option<u64>) -> Self {
        let all: Vec<u32> = (0..self.nodes()).collect();
        self.restricted(&all, process)
    }

    /// The graph of some of the nodes, in ascending order, with the order of the
    /// processes. `process` tells who did a transaction.
    pub(crate) fn restricted(&self, nodes: &[u32], process: impl Fn(u32) -> Option<u64>) -> Self {
        let mut new_names = vec![NONE; self.nodes() as usize];
        for (new, node) in (0..).zip(nodes) {
            new_names[*node as usize] = new;
        }
        let txns = nodes.partition_point(|node| *node < self.txns());
        let spans = nodes[..txns]
            .iter()
            .map(|node| self.spans[*node as usize])
            .collect();
        let mut builder = Builder::new(spans, nodes.len() * 4);
        builder.nodes = u32::try_from(nodes.len()).expect("they are some of the nodes");
        for node in nodes {
            for edge in self.range(*node) {
                let to = new_names[self.targets[edge as usize] as usize];
                if to != NONE {
                    let (from, label) = (new_names[*node as usize], self.labels[edge as usize]);
                    builder.edges.push(Edge { from, to, label });
                }
            }
        }
        let mut last = rustc_hash::FxHashMap::default();
        for (new, node) in (0..).zip(&nodes[..txns]) {
            if let Some(process) = process(*node) {
                builder.follow(&mut last, process, new);
            }
        }
        builder.finish()
    }
}

impl Builder {
    /// The next transaction of a process. `last` has the one before, by process, and the
    /// junction that leads from it to all later ones.
    fn follow(&mut self, last: &mut rustc_hash::FxHashMap<u64, u32>, process: u64, txn: u32) {
        let junction = self.junction();
        if let Some(before) = last.insert(process, junction) {
            self.onward(before, txn);
            self.onward(before, junction);
        }
        self.edge(txn, junction, Why::Process, 0);
    }
}
