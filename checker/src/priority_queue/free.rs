//! Gaps that are not covered.

use super::order::Gap;

/// The gaps at which nothing that counts is certainly inside. Each can be covered once.
///
/// A bit for each gap that is free, and above them a bit for each word that is not empty,
/// and so on, until one word is enough: the next free gap is found, and a covered stretch is
/// passed over, in as many steps as there are levels. There are at most six.
pub(super) struct Free {
    /// The bits of the gaps come first.
    levels: Vec<Vec<u64>>,
}

const BITS: usize = u64::BITS as usize;

impl Free {
    /// So many gaps, all free.
    pub(super) fn new(gaps: Gap) -> Self {
        let mut levels = Vec::new();
        let mut bits = gaps as usize;
        loop {
            let mut words = vec![u64::MAX; bits.div_ceil(BITS).max(1)];
            if let Some(last) = words.last_mut() {
                *last = below(bits - bits.saturating_sub(1) / BITS * BITS);
            }
            bits = words.len();
            levels.push(words);
            if bits == 1 {
                return Self { levels };
            }
        }
    }

    /// The first free gap from here on.
    pub(super) fn next(&self, gap: Gap) -> Option<Gap> {
        let mut at = gap as usize;
        // Up to the first word that has a bit from there on, and down to that bit.
        for (level, words) in self.levels.iter().enumerate() {
            let word = words.get(at / BITS)? & !below(at % BITS);
            if word != 0 {
                let found = at / BITS * BITS + word.trailing_zeros() as usize;
                let lower = self.levels[..level].iter().rev();
                return Some(down(lower, found, |word| word.trailing_zeros() as usize));
            }
            at = at / BITS + 1;
        }
        None
    }

    /// The last free gap up to here.
    pub(super) fn previous(&self, gap: Gap) -> Option<Gap> {
        let last = (self.levels[0].len() * BITS).checked_sub(1)?;
        // One more than the last that may be.
        let mut end = last.min(gap as usize) + 1;
        for (level, words) in self.levels.iter().enumerate() {
            let at = end.checked_sub(1)?;
            let word = words[at / BITS] & below(at % BITS + 1);
            if word != 0 {
                let found = at / BITS * BITS + word.ilog2() as usize;
                let lower = self.levels[..level].iter().rev();
                return Some(down(lower, found, |word| word.ilog2() as usize));
            }
            end = at / BITS;
        }
        None
    }

    /// Covers the gaps from the first until before the last. Only words that are not empty are
    /// looked at, and all but two of them are empty then for good.
    pub(super) fn cover(&mut self, first: Gap, until: Gap) {
        let mut next = self.next(first);
        while let Some(gap) = next.filter(|gap| *gap < until) {
            let word = gap as usize / BITS;
            let end = (until as usize - word * BITS).min(BITS);
            self.levels[0][word] &= below(gap as usize % BITS) | !below(end);
            self.tell_if_empty(word);
            next = Gap::try_from((word + 1) * BITS)
                .ok()
                .and_then(|gap| self.next(gap));
        }
    }

    /// A word of gaps may have become empty: those above it know only of others.
    fn tell_if_empty(&mut self, mut word: usize) {
        for level in 1..self.levels.len() {
            if self.levels[level - 1][word] != 0 {
                return;
            }
            self.levels[level][word / BITS] &= !(1 << (word % BITS));
            word /= BITS;
        }
    }
}

/// The bits below this one.
fn below(bit: usize) -> u64 {
    if bit == BITS {
        u64::MAX
    } else {
        (1 << bit) - 1
    }
}

/// From a bit of a level, through those below it, to the gap.
fn down<'l>(
    lower: impl Iterator<Item = &'l Vec<u64>>,
    found: usize,
    of_word: impl Fn(u64) -> usize,
) -> Gap {
    let gap = lower.fold(found, |word, words| word * BITS + of_word(words[word]));
    Gap::try_from(gap).expect("there are no more gaps than their type has numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A linear congruential generator, good enough here.
    fn numbers() -> impl FnMut(usize) -> usize {
        let mut state = 1_u64;
        move |below| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        }
    }

    #[test]
    fn what_is_free_is_what_was_not_covered() {
        let mut number = numbers();
        for gaps in [0, 1, 63, 64, 65, 4_095, 4_096, 4_097, 9_000, 300_000] {
            let mut free = Free::new(gaps as Gap);
            let mut naive = vec![true; gaps];
            for _ in 0..50 {
                for _ in 0..10 {
                    let gap = number(gaps + 70);
                    let next = (gap..gaps).find(|gap| naive[*gap]);
                    let previous = (0..gaps.min(gap + 1)).rev().find(|gap| naive[*gap]);
                    assert_eq!(free.next(gap as Gap), next.map(|gap| gap as Gap));
                    assert_eq!(free.previous(gap as Gap), previous.map(|gap| gap as Gap));
                }
                let first = number(gaps + 1);
                let longest = 1 + number(gaps + 1);
                let until = first + number((gaps - first).min(longest) + 1);
                free.cover(first as Gap, until as Gap);
                naive[first..until].fill(false);
            }
        }
    }
}
