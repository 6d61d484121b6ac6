//! The search for the rounds of a double barrier.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::bounds::Bounds;
use super::pool::{Lacks, Pools};
use crate::search::Limit;

/// An enter that returned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Enter {
    pub(super) operation: usize,
    pub(super) invoked: usize,
    pub(super) returned: usize,
    /// The last event by which it was certainly inside: not before `returned`.
    pub(super) inside_until: usize,
    /// The return of its leave, or [`usize::MAX`].
    pub(super) left: usize,
}

/// Which enters made which rounds?
pub(super) struct Rounds {
    pub(super) count: usize,
    /// In the order of their returns.
    pub(super) enters: Vec<Enter>,
    /// The others, from call to end, in the order of their calls: they may have been of any
    /// one round in between, or of none.
    pub(super) unknown: Vec<(usize, usize)>,
}

pub(super) enum Search {
    /// Rounds that explain every answer, one after the other: of each the places of its
    /// enters, but for those that were left to enters of unknown outcome.
    Found(Vec<Vec<usize>>),
    /// There are none.
    None(Failure),
    /// There was not the time to tell.
    GivenUp(Limit),
}

/// What stands in the way of the explanation that got farthest. Operations are
/// named by their index.
pub(super) struct Failure {
    /// The event by which it shows.
    pub(super) at: usize,
    pub(super) reason: Reason,
    /// The enters of each round before it, and of the one in which it is, that was chosen among
    /// several.
    pub(super) chosen: Vec<Vec<usize>>,
}

pub(super) enum Reason {
    /// `before` are those of the round before it.
    TooFew {
        first: usize,
        come: usize,
        before: Vec<usize>,
    },
    TooMany {
        inside: Vec<usize>,
    },
    Overlap {
        first: usize,
        inside: usize,
    },
    EarlyLeave {
        left: usize,
        inside: usize,
    },
}

/// A round of the explanation that is being tried.
struct Round<'r> {
    /// The ways to fill it that are still to be tried, best last.
    others: Vec<Vec<usize>>,
    chosen: Vec<usize>,
    /// Whether there was no other way to fill it, nor one that keeps others out who entered.
    is_forced: bool,
    /// Who was left before it.
    left_before: Pools<'r>,
    /// How many bytes were held before it.
    held_before: usize,
}

struct Attempt<'r> {
    rounds: &'r Rounds,
    /// By enter: those that had been called, and not been answered, when it
    /// returned.
    open: Vec<Vec<usize>>,
    assigned: Vec<bool>,
    /// The rounds so far.
    stack: Vec<Round<'r>>,
    /// Who is left of those of unknown outcome.
    left: Pools<'r>,
    failure: Option<Failure>,
    /// How many bytes are held, at most.
    held: usize,
    bounds: &'r Bounds<'r>,
}

/// The ways to fill a round, the best one last.
struct Ways {
    ways: Vec<Vec<usize>>,
    is_forced: bool,
}

impl Rounds {
    pub(super) fn search(&self, bounds: &Bounds<'_>) -> Search {
        let mut attempt = Attempt {
            rounds: self,
            open: self.open(),
            assigned: vec![false; self.enters.len()],
            stack: Vec::new(),
            left: Pools::new(&self.unknown, bounds),
            failure: None,
            held: 0,
            bounds,
        };
        attempt.run().unwrap_or_else(Search::GivenUp)
    }

    /// The rounds that those make who returned one after the other, or the event by which that
    /// cannot be. Of a system that keeps its promise nobody enters while somebody of the round
    /// before is inside.
    pub(super) fn one_after_the_other(&self) -> Result<Vec<Vec<usize>>, usize> {
        let all: Vec<usize> = (0..self.enters.len()).collect();
        let mut before: &[usize] = &[];
        for round in all.chunks(self.count) {
            let last_inside = self.last_inside(round);
            let until = last_inside.map_or(0, |last| self.enters[last].inside_until);
            let is_left = |member: &usize| self.enters[*member].left <= until;
            let instants = self.instants(round, before);
            let missing = self.count - round.len();
            // Some of the last round may not have been told yet.
            let came =
                |(call, end): &&(usize, usize)| call < instants.end() && instants.end() <= end;
            if instants.is_empty()
                || missing > 0 && self.unknown.iter().filter(came).count() < missing
                || round.iter().any(is_left)
            {
                return Err(self.enters[round[0]].returned);
            }
            before = round;
        }
        Ok(all.chunks(self.count).map(<[usize]>::to_vec).collect())
    }

