//! An order of operations on a register in which each value is written once, without a search.
//!
//! All operations on a value come right after it was written. Whoever compares it and sets the
//! next one is the last of these and the first of the next, so all of them are one *block*.
//! A block comes before another one if any operation in it returned before one in the other
//! began. Where of no two blocks each comes before the other there is an order (Gibbons and
//! Korach 1997): by the instant by which something in the block had returned, or all of it had
//! begun, whichever is earlier.
//!
//! ```text
//! write 1  |-----|
//! read -> 1    |---------|            of block 1 something has returned here, ..
//! write 2     |-----------|
//! read -> 2                  |---|    .. of block 2 not before here
//! ```
//!
//! What is of unknown outcome happened if somebody saw it, and else need not have. Who compared
//! in vain is put where another value is; if there is no place for it in this order, there may
//! be one in another. O(n log n).

use rustc_hash::FxHashMap;

use super::suspects::Act;

/// An order of the calls that took effect. None where it takes a search to tell: where a value
/// is written twice, or somebody compared in vain and this order has no place for it; and none
/// where there is no order.
pub(crate) fn order(initial: u32, calls: &[Act]) -> Option<Vec<usize>> {
    let values = Values::of(initial, calls)?;
    let mut blocks = values.blocks(calls)?;
    blocks.sort_by_key(Block::place);
    let mut order = Vec::with_capacity(calls.len());
    for block in blocks {
        order.extend(block.calls);
    }
    let order = with_refusals(initial, calls, order)?;
    is_in_time(calls, &order).then_some(order)
}

/// What was done with each value.
struct Values {
    initial: u32,
    on: FxHashMap<u32, OnValue>,
    /// How many calls took effect, but for those that compared in vain.
    happened: usize,
}

#[derive(Default)]
struct OnValue {
    writer: Option<usize>,
    /// Those who saw it, and left it as it was.
    reads: Vec<usize>,
    /// Who replaced it only because it was there.
    next: Option<usize>,
}

impl Values {
    fn of(initial: u32, calls: &[Act]) -> Option<Self> {
        let mut writers: FxHashMap<u32, usize> = FxHashMap::default();
        for (call, act) in calls.iter().enumerate() {
            if let Some(value) = act.writes
                && (value == initial || writers.insert(value, call).is_some())
            {
                return None;
            }
        }
        let mut values = Self {
            initial,
            on: FxHashMap::default(),
            happened: 0,
        };
        values.on.entry(initial).or_default();
        let mut left: Vec<usize> = (0..calls.len())
            .filter(|call| calls[*call].returned.is_some() && calls[*call].refused.is_none())
            .collect();
        let mut has_happened = vec![false; calls.len()];
        while let Some(call) = left.pop() {
            if std::mem::replace(&mut has_happened[call], true) {
                continue;
            }
            values.add(call, &calls[call])?;
            let Some(seen) = calls[call].saw.or(calls[call].expects) else {
                continue;
            };
            if seen != initial {
                left.push(*writers.get(&seen)?);
            }
        }
        Some(values)
    }

    /// This call took effect. None if the value that it replaced was replaced by another one.
    fn add(&mut self, call: usize, act: &Act) -> Option<()> {
        self.happened += 1;
        let seen = act.saw.or(act.expects);
        if let Some(value) = act.writes {
            self.on.entry(value).or_default().writer = Some(call);
        }
        if let Some(seen) = seen {
            let on = self.on.entry(seen).or_default();
            match act.writes {
                None => on.reads.push(call),
                Some(_) if on.next.is_some() => return None,
                Some(_) => on.next = Some(call),
            }
        }
        Some(())
    }

    /// The blocks; none if one of them has no order.
    fn blocks(mut self, calls: &[Act]) -> Option<Vec<Block>> {
        let begins = |on: &OnValue| {
            let writer = on.writer.map(|writer| &calls[writer]);
            writer.is_none_or(|writer| writer.saw.or(writer.expects).is_none())
        };
        let begin = self.on.iter().filter(|(_, on)| begins(on));
        let mut begin: Vec<u32> = begin.map(|(value, _)| *value).collect();
        begin.sort_unstable_by_key(|value| self.on[value].writer);
        let mut blocks = Vec::with_capacity(begin.len());
        let mut placed = 0;
        for value in begin {
            let mut block = self.block(value, calls);
            placed += block.calls.len();
            block.is_first = value == self.initial;
            if !is_in_time(calls, &block.calls) {
                return None;
            }
            blocks.push(block);
        }
        (placed == self.happened).then_some(blocks)
    }

    fn block(&mut self, value: u32, calls: &[Act]) -> Block {
        let mut block = Block::default();
        let mut next = Some(value);
        while let Some(on) = next.and_then(|value| self.on.remove(&value)) {
            if block.calls.is_empty() {
                block.calls.extend(on.writer);
            }
            let mut reads = on.reads;
            reads.sort_by_key(|read| calls[*read].invoked);
            block.calls.extend(reads);
            block.calls.extend(on.next);
            next = on.next.and_then(|next| calls[next].writes);
        }
        let returns = block.calls.iter().filter_map(|call| calls[*call].returned);
        block.first_return = returns.min();
        block.last_invocation = block.calls.iter().map(|call| calls[*call].invoked).max();
        block
    }
}

