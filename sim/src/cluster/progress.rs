//! How far one member is: what it has applied, and what waits for that.

use std::collections::VecDeque;
use std::time::Duration;

use super::consensus::NEVER;
use super::hash_memory::HashMemory;
use super::state::Identity;
use super::watch::WatchHub;
use crate::auth::Tokens;
use crate::executor::SimTime;
use crate::store::View;

/// Something that a member has heard of and not applied yet.
pub(super) struct Apply {
    pub(super) at: SimTime,
    pub(super) index: u64,
    pub(super) view: View,
    /// Who waits at this member for just that.
    pub(super) ticket: Option<u64>,
}

/// A linearizable read that waits for the leader to confirm that it leads.
pub(super) struct Confirming {
    pub(super) at: SimTime,
    pub(super) index: u64,
    pub(super) ticket: u64,
}

/// What a member is doing.
pub(crate) struct Progress {
    pub(crate) watches: WatchHub,
    /// Who is logged in here.
    pub(super) tokens: Tokens,
    pub(super) tokens_given: u64,
    /// How large its database was at the last look, in bytes: it does not shrink.
    pub(super) db_size: i64,
    pub(super) identity: Identity,
    /// What it shows to its clients.
    pub(super) view: View,
    pub(super) hash_memory: HashMemory,
    /// How many proposals it has applied.
    pub(super) applied: u64,
    pub(super) applies: VecDeque<Apply>,
    pub(super) confirming: VecDeque<Confirming>,
    /// Reads that are confirmed, and what must be applied first.
    pub(super) lagging: VecDeque<(u64, u64)>,
    /// Reads that nobody could confirm, and since when they wait.
    pub(super) unconfirmed: Vec<(SimTime, u64)>,
    /// Proposals that came in here and were carried out while the member was
    /// behind, by their place in the history.
    pub(super) missed: VecDeque<(u64, u64)>,
    /// Proposals that came in here, and when: they time out in this order.
    pub(super) proposed: VecDeque<(SimTime, u64)>,
    pub(super) leases_granted: i64,
    /// Its process stood still, and it has not been brought up to date since.
    pub(super) stood_still: bool,
    /// Until when it applies late, and how late. What overlaps adds up.
    pub(super) slow: Vec<(SimTime, Duration)>,
    /// It applies and answers nothing before.
    pub(super) stalled_until: SimTime,
    /// It refuses proposals before.
    pub(super) overloaded_until: SimTime,
    /// Its watches hear of nothing before.
    pub(super) events_held_until: SimTime,
}

impl Progress {
    pub(super) fn new(identity: Identity, view: View, watches: WatchHub, tokens: Tokens) -> Self {
        Progress {
            watches,
            tokens,
            tokens_given: 0,
            db_size: 0,
            identity,
            view,
            hash_memory: HashMemory::default(),
            applied: 0,
            applies: VecDeque::new(),
            confirming: VecDeque::new(),
            lagging: VecDeque::new(),
            unconfirmed: Vec::new(),
            missed: VecDeque::new(),
            proposed: VecDeque::new(),
            leases_granted: 0,
            stood_still: false,
            slow: Vec::new(),
            stalled_until: SimTime::ZERO,
            overloaded_until: SimTime::ZERO,
            events_held_until: SimTime::ZERO,
        }
    }

    /// When something that the member hears at `heard` is applied: not before
    /// what it has heard earlier.
    pub(super) fn applies_at(&mut self, heard: SimTime) -> SimTime {
        self.slow.retain(|(until, _)| heard < *until);
        let lag: Duration = self.slow.iter().map(|(_, by)| *by).sum();
        let earlier = self.applies.back().map_or(SimTime::ZERO, |apply| apply.at);
        (heard + lag).max(self.stalled_until).max(earlier)
    }

    /// Somebody waits until everything up to `index` is applied.
    pub(super) fn lag_until(&mut self, index: u64, ticket: u64) {
        let after = self.lagging.back().map_or(0, |(index, _)| *index);
        self.lagging.push_back((index.max(after), ticket));
    }

    /// A proposal that came in here is carried out; the member hears of it when it
    /// has caught up.
    pub(super) fn applies_when_caught_up(&mut self, index: u64, ticket: u64) {
        self.missed.push_back((index, ticket));
    }

    /// Who waited for what the member had missed up to `index`.
    pub(super) fn take_missed(&mut self, index: u64) -> impl Iterator<Item = u64> + use<> {
        let count = self.missed.partition_point(|(missed, _)| *missed <= index);
        let missed: Vec<u64> = self
            .missed
            .drain(..count)
            .map(|(_, ticket)| ticket)
            .collect();
        missed.into_iter()
    }

    /// The member applies nothing before `until`.
    pub(super) fn stall(&mut self, until: SimTime) {
        self.stalled_until = self.stalled_until.max(until);
        for apply in &mut self.applies {
            apply.at = apply.at.max(until);
        }
    }

    /// Ends a [`stall`](Progress::stall): what it held back is due now.
    pub(super) fn go_on(&mut self, now: SimTime) {
        if self.stalled_until > now {
            for apply in &mut self.applies {
                if apply.at >= self.stalled_until {
                    apply.at = now;
                }
            }
            self.stalled_until = now;
        }
    }

    /// When something is due, at the earliest.
    pub(super) fn next_at(&self) -> SimTime {
        let apply = self.applies.front().map_or(NEVER, |apply| apply.at);
        let read = self.confirming.front().map_or(NEVER, |read| read.at);
        apply.min(read)
    }

    /// When somebody hears of something from the member, at the earliest. What it has
    /// heard of it may apply as late as that, if everybody who looks has it done first.
    pub(super) fn noticed_at(&self) -> SimTime {
        let read = self.confirming.front().map_or(NEVER, |read| read.at);
        let somebody_waits =
            self.watches.len() > 0 || !self.lagging.is_empty() || !self.missed.is_empty();
        let apply = if somebody_waits {
            self.applies.front()
        } else {
            self.first_awaited()
        };
        apply.map_or(NEVER, |apply| apply.at).min(read)
    }

    /// The first thing to be applied that somebody waits for, or one before it.
    fn first_awaited(&self) -> Option<&Apply> {
        /// More are rarely on their way.
        const LOOKS_AT: usize = 8;
        let mut first = self.applies.iter().take(LOOKS_AT);
        let awaited = first.find(|apply| apply.ticket.is_some());
        awaited.or(self.applies.get(LOOKS_AT))
    }

    /// A crash: what it was doing is gone.
    pub(super) fn lose_volatile(&mut self) {
        self.tokens.disable();
        self.hash_memory.forget();
        self.applies.clear();
        self.confirming.clear();
        self.lagging.clear();
        self.unconfirmed.clear();
        self.missed.clear();
        self.proposed.clear();
        self.stood_still = false;
        self.slow.clear();
        self.stalled_until = SimTime::ZERO;
        self.overloaded_until = SimTime::ZERO;
        self.events_held_until = SimTime::ZERO;
    }
}
