//! Numbers in a row, of which the smallest is asked for.

use std::ops::Range;

/// Numbers that change by stretches. Each step takes as long as the row's length has digits.
pub(super) struct Tree {
    /// How many there are, rounded up to a power of two.
    width: usize,
    /// The smallest of each stretch, without what has been added to larger ones.
    smallest: Vec<i64>,
    /// What has been added to all of a stretch; it is in its smallest already.
    added: Vec<i64>,
}

/// Larger than any number.
const NONE: i64 = i64::MAX / 2;

impl Tree {
    pub(super) fn new(numbers: &[i64]) -> Self {
        let width = numbers.len().next_power_of_two();
        let mut smallest = vec![NONE; 2 * width];
        smallest[width..width + numbers.len()].copy_from_slice(numbers);
        for stretch in (1..width).rev() {
            smallest[stretch] = smallest[2 * stretch].min(smallest[2 * stretch + 1]);
        }
        Self {
            width,
            smallest,
            added: vec![0; 2 * width],
        }
    }

    /// Adds so much to all numbers of the range.
    pub(super) fn add(&mut self, range: Range<usize>, number: i64) {
        self.add_within(1, 0..self.width, &range, number);
    }

    fn add_within(&mut self, stretch: usize, of: Range<usize>, range: &Range<usize>, number: i64) {
        if range.end <= of.start || of.end <= range.start {
            return;
        }
        if range.start <= of.start && of.end <= range.end {
            self.smallest[stretch] += number;
            self.added[stretch] += number;
            return;
        }
        let [left, right] = halves(&of);
        self.add_within(2 * stretch, left, range, number);
        self.add_within(2 * stretch + 1, right, range, number);
        let smaller = self.smallest[2 * stretch].min(self.smallest[2 * stretch + 1]);
        self.smallest[stretch] = smaller + self.added[stretch];
    }

    /// The smallest from this one on.
    pub(super) fn smallest_from(&self, first: usize) -> i64 {
        self.smallest_within(1, 0..self.width, first)
    }

    fn smallest_within(&self, stretch: usize, of: Range<usize>, first: usize) -> i64 {
        if of.end <= first {
            return NONE;
        }
        if first <= of.start {
            return self.smallest[stretch];
        }
        let [left, right] = halves(&of);
        let left = self.smallest_within(2 * stretch, left, first);
        let right = self.smallest_within(2 * stretch + 1, right, first);
        left.min(right) + self.added[stretch]
    }

    /// The first number of the range that is not larger than this one.
    pub(super) fn first_up_to(&self, range: &Range<usize>, limit: i64) -> Option<usize> {
        self.first_within(1, 0..self.width, range, limit)
    }

    fn first_within(
        &self,
        stretch: usize,
        of: Range<usize>,
        range: &Range<usize>,
        limit: i64,
    ) -> Option<usize> {
        let is_apart = range.end <= of.start || of.end <= range.start;
        if is_apart || self.smallest[stretch] > limit {
            return None;
        }
        if of.len() == 1 {
            return Some(of.start);
        }
        let [left, right] = halves(&of);
        let limit = limit - self.added[stretch];
        self.first_within(2 * stretch, left, range, limit)
            .or_else(|| self.first_within(2 * stretch + 1, right, range, limit))
    }
}

fn halves(of: &Range<usize>) -> [Range<usize>; 2] {
    let middle = usize::midpoint(of.start, of.end);
    [of.start..middle, middle..of.end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_counting_says() {
        let mut state = 1_u64;
        let mut number = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for length in [1, 2, 3, 8, 13] {
            let mut naive: Vec<i64> = (0..length).map(|_| number(9) as i64).collect();
            let mut tree = Tree::new(&naive);
            for _ in 0..300 {
                let first = number(length);
                let range = first..first + number(length - first + 1);
                let (change, limit) = (number(9) as i64 - 4, number(12) as i64 - 4);
                tree.add(range.clone(), change);
                naive[range].iter_mut().for_each(|number| *number += change);
                assert_eq!(
                    Some(tree.smallest_from(first)),
                    naive[first..].iter().min().copied()
                );
                let range = first..first + number(length - first + 1);
                let found = range.clone().find(|index| naive[*index] <= limit);
                assert_eq!(tree.first_up_to(&range, limit), found);
            }
        }
    }
}
