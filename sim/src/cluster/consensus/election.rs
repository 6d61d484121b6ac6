//! How a leader is lost and another one is found.
//!
//! While all is well nothing of this runs: heartbeats that arrive change nothing.
//! As soon as a member or a link fails, the cluster is looked at every 100 ms, as
//! often as a leader sends heartbeats, until all is well again.
//!
//! As in the library `raft` with `PreVote` and `CheckQuorum`, which etcd sets: who
//! has not heard from a leader for one to two election timeouts asks for votes; it
//! gets that of whoever has not heard from a leader either and has not more in its
//! log; its term goes up only when it wins. A leader that has not heard from a
//! quorum for an election timeout gives up.

use std::time::Duration;

use super::{Consensus, Effect, HEARTBEAT, MEMBERS_MAX, MemberId, NEVER};
use crate::executor::SimTime;
use crate::seed::mix;

impl<C> Consensus<C> {
    /// Something has changed about members or links: looks after the cluster
    /// until all is well again.
    pub(crate) fn disturbed(&mut self, now: SimTime) {
        if let Some(leader) = self.leader() {
            for member in 0..self.peers.len() {
                if member != leader && !self.in_touch(leader, member, now) {
                    self.falls_behind(member, now);
                }
            }
        }
        self.recount(now);
        let anybody_runs = (0..self.peers.len()).any(|member| self.takes_part(member));
        if !anybody_runs {
            self.next_tick = NEVER;
        } else if self.next_tick == NEVER && !self.is_well(now) {
            for member in 0..self.peers.len() {
                self.peers[member].heard_at = now;
                self.peers[member].contact = [now; MEMBERS_MAX];
                self.await_leader(member, now);
            }
            self.next_tick = now;
        }
        self.schedule();
    }

    /// What happens every 100 ms while not all is well.
    pub(super) fn tick(&mut self, now: SimTime) {
        self.send_heartbeats(now);
        self.check_quorums(now);
        self.hold_elections(now);
        let is_well = self.is_well(now);
        self.next_tick = if is_well { NEVER } else { now + HEARTBEAT };
    }

    /// Whether heartbeats would change nothing.
    fn is_well(&self, now: SimTime) -> bool {
        let Some(leader) = self.leader() else {
            return false;
        };
        let is_content = |member: MemberId| {
            let peer = &self.peers[member];
            let reached = member == leader || self.in_touch(leader, member, now);
            peer.is_removed || reached && peer.leader == Some(leader) && !peer.is_behind
        };
        self.has_quorum(leader, now) && (0..self.peers.len()).all(is_content)
    }

    fn send_heartbeats(&mut self, now: SimTime) {
        let members = 0..self.peers.len();
        let mut leaders: Vec<MemberId> = members
            .filter(|&member| self.runs(member) && self.peers[member].leader == Some(member))
            .collect();
        leaders.sort_by_key(|&leader| self.peers[leader].term);
        for leader in leaders {
            for member in 0..self.peers.len() {
                if member != leader && self.peers[leader].leader == Some(leader) {
                    self.send_heartbeat(leader, member, now);
                }
            }
        }
    }

    fn send_heartbeat(&mut self, leader: MemberId, member: MemberId, now: SimTime) {
        if !self.takes_part(member) || !self.links.is_open(leader, member, now) {
            return;
        }
        let is_answered = self.links.is_open(member, leader, now);
        let term = self.peers[leader].term;
        if term < self.peers[member].term {
            if is_answered {
                let newer = self.peers[member].term;
                self.peers[leader].term = newer;
                self.resign(leader, now);
            }
            return;
        }
        self.follow(member, leader, now);
        if is_answered {
            self.peers[leader].contact[member] = now;
            if self.leader == Some(leader) {
                self.plan_catch_up(member, now);
            }
        }
    }

    /// A member hears from a leader.
    fn follow(&mut self, member: MemberId, leader: MemberId, now: SimTime) {
        self.peers[member].term = self.peers[leader].term;
        self.peers[member].heard_at = now;
        self.await_leader(member, now);
        if self.peers[member].leader != Some(leader) {
            self.peers[member].leader = Some(leader);
            self.effects.push_back(Effect::LeaderChanged { member });
            self.release(member, now);
        }
    }

    /// Draws when a member loses patience: one to two election timeouts.
    fn await_leader(&mut self, member: MemberId, now: SimTime) {
        let timeout = u64::try_from(self.election_timeout.as_nanos()).unwrap_or(u64::MAX);
        let wait = timeout + self.draw(member) % timeout.max(1);
        self.peers[member].campaigns_at = now + Duration::from_nanos(wait);
    }

    pub(super) fn draw(&mut self, member: MemberId) -> u64 {
        let peer = &mut self.peers[member];
        peer.draws += 1;
        mix(self.seed ^ mix(0xe1ec_7104 + member as u64) ^ peer.draws)
    }