    fn open(&self) -> Vec<Vec<usize>> {
        let mut events: Vec<(usize, usize, bool)> = Vec::with_capacity(self.enters.len() * 2);
        for (index, enter) in self.enters.iter().enumerate() {
            events.push((enter.invoked, index, true));
            events.push((enter.returned, index, false));
        }
        events.sort_unstable();
        let mut now = BTreeSet::new();
        let mut open = vec![Vec::new(); self.enters.len()];
        for (_, index, is_call) in events {
            if is_call {
                now.insert(index);
            } else {
                open[index] = now.iter().copied().collect();
                now.remove(&index);
            }
        }
        open
    }

    /// The instants at which a round of these can have begun, after that of `before`.
    fn instants(&self, members: &[usize], before: &[usize]) -> RangeInclusive<usize> {
        let calls = members.iter().map(|member| self.enters[*member].invoked);
        let over = before
            .iter()
            .map(|member| self.enters[*member].inside_until);
        let after = calls.chain(over).max().unwrap_or(0);
        let returns = members.iter().map(|member| self.enters[*member].returned);
        after + 1..=returns.min().unwrap_or(usize::MAX)
    }

    /// Until when somebody of these was certainly inside.
    fn last_inside(&self, members: &[usize]) -> Option<usize> {
        let until = |member: &usize| self.enters[*member].inside_until;
        members.iter().copied().max_by_key(until)
    }
}

impl<'r> Attempt<'r> {
    fn run(&mut self) -> Result<Search, Limit> {
        let mut next = 0;
        loop {
            while self.assigned.get(next) == Some(&true) {
                next += 1;
            }
            if next == self.assigned.len() {
                let rounds = self.stack.drain(..).map(|round| round.chosen);
                return Ok(Search::Found(rounds.collect()));
            }
            let (mut left_before, mut held_before) = (self.left.clone(), self.held);
            let Ways {
                ways: mut others,
                mut is_forced,
            } = self.ways_to_fill(next)?;
            self.held += others.len() * self.bytes_of_way() + left_before.bytes();
            loop {
                self.step(0)?;
                if let Some(chosen) = others.pop() {
                    let left = self.fill(&chosen)?;
                    self.left = left.expect("a way has been found to be one");
                    for member in &chosen {
                        self.assigned[*member] = true;
                    }
                    self.stack.push(Round {
                        others,
                        chosen,
                        is_forced,
                        left_before,
                        held_before,
                    });
                    break;
                }
                let Some(round) = self.stack.pop() else {
                    let failure = self.failure.take();
                    let failure = failure.expect("a round that cannot be filled says why");
                    return Ok(Search::None(failure));
                };
                for member in round.chosen {
                    self.assigned[member] = false;
                }
                (left_before, held_before) = (round.left_before, round.held_before);
                (others, is_forced) = (round.others, round.is_forced);
                self.left = left_before.clone();
                self.held = held_before + others.len() * self.bytes_of_way() + left_before.bytes();
                next = 0;
            }
        }
    }

    /// The enters of the round before.
    fn before(&self) -> &[usize] {
        self.stack.last().map_or(&[], |round| &round.chosen)
    }

