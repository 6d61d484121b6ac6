//! Where the search has been.

use super::table::Table;

/// A place where the search has been: which calls have taken effect, in which state the
/// object is then, and how it came there.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// The event before which the search stands.
    pub(super) cursor: u32,
    pub(super) state: u32,
    /// The entry from which one call led here; [`NONE`] at the start.
    pub(super) parent: u32,
    /// That call.
    pub(super) call: u32,
    /// Another entry that differs only in reads and calls that need not happen.
    next: u32,
}

pub(super) const NONE: u32 = u32::MAX;

/// Which of the slots are of what sort of call.
#[derive(Clone, Copy)]
pub(super) struct Slots<'s> {
    /// Those of calls that only read.
    pub(super) reads: &'s [u64],
    /// Those of calls that may not have happened.
    pub(super) optional: &'s [u64],
}

impl Slots<'_> {
    /// For each word the slots of calls that happened and changed something.
    fn changes(self) -> impl Iterator<Item = u64> {
        let words = self.reads.iter().zip(self.optional);
        words.map(|(reads, optional)| !(reads | optional))
    }
}

/// Entries, such that none is as good as another one.
///
/// Of two entries at the same event, in the same state, after the same changes, the one
/// is *as good* as the other that has made at least as many reads with no more of the
/// calls that need not happen: whatever can happen from the other can happen from it too.
/// So where the search has been at the one it need not go to the other.
pub(super) struct Cache {
    entries: Vec<Entry>,
    /// For each entry the calls that are in: of the slots, then of the pending ones.
    words: Vec<u64>,
    stride: usize,
    slot_words: usize,
    heads: Table,
}

impl Cache {
    pub(super) fn new(slot_words: usize, pending_words: usize) -> Self {
        Self {
            entries: Vec::new(),
            words: Vec::new(),
            stride: slot_words + pending_words,
            slot_words,
            heads: Table::default(),
        }
    }

    pub(super) fn entry(&self, entry: u32) -> Entry {
        self.entries[entry as usize]
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn words(&self, entry: u32) -> &[u64] {
        let start = entry as usize * self.stride;
        &self.words[start..start + self.stride]
    }

    /// Adds an entry, unless one is there that is as good.
    pub(super) fn add(&mut self, mut entry: Entry, words: &[u64], slots: Slots<'_>) -> Option<u32> {
        let hash = self.hash(&entry, words, slots);
        let number = u32::try_from(self.entries.len()).expect("the budget is less");
        let found = self
            .heads
            .find(hash, |head| self.is_alike(head, &entry, words, slots));
        match found {
            None => self.heads.insert(hash, number),
            Some(head) => {
                let mut before = head;
                let mut other = head;
                while other != NONE {
                    if self.is_as_good(self.words(other), words, slots) {
                        return None;
                    }
                    let next = self.entries[other as usize].next;
                    // The head stays, for the table knows it.
                    if other != head && self.is_as_good(words, self.words(other), slots) {
                        self.entries[before as usize].next = next;
                    } else {
                        before = other;
                    }
                    other = next;
                }
                entry.next = NONE;
                self.entries[before as usize].next = number;
            }
        }
        self.entries.push(entry);
        self.words.extend_from_slice(words);
        Some(number)
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.words.capacity() * size_of::<u64>()
            + self.heads.bytes()
    }

    /// The bytes that one more entry may add at once, because of a vector that grows.
    pub(super) fn growth(&self) -> usize {
        let mut growth = self.heads.growth();
        if self.entries.len() == self.entries.capacity() {
            growth += 2 * self.entries.capacity() * size_of::<Entry>();
        }
        if self.words.len() + self.stride > self.words.capacity() {
            growth += 2 * self.words.capacity() * size_of::<u64>();
        }
        growth
    }

    fn hash(&self, entry: &Entry, words: &[u64], slots: Slots<'_>) -> u64 {
        let mut hash = u64::from(entry.cursor) << 32 | u64::from(entry.state);
        for (word, changes) in words[..self.slot_words].iter().zip(slots.changes()) {
            hash = (hash.rotate_left(5) ^ (word & changes)).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
        hash
    }

    /// Whether they differ only in reads and calls that need not happen.
    fn is_alike(&self, other: u32, entry: &Entry, words: &[u64], slots: Slots<'_>) -> bool {
        let found = self.entries[other as usize];
        if found.cursor != entry.cursor || found.state != entry.state {
            return false;
        }
        let words = self.words(other)[..self.slot_words].iter().zip(words);
        words
            .zip(slots.changes())
            .all(|((found, word), changes)| (found ^ word) & changes == 0)
    }

    fn is_as_good(&self, one: &[u64], other: &[u64], slots: Slots<'_>) -> bool {
        let Slots { reads, optional } = slots;
        let (open, pending) = one.split_at(self.slot_words);
        let (other_open, other_pending) = other.split_at(self.slot_words);
        let mut open = open.iter().zip(other_open).zip(reads.iter().zip(optional));
        open.all(|((one, other), (reads, optional))| {
            other & !one & reads == 0 && one & !other & optional == 0
        }) && pending
            .iter()
            .zip(other_pending)
            .all(|(one, other)| one & !other == 0)
    }
}

impl Entry {
    pub(super) fn new(cursor: usize, state: u32, parent: u32, call: u32) -> Self {
        Self {
            cursor: u32::try_from(cursor).expect("fewer than 2^32 events"),
            state,
            parent,
            call,
            next: NONE,
        }
    }
}