    fn check_quorums(&mut self, now: SimTime) {
        for leader in 0..self.peers.len() {
            if !self.runs(leader) || self.peers[leader].leader != Some(leader) {
                continue;
            }
            let recent = |at: SimTime| now.saturating_sub(at) <= self.election_timeout;
            let contact =
                |&member: &MemberId| member == leader || recent(self.peers[leader].contact[member]);
            let votes = (0..self.peers.len()).filter(|&member| self.votes(member));
            let contacts = votes.filter(contact).count() + self.voters.counted_as_there(now);
            if !self.voters.are_quorum(contacts) {
                self.resign(leader, now);
            }
        }
    }

    /// A leader leads no more.
    pub(super) fn resign(&mut self, leader: MemberId, now: SimTime) {
        self.peers[leader].leader = None;
        self.await_leader(leader, now);
        if self.leader == Some(leader) {
            self.leader = None;
            self.recount(now);
            self.effects.push_back(Effect::Demoted);
        }
    }

    fn hold_elections(&mut self, now: SimTime) {
        let mut candidates: Vec<MemberId> = (0..self.peers.len()).collect();
        candidates.sort_by_key(|&member| self.peers[member].campaigns_at);
        for member in candidates {
            let peer = &self.peers[member];
            if !self.takes_part(member) || peer.leader == Some(member) || peer.campaigns_at > now {
                continue;
            }
            // Who stands for election follows nobody.
            self.peers[member].leader = None;
            if now >= self.elections_from && self.would_win(member, now) {
                self.elect(member, now, true);
            } else {
                self.await_leader(member, now);
            }
        }
    }

    /// Whether a quorum would vote for a member.
    fn would_win(&self, candidate: MemberId, now: SimTime) -> bool {
        let voters = (0..self.peers.len()).filter(|&voter| self.votes_for(voter, candidate, now));
        self.voters.are_quorum(voters.count())
    }

    fn votes_for(&self, voter: MemberId, candidate: MemberId, now: SimTime) -> bool {
        if voter == candidate {
            return true;
        }
        let peer = &self.peers[voter];
        let heard_lately = now.saturating_sub(peer.heard_at) < self.election_timeout;
        let is_content = peer.leader == Some(voter) || peer.leader.is_some() && heard_lately;
        self.in_touch(candidate, voter, now)
            && !is_content
            && self.length(candidate, now) >= self.length(voter, now)
    }

    /// Whether a member could take over: it is as far as a quorum that it can
    /// talk to.
    fn could_lead(&self, member: MemberId, now: SimTime) -> bool {
        let supports = |&voter: &MemberId| {
            voter == member
                || self.in_touch(member, voter, now)
                    && self.length(member, now) >= self.length(voter, now).min(self.committed)
        };
        self.takes_part(member)
            && self.length(member, now) >= self.committed
            && self
                .voters
                .are_quorum((0..self.peers.len()).filter(supports).count())
    }

    /// A member becomes leader. Everybody that it can reach hears of that at once.
    fn elect(&mut self, leader: MemberId, now: SimTime, drops: bool) {
        let received = |entry: &super::Entry<C>| entry.received[leader] <= now;
        let keep = match drops {
            true => self.log.iter().take_while(|entry| received(entry)).count(),
            false => self.log.len(),
        };
        let term = self.peers.iter().map(|peer| peer.term).max().unwrap_or(0) + 1;
        let had_leader = self.leader.is_some();
        self.leader = Some(leader);
        self.transfers_until = SimTime::ZERO;
        let peer = &mut self.peers[leader];
        (peer.term, peer.leader, peer.elected_at) = (term, Some(leader), now);
        peer.contact = [now; MEMBERS_MAX];
        (peer.is_behind, peer.catches_up_at) = (false, NEVER);
        for member in 0..self.peers.len() {
            if member == leader {
                continue;
            }
            if self.in_touch(leader, member, now) {
                if !self.peers[member].is_behind {
                    continue;
                }
                self.peers[member].catches_up_at = NEVER;
                self.plan_catch_up(member, now);
            } else {
                self.falls_behind(member, now);
            }
        }
        self.adopt_log(leader, keep, now);
        // Its first entry, an empty one, must be committed before it answers reads.
        self.reads_from = self.quorum_confirms(leader, now).unwrap_or(NEVER);
        if had_leader {
            self.effects.push_back(Effect::Demoted);
        }
        self.effects.push_back(Effect::CaughtUp {
            member: leader,
            leads: true,
        });
        self.effects.push_back(Effect::Promoted);
        self.effects
            .push_back(Effect::LeaderChanged { member: leader });
        self.release(leader, now);
        for member in 0..self.peers.len() {
            let reached = self.takes_part(member) && self.links.is_open(leader, member, now);
            if member != leader && reached {
                self.follow(member, leader, now);
            }
        }
        self.schedule();
    }