    /// Who is left of those of unknown outcome when they take the places that these leave; or
    /// how many are missing.
    fn fill(&self, members: &[usize]) -> Result<Result<Pools<'r>, usize>, Limit> {
        let missing = self.rounds.count - members.len();
        let instants = self.rounds.instants(members, self.before());
        match self.left.after(missing, instants, self.held) {
            Ok(left) => Ok(Ok(left)),
            Err(Lacks::Waits(missing)) => Ok(Err(missing)),
            Err(Lacks::Budget(limit)) => Err(limit),
        }
    }

    fn bytes_of_way(&self) -> usize {
        size_of::<Vec<usize>>() + self.rounds.count * size_of::<usize>()
    }

    /// One step more, with so many ways in the making.
    fn step(&self, making: usize) -> Result<(), Limit> {
        self.bounds.step(self.held + making * self.bytes_of_way())
    }

    /// The ways to fill the round that begins before the return of `first`.
    fn ways_to_fill(&mut self, first: usize) -> Result<Ways, Limit> {
        let rounds = self.rounds;
        let begins = rounds.enters[first].returned;
        let none = Ways {
            ways: Vec::new(),
            is_forced: true,
        };
        if let Some(last) = rounds.last_inside(self.before())
            && rounds.enters[last].inside_until >= begins
        {
            let inside = rounds.enters[last].operation;
            let first = rounds.enters[first].operation;
            self.fail(begins, Reason::Overlap { first, inside }, None);
            return Ok(none);
        }
        let open: Vec<usize> = self.open[first]
            .iter()
            .copied()
            .filter(|enter| !self.assigned[*enter])
            .collect();
        let forced = self.close(&[first], &open);
        if forced.len() > rounds.count {
            let inside = forced.iter().map(|member| rounds.enters[*member].operation);
            let inside = inside.collect();
            self.fail(begins, Reason::TooMany { inside }, None);
            return Ok(none);
        }
        self.ways_with(first, &forced, &open)
    }

    /// These, and those who must be of the same round because they returned while
    /// somebody of it was inside.
    fn close(&self, members: &[usize], open: &[usize]) -> Vec<usize> {
        let rounds = self.rounds;
        let inside_until = |member: &usize| rounds.enters[*member].inside_until;
        let mut until = members.iter().map(inside_until).max();
        let mut closed = members.to_vec();
        // In the order of their returns.
        for enter in open {
            if Some(rounds.enters[*enter].returned) > until {
                break;
            }
            until = until.max(Some(inside_until(enter)));
            closed.push(*enter);
        }
        closed.sort_unstable();
        closed.dedup();
        closed
    }

    /// Adds any of the others that are open, and leaves the rest to those of
    /// unknown outcome.
    fn ways_with(&mut self, first: usize, forced: &[usize], open: &[usize]) -> Result<Ways, Limit> {
        let rounds = self.rounds;
        let begins = rounds.enters[first].returned;
        let mut tried: BTreeSet<Vec<usize>> = BTreeSet::new();
        let mut next = vec![forced.to_vec()];
        let mut ways = Vec::new();
        let (mut missing, mut too_many) = (rounds.count, 0);
        while let Some(way) = next.pop() {
            self.step(tried.len() + next.len())?;
            if !tried.insert(way.clone()) {
                continue;
            }
            if way.len() > rounds.count {
                too_many += 1;
                continue;
            }
            match self.fill(&way)? {
                Ok(_) => ways.push(way.clone()),
                Err(lacks) => missing = missing.min(lacks),
            }
            let has_room = way.len() < rounds.count;
            for enter in open.iter().filter(|e| has_room && !way.contains(e)) {
                let with = [way.as_slice(), &[*enter]].concat();
                next.push(self.close(&with, open));
            }
        }
        if ways.is_empty() {
            let come = rounds.count - missing;
            let first = rounds.enters[first].operation;
            let before = self.before().iter();
            let reason = Reason::TooFew {
                first,
                come,
                before: before.map(|m| rounds.enters[*m].operation).collect(),
            };
            self.fail(begins, reason, None);
        }
        let is_forced = ways.len() + too_many < 2;
        ways.retain(|way| self.leaves_fit(begins, way, is_forced));
        // Rather those that are known to have entered than those that may have.
        ways.sort_by_key(|way| (way.len(), way.clone()));
        Ok(Ways { ways, is_forced })
    }

    /// Whether no leave returned while somebody was inside.
    fn leaves_fit(&mut self, begins: usize, members: &[usize], is_forced: bool) -> bool {
        let rounds = self.rounds;
        let left = |member: &usize| rounds.enters[*member].left;
        let first = members.iter().copied().min_by_key(left);
        let (Some(first), Some(last)) = (first, rounds.last_inside(members)) else {
            return true;
        };
        let fit = rounds.enters[first].left > rounds.enters[last].inside_until;
        if !fit {
            let left = rounds.enters[first].operation;
            let inside = rounds.enters[last].operation;
            let chosen = (!is_forced).then_some(members);
            self.fail(begins, Reason::EarlyLeave { left, inside }, chosen);
        }
        fit
    }

    /// Remembers what stands in the way, if it is the farthest; in a round that was chosen, if
    /// so.
    fn fail(&mut self, at: usize, reason: Reason, chosen: Option<&[usize]>) {
        if self.failure.as_ref().is_some_and(|known| known.at >= at) {
            return;
        }
        let before = self.stack.iter().filter(|round| !round.is_forced);
        let before = before.map(|round| round.chosen.as_slice());
        let operation = |member: &usize| self.rounds.enters[*member].operation;
        let operations = |members: &[usize]| members.iter().map(operation).collect();
        self.failure = Some(Failure {
            at,
            reason,
            chosen: before.chain(chosen).map(operations).collect(),
        });
    }
}
