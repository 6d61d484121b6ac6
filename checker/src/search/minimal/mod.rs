//! Which calls prove that there is no order.
//!
//! `tries` asks what is left of the proof when less is known, `failed` which calls must have
//! failed for it, `meets` what the refuted one can have met.

mod failed;
mod meets;
mod tries;

pub(super) use failed::{Failed, needed};
pub(super) use meets::meets;

use std::time::Instant;

use crate::search::budget;
use crate::search::explore::{Explored, Stuck};
use crate::search::first::first_stuck;
use crate::search::parts::Part;
use crate::search::plan::Known;
use crate::search::{Budget, Clock, Failure, Others, Sequential};

/// How many bytes a try may take. Most calls are found not to be needed by tries that take
/// little, and then there is less left for those that take more. What needs even more is
/// not worth it.
const TRY_BYTES: [usize; 2] = [1 << 16, 1 << 20];

/// The same where all calls are known that returned before.
const ALL_BYTES: usize = 64 << 20;

/// So few calls prove it well enough by themselves.
const FEW: usize = 4;

/// More calls than this nobody likes to read.
const MANY: usize = 8;

/// Where there are more calls, guesses are tried before the first instant is looked for from
/// which there is no order: each look takes a search through all of them.
const LONG: usize = 4_000;

/// How much work all tries may take, in calls looked at and steps of the search. Not a
/// time, so that the same history has the same witness everywhere.
const WORK_MAX: u64 = 4_000_000;

/// The calls of a part that has no order, of which less and less is said to be known.
struct Shrinking<'s, 'c, M: Sequential + ?Sized> {
    model: &'s M,
    part: &'s Part<'c, M>,
    budget: Budget,
    clock: Clock<'static>,
    others: Others,
    work: u64,
    calls: &'s [Known<'c, M>],
    /// Those of which something is still known.
    is_known: Vec<bool>,
    /// Those of which it is known that they did not happen.
    is_absent: Vec<bool>,
    is_minimal: bool,
    /// How many bytes a try may take now.
    try_bytes: usize,
}

/// Whether people can read it, and nothing is too much.
pub(super) fn is_short(failure: &Failure) -> bool {
    failure.is_minimal && failure.witness.len() <= MANY
}

/// Why the calls of this part have no order, if a few of them prove it that returned next to
/// the one before whose return the search came no further. Calls are named by their index in
/// the part.
pub(super) fn suspect<M: Sequential + ?Sized>(
    model: &M,
    part: &Part<'_, M>,
    furthest: u32,
    budget: &Budget,
    end: Option<Instant>,
) -> Option<Failure> {
    let furthest = furthest as usize;
    let begin = |others| Shrinking::new(model, part, &part.calls, others, budget, end);
    let proof = guessed(begin, furthest, part.calls[furthest].returned)?;
    Some(proof.into_failure(None))
}

/// The same failure with less calls, where some of them prove it that an aspect alone needed.
pub(super) fn lessen<M: Sequential + ?Sized>(
    model: &M,
    part: &Part<'_, M>,
    failure: Failure,
    budget: &Budget,
    end: Option<Instant>,
) -> Failure {
    if matches!(failure.others, Others::InTheirTimeSince(_)) {
        return failure;
    }
    let mut proof = Shrinking::new(model, part, &part.calls, failure.others, budget, end);
    if !proof.start_small(std::slice::from_ref(&failure.witness)) {
        return failure;
    }
    proof.shrink(failure.refuted);
    if proof.known().len() < failure.witness.len() {
        proof.into_failure(None)
    } else {
        failure
    }
}

/// Why the calls of this part have no order, which the search has found when it was
/// `stuck`. Calls are named by their index in the part. Where no guess is right, there may be a
/// reason `otherwise`.
pub(super) fn explain<M: Sequential + ?Sized>(
    model: &M,
    part: &Part<'_, M>,
    stuck: Stuck,
    budget: &Budget,
    end: Option<Instant>,
    otherwise: impl FnOnce() -> Option<Failure>,
) -> Failure {
    if part.calls.len() > LONG
        && let Some(failure) = suspect(model, part, stuck.call, budget, end)
        && is_short(&failure)
    {
        return stuck.of(failure);
    }
    let (stuck, calls) = first_stuck(model, part, stuck, budget, end);
    let begin = |others| Shrinking::new(model, part, &calls, others, budget, end);
    let guessed = guessed(begin, stuck.call as usize, None);
    let is_short = guessed.as_ref().is_some_and(Shrinking::is_short);
    if !is_short && let Some(failure) = otherwise() {
        return stuck.of(failure);
    }
    let proof = shortest(begin, guessed, stuck.call as usize);
    proof.into_failure(Some(stuck))
}