    /// Another member takes the lead, as after `etcdctl move-leader` or a hiccup
    /// of the old one. What was not committed is dropped, or else it survives.
    /// The chosen member, or else any; false when none could lead.
    pub(crate) fn change_leader(
        &mut self,
        chosen: Option<MemberId>,
        drops: bool,
        now: SimTime,
    ) -> bool {
        let Some(old) = self.leader() else {
            return false;
        };
        let fits = |&member: &MemberId| member != old && self.could_lead(member, now);
        let next = match chosen {
            Some(member) => {
                Some(member).filter(|member| *member < self.peers.len() && fits(member))
            }
            None => {
                let first = old + 1 + (self.draw(old) as usize) % self.peers.len();
                let mut members = (first..first + self.peers.len()).map(|m| m % self.peers.len());
                members.find(|member| *member != old && self.could_lead(*member, now))
            }
        };
        let Some(next) = next else { return false };
        if drops {
            self.log.clear();
        }
        self.disturbed(now);
        self.elect(next, now, drops);
        true
    }

    /// The leader is to hand over its lead, and takes nothing in before `until`. After an
    /// election timeout it gives up (`tickHeartbeat` in the library `raft`). False when
    /// there is none, or nobody else.
    pub(crate) fn begin_transfer(&mut self, until: SimTime, now: SimTime) -> bool {
        let can = self.leader().is_some() && !self.is_single();
        if can {
            self.transfers_until = until.min(now + self.election_timeout);
        }
        can
    }

    /// Whether the leader hands over its lead, and has not given up before `at`.
    pub(crate) fn transfers_until(&self, at: SimTime) -> bool {
        at <= self.transfers_until && self.leader().is_some()
    }

    /// The leader gives up, and nobody stands for election before `until`. False
    /// when there was none.
    pub(crate) fn lose_leader(&mut self, until: SimTime, now: SimTime) -> bool {
        let had = self.leader.is_some();
        self.elections_from = self.elections_from.max(until);
        for member in 0..self.peers.len() {
            self.peers[member].leader = None;
        }
        if let Some(leader) = self.leader {
            self.resign(leader, now);
        }
        self.disturbed(now);
        had
    }

    /// The process of a member dies, with what it was about to pass on.
    pub(crate) fn crash(&mut self, member: MemberId, now: SimTime) {
        if self.leader == Some(member) {
            self.resign(member, now);
        }
        self.falls_behind(member, now);
        let peer = &mut self.peers[member];
        (peer.is_up, peer.is_paused, peer.leader) = (false, false, None);
        peer.forwarded.clear();
        peer.held.clear();
        peer.unread.clear();
        self.disturbed(now);
    }

    /// The process of a member is there again.
    pub(crate) fn restart(&mut self, member: MemberId, now: SimTime) {
        self.peers[member].is_up = true;
        self.peers[member].up_since = now;
        self.peers[member].heard_at = now;
        self.await_leader(member, now);
        if self.is_single() {
            self.elect(member, now, false);
        }
        self.disturbed(now);
    }

    /// The process of a member stands still.
    pub(crate) fn pause(&mut self, member: MemberId, now: SimTime) {
        self.peers[member].is_paused = true;
        self.disturbed(now);
    }

    /// The process of a member goes on. It first learns what happened meanwhile,
    /// if somebody can tell: a leader that finds another one in its place follows.
    pub(crate) fn resume(&mut self, member: MemberId, now: SimTime) {
        self.peers[member].is_paused = false;
        let is_deposed = self.peers[member].leader == Some(member) && self.leader != Some(member);
        if is_deposed && self.takes_in_first(member) {
            self.peers[member].unread.clear();
        }
        if let Some(leader) = self.leader
            && leader != member
            && self.in_touch(leader, member, now)
        {
            self.follow(member, leader, now);
            self.plan_catch_up(member, now);
        }
        self.read_on(member, now);
        self.disturbed(now);
    }

    /// Whether a member takes in what it has not read yet before it hears that another one
    /// leads: then that is lost. It seldom does.
    fn takes_in_first(&mut self, member: MemberId) -> bool {
        !self.peers[member].unread.is_empty() && self.draw(member).is_multiple_of(8)
    }

    /// Messages from one member to another are lost until `until`.
    pub(crate) fn cut(&mut self, from: MemberId, to: MemberId, until: SimTime, now: SimTime) {
        self.links.cut(from, to, until);
        self.disturbed(now);
    }

    /// Messages from one member to another take longer until `until`.
    pub(crate) fn slow_down(
        &mut self,
        link: (MemberId, MemberId),
        until: SimTime,
        by: Duration,
        jitter: Duration,
    ) {
        self.links.slow_down(link, until, by, jitter);
    }

    /// Ends everything that hinders links and elections.
    pub(crate) fn heal(&mut self, now: SimTime) {
        self.links.heal(now);
        self.elections_from = self.elections_from.min(now);
        if !self.is_well(now) {
            self.disturbed(now);
        }
    }
}
