//! Of things that cannot be true together, some that cannot, and of which none can be left out.

/// Of more than this, those that are slow to ask about are not left out one by one.
pub(crate) const ONE_BY_ONE_MAX: usize = 200;

/// Whether things can be true together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Possible,
    Impossible,
    /// It would have taken too long to tell.
    Unknown,
}

/// Things that cannot be true together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Core<T> {
    pub(crate) things: Vec<T>,
    /// Whether each of them is certainly needed; else it would have taken too long to tell.
    pub(crate) is_least: bool,
}

/// Leaves out of things that cannot be true together what is not needed for that: one by one
/// if no more than `one_by_one_max` are left by then. Things that can be true together must be
/// so as well when some are left out.
pub(crate) fn core<T: Clone>(
    all: Vec<T>,
    one_by_one_max: usize,
    answer: impl Fn(&[T]) -> Answer,
) -> Core<T> {
    core_while(all, one_by_one_max, |things| Some(answer(things)))
}

/// The same as long as there are answers: none means that nothing more should be asked.
pub(crate) fn core_while<T: Clone>(
    all: Vec<T>,
    one_by_one_max: usize,
    answer: impl Fn(&[T]) -> Option<Answer>,
) -> Core<T> {
    let mut core = Core {
        things: all,
        is_least: true,
    };
    core.drop_ends(&answer);
    let mut size = core.things.len().div_ceil(2);
    while size > 0 {
        if size == 1 && core.things.len() > one_by_one_max {
            core.is_least = false;
            break;
        }
        if !core.drop_chunks(size, &answer) {
            core.is_least = false;
            break;
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    core
}

impl<T: Clone> Core<T> {
    /// As many of the first as it takes, then as few of these as it takes: most lie before or
    /// after what went wrong.
    fn drop_ends(&mut self, answer: &impl Fn(&[T]) -> Option<Answer>) {
        let things = &mut self.things;
        let is_impossible = |things: &[T]| answer(things) == Some(Answer::Impossible);
        let end = smallest(things.len(), |end| is_impossible(&things[..end]));
        things.truncate(end);
        let length = things.len();
        let behind = smallest(length, |last| is_impossible(&things[length - last..]));
        things.drain(..length - behind);
    }

    /// Whether there was time for it.
    fn drop_chunks(&mut self, size: usize, answer: &impl Fn(&[T]) -> Option<Answer>) -> bool {
        let mut at = 0;
        while at < self.things.len() {
            let mut rest = self.things.clone();
            rest.drain(at..self.things.len().min(at + size));
            match answer(&rest) {
                None => return false,
                Some(Answer::Impossible) => self.things = rest,
                Some(other) => {
                    at += size;
                    self.is_least &= size > 1 || other == Answer::Possible;
                }
            }
        }
        true
    }
}

/// The smallest number up to `most` of which this holds, as it does of `most` and of every
/// number above one of which it holds.
pub(crate) fn smallest(most: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = usize::midpoint(low, high);
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What all of these are among cannot be true.
    fn clash<'a>(needed: &'a [u32]) -> impl Fn(&[u32]) -> Answer + 'a {
        |txns| match needed.iter().all(|txn| txns.contains(txn)) {
            true => Answer::Impossible,
            false => Answer::Possible,
        }
    }

    #[test]
    fn what_is_needed_is_left() {
        for needed in [&[3][..], &[0, 99], &[7, 8, 50], &[98, 99], &[]] {
            let core = core((0..100).collect(), ONE_BY_ONE_MAX, clash(needed));
            let is_least = true;
            let things = needed.to_vec();
            assert_eq!(core, Core { things, is_least });
        }
    }

    #[test]
    fn what_is_not_known_to_be_needed_is_left_and_told() {
        let answer = |txns: &[u32]| match clash(&[2, 9])(txns) {
            Answer::Possible if txns.contains(&5) => Answer::Possible,
            Answer::Impossible if txns.contains(&5) => Answer::Impossible,
            _ => Answer::Unknown,
        };
        let core = core((0..12).collect(), ONE_BY_ONE_MAX, answer);
        assert_eq!(core.things, [2, 5, 9]);
        assert!(!core.is_least);
    }

    #[test]
    fn when_the_time_is_over_nothing_more_is_asked() {
        let asked = std::cell::Cell::new(0);
        let answer = |txns: &[u32]| {
            asked.set(asked.get() + 1);
            match asked.get() {
                ..30 => Some(clash(&[20, 40])(txns)),
                _ => None,
            }
        };
        let core = core_while((0..1_000).collect(), usize::MAX, answer);
        assert!(!core.is_least);
        assert_eq!(clash(&[20, 40])(&core.things), Answer::Impossible);
        assert_eq!(asked.get(), 30);
    }

    #[test]
    fn of_very_many_it_is_told_that_fewer_may_do() {
        let needed: Vec<u32> = (0..500).filter(|txn| txn % 2 == 0).collect();
        let core = core((0..500).collect(), ONE_BY_ONE_MAX, clash(&needed));
        assert!(!core.is_least);
        assert_eq!(clash(&needed)(&core.things), Answer::Impossible);
    }
}
