//! Keys in order, which can be counted without a look at each.

use smallvec::SmallVec;

use super::key_range::Span;
use super::points::Slot;

/// A key in place up to 24 bytes, which spares most comparisons a step to another part
/// of the memory.
pub(super) type Key = SmallVec<[u8; 24]>;

/// How many keys a block has at most.
const BLOCK_MAX: usize = 128;

/// Keys with their slots, in order.
///
/// Blocks of neighbours lie one behind the other, with an index of where each begins
/// and one of how many keys lie before it. Finding, counting and exchanging a key costs
/// the logarithm of their number; what a block costs when it is full is shared by
/// the keys that have filled it.
///
/// # Invariants
/// - No block is empty, and none has more than [`BLOCK_MAX`] keys.
/// - The keys of a block are not before its entry in `starts` and before that of the next
///   block; the first entry counts as before all keys.
/// - `lengths` counts the keys of each block.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    starts: Vec<Key>,
    blocks: Vec<Vec<(Key, Slot)>>,
    lengths: PrefixSums,
}

/// The place of a key, or where it would be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    block: usize,
    index: usize,
}

impl Ordered {
    /// Adds a key that is not there.
    pub(super) fn insert(&mut self, key: Key, slot: Slot) {
        let Position { mut block, index } = self.position(&key);
        if self.blocks.is_empty() {
            return self.insert_block(0, vec![(key, slot)]);
        }
        if self.blocks[block].len() < BLOCK_MAX {
            self.blocks[block].insert(index, (key, slot));
            return self.lengths.increase(block);
        }
        // Keys that come in order leave full blocks behind.
        let is_behind_all = block + 1 == self.blocks.len() && index == BLOCK_MAX;
        if is_behind_all {
            return self.insert_block(block + 1, vec![(key, slot)]);
        }
        let upper = self.blocks[block].split_off(BLOCK_MAX / 2);
        self.insert_block(block + 1, upper);
        block += usize::from(self.starts[block + 1] <= key);
        let index = self.position(&key).index;
        self.blocks[block].insert(index, (key, slot));
        self.lengths.increase(block);
    }

    /// Removes a key.
    pub(super) fn remove(&mut self, key: &[u8]) -> Option<(Key, Slot)> {
        let Position { block, index } = self.position(key);
        let keys = self.blocks.get_mut(block)?;
        if keys.get(index)?.0.as_slice() != key {
            return None;
        }
        let removed = keys.remove(index);
        self.lengths.decrease(block);
        self.merge(block);
        Some(removed)
    }

    /// The keys of a span, in order, and how many there are.
    pub(super) fn range(&self, span: Span<'_>) -> (impl Iterator<Item = &(Key, Slot)>, usize) {
        let (from, to) = self.ends(span);
        (self.between(from, to), self.count_between(from, to))
    }

    fn between(&self, from: Position, to: Position) -> impl Iterator<Item = &(Key, Slot)> {
        let blocks = match from < to {
            true => &self.blocks[from.block..=to.block],
            false => &[],
        };
        blocks.iter().enumerate().flat_map(move |(number, keys)| {
            let first = if number == 0 { from.index } else { 0 };
            let is_last = from.block + number == to.block;
            &keys[first..if is_last { to.index } else { keys.len() }]
        })
    }

    /// How many keys a span has.
    pub(super) fn count(&self, span: Span<'_>) -> usize {
        let (from, to) = self.ends(span);
        self.count_between(from, to)
    }

    fn count_between(&self, from: Position, to: Position) -> usize {
        if from.block == to.block {
            return to.index.saturating_sub(from.index);
        }
        self.rank(to).saturating_sub(self.rank(from))
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.lengths.before(self.blocks.len())
    }

    /// Where a key is or would be.
    fn position(&self, key: &[u8]) -> Position {
        let later = self.starts.get(1..).unwrap_or_default();
        let block = later.partition_point(|start| start.as_slice() <= key);
        let keys = self.blocks.get(block).map_or(&[][..], Vec::as_slice);
        let index = keys.partition_point(|(other, _)| other.as_slice() < key);
        Position { block, index }
    }

    fn ends(&self, (start, end): Span<'_>) -> (Position, Position) {
        let last = self.blocks.last().map_or(0, Vec::len);
        let behind_all = Position {
            block: self.blocks.len().saturating_sub(1),
            index: last,
        };
        let end = end.map_or(behind_all, |end| self.position(end));
        (self.position(start), end)
    }

    /// How many keys lie before a position.
    fn rank(&self, position: Position) -> usize {
        self.lengths.before(position.block) + position.index
    }

    fn insert_block(&mut self, at: usize, keys: Vec<(Key, Slot)>) {
        self.starts.insert(at, keys[0].0.clone());
        self.blocks.insert(at, keys);
        self.count_anew();
    }

