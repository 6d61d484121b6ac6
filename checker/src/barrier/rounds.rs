//! The search for the rounds of a double barrier.

use std::collections::BTreeSet;

use super::bounds::Bounds;
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
    /// The calls of the enters of unknown outcome, in order.
    pub(super) unknown: Vec<usize>,
    /// Enters that returned, from call to return, but whose answers do not count:
    /// they may have been of any round in between, or of none.
    pub(super) spared: Vec<(usize, usize)>,
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
    at: usize,
    pub(super) reason: Reason,
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
struct Round {
    /// The ways to fill it that are still to be tried, best last.
    others: Vec<Vec<usize>>,
    chosen: Vec<usize>,
    /// How many of unknown outcome were used before it.
    used_before: usize,
    /// How many ways were held before it.
    held_before: usize,
}

struct Attempt<'r> {
    rounds: &'r Rounds,
    /// By enter: those that had been called, and not been answered, when it
    /// returned.
    open: Vec<Vec<usize>>,
    assigned: Vec<bool>,
    used: usize,
    failure: Option<Failure>,
    /// How many ways are held, at most.
    held: usize,
    bounds: &'r Bounds<'r>,
}

impl Rounds {
    pub(super) fn search(&self, bounds: &Bounds<'_>) -> Search {
        let mut attempt = Attempt {
            rounds: self,
            open: self.open(),
            assigned: vec![false; self.enters.len()],
            used: 0,
            failure: None,
            held: 0,
            bounds,
        };
        attempt.run().unwrap_or_else(Search::GivenUp)
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

    /// How many of those whose answers do not count can have been of a round of
    /// these. Each is looked at by itself, so that it may be too many: a violation
    /// then stays one.
    fn spared_beside(&self, members: &[usize], before: &[usize]) -> usize {
        if self.spared.is_empty() {
            return 0;
        }
        let calls = members.iter().map(|member| self.enters[*member].invoked);
        let over = before
            .iter()
            .map(|member| self.enters[*member].inside_until);
        let after = calls.chain(over).max().unwrap_or(0);
        let returns = members.iter().map(|member| self.enters[*member].returned);
        let begins = returns.min().unwrap_or(usize::MAX);
        let fits = |(call, end): &&(usize, usize)| *call < begins && *end > after;
        self.spared.iter().filter(fits).count()
    }

    /// Until when somebody of these was certainly inside.
    fn last_inside(&self, members: &[usize]) -> Option<usize> {
        let until = |member: &usize| self.enters[*member].inside_until;
        members.iter().copied().max_by_key(until)
    }
}

impl Attempt<'_> {
    fn run(&mut self) -> Result<Search, Limit> {
        let mut stack: Vec<Round> = Vec::new();
        let mut next = 0;
        loop {
            while self.assigned.get(next) == Some(&true) {
                next += 1;
            }
            if next == self.assigned.len() {
                let rounds = stack.into_iter().map(|round| round.chosen);
                return Ok(Search::Found(rounds.collect()));
            }
            let before = stack.last().map_or(&[][..], |round| &round.chosen);
            let (mut used_before, mut held_before) = (self.used, self.held);
            let mut others = self.ways_to_fill(next, before)?;
            self.held += others.len();
            loop {
                self.step(0)?;
                if let Some(chosen) = others.pop() {
                    let before = stack.last().map_or(&[][..], |round| &round.chosen);
                    let spared = self.rounds.spared_beside(&chosen, before);
                    self.choose(&chosen, spared);
                    let round = Round {
                        others,
                        chosen,
                        used_before,
                        held_before,
                    };
                    stack.push(round);
                    break;
                }
                let Some(round) = stack.pop() else {
                    let failure = self.failure.take();
                    let failure = failure.expect("a round that cannot be filled says why");
                    return Ok(Search::None(failure));
                };
                for member in round.chosen {
                    self.assigned[member] = false;
                }
                (self.used, self.held) =
                    (round.used_before, round.held_before + round.others.len());
                (used_before, held_before) = (round.used_before, round.held_before);
                others = round.others;
                next = 0;
            }
        }
    }

