//! The queue as it behaves when operations come one by one.
//!
//! The state is what is inside, in the order in which it came in, and who had it last. A
//! consumer's lease may end at any time, so a claim binds nobody but its own acknowledgement:
//!
//! - `enqueue` puts values at the end, in the order of its list;
//! - `claim` takes values that are inside. What nobody has claimed so far is handed out in
//!   order: everything of that in front of the last value that is taken is taken too. What
//!   came back may be missed. It finds nothing only where nobody has yet to claim anything;
//! - a `claim` of which nobody knows what it got may have had the first few of those that
//!   nobody had claimed, up to what it asked for. So may one that failed, even later: what it
//!   had sent may land after it was given up;
//! - `acknowledge` takes a value out if the claim is the last one of it. If nobody was told
//!   of that claim, it may have been made at any time before;
//! - `release` may be told a second time, so it proves nothing and changes nothing that the
//!   end of a lease would not change as well;
//! - `length` tells how many values are inside.
//!
//! Enqueues, claims and acknowledgements tell the revisions at which they took effect. So
//! they have one order, and the search has to place but the others. Where revisions are
//! missing it tries all orders of what overlaps.

use rustc_hash::{FxHashMap, FxHashSet};

use super::extract::Queue;
use crate::history::{Event, Operation, Outcome};
use crate::search::{Call, Calls, Kept, Others, Sequential};

/// What is inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Inside {
    item: u32,
    /// The revision of the last claim, if anybody knows; 0 as long as there was none.
    claim: i64,
}

/// Nobody has claimed it.
const UNTOUCHED: i64 = 0;

/// Somebody has, and nobody knows at which revision.
const VAGUELY: i64 = -1;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// How many operations whose place is known have taken effect.
    placed: u32,
    /// What has to come next, for what nobody knows to have happened is put off until
    /// somebody sees it.
    next: Next,
    /// How many enqueues of each class have taken effect of which nobody knows or tells; see
    /// [`Unseen`].
    unseen: Vec<u32>,
    inside: Vec<Inside>,
}

/// An enqueue of which nobody knows, and of whose values nobody tells. Those of as many values
/// can stand for each other, and the one that was invoked first can stand for all: so of each
/// class they take effect in that order.
#[derive(Clone, Copy, Debug)]
struct Unseen {
    class: u32,
    /// How many of its class come before it.
    rank: u32,
}

