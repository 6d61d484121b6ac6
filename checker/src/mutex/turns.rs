//! Histories of what clients take in turns, whose order is found without trying any.
//!
//! # The answer
//!
//! A mutex, a read-write lock and a semaphore are all *rooms* with so many places: an operation
//! enters and takes some of them, or leaves and gives them back. A mutex has one place; of a
//! read-write lock readers take one each and a writer takes all. A barrier that is held and
//! released is a room, too, in which there is one hold at a time.
//!
//! An operation takes effect when it returns and has to, and not before; then those leave that
//! are in its way, or somebody enters who it says was inside. Of several who can, the one that
//! returns first does: it has to most urgently.
//!
//! ```text
//! acquire  A |-----|
//! release  A         |-----------|      takes effect when B returns, ..
//! acquire  B           |-----|          .. just before it
//! ```
//!
//! Who is refused says that there was no room at some instant. If that was not so by itself,
//! somebody enters earlier for that: at the latest when somebody leaves who would be missed.
//!
//! Each step is one that the object can do, and each operation takes effect between its
//! invocation and its return. So what comes to the end has an order. What does not may have one:
//! where it matters who leaves, or which operation of unknown outcome takes effect. Then a
//! [search](crate::search) has to tell.
//!
//! # Cost
//!
//! O(n k) for n operations of which k overlap.

use rustc_hash::FxHashMap;

use crate::history::{
    EventKind, History, HistoryError, Operation, Operations, Outcome, PerProcess, Process,
};
use crate::index::number;
use crate::liveness::Deadline;
use crate::object::{self, Object};
use crate::search::Budget;
use crate::verdict::{Summary, Verdict};

/// An object that is taken in turns.
pub(crate) trait Turned<'h>: Object<'h> {
    /// What its rooms are like; none where they are not rooms.
    fn rooms(&self) -> Option<Rooms>;

    /// What an operation asks, and whether it was refused, if it is known.
    fn turn(&self, input: &Self::Input, output: Option<&Self::Output>) -> Turn;
}

/// What all rooms of an object have in common.
#[derive(Clone, Copy)]
pub(crate) struct Rooms {
    /// How many places each has.
    pub(crate) places: u64,
    /// Whether those leave who entered, with as many places.
    pub(crate) knows_who_is_inside: bool,
}

/// What one operation does.
pub(crate) struct Turn {
    pub(crate) room: u32,
    pub(crate) who: Who,
    pub(crate) does: Does,
}

/// By whom, and with how many places.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Who {
    pub(crate) owner: u32,
    pub(crate) places: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    Enters,
    Leaves,
    /// Does not enter, for there is no room.
    IsRefused,
    /// Finds the room empty, and does not enter.
    FindsEmpty,
}

/// Decides whether the history is that of such an object.
pub(crate) fn check<'h, O: Turned<'h>>(
    history: &'h History,
    budget: &Budget,
) -> Result<Verdict, HistoryError> {
    let mut object = O::of(history)?;
    if let Some(rooms) = object.rooms() {
        let operations = Operations::of(history);
        let turn = |operation: &Operation<'h>| {
            let (input, output) = object.call(operation)?;
            Ok(Some(object.turn(&input, output.as_ref())))
        };
        if has_order(rooms, history, &operations, turn)? {
            let deadline = Deadline::of(history);
            let stuck =
                deadline.and_then(|deadline| object::find_stuck::<O>(&deadline, operations.iter()));
            return Ok(stuck.map_or_else(
                || Verdict::Valid(Summary::of(operations.iter())),
                Verdict::Violation,
            ));
        }
    }
    object::check::<O>(history, budget)
}

