//! Of transactions that have no order, some that have none, and of which none can be left out.

use super::order::Answer;

/// Of more than this, they are not left out one by one.
const ONE_BY_ONE_MAX: usize = 200;

/// Transactions that have no order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Core {
    pub(super) txns: Vec<u32>,
    /// Whether each of them is certainly needed; else it would have taken too long to tell.
    pub(super) is_least: bool,
}

/// Leaves out of transactions that have no order what is not needed for that. What has an
/// order must have one as well when some are left out.
pub(super) fn core(all: Vec<u32>, answer: impl Fn(&[u32]) -> Answer) -> Core {
    let mut core = Core {
        txns: all,
        is_least: true,
    };
    core.drop_ends(&answer);
    let mut size = core.txns.len() / 2;
    while size > 0 {
        if size == 1 && core.txns.len() > ONE_BY_ONE_MAX {
            core.is_least = false;
            break;
        }
        core.drop_chunks(size, &answer);
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    core
}

impl Core {
    /// As many of the first as it takes, then as few of these as it takes.
    fn drop_ends(&mut self, answer: &impl Fn(&[u32]) -> Answer) {
        let txns = &mut self.txns;
        let is_impossible = |txns: &[u32]| answer(txns) == Answer::Impossible;
        let end = shortest(txns.len(), |end| is_impossible(&txns[..end]));
        txns.truncate(end);
        let length = txns.len();
        let behind = shortest(length, |last| is_impossible(&txns[length - last..]));
        txns.drain(..length - behind);
    }

    fn drop_chunks(&mut self, size: usize, answer: &impl Fn(&[u32]) -> Answer) {
        let mut at = 0;
        while at < self.txns.len() {
            let mut rest = self.txns.clone();
            rest.drain(at..self.txns.len().min(at + size));
            match answer(&rest) {
                Answer::Impossible => self.txns = rest,
                other => {
                    at += size;
                    self.is_least &= size > 1 || other == Answer::Possible;
                }
            }
        }
    }
}

/// The smallest length for which it is true, where it is true for all longer ones.
fn shortest(length: usize, is_enough: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, length);
    while low < high {
        let middle = usize::midpoint(low, high);
        if is_enough(middle) {
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

    /// Those with one of these numbers have no order together.
    fn clash<'a>(needed: &'a [u32]) -> impl Fn(&[u32]) -> Answer + 'a {
        |txns| match needed.iter().all(|txn| txns.contains(txn)) {
            true => Answer::Impossible,
            false => Answer::Possible,
        }
    }

    #[test]
    fn what_is_needed_is_left() {
        for needed in [&[3][..], &[0, 99], &[7, 8, 50], &[98, 99], &[]] {
            let core = core((0..100).collect(), clash(needed));
            let is_least = true;
            let txns = needed.to_vec();
            assert_eq!(core, Core { txns, is_least });
        }
    }

    #[test]
    fn what_is_not_known_to_be_needed_is_left_and_told() {
        let answer = |txns: &[u32]| match clash(&[2, 9])(txns) {
            Answer::Possible if txns.contains(&5) => Answer::Possible,
            Answer::Impossible if txns.contains(&5) => Answer::Impossible,
            _ => Answer::Unknown,
        };
        let core = core((0..12).collect(), answer);
        assert_eq!(core.txns, [2, 5, 9]);
        assert!(!core.is_least);
    }

    #[test]
    fn of_very_many_it_is_told_that_fewer_may_do() {
        let needed: Vec<u32> = (0..500).filter(|txn| txn % 2 == 0).collect();
        let core = core((0..500).collect(), clash(&needed));
        assert!(!core.is_least);
        assert_eq!(clash(&needed)(&core.txns), Answer::Impossible);
    }
}
