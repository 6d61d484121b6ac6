//! Whether the next read can still see what it has seen.

use super::Sequential;
use super::explore::Explorer;
use super::plan::{Event, Role};

/// How many events ahead a read may be to be looked at.
const EVENTS_MAX: usize = 4_096;

impl<'c, M: Sequential + ?Sized> Explorer<'_, 'c, M> {
    /// Whether it is worth going on from here: false when the first read that has to take
    /// effect never can. Between here and its return nothing else can happen than what is
    /// open, and what is invoked before that.
    pub(super) fn has_hope(&self) -> bool {
        let Some((place, call)) = self.next_read() else {
            return true;
        };
        if place - self.cursor > EVENTS_MAX {
            return true;
        }
        let read = &self.plan.calls[call as usize];
        let state = self.states.get(self.state);
        let changes = self.changes_before(place).map(|call| {
            let call = &self.plan.calls[call as usize];
            (call.input, call.output)
        });
        self.model
            .can_become(state, read.input, read.output, changes)
    }

    /// The first return of a read that has not taken effect, and the read.
    fn next_read(&self) -> Option<(usize, u32)> {
        let mut place = self.plan.next_read[self.cursor] as usize;
        loop {
            let Event::Return(call) = *self.plan.events.get(place)? else {
                unreachable!("only returns of reads are noted");
            };
            let operation = &self.plan.operations[call as usize];
            let is_open = (operation.invoked as usize) < self.cursor;
            if !(is_open && self.is_done(operation.bit)) {
                return Some((place, call));
            }
            place = self.plan.next_read[place + 1] as usize;
        }
    }

    /// Calls that may change something before the event at this place.
    fn changes_before(&self, place: usize) -> impl Iterator<Item = u32> {
        let pending = self.plan.pending[..self.pending_open].iter().copied();
        let pending = pending.filter(|call| {
            let bit = self.plan.operations[*call as usize].bit;
            !self.is_pending_done(bit)
        });
        let later = self.plan.events[self.cursor..place].iter();
        let later = later.filter_map(|event| match *event {
            Event::Invoke(call) => {
                let role = self.plan.operations[call as usize].role;
                let changes = matches!(role, Role::Changes | Role::Pending | Role::Optional);
                changes.then_some(call)
            }
            Event::Return(_) => None,
        });
        self.candidates().chain(pending).chain(later)
    }
}
