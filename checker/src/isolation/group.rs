//! Many transactions that all come after the same others.
//!
//! ```text
//! reader ─▶ ◇1 ─▶ ◇2 ─▶ ◇3        ◇n leads to the writers from the n-th on; a second chain
//!           │     │     │         the other way leads to those up to the n-th. A reader
//!           ▼     ▼     ▼         that is the n-th writer itself takes the first chain
//!          W1    W2    W3         behind, and the second before itself.
//! ```

use super::graph::{Builder, Why};

/// Transactions all of which come after others.
#[derive(Clone, Default)]
pub(super) struct Group {
    /// Ascending, each once.
    members: Vec<u32>,
    from: Vec<u32>,
    up_to: Vec<u32>,
}

impl Group {
    /// A group of these, sorted, in which each may occur several times.
    pub(super) fn of(mut members: Vec<u32>, builder: &mut Builder) -> Self {
        members.dedup();
        let mut group = Self {
            members,
            ..Self::default()
        };
        let count = group.members.len();
        if count < 2 {
            return group;
        }
        group.from = (0..count).map(|_| builder.junction()).collect();
        group.up_to = (0..count).map(|_| builder.junction()).collect();
        for at in 0..count {
            builder.onward(group.from[at], group.members[at]);
            builder.onward(group.up_to[at], group.members[at]);
            if at + 1 < count {
                builder.onward(group.from[at], group.from[at + 1]);
                builder.onward(group.up_to[at + 1], group.up_to[at]);
            }
        }
        group
    }

    /// Puts a transaction before all members but itself.
    pub(super) fn after(&self, txn: u32, why: Why, key: u32, builder: &mut Builder) {
        match self.members.as_slice() {
            [] => {}
            [only] => builder.edge(txn, *only, why, key),
            several => match several.binary_search(&txn) {
                Err(_) => builder.edge(txn, self.from[0], why, key),
                Ok(at) => {
                    if let Some(behind) = self.from.get(at + 1) {
                        builder.edge(txn, *behind, why, key);
                    }
                    if let Some(before) = at.checked_sub(1) {
                        builder.edge(txn, self.up_to[before], why, key);
                    }
                }
            },
        }
    }
}