    /// One step more, with so many ways in the making.
    fn step(&self, making: usize) -> Result<(), Limit> {
        let way = size_of::<Vec<usize>>() + self.rounds.count * size_of::<usize>();
        self.bounds.step((self.held + making) * way)
    }

    fn choose(&mut self, chosen: &[usize], spared: usize) {
        for member in chosen {
            self.assigned[*member] = true;
        }
        let missing = self.rounds.count - chosen.len();
        self.used += missing.saturating_sub(spared);
    }

    /// The ways to fill the round that begins just before the return of `first`,
    /// the best one last. `before` are those of the round before it.
    fn ways_to_fill(&mut self, first: usize, before: &[usize]) -> Result<Vec<Vec<usize>>, Limit> {
        let rounds = self.rounds;
        let begins = rounds.enters[first].returned;
        if let Some(last) = rounds.last_inside(before)
            && rounds.enters[last].inside_until >= begins
        {
            let inside = rounds.enters[last].operation;
            let first = rounds.enters[first].operation;
            self.fail(begins, Reason::Overlap { first, inside });
            return Ok(Vec::new());
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
            self.fail(begins, Reason::TooMany { inside });
            return Ok(Vec::new());
        }
        self.ways_with(first, &forced, &open, before)
    }

    /// These, and those who must be of the same round because they returned while
    /// somebody of it was inside.
    fn close(&self, members: &[usize], open: &[usize]) -> Vec<usize> {
        let rounds = self.rounds;
        let mut closed: BTreeSet<usize> = members.iter().copied().collect();
        loop {
            let inside_until = closed
                .iter()
                .map(|member| rounds.enters[*member].inside_until)
                .max();
            let joins = |enter: &&usize| Some(rounds.enters[**enter].returned) <= inside_until;
            let before = closed.len();
            closed.extend(open.iter().filter(joins));
            if closed.len() == before {
                return closed.into_iter().collect();
            }
        }
    }

    /// Adds any of the others that are open, and leaves the rest to those of
    /// unknown outcome.
    fn ways_with(
        &mut self,
        first: usize,
        forced: &[usize],
        open: &[usize],
        before: &[usize],
    ) -> Result<Vec<Vec<usize>>, Limit> {
        let rounds = self.rounds;
        let begins = rounds.enters[first].returned;
        let unknown = rounds.unknown.partition_point(|call| *call < begins) - self.used;
        let mut ways: BTreeSet<Vec<usize>> = BTreeSet::new();
        let mut next = vec![forced.to_vec()];
        let mut most = forced.len();
        while let Some(way) = next.pop() {
            self.step(ways.len() + next.len())?;
            if way.len() > rounds.count || !ways.insert(way.clone()) {
                continue;
            }
            most = most.max(way.len());
            for enter in open.iter().filter(|enter| !way.contains(enter)) {
                let with = [way.as_slice(), &[*enter]].concat();
                next.push(self.close(&with, open));
            }
        }
        let mut ways: Vec<Vec<usize>> = ways
            .into_iter()
            .filter(|way| rounds.count - way.len() <= unknown + rounds.spared_beside(way, before))
            .collect();
        if ways.is_empty() {
            let come = most + unknown + rounds.spared_beside(forced, before);
            let first = rounds.enters[first].operation;
            let before = before.iter().map(|member| rounds.enters[*member].operation);
            let before = before.collect();
            let reason = Reason::TooFew {
                first,
                come,
                before,
            };
            self.fail(begins, reason);
        }
        ways.retain(|way| self.leaves_fit(begins, way));
        // Rather those that are known to have entered than those that may have.
        ways.sort_by_key(Vec::len);
        Ok(ways)
    }

    /// Whether no leave returned while somebody was inside.
    fn leaves_fit(&mut self, begins: usize, members: &[usize]) -> bool {
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
            self.fail(begins, Reason::EarlyLeave { left, inside });
        }
        fit
    }

    /// Remembers what stands in the way, if it is the farthest.
    fn fail(&mut self, at: usize, reason: Reason) {
        if self.failure.as_ref().is_none_or(|known| known.at < at) {
            self.failure = Some(Failure { at, reason });
        }
    }
}