/// Claims of which nobody knows matter only to a claim that passes over what they had, and
/// acknowledgements and enqueues of which nobody knows, and of whose values nobody tells
/// otherwise, to a length. They can come right before that as well as earlier, for nothing in
/// between asks. An enqueue of whose values somebody tells matters to that, to a length, and
/// to what is put behind it: all else asks for what is in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Next {
    Anything,
    Claim,
    /// Of enqueues whose values nobody tells those of this class or a later one may come first:
    /// in which order they come shows nowhere.
    Length {
        class: u32,
    },
    /// So many values from this one on were enqueued.
    Enqueued {
        first: u32,
        count: u32,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Ask {
    /// So many values from this one on.
    Enqueue {
        first: u32,
        count: u32,
    },
    /// At most so many.
    Claim(usize),
    Acknowledge {
        item: u32,
        claim: i64,
    },
    Length,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Told {
    answer: Answer,
    /// When it took effect, if it says.
    revision: Option<i64>,
    /// How many operations took effect at earlier revisions, and how many at this one.
    place: Option<(u32, u32)>,
    /// Of an acknowledgement: whether nobody was told of its claim.
    is_orphan: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Answer {
    Done,
    /// Nobody knows whether it is.
    Unknown,
    Claimed(Vec<Inside>),
    Length(u64),
}

pub(super) struct ReliableQueue<'q, 'h> {
    queue: &'q Queue<'h>,
    /// Values that somebody claimed or acknowledged, or may have acknowledged.
    is_told: Vec<bool>,
    /// The revision of the first claim of each value that anybody was told of; none: the
    /// greatest.
    first_claims: Vec<i64>,
    /// By the first value of an enqueue.
    unseen: FxHashMap<u32, Unseen>,
    /// Values that may have been taken out after a claim that nobody was told of.
    has_orphans: Vec<bool>,
    /// How many values claims can have had of which nobody knows what they got.
    vague: usize,
}

impl<'q, 'h> ReliableQueue<'q, 'h> {
    pub(super) fn of(queue: &'q Queue<'h>) -> Self {
        let is_told = |item: &super::extract::Item<'_>| {
            !item.claims.is_empty() || !item.acknowledgements.is_empty()
        };
        let claims_of = |item: &super::extract::Item<'_>| -> Vec<i64> {
            let claims = item.claims.iter();
            claims.map(|claim| queue.claims[*claim].revision).collect()
        };
        let first_claim = |item| claims_of(item).into_iter().min().unwrap_or(i64::MAX);
        let has_orphans = |item: &super::extract::Item<'_>| {
            let claims = claims_of(item);
            let mut acknowledged = item.acknowledgements.iter();
            acknowledged.any(|index| {
                let claim = queue.acknowledged(*index).map(|(_, claim)| claim);
                claim.is_none_or(|claim| !claims.contains(&claim))
            })
        };
        let vague = queue.vague.iter().map(|(_, number)| number);
        let is_told: Vec<bool> = queue.items.iter().map(is_told).collect();
        Self {
            queue,
            unseen: unseen(queue, &is_told),
            is_told,
            first_claims: queue.items.iter().map(first_claim).collect(),
            has_orphans: queue.items.iter().map(has_orphans).collect(),
            vague: vague.sum(),
        }
    }

    /// The same queue, but values come first in the order in which they are claimed first.
    /// What can be done by it can be done by the other one, and is found far sooner: claims of
    /// which nobody knows mostly had nothing.
    pub(super) fn in_order(self) -> Self {
        Self { vague: 0, ..self }
    }

    /// The same queue without foresight, for whoever asks what it does if some of the
    /// operations had had another outcome.
    pub(super) fn unforeseeing(self) -> Self {
        Self {
            vague: usize::MAX,
            ..self
        }
    }

    /// Whether this value can come behind what is inside: who claims it first would pass over
    /// what is claimed later, or never, and nobody has claimed yet. Only claims of which
    /// nobody knows can have had that before.
    fn can_follow(&self, inside: &[Inside], item: u32) -> bool {
        let first = self.first_claims[item as usize];
        let is_passed_over = |before: &&Inside| {
            before.claim == UNTOUCHED
                && self.first_claims[before.item as usize] > first
                && !self.has_orphans[before.item as usize]
        };
        // Most of the time none is, and nobody has to count.
        self.vague > inside.len() || inside.iter().filter(is_passed_over).count() <= self.vague
    }

    /// What has to come next if this comes now; none if something else has to.
    fn then(&self, state: &State, input: &Ask, output: Option<&Told>) -> Option<Next> {
        let puts_off = match (input, output.map(|told| &told.answer)) {
            (Ask::Claim(_), None) => Next::Claim,
            (Ask::Enqueue { first, count }, None) => {
                let (first, count) = (*first, *count);
                let mut items = first..first + count;
                if items.any(|item| self.is_told[item as usize]) {
                    Next::Enqueued { first, count }
                } else {
                    let class = self.unseen.get(&first).map_or(0, |unseen| unseen.class);
                    Next::Length { class }
                }
            }
            (Ask::Acknowledge { .. }, None) => match state.next {
                Next::Length { class } => Next::Length { class },
                _ => Next::Length { class: 0 },
            },
            _ => Next::Anything,
        };
        let is_it = match state.next {
            Next::Anything => true,
            Next::Claim => matches!(input, Ask::Claim(_)),
            Next::Length { class: least } => match puts_off {
                Next::Length { class } => class >= least,
                _ => *input == Ask::Length,
            },
            Next::Enqueued { first, count } => {
                let is_it = |item: u32| (first..first + count).contains(&item);
                asks_for(input, output, is_it)
            }
        };
        is_it.then_some(puts_off)
    }
}

