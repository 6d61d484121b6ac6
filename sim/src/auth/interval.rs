//! Ranges of keys, and a tree of them.
//!
//! What etcd says about a range that ends before it begins depends on how its tree of
//! permissions has grown (`pkg/adt/interval_tree.go`), so this one grows alike: red and
//! black, nothing is ever taken out of it.

use std::cmp::Ordering;

/// The keys from one on and before another; an empty end is behind all keys.
#[derive(Clone, Debug)]
pub(super) struct Interval {
    pub(super) begin: Vec<u8>,
    pub(super) end: Vec<u8>,
}

impl Interval {
    pub(super) fn new(key: &[u8], range_end: &[u8]) -> Interval {
        let end = match range_end {
            [] => [key, b"\0"].concat(),
            b"\0" => Vec::new(),
            end => end.to_vec(),
        };
        Interval {
            begin: key.to_vec(),
            end,
        }
    }

    /// Equal when they have a key in common, else which of them comes first. For ranges
    /// that end before they begin it also matters which of them is asked.
    fn against(&self, begin: &[u8], end: &[u8]) -> Ordering {
        if affine(&self.begin, begin).is_lt() && affine(&self.end, begin).is_le() {
            Ordering::Less
        } else if affine(&self.begin, end).is_ge() {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }
}

/// Compares bounds: an empty one is greater than all others
/// (`BytesAffineComparable`).
pub(super) fn affine(a: &[u8], b: &[u8]) -> Ordering {
    match (a, b) {
        ([], []) => Ordering::Equal,
        ([], _) => Ordering::Greater,
        (_, []) => Ordering::Less,
        (a, b) => a.cmp(b),
    }
}

type Number = usize;

#[derive(Debug)]
struct Node {
    interval: Interval,
    /// The greatest end of it and of all below it.
    greatest_end: Vec<u8>,
    children: [Option<Number>; 2],
    parent: Option<Number>,
    is_red: bool,
}

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// A tree of ranges, in the order of their first keys.
///
/// # Invariants
/// - No red node has a red parent, and the root is black.
/// - `greatest_end` is right once all ranges are in.
#[derive(Debug, Default)]
pub(super) struct IntervalTree {
    nodes: Vec<Node>,
    root: Option<Number>,
}

impl IntervalTree {
    /// The tree that grows when these come one after another.
    pub(super) fn of(intervals: impl IntoIterator<Item = Interval>) -> IntervalTree {
        let mut tree = IntervalTree::default();
        for interval in intervals {
            tree.insert(interval);
        }
        tree.measure(tree.root);
        tree
    }

    /// Whether a range has a key in common with one of the tree, as far as a single way
    /// down finds it (`Intersects`).
    pub(super) fn meets(&self, asked: &Interval) -> bool {
        let mut at = self.root;
        while let Some(number) = at {
            let node = &self.nodes[number];
            let Interval { begin, end } = &node.interval;
            if asked.against(begin, end).is_eq() {
                return true;
            }
            let left = node.children[LEFT];
            let is_left = left
                .is_some_and(|left| affine(&self.nodes[left].greatest_end, &asked.begin).is_gt());
            at = node.children[if is_left { LEFT } else { RIGHT }];
        }
        false
    }

    /// The ranges that have a key in common with this one, as far as they are found
    /// (`Visit`).
    pub(super) fn meeting(&self, asked: &Interval) -> Vec<&Interval> {
        let mut found = Vec::new();
        self.visit(self.root, asked, &mut found);
        found
    }

    fn visit<'a>(&'a self, at: Option<Number>, asked: &Interval, found: &mut Vec<&'a Interval>) {
        let Some(number) = at else { return };
        let node = &self.nodes[number];
        let Interval { begin, end } = &node.interval;
        let [left, right] = node.children;
        match asked.against(begin, end) {
            Ordering::Less => self.visit(left, asked, found),
            Ordering::Equal => {
                self.visit(left, asked, found);
                found.push(&node.interval);
                self.visit(right, asked, found);
            }
            Ordering::Greater => {
                let below = Interval {
                    begin: begin.clone(),
                    end: node.greatest_end.clone(),
                };
                if below.against(&asked.begin, &asked.end).is_eq() {
                    self.visit(left, asked, found);
                    self.visit(right, asked, found);
                }
            }
        }
    }

    fn insert(&mut self, interval: Interval) {
        let (mut parent, mut side) = (None, LEFT);
        let mut at = self.root;
        while let Some(number) = at {
            let node = &self.nodes[number];
            let is_before = affine(&interval.begin, &node.interval.begin).is_lt();
            side = if is_before { LEFT } else { RIGHT };
            parent = at;
            at = node.children[side];
        }
        let number = self.nodes.len();
        self.nodes.push(Node {
            interval,
            greatest_end: Vec::new(),
            children: [None; 2],
            parent,
            is_red: true,
        });
        match parent {
            None => self.root = Some(number),
            Some(parent) => self.nodes[parent].children[side] = Some(number),
        }
        self.color(number);
    }

