//! Calls in the order of time, as the search walks over them.

use rustc_hash::FxHashMap;

use super::{Call, Sequential};

/// A call as it is searched with: what is known of it may be less than the user said.
pub(super) type Known<'c, M> = Call<&'c <M as Sequential>::Input, &'c <M as Sequential>::Output>;

/// What a call is to the search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// It happened, and may have changed the state.
    Changes,
    /// It happened, and changed nothing.
    Reads,
    /// It may have happened, or not, and is over.
    Optional,
    /// It may happen, or not.
    Pending,
    /// It may happen, and if it does it changes nothing.
    Idle,
}

/// One call.
pub(super) struct Operation {
    pub(super) role: Role,
    /// Equal calls have the same.
    pub(super) class: u32,
    /// Which bit stands for it: of the slots, or of the pending ones.
    pub(super) bit: u32,
    /// Who must happen first comes first. For what returned, the place of that event.
    pub(super) rank: u32,
    /// The place of its invocation.
    pub(super) invoked: u32,
}

/// An event: a call that begins or returns.
#[derive(Clone, Copy)]
pub(super) enum Event {
    Invoke(u32),
    Return(u32),
}

/// The calls of one part.
///
/// Each call that returned has a *slot* while it is open, the lowest that is free. So a
/// set of calls, of which all those before some instant are in and all those behind it
/// are out, is a place and as many bits as calls were ever open at a time, however long
/// the history is. Calls that never return have bits of their own, in the order of
/// their invocations.
pub(super) struct Plan<'c, M: Sequential + ?Sized> {
    pub(super) calls: Vec<Known<'c, M>>,
    pub(super) operations: Vec<Operation>,
    pub(super) events: Vec<Event>,
    /// Calls by their bit.
    pub(super) pending: Vec<u32>,
    /// For each bit of a pending call, the bit of an equal one before it.
    pub(super) twin_before: Vec<Option<u32>>,
    /// Words of 64 bits that the slots need, and those that the pending calls need.
    pub(super) slot_words: usize,
    pub(super) pending_words: usize,
    /// For each event the place of the first return of a read that is not before it; empty
    /// when nobody looks ahead.
    pub(super) next_read: Vec<u32>,
}

impl<'c, M: Sequential + ?Sized> Plan<'c, M> {
    pub(super) fn of(model: &M, calls: Vec<Known<'c, M>>) -> Self {
        Self::with_optional(model, calls, &[])
    }

    /// The same where some calls that returned may not have happened at all. Those must
    /// not be such that only read.
    pub(super) fn with_optional(model: &M, calls: Vec<Known<'c, M>>, is_optional: &[bool]) -> Self {
        let mut plan = Self {
            operations: Vec::with_capacity(calls.len()),
            events: in_order(&calls),
            calls,
            pending: Vec::new(),
            twin_before: Vec::new(),
            slot_words: 0,
            pending_words: 0,
            next_read: Vec::new(),
        };
        plan.assign_roles(model, is_optional);
        plan.assign_bits();
        if M::LOOKS_AHEAD {
            plan.find_reads();
        }
        plan
    }

    /// The same for a search that goes on wherever the next call can take effect.
    pub(super) fn without_looking_ahead(mut self) -> Self {
        let none = number(self.events.len());
        self.next_read.fill(none);
        self
    }

    fn assign_roles(&mut self, model: &M, is_optional: &[bool]) {
        let mut classes = FxHashMap::default();
        for (index, call) in self.calls.iter().enumerate() {
            let is_optional = is_optional.get(index) == Some(&true);
            let next = u32::try_from(classes.len()).expect("fewer than 2^32 calls");
            let class = *classes
                .entry((call.input, call.output, is_optional))
                .or_insert(next);
            let reads = model.only_reads(call.input, call.output);
            let role = match (call.returned, reads) {
                (Some(_), _) if is_optional => Role::Optional,
                (Some(_), true) => Role::Reads,
                (Some(_), false) => Role::Changes,
                (None, true) => Role::Idle,
                (None, false) => Role::Pending,
            };
            self.operations.push(Operation {
                role,
                class,
                bit: 0,
                rank: 0,
                invoked: 0,
            });
        }
    }

    fn find_reads(&mut self) {
        let mut next = number(self.events.len());
        self.next_read = vec![next; self.events.len() + 1];
        for (place, event) in self.events.iter().enumerate().rev() {
            if let Event::Return(call) = *event
                && self.operations[call as usize].role == Role::Reads
            {
                next = number(place);
            }
            self.next_read[place] = next;
        }
    }

    fn assign_bits(&mut self) {
        let mut free = std::collections::BinaryHeap::new();
        let mut slots = 0;
        let mut last_of_class = FxHashMap::default();
        let events = self.events.len();
        for (place, event) in self.events.iter().enumerate() {
            match *event {
                Event::Invoke(call) => {
                    let operation = &mut self.operations[call as usize];
                    operation.invoked = number(place);
                    if operation.role == Role::Pending {
                        let bit = number(self.pending.len());
                        operation.bit = bit;
                        operation.rank = number(events) + bit;
                        self.pending.push(call);
                        self.twin_before
                            .push(last_of_class.insert(operation.class, bit));
                    } else if operation.role != Role::Idle {
                        operation.bit = free.pop().map_or_else(
                            || {
                                slots += 1;
                                slots - 1
                            },
                            |std::cmp::Reverse(slot)| slot,
                        );
                    }
                }
                Event::Return(call) => {
                    let operation = &mut self.operations[call as usize];
                    operation.rank = number(place);
                    free.push(std::cmp::Reverse(operation.bit));
                }
            }
        }
        self.slot_words = (slots as usize).div_ceil(64);
        self.pending_words = self.pending.len().div_ceil(64);
    }
}

/// Calls that touch count as concurrent, so invocations come before returns.
fn in_order<I, O>(calls: &[Call<I, O>]) -> Vec<Event> {
    let mut events: Vec<(u64, bool, u32)> = Vec::with_capacity(2 * calls.len());
    for (index, call) in calls.iter().enumerate() {
        events.push((call.invoked, false, number(index)));
        events.extend(call.returned.map(|time| (time, true, number(index))));
    }
    events.sort_unstable();
    let event = |(_, returns, call)| {
        if returns {
            Event::Return(call)
        } else {
            Event::Invoke(call)
        }
    };
    events.into_iter().map(event).collect()
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 2^31 calls")
}