fn unseen(queue: &Queue<'_>, is_told: &[bool]) -> FxHashMap<u32, Unseen> {
    let (mut unseen, mut classes) = (FxHashMap::default(), Vec::new());
    let mut first = 0;
    while first < queue.items.len() {
        let enqueue = queue.items[first].enqueue;
        let items = queue.items[first..].iter();
        let count = items.take_while(|item| item.enqueue == enqueue).count();
        let is_unseen = queue.operation(enqueue).ok().is_none()
            && is_told[first..first + count].iter().all(|told| !told);
        if is_unseen {
            let class = classes.iter().position(|(of, _)| *of == count);
            let class = class.unwrap_or_else(|| {
                classes.push((count, 0));
                classes.len() - 1
            });
            let rank = classes[class].1;
            classes[class].1 += 1;
            let class = class as u32;
            unseen.insert(first as u32, Unseen { class, rank });
        }
        first += count;
    }
    unseen
}

/// Whether an operation may ask for one of these values, which are the last inside, or for
/// their place.
fn asks_for(input: &Ask, output: Option<&Told>, is_it: impl Fn(u32) -> bool) -> bool {
    match (input, output.map(|told| &told.answer)) {
        (Ask::Claim(_), Some(Answer::Claimed(claimed))) => {
            claimed.iter().any(|claim| is_it(claim.item))
        }
        (Ask::Acknowledge { item, .. }, _) => is_it(*item),
        (Ask::Claim(_) | Ask::Enqueue { .. } | Ask::Length, _) => true,
    }
}

/// The calls, but for releases.
pub(super) fn calls<'h>(queue: &Queue<'h>) -> Calls<'h, Ask, Told> {
    let mut calls = Vec::new();
    let mut operation_of = Vec::new();
    let mut first = 0;
    let items_of = |operation: usize, first: u32| {
        let items = queue.items[first as usize..].iter();
        items.take_while(|item| item.enqueue == operation).count() as u32
    };
    for (index, operation) in queue.operations.iter().enumerate() {
        let is_claim = operation.invoke.f() == "claim";
        if operation.outcome() == Outcome::Fail && !is_claim {
            continue;
        }
        let input = match operation.invoke.f() {
            "enqueue" => {
                let count = items_of(index, first);
                first += count;
                Ask::Enqueue {
                    first: first - count,
                    count,
                }
            }
            "claim" => Ask::Claim(queue.limit(index)),
            "acknowledge" => match queue.acknowledged(index) {
                Some((item, claim)) => Ask::Acknowledge {
                    item: item as u32,
                    claim,
                },
                None => continue,
            },
            "length" => Ask::Length,
            _ => continue,
        };
        calls.push(Call {
            output: told(queue, index, operation),
            input,
            invoked: operation.invoked as u64,
            returned: matches!(operation.outcome(), Outcome::Ok)
                .then_some(operation.completed as u64),
        });
        operation_of.push(index);
    }
    let known: Vec<_> = calls.iter().map(as_known).collect();
    let retold = retold(&known);
    for (call, told) in calls.iter_mut().zip(retold) {
        call.output = told;
    }
    Calls {
        operations: queue.operations.clone(),
        calls,
        operation_of,
        failed: Vec::new(),
    }
}

fn told(queue: &Queue<'_>, index: usize, operation: &Operation<'_>) -> Option<Told> {
    let ok = operation.ok()?;
    let mut revision = Event::revision(ok);
    let answer = match operation.invoke.f() {
        "claim" => {
            let inside = queue.claimed(index).map(|(item, claim)| Inside {
                item: item as u32,
                claim,
            });
            let inside: Vec<Inside> = inside.collect();
            let first = inside.first().map(|one| one.claim);
            let is_one = inside.iter().all(|one| Some(one.claim) == first);
            revision = first.filter(|_| is_one);
            Answer::Claimed(inside)
        }
        "length" => {
            revision = None;
            let place = queue
                .lengths
                .binary_search_by_key(&index, |(operation, _)| *operation);
            let (_, length) = queue.lengths[place.ok()?];
            Answer::Length(length)
        }
        _ => Answer::Done,
    };
    Some(Told {
        answer,
        revision,
        place: None,
        is_orphan: false,
    })
}

fn as_known(call: &Call<Ask, Told>) -> Call<&Ask, &Told> {
    Call {
        input: &call.input,
        output: call.output.as_ref(),
        invoked: call.invoked,
        returned: call.returned,
    }
}

