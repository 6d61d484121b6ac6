//! Which key is where: the way to a single key.

use std::hash::BuildHasher as _;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use super::record::Record;

/// The place of a key among the histories of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(u32);

impl Slot {
    /// The slot of a place.
    pub(super) fn new(place: usize) -> Slot {
        Slot(u32::try_from(place).expect("there are fewer than 2^32 keys"))
    }

    pub(super) fn place(self) -> usize {
        self.0 as usize
    }
}

/// What is known of a key where it is looked for.
#[derive(Debug)]
pub(super) struct Point {
    /// Half the hash of the key: enough to tell nearly all other keys apart, and to grow
    /// the table, without a look at the keys.
    hash: u32,
    pub(super) slot: Slot,
    /// The newest version of the key, which also holds the key.
    pub(super) latest: Record,
}

impl Point {
    /// The version of the key that exists now.
    pub(super) fn live(&self) -> Option<&Record> {
        (!self.latest.is_tombstone()).then_some(&self.latest)
    }
}

/// A hash table of keys.
///
/// It holds no keys beside the records: that keeps it small, and the way to the present
/// of a key short. What a read costs with many keys is steps to far parts of the memory.
#[derive(Debug, Default)]
pub(super) struct Points {
    table: HashTable<Point>,
}

impl Points {
    /// What is known of a key.
    pub(super) fn find(&self, key: &[u8]) -> Option<&Point> {
        let hash = hash(key);
        let is_it = |point: &Point| point.hash == hash && point.latest.key() == key;
        self.table.find(spread(hash), is_it)
    }

    /// Adds a key that has no slot.
    pub(super) fn insert(&mut self, slot: Slot, latest: Record) {
        let hash = hash(latest.key());
        let point = Point { hash, slot, latest };
        self.table
            .insert_unique(spread(hash), point, |point| spread(point.hash));
    }

    /// Exchanges the newest version of the key that has a slot.
    pub(super) fn replace(&mut self, slot: Slot, latest: Record) {
        let hash = spread(hash(latest.key()));
        let point = self.table.find_mut(hash, |point| point.slot == slot);
        point.expect("a slot in use is found").latest = latest;
    }

    /// Removes a key from its slot.
    pub(super) fn remove(&mut self, key: &[u8], slot: Slot) {
        let hash = spread(hash(key));
        let entry = self.table.find_entry(hash, |point| point.slot == slot);
        entry.expect("a slot in use is found").remove();
    }
}

#[expect(clippy::cast_possible_truncation, reason = "half is enough")]
fn hash(key: &[u8]) -> u32 {
    (FxBuildHasher.hash_one(key) >> 16) as u32
}

/// The table picks the place by the low bits and tells neighbours apart by the high ones.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}