/// A guess, if one is right. What the object suspects may prove it whatever became of the
/// others. Where that takes more than a few, more is known of those: when they went on. Then the
/// calls that returned last by some time may do.
fn guessed<'s, 'c, M: Sequential + ?Sized>(
    begin: impl Fn(Others) -> Shrinking<'s, 'c, M>,
    stuck: usize,
    by: Option<u64>,
) -> Option<Shrinking<'s, 'c, M>> {
    let mut at_any_time = begin(Others::AtAnyTime);
    let suspects = at_any_time.suspects(stuck);
    let is_suspect = at_any_time.start_small(&suspects);
    if is_suspect {
        at_any_time.shrink(stuck);
        if at_any_time.known().len() <= FEW {
            return Some(at_any_time);
        }
    }
    let mut in_their_time = begin(Others::InTheirTime);
    let last = in_their_time.last(by);
    if !M::OUTPUTS_REFER_TO_CALLS
        && (in_their_time.start_small(&suspects) || in_their_time.start_small(&last))
    {
        in_their_time.shrink(stuck);
        in_their_time.strengthen();
        let is_shorter = in_their_time.known().len() < at_any_time.known().len();
        return Some(if is_shorter || !is_suspect {
            in_their_time
        } else {
            at_any_time
        });
    }
    is_suspect.then_some(at_any_time)
}

/// A proof, as short as one is found.
fn shortest<'s, 'c, M: Sequential + ?Sized>(
    begin: impl Fn(Others) -> Shrinking<'s, 'c, M>,
    guessed: Option<Shrinking<'s, 'c, M>>,
    stuck: usize,
) -> Shrinking<'s, 'c, M> {
    if guessed.as_ref().is_some_and(Shrinking::is_short) {
        return guessed.expect("it was there");
    }
    let mut at_any_time = begin(Others::AtAnyTime);
    at_any_time.start_small(&at_any_time.last(None));
    at_any_time.shrink(stuck);
    let mut proofs = vec![at_any_time];
    if !M::OUTPUTS_REFER_TO_CALLS {
        let mut in_their_time = begin(Others::InTheirTime);
        in_their_time.shrink(stuck);
        in_their_time.strengthen();
        proofs.push(in_their_time);
    }
    let proofs = proofs.into_iter().chain(guessed);
    let shortest = proofs.min_by_key(|proof| proof.known().len());
    let shortest = shortest.expect("there is one");
    if shortest.is_short() || M::OUTPUTS_REFER_TO_CALLS {
        return shortest;
    }
    recent(begin, stuck).unwrap_or(shortest)
}

/// A few calls that prove it together with all that had returned before them, which is not
/// listed. Where everybody waits for somebody else, each call that one would leave out could
/// have made way for another one, and so on from the beginning. One call alone does not say
/// what is in its way, but is better than many.
fn recent<'s, 'c, M: Sequential + ?Sized>(
    begin: impl Fn(Others) -> Shrinking<'s, 'c, M>,
    stuck: usize,
) -> Option<Shrinking<'s, 'c, M>> {
    let all = begin(Others::AtAnyTime);
    let mut alone = None;
    for calls in all.last(None) {
        let returned = |call: &usize| all.calls[*call].returned;
        let Some(since) = calls.iter().filter_map(returned).min() else {
            break;
        };
        let mut proof = begin(Others::InTheirTimeSince(since));
        proof.shrink(stuck);
        if !proof.is_short() {
            break;
        }
        match proof.known().len() {
            0 => {}
            1 => _ = alone.get_or_insert(proof),
            _ => return Some(proof),
        }
    }
    alone
}

