//! The search: depth first, and never twice to the same place.

use super::budget::{Clock, Limit};
use super::cache::{Cache, Entry, NONE, Slots};
use super::leaps::Leaps;
use super::plan::{Event, Plan, Role};
use super::states::States;
use super::{Budget, Failure, Sequential};

/// What the search came to.
pub(super) enum Explored {
    /// The calls that took effect, in that order.
    Linearizable(Vec<u32>),
    /// There is no order.
    Stuck(Stuck),
    /// This did not suffice to find out. The second is the call before whose return the search
    /// came no further, if it came to one.
    Unknown(Limit, Option<u32>),
}

/// How far one can come.
pub(super) struct Stuck {
    /// The call that could never take effect before it returned.
    pub(super) call: u32,
    /// The calls that took effect before, in an order that comes so far.
    pub(super) order: Vec<u32>,
    /// The states in which the object may have been then, as people read them; not all
    /// if there are many.
    pub(super) states: Vec<String>,
}

impl Stuck {
    /// The failure that was found otherwise, where the search has come to an end.
    pub(super) fn of(self, failure: Failure) -> Failure {
        Failure {
            stuck: self.call as usize,
            prefix: self.prefix(),
            states: self.states,
            ..failure
        }
    }

    pub(super) fn prefix(&self) -> Vec<usize> {
        self.order.iter().map(|call| *call as usize).collect()
    }
}

/// How many states are shown.
const STATES_MAX: usize = 8;

/// Keys of calls that did not return are larger than those of others.
const PENDING: u64 = 1 << 48;

/// Looks for an order from when the part was new.
pub(super) fn explore<M: Sequential + ?Sized>(
    model: &M,
    part: &M::Part,
    plan: &Plan<'_, M>,
    budget: &Budget,
    clock: &Clock<'_>,
) -> Explored {
    explore_from(model, vec![model.initial(part)], plan, budget, clock)
}

/// The same from any of these states, of which there is at least one.
pub(super) fn explore_from<M: Sequential + ?Sized>(
    model: &M,
    initial: Vec<M::State>,
    plan: &Plan<'_, M>,
    budget: &Budget,
    clock: &Clock<'_>,
) -> Explored {
    let mut explorer = Explorer::new(model, plan, clock, budget.memory_bytes);
    match explorer.run(initial) {
        Ok(None) => Explored::Stuck(explorer.stuck()),
        Ok(Some(last)) => Explored::Linearizable(explorer.replay(last)),
        Err(Limit::Time(_)) => {
            let limit = Limit::Time(budget.time.unwrap_or_default());
            Explored::Unknown(limit, explorer.furthest())
        }
        Err(limit) => Explored::Unknown(limit, explorer.furthest()),
    }
}

/// A place on the way from the start, and what has been tried there.
pub(super) struct Frame {
    entry: u32,
    /// The call that is being tried; [`NONE`] at first.
    call: u32,
    /// Its key, and one more.
    tried: u64,
    /// How many states of other frames wait below those of this one.
    pub(super) waiting: u32,
}

pub(super) struct Explorer<'e, 'c, M: Sequential + ?Sized> {
    pub(super) model: &'e M,
    pub(super) plan: &'e Plan<'c, M>,
    clock: &'e Clock<'e>,
    memory_bytes: usize,
    pub(super) states: States<M::State>,
    cache: Cache,
    frames: Vec<Frame>,
    /// States that the calls of frames may lead to as well.
    waiting: Vec<u32>,
    pub(super) leaps: Leaps,
    /// Where the search stands: the next event, ..
    pub(super) cursor: usize,
    /// .. the state, ..
    pub(super) state: u32,
    /// .. and which calls of those that are open have taken effect: slots, then pending.
    done: Vec<u64>,
    /// Slots that are in use.
    open: Vec<u64>,
    /// Slots of calls that only read.
    reads: Vec<u64>,
    /// Slots of calls that may not have happened.
    optional: Vec<u64>,
    /// Calls by their slot, where it is in use.
    in_slot: Vec<u32>,
    pub(super) pending_open: usize,
    /// Reads that were invoked and not looked at since.
    fresh: Vec<u32>,
    /// What takes effect, while somebody wants to know.
    record: Option<Vec<u32>>,
}