    /// Removes a block from which a key was taken if it is empty, or small enough to
    /// go with the one after it.
    fn merge(&mut self, block: usize) {
        let length = self.blocks[block].len();
        let next = self.blocks.get(block + 1).map_or(BLOCK_MAX, Vec::len);
        if length + next <= BLOCK_MAX / 2 {
            let keys = self.blocks.remove(block + 1);
            self.starts.remove(block + 1);
            self.blocks[block].extend(keys);
        } else if length == 0 {
            self.blocks.remove(block);
            self.starts.remove(block);
        } else {
            return;
        }
        self.count_anew();
    }

    fn count_anew(&mut self) {
        self.lengths = PrefixSums::new(self.blocks.iter().map(Vec::len));
    }
}

/// Numbers of which the sum of the first ones is known at once: a Fenwick tree.
#[derive(Debug, Default)]
struct PrefixSums {
    /// At the place i - 1, the sum of the numbers before i as far back as the lowest bit
    /// of i says.
    sums: Vec<usize>,
}

impl PrefixSums {
    fn new(numbers: impl Iterator<Item = usize>) -> Self {
        let mut sums: Vec<usize> = numbers.collect();
        for i in 1..=sums.len() {
            let above = i + lowest_bit(i);
            if above <= sums.len() {
                sums[above - 1] += sums[i - 1];
            }
        }
        PrefixSums { sums }
    }

    /// The sum of the first numbers.
    fn before(&self, mut count: usize) -> usize {
        let mut sum = 0;
        while count > 0 {
            sum += self.sums[count - 1];
            count -= lowest_bit(count);
        }
        sum
    }

    fn increase(&mut self, place: usize) {
        self.at_each_above(place, |sum| *sum += 1);
    }

    fn decrease(&mut self, place: usize) {
        self.at_each_above(place, |sum| *sum -= 1);
    }

    fn at_each_above(&mut self, place: usize, change: impl Fn(&mut usize)) {
        let mut i = place + 1;
        while let Some(sum) = self.sums.get_mut(i - 1) {
            change(sum);
            i += lowest_bit(i);
        }
    }
}

fn lowest_bit(number: usize) -> usize {
    number & number.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn key(number: u32) -> Key {
        Key::from_slice(format!("{number:05}").as_bytes())
    }

    fn slot(number: u32) -> Slot {
        Slot::new(number as usize)
    }

    /// Both hold the same keys, and count and list the same ones between any two.
    fn assert_same(ordered: &Ordered, model: &BTreeMap<Key, Slot>, random: &mut ChaCha8Rng) {
        assert_eq!(ordered.len(), model.len());
        assert!(ordered.blocks.iter().all(|keys| !keys.is_empty()));
        for _ in 0..20 {
            let (start, end) = (
                key(random.random_range(0..3000)),
                key(random.random_range(0..3000)),
            );
            let wanted: Vec<_> = model
                .iter()
                .filter(|(k, _)| **k >= start && **k < end)
                .collect();
            let span = (start.as_slice(), Some(end.as_slice()));
            let (found, count) = ordered.range(span);
            let found: Vec<_> = found.map(|(key, slot)| (key, slot)).collect();
            assert_eq!(count, wanted.len());
            assert_eq!(found, wanted);
            assert_eq!(ordered.count(span), wanted.len());
            let wanted = model.range(start.clone()..).count();
            assert_eq!(ordered.count((&start, None)), wanted);
            assert_eq!(ordered.range((&start, None)).0.count(), wanted);
        }
    }

    #[test]
    fn keys_are_found_counted_and_listed_as_by_a_sorted_map() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut ordered = Ordered::default();
        let mut model = BTreeMap::new();
        // It grows, stays and shrinks, each for a while.
        for inserts in [90, 50, 10, 70, 2] {
            for round in 0..3000 {
                let number = random.random_range(0..3000);
                if random.random_range(0..100) >= inserts {
                    let removed = ordered.remove(&key(number));
                    assert_eq!(removed, model.remove_entry(&key(number)));
                } else if model.insert(key(number), slot(number)).is_none() {
                    ordered.insert(key(number), slot(number));
                }
                if round % 100 == 0 {
                    assert_same(&ordered, &model, &mut random);
                }
            }
        }
        for number in 0..3000 {
            assert_eq!(
                ordered.remove(&key(number)),
                model.remove_entry(&key(number))
            );
        }
        assert!(ordered.blocks.is_empty() && ordered.starts.is_empty());
        assert_same(&ordered, &model, &mut random);
    }

    #[test]
    fn keys_that_come_in_order_fill_their_blocks() {
        let mut ordered = Ordered::default();
        (0..10_000).for_each(|number| ordered.insert(key(number), slot(number)));
        assert_eq!(ordered.blocks.len(), 10_000_usize.div_ceil(BLOCK_MAX));
        (0..10_000).for_each(|number| assert!(ordered.remove(&key(number)).is_some()));
        assert_eq!(ordered.len(), 0);
    }
}