/// What is known of the calls, each seen beside the others.
fn retold(calls: &[Call<&Ask, &Told>]) -> Vec<Option<Told>> {
    let places = places(calls.iter().map(|call| call.output));
    let claims = calls.iter().filter_map(|call| match &call.output?.answer {
        Answer::Claimed(claimed) => Some(claimed),
        _ => None,
    });
    let claims: FxHashSet<Inside> = claims.flatten().copied().collect();
    let beside = |(call, place): (&Call<&Ask, &Told>, _)| {
        let is_orphan = match *call.input {
            Ask::Acknowledge { item, claim } => !claims.contains(&Inside { item, claim }),
            _ => false,
        };
        let unknown = Told {
            answer: Answer::Unknown,
            revision: None,
            place: None,
            is_orphan,
        };
        match call.output {
            Some(told) => Some(Told {
                place,
                is_orphan,
                ..told.clone()
            }),
            None => is_orphan.then_some(unknown),
        }
    };
    calls.iter().zip(places).map(beside).collect()
}

/// The places of calls in the order of their revisions.
fn places<'t>(told: impl Iterator<Item = Option<&'t Told>>) -> Vec<Option<(u32, u32)>> {
    let revisions: Vec<Option<i64>> = told.map(|told| told?.revision).collect();
    let mut sorted: Vec<i64> = revisions.iter().copied().flatten().collect();
    sorted.sort_unstable();
    let place = |revision: i64| {
        let before = sorted.partition_point(|other| *other < revision);
        let until = sorted.partition_point(|other| *other <= revision);
        (before as u32, (until - before) as u32)
    };
    let places = revisions.into_iter();
    places.map(|revision| revision.map(place)).collect()
}

impl State {
    /// Whether it is the turn of an operation with this place; if so it is noted.
    fn place(&mut self, told: Option<&Told>) -> bool {
        let Some((before, count)) = told.and_then(|told| told.place) else {
            return true;
        };
        let is_turn = (before..before + count).contains(&self.placed);
        self.placed += 1;
        is_turn
    }

    /// Whether these values can be claimed; if so they are.
    fn claim(&mut self, claimed: &[Inside]) -> bool {
        let mut left = claimed.len();
        let mut passed_over = false;
        for inside in &mut self.inside {
            if left == 0 {
                break;
            }
            if let Some(claim) = claimed.iter().find(|claim| claim.item == inside.item) {
                inside.claim = claim.claim;
                left -= 1;
                if passed_over {
                    return false;
                }
            } else {
                passed_over |= inside.claim == UNTOUCHED;
            }
        }
        left == 0
    }

    /// Whether it is the turn of an enqueue of its class; if so it is noted.
    fn is_turn_of(&mut self, unseen: Option<&Unseen>) -> bool {
        let Some(unseen) = unseen else {
            return true;
        };
        let class = unseen.class as usize;
        if self.unseen.len() <= class {
            self.unseen.resize(class + 1, 0);
        }
        let done = &mut self.unseen[class];
        *done += 1;
        *done == unseen.rank + 1
    }

    fn untouched(&self) -> usize {
        let untouched = |inside: &&Inside| inside.claim == UNTOUCHED;
        self.inside.iter().filter(untouched).count()
    }

    /// The first few of those that nobody had claimed were.
    fn claimed_vaguely(&self, number: usize) -> Self {
        let mut next = self.clone();
        let untouched = next.inside.iter_mut();
        let untouched = untouched.filter(|inside| inside.claim == UNTOUCHED);
        for inside in untouched.take(number) {
            inside.claim = VAGUELY;
        }
        next
    }
}

impl Sequential for ReliableQueue<'_, '_> {
    type State = State;
    type Input = Ask;
    type Output = Told;
    type Part = ();

    fn part(&self, _: &Ask) {}

    fn initial(&self, (): &()) -> State {
        State {
            placed: 0,
            next: Next::Anything,
            unseen: Vec::new(),
            inside: Vec::new(),
        }
    }