    /// A new node is red; sees to it that its parent is not.
    fn color(&mut self, mut number: Number) {
        while let Some((parent, grandparent)) = self.red_parent(number) {
            let side = self.side_of(parent);
            let uncle = self.nodes[grandparent].children[1 - side];
            match uncle.filter(|uncle| self.nodes[*uncle].is_red) {
                Some(uncle) => {
                    self.nodes[parent].is_red = false;
                    self.nodes[uncle].is_red = false;
                    self.nodes[grandparent].is_red = true;
                    number = grandparent;
                }
                None => {
                    let mut parent = parent;
                    if self.side_of(number) != side {
                        (number, parent) = (parent, number);
                        self.rotate(number, side);
                    }
                    self.nodes[parent].is_red = false;
                    self.nodes[grandparent].is_red = true;
                    self.rotate(grandparent, 1 - side);
                }
            }
        }
        if let Some(root) = self.root {
            self.nodes[root].is_red = false;
        }
    }

    /// The parent of a node if it is red, and its parent: the root is black.
    fn red_parent(&self, number: Number) -> Option<(Number, Number)> {
        let parent = self.nodes[number].parent?;
        let grandparent = self.nodes[parent].parent?;
        self.nodes[parent].is_red.then_some((parent, grandparent))
    }

    /// On which side of its parent a node is.
    fn side_of(&self, number: Number) -> usize {
        let parent = self.nodes[number].parent;
        let is_right =
            parent.is_some_and(|parent| self.nodes[parent].children[RIGHT] == Some(number));
        if is_right { RIGHT } else { LEFT }
    }

    /// A node goes down to this side; its child of the other side takes its place.
    fn rotate(&mut self, down: Number, side: usize) {
        let Some(up) = self.nodes[down].children[1 - side] else {
            return;
        };
        let (parent, side_of_down) = (self.nodes[down].parent, self.side_of(down));
        let between = self.nodes[up].children[side];
        self.nodes[down].children[1 - side] = between;
        if let Some(between) = between {
            self.nodes[between].parent = Some(down);
        }
        self.nodes[up].parent = parent;
        match parent {
            None => self.root = Some(up),
            Some(parent) => self.nodes[parent].children[side_of_down] = Some(up),
        }
        self.nodes[up].children[side] = Some(down);
        self.nodes[down].parent = Some(up);
    }

    /// Notes the greatest ends below a node, and gives that of the node.
    fn measure(&mut self, at: Option<Number>) -> Option<Vec<u8>> {
        let number = at?;
        let mut greatest = self.nodes[number].interval.end.clone();
        for child in self.nodes[number].children {
            if let Some(end) = self.measure(child)
                && affine(&end, &greatest).is_gt()
            {
                greatest = end;
            }
        }
        self.nodes[number].greatest_end.clone_from(&greatest);
        Some(greatest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(number: usize) -> Interval {
        Interval::new(format!("{number:04}").as_bytes(), b"")
    }

    /// How many black nodes lie below a node, on every way down.
    fn black_below(tree: &IntervalTree, at: Option<Number>) -> usize {
        let Some(number) = at else { return 0 };
        let node = &tree.nodes[number];
        for child in node.children.into_iter().flatten() {
            assert!(!node.is_red || !tree.nodes[child].is_red);
            assert_eq!(tree.nodes[child].parent, at);
        }
        let below = node.children.map(|child| black_below(tree, child));
        assert_eq!(below[LEFT], below[RIGHT]);
        below[LEFT] + usize::from(!node.is_red)
    }

    #[test]
    fn a_tree_is_balanced_and_finds_all_that_meets() {
        for count in 0..40 {
            for order in [1, 7, 11] {
                // All of these are prime to the number of places.
                let tree = IntervalTree::of((0..count).map(|n| interval(n * order % 41)));
                black_below(&tree, tree.root);
                let all = Interval::new(b"\0", b"\0");
                let found = tree.meeting(&all);
                assert_eq!(found.len(), count);
                assert!(found.is_sorted_by_key(|interval| &interval.begin));
                for number in 0..41 {
                    let is_there = (0..count).any(|n| n * order % 41 == number);
                    assert_eq!(tree.meets(&interval(number)), is_there);
                    assert_eq!(tree.meeting(&interval(number)).len(), usize::from(is_there));
                }
            }
        }
    }
}