impl<'s, 'c, M: Sequential + ?Sized> Shrinking<'s, 'c, M> {
    fn new(
        model: &'s M,
        part: &'s Part<'c, M>,
        calls: &'s [Known<'c, M>],
        others: Others,
        budget: &Budget,
        end: Option<Instant>,
    ) -> Self {
        Self {
            model,
            part,
            budget: *budget,
            clock: Clock::until(end, None),
            others,
            work: 0,
            calls,
            is_known: calls.iter().map(|call| call.returned.is_some()).collect(),
            is_absent: vec![false; calls.len()],
            is_minimal: true,
            try_bytes: TRY_BYTES[0],
        }
    }

    /// A proof that was found, whose calls are named as outside of the part.
    fn of(failure: &Failure, model: &'s M, part: &'s Part<'c, M>, budget: &Budget) -> Self {
        let end = budget.time.map(|time| budget::now() + time);
        let mut proof = Self::new(model, part, &part.calls, failure.others, budget, end);
        for (call, index) in part.indices().iter().enumerate() {
            let is_listed = failure.witness.contains(index);
            proof.is_known[call] = is_listed || proof.is_known[call] && proof.is_given(call);
        }
        proof.try_bytes = TRY_BYTES[1];
        proof
    }

    /// Which few calls the object suspects.
    fn suspects(&self, stuck: usize) -> Vec<Vec<usize>> {
        let mut suspects = self.model.suspects(self.calls, stuck);
        for guess in &mut suspects {
            guess.retain(|call| self.is_known[*call]);
        }
        suspects
    }

    /// The calls that are listed.
    fn known(&self) -> Vec<usize> {
        let is_listed = |index: &usize| self.is_known[*index] && !self.is_given(*index);
        (0..self.calls.len()).filter(is_listed).collect()
    }

    /// Whether the call is known, but not listed.
    fn is_given(&self, call: usize) -> bool {
        self.others.gives(self.calls[call].returned)
    }

    /// Whether people can read it, and nothing is too much.
    fn is_short(&self) -> bool {
        self.is_minimal && self.known().len() <= MANY
    }

    /// Forgets all but a few calls that prove it, if some of these guesses do.
    fn start_small(&mut self, guesses: &[Vec<usize>]) -> bool {
        self.try_bytes = match self.others {
            Others::AtAnyTime => TRY_BYTES[0],
            // All calls before are looked at, however few are known.
            Others::InTheirTime | Others::InTheirTimeSince(_) => TRY_BYTES[1],
        };
        let all = std::mem::replace(&mut self.is_known, vec![false; self.calls.len()]);
        // First all are tried that take little.
        for try_guess in [Self::is_stuck_late, Self::is_stuck] {
            for guess in guesses {
                if self.is_spent() {
                    break;
                }
                self.know(guess, true);
                if try_guess(self) {
                    return true;
                }
                self.know(guess, false);
            }
        }
        self.is_known = all;
        false
    }

    /// Whether there is no order, as far as calls are known now.
    fn is_stuck(&mut self) -> bool {
        matches!(self.explore_known(), Explored::Stuck(_))
    }

    /// Whether there is none of what came after some call.
    fn is_stuck_late(&mut self) -> bool {
        let explored = self.explore_late(true);
        matches!(explored, Some((Explored::Stuck(_), _)))
    }

    fn know(&mut self, calls: &[usize], is_known: bool) {
        for call in calls {
            self.is_known[*call] = is_known;
        }
    }

    /// The last call to return by then, or at all, the last two, the last four, ..
    fn last(&self, by: Option<u64>) -> Vec<Vec<usize>> {
        let mut known = self.known();
        known.retain(|call| by.is_none() || self.calls[*call].returned <= by);
        known.sort_unstable_by_key(|call| std::cmp::Reverse(self.calls[*call].returned));
        let sizes = std::iter::successors(Some(1), |size| Some(2 * size));
        let sizes = sizes.take_while(|size| *size < known.len());
        sizes.map(|size| known[..size].to_vec()).collect()
    }

    /// Forgets as many calls as possible.
    fn shrink(&mut self, stuck: usize) {
        let bytes: &[usize] = match self.others {
            Others::InTheirTimeSince(_) => &[ALL_BYTES],
            Others::AtAnyTime | Others::InTheirTime => &TRY_BYTES,
        };
        for bytes in bytes {
            (self.is_minimal, self.try_bytes) = (true, *bytes);
            self.forget_reads(stuck);
            // Where not all is looked at that was before, one that is not needed may seem to be
            // while others are there.
            let mut known = usize::MAX;
            while self.known().len() < known {
                known = self.known().len();
                self.forget_some(&self.known());
            }
            if self.is_minimal {
                break;
            }
        }
    }

    /// Reads are needed seldom, and without them a try costs less.
    fn forget_reads(&mut self, stuck: usize) {
        let mut reads = self.known();
        reads.retain(|index| {
            let call = &self.calls[*index];
            *index != stuck && self.model.only_reads(call.input, call.output)
        });
        self.forget_some(&reads);
    }

    /// Of these calls as many as possible are made unknown. Many are tried before
    /// single ones. What was needed once stays needed when others are unknown too.
    fn forget_some(&mut self, calls: &[usize]) {
        if calls.is_empty() || self.forget(calls) {
            return;
        }
        if calls.len() > 1 {
            let (first, second) = calls.split_at(calls.len() / 2);
            self.forget_some(first);
            self.forget_some(second);
        }
    }

    /// Makes these calls unknown if there still is no order.
    fn forget(&mut self, calls: &[usize]) -> bool {
        if self.is_spent() {
            self.is_minimal = false;
            return false;
        }
        self.know(calls, false);
        match self.explore_known() {
            Explored::Stuck(_) => return true,
            Explored::Unknown(..) if calls.len() == 1 => self.is_minimal = false,
            Explored::Unknown(..) | Explored::Linearizable(_) => {}
        }
        self.know(calls, true);
        false
    }

    fn is_spent(&self) -> bool {
        self.work + self.clock.calls() > WORK_MAX || self.clock.is_over()
    }

    /// What it came to; `stuck` is what the search has found, if it has come to an end.
    fn into_failure(mut self, stuck: Option<Stuck>) -> Failure {
        let mut witness = self.known();
        witness.sort_by_key(|index| self.calls[*index].invoked);
        let refuted = self.refuted();
        let (call, prefix, states) = match stuck {
            Some(stuck) => (stuck.call as usize, stuck.prefix(), stuck.states),
            None => (
                refuted.as_ref().map_or(witness[0], |(call, _)| *call),
                Vec::new(),
                Vec::new(),
            ),
        };
        let (refuted, meets) = refuted.unwrap_or_else(|| match self.blamed(call) {
            Some(blamed) if blamed != call => (blamed, Vec::new()),
            _ => (call, states.clone()),
        });
        Failure {
            witness,
            others: self.others,
            refuted,
            meets,
            is_minimal: self.is_minimal,
            stuck: call,
            prefix,
            states,
        }
    }
}
