//! Whose votes count, and when they are enough.
//!
//! The members that a cluster begins with vote until they are removed. One that is added
//! never starts: its vote counts, and nobody ever gives it.

use std::time::Duration;

use super::{Consensus, MEMBERS_MAX, MemberId, NEVER};
use crate::executor::SimTime;

/// For how long members must be connected before the cluster may be changed
/// (`HealthInterval` in etcd's `server/etcdserver/server.go`).
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);

/// How many votes there are.
pub(super) struct Voters {
    /// Of members that have started.
    started: usize,
    /// Of members that were added.
    unstarted: usize,
    /// Until when a leader does not miss the latter: who was just added counts as there
    /// until the leader has looked after its quorum once (`RecentActive` in the library
    /// `raft`).
    unmissed_until: SimTime,
}

impl Voters {
    pub(super) fn new(started: usize) -> Self {
        Voters {
            started,
            unstarted: 0,
            unmissed_until: SimTime::ZERO,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.started + self.unstarted
    }

    /// Whether so many votes are a majority.
    pub(super) fn are_quorum(&self, votes: usize) -> bool {
        votes > self.count() / 2
    }

    /// How many of those that were added a leader does not miss yet.
    pub(super) fn counted_as_there(&self, now: SimTime) -> usize {
        if now < self.unmissed_until {
            self.unstarted
        } else {
            0
        }
    }
}

impl<C> Consensus<C> {
    /// A member that votes was added. It never starts.
    pub(crate) fn add_voter(&mut self, now: SimTime) {
        let patience = self.election_timeout + self.patience_of_leader();
        self.voters.unstarted += 1;
        self.voters.unmissed_until = now + patience;
        self.recount(now);
        self.disturbed(now);
    }

    /// The same one was removed.
    pub(crate) fn remove_voter(&mut self, now: SimTime) {
        self.voters.unstarted -= 1;
        self.recount(now);
        self.disturbed(now);
    }

    /// A member that had started was removed: nobody talks to it any more. One that leads
    /// goes on until its process ends.
    pub(crate) fn remove(&mut self, member: MemberId, now: SimTime) {
        if std::mem::replace(&mut self.peers[member].is_removed, true) {
            return;
        }
        self.voters.started -= 1;
        if self.leader != Some(member) {
            self.falls_behind(member, now);
        }
        for entry in &mut self.log {
            entry.confirmed[member] = NEVER;
        }
        self.recount(now);
        self.disturbed(now);
    }

    /// Whether a member was removed.
    pub(crate) fn is_removed(&self, member: MemberId) -> bool {
        self.peers[member].is_removed
    }

    /// With how many voting members, itself included, a member has been connected for
    /// some time (`numConnectedSince` in etcd's `server/etcdserver/util.go`).
    pub(crate) fn connected_for_long(&self, member: MemberId, now: SimTime) -> usize {
        let start = now.saturating_sub(SimTime::ZERO);
        let start = SimTime::ZERO + start.saturating_sub(HEALTH_INTERVAL);
        let long = |&other: &MemberId| {
            let since = self.peers[member].up_since.max(self.peers[other].up_since);
            let lasts = since < start && self.links.was_open_since(member, other, start);
            other == member || self.is_connected(other) && lasts
        };
        let voters = (0..self.peers.len()).filter(|&other| self.votes(other));
        voters.filter(long).count()
    }

    /// Whether the process of a member is there, and belongs to the cluster.
    pub(crate) fn is_connected(&self, member: MemberId) -> bool {
        self.peers[member].is_up && !self.peers[member].is_removed
    }

    /// Whether the vote of a member that has started counts.
    pub(super) fn votes(&self, member: MemberId) -> bool {
        !self.peers[member].is_removed
    }

    /// Whether a member runs and belongs to the cluster.
    pub(super) fn takes_part(&self, member: MemberId) -> bool {
        self.runs(member) && self.votes(member)
    }

    /// When a leader has its own vote, which it has at `now`.
    pub(super) fn own_vote(&self, leader: MemberId, now: SimTime) -> SimTime {
        if self.votes(leader) { now } else { NEVER }
    }

    /// The time at which a quorum of the times has come.
    pub(super) fn quorum_of(&self, mut times: [SimTime; MEMBERS_MAX]) -> SimTime {
        let times = &mut times[..self.peers.len()];
        times.sort_unstable();
        let last = times.get(self.voters.count() / 2);
        last.copied().unwrap_or(NEVER)
    }

    /// Whether a leader can talk to a quorum.
    pub(super) fn has_quorum(&self, leader: MemberId, now: SimTime) -> bool {
        let reaches = |&member: &MemberId| {
            self.votes(member) && (member == leader || self.in_touch(leader, member, now))
        };
        let reached = (0..self.peers.len()).filter(reaches).count();
        self.voters.are_quorum(reached)
    }

    /// How much longer than an election timeout a leader waits for its quorum.
    fn patience_of_leader(&mut self) -> Duration {
        let Some(leader) = self.leader else {
            return Duration::ZERO;
        };
        let timeout = u64::try_from(self.election_timeout.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.draw(leader) % timeout.max(1))
    }
}
