//! Proposals on their way into the history.

use super::{Consensus, Effect, HEARTBEAT, MEMBERS_MAX, MemberId, NEVER, Proposal};
use crate::executor::SimTime;

/// A proposal that the leader has appended and that is not committed.
pub(super) struct Entry<C> {
    pub(super) proposal: Proposal<C>,
    /// When each member has it; [`NEVER`] for one that is behind.
    pub(super) received: [SimTime; MEMBERS_MAX],
    /// When the leader knows that each member has it.
    pub(super) confirmed: [SimTime; MEMBERS_MAX],
    /// When the leader knows that a quorum has it, and everything before.
    pub(super) commits_at: SimTime,
}

impl<C> Consensus<C> {
    /// A member takes in a proposal: it goes to the leader that the member
    /// believes in, or waits until there is one. Where that one is not the
    /// leader any more, or cannot be reached, the proposal is lost.
    pub(crate) fn propose(&mut self, proposal: Proposal<C>, now: SimTime) {
        self.hand_over(proposal.origin, proposal, now);
        self.schedule();
    }

    fn hand_over(&mut self, member: MemberId, proposal: Proposal<C>, now: SimTime) {
        match self.peers[member].leader {
            None => self.peers[member].held.push(proposal),
            Some(leader) if leader == member => self.append(member, proposal, now),
            Some(leader) => {
                let belongs = !self.peers[member].is_removed;
                if belongs && self.links.is_open(member, leader, now) {
                    let at = self.links.arrival(member, leader, now);
                    let forwarded = &mut self.peers[member].forwarded;
                    forwarded.push_back((at, leader, proposal));
                }
            }
        }
    }

    /// A proposal of another member arrives. Who does not lead passes it on once
    /// more, if it knows to whom (`stepFollower` in the library `raft`). Who stands still
    /// finds it when it goes on.
    pub(super) fn arrives(&mut self, at: MemberId, proposal: Proposal<C>, now: SimTime) {
        let peer = &mut self.peers[at];
        if !peer.is_up {
            return;
        }
        if peer.is_paused {
            return peer.unread.push(proposal);
        }
        match peer.leader {
            Some(leader) if leader == at => self.append(at, proposal, now),
            Some(_) => self.hand_over(at, proposal, now),
            None => {}
        }
    }

    /// Reads what has arrived while the member stood still.
    pub(super) fn read_on(&mut self, member: MemberId, now: SimTime) {
        for proposal in std::mem::take(&mut self.peers[member].unread) {
            self.arrives(member, proposal, now);
        }
    }

    /// Passes on what waited for a leader.
    pub(super) fn release(&mut self, member: MemberId, now: SimTime) {
        for proposal in std::mem::take(&mut self.peers[member].held) {
            self.hand_over(member, proposal, now);
        }
    }

    /// Nobody waits for a proposal any more that still waits for a leader: it is
    /// not made. Whether it did.
    pub(crate) fn withdraw(&mut self, member: MemberId, ticket: u64) -> bool {
        let held = &mut self.peers[member].held;
        let before = held.len();
        held.retain(|proposal| proposal.ticket != ticket);
        held.len() < before
    }

    fn append(&mut self, leader: MemberId, proposal: Proposal<C>, now: SimTime) {
        // One that only believes that it leads never reaches a quorum.
        if self.leader != Some(leader) {
            return;
        }
        if now < self.transfers_until {
            // Who has passed it on is not told (`stepLeader` in the library `raft`).
            if proposal.origin == leader {
                self.effects.push_back(Effect::Dropped(proposal));
            }
            return;
        }
        let mut entry = Entry {
            proposal,
            received: [NEVER; MEMBERS_MAX],
            confirmed: [NEVER; MEMBERS_MAX],
            commits_at: NEVER,
        };
        entry.received[leader] = now;
        entry.confirmed[leader] = self.own_vote(leader, now);
        for member in 0..self.peers.len() {
            if member != leader && !self.peers[member].is_behind {
                entry.received[member] = self.links.arrival(leader, member, now);
                let back = entry.received[member];
                entry.confirmed[member] = self.links.arrival(member, leader, back);
            }
        }
        let previous = self.log.back().map_or(now, |entry| entry.commits_at);
        entry.commits_at = match self.leader() {
            Some(_) => self.quorum_of(entry.confirmed).max(previous),
            None => NEVER,
        };
        self.log.push_back(entry);
        self.commit_due(now);
    }