/// Operations that come one right after the other.
#[derive(Default)]
struct Block {
    calls: Vec<usize>,
    /// Whether it begins with the first value, which was there before everything.
    is_first: bool,
    first_return: Option<u64>,
    last_invocation: Option<u64>,
}

impl Block {
    /// Where it stands among the others. What had returned before the other one began comes
    /// first, so of two that are equal the one that had all begun.
    fn place(&self) -> (bool, u64, bool) {
        let first_return = self.first_return.unwrap_or(u64::MAX);
        let last_invocation = self.last_invocation.unwrap_or(u64::MAX);
        let has_begun = last_invocation <= first_return;
        let instant = first_return.min(last_invocation);
        (!self.is_first, instant, !has_begun)
    }
}

/// Whether each call can take effect behind those that stand before it.
fn is_in_time(calls: &[Act], order: &[usize]) -> bool {
    let mut begun = 0;
    order.iter().all(|call| {
        begun = begun.max(calls[*call].invoked);
        calls[*call]
            .returned
            .is_none_or(|returned| returned >= begun)
    })
}

/// The order with those who compared in vain.
fn with_refusals(initial: u32, calls: &[Act], order: Vec<usize>) -> Option<Vec<usize>> {
    let refused = |call: &usize| calls[*call].refused.is_some();
    let mut refusals: Vec<usize> = (0..calls.len()).filter(refused).collect();
    if refusals.is_empty() {
        return Some(order);
    }
    refusals.sort_by_key(|call| calls[*call].invoked);
    let gaps = Gaps::of(initial, calls, &order);
    let mut placed: Vec<(usize, usize)> = Vec::with_capacity(refusals.len());
    for call in refusals {
        placed.push((gaps.place(&calls[call])?, call));
    }
    // Of those in the same gap the one that began first stands first.
    placed.sort_by_key(|(gap, _)| *gap);
    let mut placed = placed.into_iter().peekable();
    let mut all = Vec::with_capacity(calls.len());
    for (gap, call) in order.into_iter().map(Some).chain([None]).enumerate() {
        while let Some((_, refusal)) = placed.next_if(|(place, _)| *place == gap) {
            all.push(refusal);
        }
        all.extend(call);
    }
    Some(all)
}

/// The gaps of an order: each is named by how many calls stand before it.
struct Gaps {
    /// The value there.
    values: Vec<u32>,
    /// The next one with another value.
    next: Vec<usize>,
    /// By return of the calls: when, and the first gap behind all that had returned by then.
    from: Vec<(u64, usize)>,
    /// By invocation of the calls: when, and the last gap before all that began then or later.
    to: Vec<(u64, usize)>,
}

impl Gaps {
    fn of(initial: u32, calls: &[Act], order: &[usize]) -> Self {
        let mut values = vec![initial];
        values.extend(order.iter().scan(initial, |value, call| {
            *value = calls[*call].writes.unwrap_or(*value);
            Some(*value)
        }));
        let mut next = vec![values.len(); values.len()];
        for gap in (0..values.len() - 1).rev() {
            let is_other = values[gap + 1] != values[gap];
            next[gap] = if is_other { gap + 1 } else { next[gap + 1] };
        }
        let places = || order.iter().zip(1..);
        let returned = |(call, place): (&usize, usize)| Some((calls[*call].returned?, place));
        let mut from: Vec<(u64, usize)> = places().filter_map(returned).collect();
        from.sort_unstable();
        let mut furthest = 0;
        for (_, gap) in &mut from {
            furthest = furthest.max(*gap);
            *gap = furthest;
        }
        let mut to: Vec<(u64, usize)> = places()
            .map(|(call, place)| (calls[*call].invoked, place - 1))
            .collect();
        to.sort_unstable();
        let mut first = order.len();
        for (_, gap) in to.iter_mut().rev() {
            first = first.min(*gap);
            *gap = first;
        }
        Self {
            values,
            next,
            from,
            to,
        }
    }

    /// The first gap in the time of a call that did not find a value where it is not.
    fn place(&self, act: &Act) -> Option<usize> {
        let over = self.from.partition_point(|(time, _)| *time < act.invoked);
        let from = over.checked_sub(1).map_or(0, |last| self.from[last].1);
        let returned = act.returned?;
        let begun = self.to.partition_point(|(time, _)| *time <= returned);
        let to = self
            .to
            .get(begun)
            .map_or(self.values.len() - 1, |(_, gap)| *gap);
        let is_refused = act.refused == Some(self.values[from]);
        let gap = if is_refused { self.next[from] } else { from };
        (gap <= to).then_some(gap)
    }
}