    fn step(
        &self,
        state: &State,
        input: &Ask,
        output: Option<&Told>,
    ) -> impl IntoIterator<Item = State> {
        let mut next = state.clone();
        let Some(then) = self
            .then(state, input, output)
            .filter(|_| next.place(output))
        else {
            return Vec::new();
        };
        next.next = then;
        let fits = match (input, output.map(|told| &told.answer)) {
            (Ask::Enqueue { first, .. }, _) if !next.is_turn_of(self.unseen.get(first)) => false,
            (Ask::Enqueue { first, count }, _) => (*first..first + count).all(|item| {
                let can = self.can_follow(&next.inside, item);
                let claim = UNTOUCHED;
                next.inside.push(Inside { item, claim });
                can
            }),
            (Ask::Claim(limit), None) => {
                // It may have had fewer, but who has been claimed is free to be claimed,
                // missed and found again: whatever goes on after fewer does after these.
                let most = state.untouched().min(*limit);
                return vec![next.claimed_vaguely(most)];
            }
            (Ask::Claim(_), Some(Answer::Claimed(claimed))) if claimed.is_empty() => {
                state.untouched() == 0
            }
            (Ask::Claim(_), Some(Answer::Claimed(claimed))) => next.claim(claimed),
            (Ask::Acknowledge { item, claim }, told) => {
                let is_orphan = output.is_some_and(|told| told.is_orphan);
                let is_it =
                    |inside: &Inside| inside.item == *item && (inside.claim == *claim || is_orphan);
                let place = state.inside.iter().position(is_it);
                if let Some(place) = place {
                    next.inside.remove(place);
                }
                place.is_some() || told != Some(&Answer::Done)
            }
            (Ask::Length, Some(Answer::Length(length))) => state.inside.len() as u64 == *length,
            _ => true,
        };
        if fits { vec![next] } else { Vec::new() }
    }

    /// Who looks ends what was put off until then, so only who tells nothing just looks.
    fn only_reads(&self, input: &Ask, output: Option<&Told>) -> bool {
        *input == Ask::Length && output.is_none()
    }

    const OUTPUTS_REFER_TO_CALLS: bool = true;

    /// What is known is told anew. Of what is not, nothing matters where nobody looks, claims
    /// only to other claims, and enqueues of which nothing was seen only to lengths.
    fn what_matters(&self, calls: &[Call<&Ask, &Told>], _: Others) -> Vec<Kept<Told>> {
        let known = || calls.iter().filter(|call| call.returned.is_some());
        let has_lengths = known().any(|call| *call.input == Ask::Length);
        let has_claims = known().any(|call| matches!(call.input, Ask::Claim(_)));
        let mut used = FxHashSet::default();
        for call in known() {
            match (call.input, call.output.map(|told| &told.answer)) {
                (_, Some(Answer::Claimed(claimed))) => {
                    used.extend(claimed.iter().map(|claim| claim.item));
                }
                (Ask::Acknowledge { item, .. }, _) => {
                    used.insert(*item);
                }
                _ => {}
            }
        }
        let matters = |call: &Call<&Ask, &Told>| match call.input {
            _ if call.returned.is_some() => true,
            Ask::Enqueue { first, count } => {
                has_lengths || (*first..first + count).any(|item| used.contains(&item))
            }
            Ask::Claim(_) => has_claims,
            Ask::Acknowledge { .. } | Ask::Length => has_lengths || has_claims,
        };
        let calls_told = calls.iter().zip(retold(calls)).enumerate();
        calls_told
            .filter(|(_, (call, _))| matters(call))
            .map(|(call, (_, instead))| Kept { call, instead })
            .collect()
    }

    fn heap_bytes(&self, state: &State) -> usize {
        state.inside.capacity() * size_of::<Inside>() + state.unseen.capacity() * size_of::<u32>()
    }

    fn show(&self, state: &State) -> String {
        let shown = state.inside.iter().map(|inside| {
            let value = self.queue.show(inside.item as usize);
            match inside.claim {
                UNTOUCHED => value,
                _ => format!("{value} (claimed before)"),
            }
        });
        let shown: Vec<String> = shown.collect();
        match shown.len() {
            0 => "an empty queue".to_owned(),
            _ => format!("a queue of {}", shown.join(", ")),
        }
    }
}
