//! Reads of what was no longer there: after all that wrote it had returned, something else was
//! written or seen, and that had returned before the read began.
//!
//! ```text
//! write 1  |-----|
//! write 2           |-----|
//! read -> 1                  |-----|       nobody else wrote 1
//! ```

use rustc_hash::FxHashMap;

use super::suspects::Act;

/// An operation after which the register had this value.
#[derive(Clone, Copy)]
struct After {
    invoked: u64,
    call: usize,
    value: u32,
}

/// The operations, so that those are found at once that show it.
pub(super) struct Overwritten<'c> {
    calls: &'c [Act],
    /// By return: when, and of those that had returned by then the one that began last, and of
    /// those with another value the one that began last.
    by_return: Vec<(u64, After, Option<After>)>,
    /// By value: who wrote it.
    writers: FxHashMap<u32, Vec<usize>>,
}

impl<'c> Overwritten<'c> {
    /// Only those show it of which this is true.
    pub(super) fn by(calls: &'c [Act], shows: impl Fn(&Act) -> bool) -> Self {
        let mut writers: FxHashMap<u32, Vec<usize>> = FxHashMap::default();
        let mut returned = Vec::new();
        for (call, act) in calls.iter().enumerate() {
            if let Some(value) = act.writes {
                writers.entry(value).or_default().push(call);
            }
            if let (Some(time), Some(value)) = (act.returned, act.writes.or(act.saw))
                && shows(act)
            {
                let invoked = act.invoked;
                returned.push((
                    time,
                    After {
                        invoked,
                        call,
                        value,
                    },
                ));
            }
        }
        returned.sort_by_key(|(time, _)| *time);
        let mut by_return: Vec<(u64, After, Option<After>)> = Vec::with_capacity(returned.len());
        for (time, after) in returned {
            let (last, other) = match by_return.last() {
                None => (after, None),
                Some((_, last, other)) => later(*last, *other, after),
            };
            by_return.push((time, last, other));
        }
        Self {
            calls,
            by_return,
            writers,
        }
    }

    /// What shows that this value was no longer there when this call saw it, if anything does, and
    /// no more calls than so many wrote it.
    pub(super) fn proof(&self, look: usize, value: u32, writers_max: usize) -> Option<Vec<usize>> {
        let Act {
            invoked, returned, ..
        } = self.calls[look];
        let before = self.by_return.partition_point(|(time, ..)| *time < invoked);
        let (_, last, other) = self.by_return.get(before.checked_sub(1)?)?;
        let last = if last.value == value {
            (*other)?
        } else {
            *last
        };
        let mut proof = vec![last.call, look];
        let writers = self.writers.get(&value).map_or(&[][..], Vec::as_slice);
        if writers.len() > writers_max {
            return None;
        }
        for writer in writers.iter().filter(|writer| **writer != look) {
            let call = &self.calls[*writer];
            if Some(call.invoked) <= returned {
                call.returned.filter(|over| *over < last.invoked)?;
                proof.push(*writer);
            }
        }
        Some(proof)
    }
}

/// The one that began last, and the one with another value that did, with one more.
fn later(last: After, other: Option<After>, more: After) -> (After, Option<After>) {
    let begins = |after: After| (after.invoked, after.call);
    if begins(more) > begins(last) {
        let second = if more.value == last.value {
            other
        } else {
            Some(last)
        };
        return (more, second);
    }
    let is_second =
        more.value != last.value && other.is_none_or(|other| begins(more) > begins(other));
    (last, if is_second { Some(more) } else { other })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(saw: Option<u32>, writes: Option<u32>, during: (u64, u64)) -> Act {
        Act {
            saw,
            writes,
            invoked: during.0,
            returned: Some(during.1),
            ..Act::default()
        }
    }

    #[test]
    fn the_last_to_begin_of_another_value_shows_it() {
        let calls = [
            act(None, Some(1), (1, 2)),
            act(None, Some(2), (3, 8)),
            act(None, Some(3), (4, 5)),
            act(Some(1), None, (6, 7)),
            act(Some(1), None, (9, 10)),
        ];
        let overwritten = Overwritten::by(&calls, |_| true);
        assert_eq!(overwritten.proof(3, 1, 1), Some(vec![2, 3, 0]));
        assert_eq!(overwritten.proof(4, 1, 1), Some(vec![2, 4, 0]));
        assert_eq!(overwritten.proof(4, 1, 0), None);
        // The second write may have come after the third.
        let calls = [&calls[..3], &[act(Some(2), None, (9, 10))]].concat();
        assert_eq!(Overwritten::by(&calls, |_| true).proof(3, 2, 1), None);
    }
}