    /// Commits what a quorum has confirmed by now.
    pub(super) fn commit_due(&mut self, now: SimTime) {
        while let Some(entry) = self.log.front()
            && entry.commits_at <= now
            && let Some(leader) = self.leader()
            && let Some(entry) = self.log.pop_front()
        {
            self.committed += 1;
            let at = entry.commits_at;
            let mut heard_at = [NEVER; MEMBERS_MAX];
            heard_at[leader] = at;
            for (member, heard_at) in heard_at.iter_mut().enumerate().take(self.peers.len()) {
                if member == leader || self.peers[member].is_behind {
                    continue;
                }
                *heard_at = self
                    .links
                    .arrival(leader, member, at)
                    .max(entry.received[member]);
            }
            self.effects.push_back(Effect::Commit {
                proposal: entry.proposal,
                heard_at,
            });
        }
    }

    /// How many entries a member has, committed ones included.
    pub(super) fn length(&self, member: MemberId, now: SimTime) -> u64 {
        let peer = &self.peers[member];
        if peer.is_behind {
            return peer.had;
        }
        let received = |entry: &&Entry<C>| entry.received[member] <= now;
        self.committed + self.log.iter().take_while(received).count() as u64
    }

    /// From now on a member misses what happens.
    pub(super) fn falls_behind(&mut self, member: MemberId, now: SimTime) {
        self.peers[member].catches_up_at = NEVER;
        if self.peers[member].is_behind {
            return;
        }
        self.peers[member].had = self.length(member, now);
        self.peers[member].is_behind = true;
        for entry in &mut self.log {
            if entry.received[member] > now {
                entry.received[member] = NEVER;
            }
            if entry.confirmed[member] > now {
                entry.confirmed[member] = NEVER;
            }
        }
        self.recount(now);
    }

    /// A member that can be reached again will be brought up to date: the leader
    /// learns with the answer to a heartbeat what it lacks.
    pub(super) fn plan_catch_up(&mut self, member: MemberId, now: SimTime) {
        if self.peers[member].is_behind && self.peers[member].catches_up_at == NEVER {
            let wait = self.draw(member) % (HEARTBEAT.as_nanos() as u64);
            self.peers[member].catches_up_at = now + std::time::Duration::from_nanos(wait);
        }
    }

    pub(super) fn catch_up(&mut self, member: MemberId, now: SimTime) {
        self.peers[member].catches_up_at = NEVER;
        let Some(leader) = self.leader() else { return };
        if !self.in_touch(leader, member, now) {
            return;
        }
        self.peers[member].is_behind = false;
        let received = self.links.arrival(leader, member, now);
        let confirmed = self.links.arrival(member, leader, received);
        for entry in &mut self.log {
            entry.received[member] = received;
            entry.confirmed[member] = confirmed;
        }
        let leads = false;
        self.effects.push_back(Effect::CaughtUp { member, leads });
        self.recount(now);
    }

    /// A new leader sends what it has; what it has not is dropped.
    pub(super) fn adopt_log(&mut self, leader: MemberId, keep: usize, now: SimTime) {
        self.log.truncate(keep);
        let length = self.committed + keep as u64;
        for peer in &mut self.peers {
            peer.had = peer.had.min(length);
        }
        for member in 0..self.peers.len() {
            let (received, confirmed) = if member == leader {
                (now, self.own_vote(leader, now))
            } else if self.in_touch(leader, member, now) && !self.peers[member].is_behind {
                let received = self.links.arrival(leader, member, now);
                (received, self.links.arrival(member, leader, received))
            } else {
                (NEVER, NEVER)
            };
            for entry in &mut self.log {
                entry.received[member] = entry.received[member].min(received);
                entry.confirmed[member] = confirmed;
            }
        }
        self.recount(now);
    }

    /// Finds out anew when each entry will be committed.
    pub(super) fn recount(&mut self, now: SimTime) {
        let can_commit = self.leader().is_some();
        let mut previous = now;
        for index in 0..self.log.len() {
            let at = match can_commit {
                true => self.quorum_of(self.log[index].confirmed).max(previous),
                false => NEVER,
            };
            self.log[index].commits_at = at;
            previous = at;
        }
    }
}