/// Whether an order is found of what each operation does; none where that is more than a turn.
/// Where it is not found, there may be one.
pub(crate) fn has_order<'h>(
    rooms: Rooms,
    history: &History,
    operations: &Operations<'h>,
    mut turn: impl FnMut(&Operation<'h>) -> Result<Option<Turn>, HistoryError>,
) -> Result<bool, HistoryError> {
    let mut all: Vec<Room> = Vec::new();
    let mut open: PerProcess<Option<u32>> = PerProcess::default();
    let mut next = 0;
    for (at, event) in history.events().iter().enumerate() {
        let Process::Number(process) = event.process() else {
            continue;
        };
        if event.kind() == EventKind::Invoke {
            let operation = operations.get(next);
            next += 1;
            let Some(Turn { room, who, does }) = turn(&operation)? else {
                return Ok(false);
            };
            if all.len() <= room as usize {
                all.resize_with(room as usize + 1, || Room::new(rooms));
            }
            *open.of(process) = Some(room);
            all[room as usize].begin(&operation, who, does);
        } else if let Some(room) = open.of(process).take()
            && all[room as usize].end(at).is_none()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// An operation that has not taken effect and will return.
#[derive(Clone, Copy)]
struct Waiting {
    invoked: u32,
    returns: u32,
    who: Who,
}

/// What has become of a room.
struct Room {
    rooms: Rooms,
    /// How many places are taken.
    taken: u64,
    /// Who is inside, and how often; empty where nobody knows.
    inside: Vec<(Who, u32)>,
    /// Those that will return and have not taken effect, the first to return last.
    entering: Vec<Waiting>,
    leaving: Vec<Waiting>,
    refused: Vec<Waiting>,
    finding: Vec<Waiting>,
    /// The last event before which somebody entered a room that nobody was in.
    was_empty: u32,
    /// How many of unknown outcome have not taken effect.
    may_enter: FxHashMap<Who, u32>,
    may_leave: FxHashMap<Who, u32>,
    /// For so many places: the last event before which at least so many were taken and ceased
    /// to be.
    was_taken: Vec<(u64, u32)>,
    now: u32,
}

impl Room {
    fn new(rooms: Rooms) -> Self {
        Self {
            rooms,
            taken: 0,
            inside: Vec::new(),
            entering: Vec::new(),
            leaving: Vec::new(),
            refused: Vec::new(),
            finding: Vec::new(),
            was_empty: 0,
            may_enter: FxHashMap::default(),
            may_leave: FxHashMap::default(),
            was_taken: Vec::new(),
            now: 0,
        }
    }

    fn begin(&mut self, operation: &Operation<'_>, who: Who, does: Does) {
        match operation.outcome() {
            Outcome::Fail => {}
            Outcome::Info | Outcome::Open => {
                let may = match does {
                    Does::Leaves => &mut self.may_leave,
                    Does::Enters => &mut self.may_enter,
                    Does::IsRefused | Does::FindsEmpty => return,
                };
                *may.entry(who).or_default() += 1;
            }
            Outcome::Ok => {
                let all = match does {
                    Does::Enters => &mut self.entering,
                    Does::Leaves => &mut self.leaving,
                    Does::IsRefused => &mut self.refused,
                    Does::FindsEmpty => &mut self.finding,
                };
                let waiting = Waiting {
                    invoked: number(operation.invoked),
                    returns: number(operation.completed),
                    who,
                };
                let place = all.partition_point(|other| other.returns > waiting.returns);
                all.insert(place, waiting);
                if does == Does::IsRefused {
                    self.watch(self.refuses_from(who.places));
                }
            }
        }
    }

    /// Before somebody leaves: lets those enter with whom so many places are taken that somebody
    /// is refused who has to be.
    fn fill(&mut self) {
        if self.rooms.knows_who_is_inside {
            return;
        }
        let levels = self.refused.iter().filter(|refused| !self.is_met(refused));
        let level = levels
            .map(|refused| self.refuses_from(refused.who.places))
            .max();
        let mut missing = level.unwrap_or(0).saturating_sub(self.taken);
        let entering = self.entering.iter().map(|waiting| waiting.who.places);
        if missing > 0 && entering.fold(0, u64::saturating_add) < missing {
            return;
        }
        while let Some(next) = self.entering.pop_if(|next| next.who.places <= missing) {
            if self.taken == 0 {
                self.was_empty = self.now;
            }
            self.taken += next.who.places;
            missing -= next.who.places;
        }
    }

    /// Whether there was no room for it since it was invoked.
    fn is_met(&self, refused: &Waiting) -> bool {
        let level = self.refuses_from(refused.who.places);
        let was_taken = self.was_taken.iter().find(|(places, _)| *places == level);
        self.taken >= level || was_taken.is_some_and(|(_, until)| *until > refused.invoked)
    }

    /// Lets the operation take effect that returns now, if it has not; none if that cannot be
    /// done like this.
    fn end(&mut self, now: usize) -> Option<()> {
        let now = number(now);
        self.now = now;
        let is_now = |waiting: &mut Waiting| waiting.returns == now;
        if let Some(entering) = self.entering.pop_if(is_now) {
            self.enter(entering.who)
        } else if let Some(leaving) = self.leaving.pop_if(is_now) {
            self.leave(leaving.who)
        } else if let Some(refused) = self.refused.pop_if(is_now) {
            self.refuse(&refused)
        } else if let Some(finding) = self.finding.pop_if(is_now) {
            self.find(&finding)
        } else {
            Some(())
        }
    }

    /// Somebody enters, after those who are in the way have left.
    fn enter(&mut self, who: Who) -> Option<()> {
        while !self.has_room_for(who) {
            let last = self.last_leaving()?;
            self.give_back(last);
        }
        if self.taken == 0 {
            self.was_empty = self.now;
        }
        self.taken += who.places;
        if self.rooms.knows_who_is_inside {
            match self.inside.iter_mut().find(|(other, _)| *other == who) {
                Some((_, times)) => *times += 1,
                None => self.inside.push((who, 1)),
            }
        }
        Some(())
    }

    /// Somebody leaves, after it has entered.
    fn leave(&mut self, who: Who) -> Option<()> {
        while !self.is_inside(who) {
            let knows = self.rooms.knows_who_is_inside;
            let entering = self.next_entering(|other| !knows || other == who)?;
            self.enter(entering)?;
        }
        self.give_back(who);
        Some(())
    }

    /// Somebody is refused, after somebody has entered if nobody was in its way.
    fn refuse(&mut self, refused: &Waiting) -> Option<()> {
        while !self.is_met(refused) {
            let entering = self.next_entering(|_| true)?;
            self.enter(entering)?;
        }
        Some(())
    }

    /// Somebody finds the room empty, after those inside have left.
    fn find(&mut self, finding: &Waiting) -> Option<()> {
        while self.taken > 0 && self.was_empty <= finding.invoked {
            let last = self.last_leaving()?;
            self.give_back(last);
        }
        Some(())
    }

    fn has_room_for(&self, who: Who) -> bool {
        let taken = self.taken.checked_add(who.places);
        taken.is_some_and(|taken| taken <= self.rooms.places)
    }

    /// How many places are taken, at least, when there is no room for so many.
    fn refuses_from(&self, places: u64) -> u64 {
        (self.rooms.places.saturating_add(1)).saturating_sub(places)
    }

    fn is_inside(&self, who: Who) -> bool {
        if self.rooms.knows_who_is_inside {
            self.inside.iter().any(|(other, _)| *other == who)
        } else {
            who.places <= self.taken
        }
    }

    fn give_back(&mut self, who: Who) {
        self.fill();
        let before = self.taken;
        self.taken -= who.places;
        let (now, taken) = (self.now, self.taken);
        for (level, until) in &mut self.was_taken {
            if taken < *level && *level <= before {
                *until = now;
            }
        }
        if let Some(place) = self.inside.iter().position(|(other, _)| *other == who) {
            let times = &mut self.inside[place].1;
            *times -= 1;
            if *times == 0 {
                self.inside.swap_remove(place);
            }
        }
    }

    /// Who leaves next of those that can.
    fn last_leaving(&mut self) -> Option<Who> {
        let can_leave = |waiting: &Waiting| self.is_inside(waiting.who);
        if let Some(place) = self.leaving.iter().rposition(can_leave) {
            return Some(self.leaving.remove(place).who);
        }
        let may_leave = |who: &Who| self.may_leave.contains_key(who) && self.is_inside(*who);
        let who = if self.rooms.knows_who_is_inside {
            let inside = self.inside.iter().map(|(who, _)| *who);
            inside.rev().find(may_leave)
        } else {
            self.may_leave
                .keys()
                .copied()
                .filter(may_leave)
                .min_by_key(|who| who.places)
        };
        who.inspect(|who| take_one(&mut self.may_leave, *who))
    }

    /// Who enters next of these.
    fn next_entering(&mut self, is_it: impl Fn(Who) -> bool) -> Option<Who> {
        if let Some(place) = self.entering.iter().rposition(|waiting| is_it(waiting.who)) {
            return Some(self.entering.remove(place).who);
        }
        let may_enter = self.may_enter.keys().copied().filter(|who| is_it(*who));
        let who = may_enter.min_by_key(|who| (who.places, who.owner));
        who.inspect(|who| take_one(&mut self.may_enter, *who))
    }

    fn watch(&mut self, level: u64) {
        if !self.was_taken.iter().any(|(other, _)| *other == level) {
            self.was_taken.push((level, 0));
        }
    }
}

/// One less of these.
fn take_one(may: &mut FxHashMap<Who, u32>, who: Who) {
    if let Some(times) = may.get_mut(&who) {
        *times -= 1;
        if *times == 0 {
            may.remove(&who);
        }
    }
}