impl<'e, 'c, M: Sequential + ?Sized> Explorer<'e, 'c, M> {
    pub(super) fn new(
        model: &'e M,
        plan: &'e Plan<'c, M>,
        clock: &'e Clock<'e>,
        memory_bytes: usize,
    ) -> Self {
        let slots = plan.slot_words;
        Self {
            model,
            plan,
            clock,
            memory_bytes,
            states: States::new(),
            cache: Cache::new(slots, plan.pending_words),
            frames: Vec::new(),
            waiting: Vec::new(),
            leaps: Leaps::default(),
            cursor: 0,
            state: 0,
            done: vec![0; slots + plan.pending_words],
            open: vec![0; slots],
            reads: vec![0; slots],
            optional: vec![0; slots],
            in_slot: vec![NONE; 64 * slots],
            pending_open: 0,
            fresh: Vec::new(),
            record: None,
        }
    }

    /// The last step of an order of all calls, if there is one.
    pub(super) fn run(&mut self, initial: Vec<M::State>) -> Result<Option<Entry>, Limit> {
        for state in initial {
            let state = self.number(state);
            if let Some(last) = self.run_from(state)? {
                return Ok(Some(last));
            }
        }
        Ok(None)
    }

    /// To the first event, in this state.
    fn start(&mut self, initial: u32) {
        for slots in [
            &mut self.done,
            &mut self.open,
            &mut self.reads,
            &mut self.optional,
        ] {
            slots.fill(0);
        }
        (self.cursor, self.pending_open, self.state) = (0, 0, initial);
        self.settle(None);
    }

    fn run_from(&mut self, initial: u32) -> Result<Option<Entry>, Limit> {
        self.start(initial);
        let start = Entry::new(self.cursor, self.state, NONE, NONE);
        if self.is_finished() {
            return Ok(Some(start));
        }
        self.enter(start)?;
        while self.is_anything_left() {
            let frame = self.frames.last().expect("something is left");
            if self.clock.is_over() {
                return Err(Limit::Time(std::time::Duration::ZERO));
            }
            let from = frame.entry;
            self.return_to(from);
            let Some((call, state)) = self.next_step() else {
                self.frames.pop();
                continue;
            };
            self.take(call);
            self.state = state;
            self.settle(Some(call));
            let entry = Entry::new(self.cursor, state, from, call);
            if self.is_finished() {
                return Ok(Some(entry));
            }
            if M::LOOKS_AHEAD && !self.has_hope() {
                continue;
            }
            self.enter(entry)?;
        }
        Ok(None)
    }

    /// Goes back where the search has come no further for long, and to what was left like that
    /// when there is nothing else.
    fn is_anything_left(&mut self) -> bool {
        let Self {
            leaps,
            frames,
            waiting,
            ..
        } = self;
        leaps.step(self.cursor, frames, waiting);
        !frames.is_empty() || leaps.resume(frames, waiting)
    }

    fn is_finished(&self) -> bool {
        self.cursor == self.plan.events.len()
    }

