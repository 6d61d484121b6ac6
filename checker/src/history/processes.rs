//! Something for each process.

use rustc_hash::FxHashMap;

/// One thing for each process, found quickly.
#[derive(Default)]
pub(crate) struct PerProcess<T> {
    /// Of the processes with small numbers, which most are.
    small: Vec<T>,
    large: FxHashMap<u64, T>,
}

/// The first number that is not small.
const LARGE: u64 = 1 << 14;

impl<T: Default> PerProcess<T> {
    /// That of a process, [`Default`] at first.
    pub(crate) fn of(&mut self, process: u64) -> &mut T {
        if process >= LARGE {
            return self.large.entry(process).or_default();
        }
        let index = process as usize;
        if index >= self.small.len() {
            self.small.resize_with(index + 1, T::default);
        }
        &mut self.small[index]
    }

    /// About how many bytes it takes, without what the things themselves have on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        // A table has a byte for each of its places besides, leaves one in eight free, and has
        // half as many more while it grows.
        let of_large = (size_of::<(u64, T)>() + 1) * self.large.capacity() / 7 * 12;
        self.small.capacity() * size_of::<T>() + of_large
    }

    /// Those of all processes that were asked for, and maybe of others.
    pub(crate) fn into_values(self) -> impl Iterator<Item = T> {
        self.small.into_iter().chain(self.large.into_values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_do_not_share_whatever_their_numbers() {
        let numbers = [0, 1, LARGE - 1, LARGE, LARGE + 1, u64::MAX];
        let mut per_process = PerProcess::default();
        for number in numbers {
            assert_eq!(*per_process.of(number), None);
            *per_process.of(number) = Some(number);
        }
        for number in numbers {
            assert_eq!(*per_process.of(number), Some(number));
        }
        assert_eq!(per_process.into_values().flatten().count(), numbers.len());
    }
}
