//! What a member remembers of the hashes that it has computed while it compacted.

/// How many hashes are remembered (`hashStorageMaxSize` in etcd's
/// `server/storage/mvcc/hash.go`).
const REMEMBERED_MAX: u32 = 10;

/// Whether a member remembers the hash of revision 0.
///
/// etcd asks its memory before it looks at what is asked for, and "all keys" is asked for
/// as revision 0. So from a compaction at revision 0 on, which can only be the first, it
/// answers with the hash of no keys, until it has compacted ten more times or is started
/// again.
#[derive(Debug, Default)]
pub(super) struct HashMemory {
    /// How many compactions there were since that at revision 0, itself counted.
    since_zero: u32,
}

impl HashMemory {
    /// The member has compacted up to `revision`.
    pub(super) fn compacted(&mut self, revision: i64) {
        if revision == 0 || self.since_zero > 0 {
            self.since_zero = self.since_zero.saturating_add(1);
        }
    }

    pub(super) fn has_zero(&self) -> bool {
        (1..=REMEMBERED_MAX).contains(&self.since_zero)
    }

    /// Its process has ended.
    pub(super) fn forget(&mut self) {
        *self = HashMemory::default();
    }
}