    /// Goes on from here, unless the search has been at a place as good.
    fn enter(&mut self, entry: Entry) -> Result<(), Limit> {
        if self.bytes() + self.cache.growth() + self.states.growth() > self.memory_bytes {
            return Err(Limit::Memory(self.memory_bytes));
        }
        let slots = Slots {
            reads: &self.reads,
            optional: &self.optional,
        };
        if let Some(entry) = self.cache.add(entry, &self.done, slots) {
            self.frames.push(Frame {
                entry,
                call: NONE,
                tried: 0,
                waiting: u32::try_from(self.waiting.len()).expect("the budget is less"),
            });
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.cache.bytes()
            + self.states.bytes()
            + self.frames.capacity() * size_of::<Frame>()
            + self.waiting.capacity() * size_of::<u32>()
            + self.leaps.bytes()
    }

    /// The next thing to try at the last frame: a call, and the state that it leads to.
    fn next_step(&mut self) -> Option<(u32, u32)> {
        loop {
            let frame = self.frames.last().expect("somebody asks for its next step");
            if self.waiting.len() > frame.waiting as usize {
                let call = frame.call;
                return self.waiting.pop().map(|state| (call, state));
            }
            if self.clock.is_over() {
                return None;
            }
            let call = self.next_call(frame.tried)?;
            let key = self.key(call);
            let role = self.plan.operations[call as usize].role;
            let frame = self.frames.last_mut().expect("it was there above");
            (frame.call, frame.tried) = (call, key + 1);
            let from = self.state;
            let first = self.waiting.len();
            self.steps(call);
            if matches!(role, Role::Pending | Role::Optional) {
                // What changes nothing need not have happened.
                let mut index = first;
                while index < self.waiting.len() {
                    if self.waiting[index] == from {
                        self.waiting.remove(index);
                    } else {
                        index += 1;
                    }
                }
            }
            if role == Role::Optional && self.is_in_the_way(call) {
                // It did not happen, and is over. The less has happened the more can.
                self.waiting.insert(first, from);
            }
            self.waiting[first..].reverse();
        }
    }

    /// Whether the next event is the return of this call.
    fn is_in_the_way(&self, call: u32) -> bool {
        let next = self.plan.events.get(self.cursor);
        matches!(next, Some(Event::Return(other)) if *other == call)
    }

    /// Puts the states that the call leads to on the stack of those that wait.
    fn steps(&mut self, call: u32) {
        let Self {
            model,
            plan,
            states,
            waiting,
            state,
            clock,
            ..
        } = self;
        let known = &plan.calls[call as usize];
        let from = states.get(*state).clone();
        for next in model.step_in_time(&from, known.input, known.output, clock) {
            waiting.push(states.number(next, |state| model.heap_bytes(state)));
        }
    }

    /// When a call is tried: those of a smaller key before. Pending ones come last.
    fn key(&self, call: u32) -> u64 {
        let operation = &self.plan.operations[call as usize];
        let preference = match operation.role {
            Role::Pending => return PENDING + u64::from(operation.rank),
            _ if M::PREFERS => self.preference(call),
            _ => 0,
        };
        u64::from(preference) << u32::BITS | u64::from(operation.rank)
    }

    /// What the object says of trying it now.
    fn preference(&self, call: u32) -> u8 {
        let Some(Event::Return(next)) = self.plan.events.get(self.cursor) else {
            return 0;
        };
        let next = &self.plan.calls[*next as usize];
        let known = &self.plan.calls[call as usize];
        let state = self.states.get(self.state);
        (self.model).preference(
            state,
            (known.input, known.output),
            (next.input, next.output),
        )
    }

    /// The call to try after those of a smaller key: of the open ones that have not
    /// taken effect the one that must first. Of equal ones only the first need be tried.
    fn next_call(&self, key_min: u64) -> Option<u32> {
        let mut best: Option<(u64, u32)> = None;
        for call in self.candidates() {
            let key = self.key(call);
            if key >= key_min && best.is_none_or(|(other, _)| key < other) && !self.has_equal(call)
            {
                best = Some((key, call));
            }
        }
        if let Some((_, call)) = best {
            return Some(call);
        }
        let first = key_min.saturating_sub(PENDING + self.plan.events.len() as u64) as usize;
        (first..self.pending_open)
            .map(|bit| self.plan.pending[bit])
            .find(|call| {
                let bit = self.plan.operations[*call as usize].bit;
                let is_turn = |before: u32| self.is_pending_done(before);
                !self.is_pending_done(bit)
                    && self.plan.twin_before[bit as usize].is_none_or(is_turn)
                    && !self.has_equal(*call)
            })
    }

    /// Whether a call that is open, has not taken effect and returns earlier is equal.
    fn has_equal(&self, call: u32) -> bool {
        let operation = &self.plan.operations[call as usize];
        self.candidates().any(|other| {
            let other = &self.plan.operations[other as usize];
            other.class == operation.class && other.rank < operation.rank
        })
    }

    /// Calls that are open, will return, may change something, and have not taken effect.
    pub(super) fn candidates(&self) -> impl Iterator<Item = u32> {
        (0..self.plan.slot_words).flat_map(move |word| {
            let mut bits = self.open[word] & !self.done[word] & !self.reads[word];
            std::iter::from_fn(move || {
                let bit = bits
                    .checked_sub(1)
                    .map(|_| bits.trailing_zeros() as usize)?;
                bits &= bits - 1;
                Some(self.in_slot[64 * word + bit])
            })
        })
    }

    /// Whether the call that returns and has this slot has taken effect.
    pub(super) fn is_done(&self, bit: u32) -> bool {
        self.done[bit as usize / 64] & (1 << (bit % 64)) != 0
    }

    pub(super) fn is_pending_done(&self, bit: u32) -> bool {
        let word = self.done[self.plan.slot_words + bit as usize / 64];
        word & (1 << (bit % 64)) != 0
    }

    /// Marks a call as one that has taken effect.
    fn take(&mut self, call: u32) {
        let operation = &self.plan.operations[call as usize];
        let offset = match operation.role {
            Role::Pending => self.plan.slot_words,
            _ => 0,
        };
        let bit = operation.bit as usize;
        self.done[offset + bit / 64] |= 1 << (bit % 64);
        if let Some(record) = &mut self.record {
            record.push(call);
        }
    }

    /// After a change: lets all reads take effect that can, and passes the events that
    /// no longer are in the way. `fresh` reads are all those that are open if the state
    /// may have changed.
    fn settle(&mut self, after: Option<u32>) {
        self.fresh.clear();
        if after.is_some() {
            for word in 0..self.plan.slot_words {
                let mut bits = self.open[word] & !self.done[word] & self.reads[word];
                while bits != 0 {
                    let bit = bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    self.fresh.push(self.in_slot[64 * word + bit]);
                }
            }
        }
        loop {
            self.pass();
            let Some(call) = self.fresh.pop() else {
                return;
            };
            if self.can_read(call) {
                self.take(call);
            }
        }
    }

    fn can_read(&self, call: u32) -> bool {
        let known = &self.plan.calls[call as usize];
        let state = self.states.get(self.state);
        let mut next = self
            .model
            .step_in_time(state, known.input, known.output, self.clock)
            .into_iter();
        next.next().is_some()
    }

    /// Passes events up to the return of a call that has not taken effect.
    fn pass(&mut self) {
        while let Some(event) = self.plan.events.get(self.cursor) {
            match *event {
                Event::Invoke(call) => self.open(call),
                Event::Return(call) => {
                    let bit = self.plan.operations[call as usize].bit as usize;
                    let (word, mask) = (bit / 64, 1 << (bit % 64));
                    if self.done[word] & mask == 0 {
                        return;
                    }
                    self.done[word] &= !mask;
                    self.vacate(word, mask);
                }
            }
            self.cursor += 1;
        }
    }

    fn open(&mut self, call: u32) {
        match self.plan.operations[call as usize].role {
            Role::Idle => {}
            Role::Pending => self.pending_open += 1,
            Role::Changes | Role::Optional => self.occupy(call),
            Role::Reads => {
                self.occupy(call);
                self.fresh.push(call);
            }
        }
    }

    /// The call has its slot.
    fn occupy(&mut self, call: u32) {
        let operation = &self.plan.operations[call as usize];
        let bit = operation.bit as usize;
        let (word, mask) = (bit / 64, 1 << (bit % 64));
        self.open[word] |= mask;
        match operation.role {
            Role::Reads => self.reads[word] |= mask,
            Role::Optional => self.optional[word] |= mask,
            Role::Changes | Role::Pending | Role::Idle => {}
        }
        self.in_slot[bit] = call;
    }

    /// The opposite of [`Self::open`], and of [`Self::occupy`].
    fn close(&mut self, call: u32) {
        let operation = &self.plan.operations[call as usize];
        let bit = operation.bit as usize;
        match operation.role {
            Role::Idle => {}
            Role::Pending => self.pending_open -= 1,
            Role::Changes | Role::Reads | Role::Optional => self.vacate(bit / 64, 1 << (bit % 64)),
        }
    }

    /// The slot is free.
    fn vacate(&mut self, word: usize, mask: u64) {
        for slots in [&mut self.open, &mut self.reads, &mut self.optional] {
            slots[word] &= !mask;
        }
    }

    /// To an entry where the search has been. Most often it has come here from there.
    fn return_to(&mut self, entry: u32) {
        let target = self.cache.entry(entry);
        while self.cursor > target.cursor as usize {
            self.cursor -= 1;
            match self.plan.events[self.cursor] {
                Event::Return(call) => self.occupy(call),
                Event::Invoke(call) => self.close(call),
            }
        }
        while self.cursor < target.cursor as usize {
            match self.plan.events[self.cursor] {
                Event::Return(call) => self.close(call),
                Event::Invoke(call) => self.open(call),
            }
            self.cursor += 1;
        }
        self.state = target.state;
        self.done.copy_from_slice(self.cache.words(entry));
    }

    fn number(&mut self, state: M::State) -> u32 {
        let model = self.model;
        self.states.number(state, |state| model.heap_bytes(state))
    }

    /// What takes effect on the way to this step, reads included.
    pub(super) fn replay(&mut self, last: Entry) -> Vec<u32> {
        let mut steps = Vec::new();
        let mut step = last;
        while step.parent != NONE {
            steps.push((step.call, step.state));
            step = self.cache.entry(step.parent);
        }
        self.record = Some(Vec::new());
        self.start(step.state);
        for (call, state) in steps.into_iter().rev() {
            self.take(call);
            self.state = state;
            self.settle(Some(call));
        }
        self.record.take().expect("it was put there above")
    }

    /// The last event that the search came to.
    fn last_cursor(&self) -> Option<u32> {
        let entries = self.cache.entries().iter();
        entries.map(|entry| entry.cursor).max()
    }

    /// The call before whose return the search came no further.
    fn furthest(&self) -> Option<u32> {
        let cursor = self.last_cursor()?;
        match self.plan.events.get(cursor as usize) {
            Some(Event::Return(call)) => Some(*call),
            _ => None,
        }
    }

    /// How far the search came when it has been everywhere.
    fn stuck(&mut self) -> Stuck {
        let entries = self.cache.entries();
        let cursor = self.last_cursor();
        let cursor = cursor.expect("the search has been at its start");
        let at_end: Vec<Entry> = entries
            .iter()
            .filter(|entry| entry.cursor == cursor)
            .copied()
            .collect();
        let mut states: Vec<String> = Vec::new();
        let mut numbers: Vec<u32> = at_end.iter().map(|entry| entry.state).collect();
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers.into_iter().take(STATES_MAX + 1) {
            states.push(self.model.show(self.states.get(number)));
        }
        let Event::Return(call) = self.plan.events[cursor as usize] else {
            unreachable!("only returns are in the way")
        };
        Stuck {
            call,
            order: self.replay(at_end[0]),
            states,
        }
    }
}
