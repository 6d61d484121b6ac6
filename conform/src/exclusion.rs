//! What is never sent to a real etcd, and why.

use etcd_sim::version::{UnknownSort, Version};

/// A kind of request that is left out of the comparison.
#[derive(Clone, Copy, Debug)]
pub struct Exclusion {
    /// A short name.
    pub name: &'static str,
    /// What is left out, and why.
    pub about: &'static str,
    applies: fn(Version) -> bool,
}

impl Exclusion {
    /// Whether it is left out with this release.
    pub fn applies_to(&self, version: Version) -> bool {
        (self.applies)(version)
    }
}

/// A bug of all releases.
pub const KEPT_VALUE: Exclusion = Exclusion {
    name: "kept-value-of-deleted-key",
    about: "a transaction that deletes from a key on, without an end, and keeps the value or \
            lease of a key so deleted: the check for duplicate keys lets it pass, and etcd crashes",
    applies: |_| true,
};

/// A bug of some releases.
pub const WATCH_ID: Exclusion = Exclusion {
    name: "watch-id-minus-one",
    about: "a watch with the id -1, etcd's own sign for no watch: where another watch of its \
            stream is refused, it hears nothing any more",
    applies: |version| {
        let is_3_5 = version >= Version::new(3, 5, 0);
        version < Version::new(3, 4, 22) || is_3_5 && version < Version::new(3, 5, 6)
    },
};

/// A bug of some releases.
pub const COMPACTION_OF_RECREATED: Exclusion = Exclusion {
    name: "compaction-of-recreated",
    about: "a compaction at exactly the revision of a transaction that deletes a key and creates \
            it anew: etcd loses the new value, and ends when somebody reads it",
    applies: |version| version.profile().compaction_keeps_deletion,
};

/// All of them.
pub const ALL: &[Exclusion] = &[
    KEPT_VALUE,
    WATCH_ID,
    COMPACTION_OF_RECREATED,
    Exclusion {
        name: "unknown-sort-target",
        about: "a read sorted by what does not exist: before 3.6, etcd crashes",
        applies: |version| version.profile().unknown_sort == UnknownSort::Unsorted,
    },
    Exclusion {
        name: "order-of-equals",
        about: "a read that sorts more than six keys by something else than the key: etcd leaves \
                the order of equals open, and releases differ by the Go that built them",
        applies: |_| true,
    },
    Exclusion {
        name: "hash-of-compacted",
        about: "the hash of all keys at a revision that was compacted, which some releases \
                remember, and any hash while a compaction is under way",
        applies: |_| true,
    },
    Exclusion {
        name: "compaction-under-way",
        about: "a watch from exactly the compacted revision on, unless the compaction was \
                physical and so is over: what it hears depends on how far etcd has come",
        applies: |_| true,
    },
];
