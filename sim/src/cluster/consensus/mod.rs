//! How members agree on one history: who leads, what is committed, and when each
//! member hears of it.
//!
//! A model of Raft as etcd runs it (`server/etcdserver/raft.go`, and the library
//! `raft` with `PreVote` and `CheckQuorum`), not an implementation: no member has
//! a log of its own and no message is a thing. When the leader appends a
//! proposal, the delays of the links say when each follower will have it and
//! when the leader will know; the proposal is committed when a quorum has
//! confirmed it, and each member hears of that a message later. A member that
//! nothing reaches is *behind*; it is brought up to date when it can be reached
//! again. What a leader had not committed when it was lost survives if the next
//! leader has received it, and is dropped otherwise.
//!
//! Pure: time is an argument, [`Consensus::next_at`] says when something is due
//! and [`Consensus::step`] does it, and what others have to do about it comes out
//! as an [`Effect`].
//!
//! - `links`: the network between members.
//! - `log`: proposals that are not committed yet.
//! - `election`: the ticks in which leaders are lost and found.
//! - `voters`: whose votes count.

mod election;
mod links;
mod log;
mod voters;

use std::collections::VecDeque;
use std::time::Duration;

use crate::executor::SimTime;
use crate::plan::Latency;
use links::Links;
use log::Entry;
use voters::Voters;

/// A member of a cluster, counted from 0.
pub(crate) type MemberId = usize;

/// The largest cluster.
pub(crate) const MEMBERS_MAX: usize = 5;

/// A time that does not come.
pub(crate) const NEVER: SimTime = SimTime::from_nanos(u64::MAX);

/// How often a leader sends heartbeats (`--heartbeat-interval`). In a real cluster, of
/// 3.4.23, a follower wrote 102 to 107 ms after the lead had been handed over, half of the
/// times within 103 ms: whoever hands it over is answered by one of these ticks.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(100);

/// A request that is to become part of the history.
#[derive(Debug)]
pub(crate) struct Proposal<C> {
    /// Where it came in.
    pub(crate) origin: MemberId,
    /// By which the origin knows who waits for it.
    pub(crate) ticket: u64,
    pub(crate) command: C,
}

/// What others have to do.
#[derive(Debug)]
pub(crate) enum Effect<C> {
    /// A proposal is committed: it takes its place in the history now. Each
    /// member hears of it at its time, [`NEVER`] if it is behind.
    Commit {
        proposal: Proposal<C>,
        heard_at: [SimTime; MEMBERS_MAX],
    },
    /// A member that was behind hears of everything that is committed: it leads, or
    /// the leader has brought it up to date.
    CaughtUp { member: MemberId, leads: bool },
    /// A member leads: it keeps the time of leases.
    Promoted,
    /// Nobody keeps the time of leases.
    Demoted,
    /// A member has learned of another leader than the one that it knew.
    LeaderChanged { member: MemberId },
    /// The leader has not taken a proposal of its own in, because it hands over its lead.
    Dropped(Proposal<C>),
}

/// What the model knows about one member.
struct Peer<C> {
    is_up: bool,
    /// Since when it is.
    up_since: SimTime,
    is_paused: bool,
    /// It belongs to the cluster no more.
    is_removed: bool,
    /// Whom it believes to lead.
    leader: Option<MemberId>,
    term: u64,
    /// When it was last elected itself.
    elected_at: SimTime,
    /// When it last heard from its leader.
    heard_at: SimTime,
    /// When it will stand for election, unless it hears from a leader.
    campaigns_at: SimTime,
    /// As a leader: when it last heard from each of the others.
    contact: [SimTime; MEMBERS_MAX],
    /// It has missed something and has to be brought up to date.
    is_behind: bool,
    /// How many entries it had when it fell behind.
    had: u64,
    catches_up_at: SimTime,
    /// How often it has drawn a time of an election.
    draws: u64,
    /// Proposals on their way to a leader.
    forwarded: VecDeque<(SimTime, MemberId, Proposal<C>)>,
    /// Proposals that wait until it knows a leader.
    held: Vec<Proposal<C>>,
    /// Proposals of others that have arrived while it stood still.
    unread: Vec<Proposal<C>>,
}

/// What a linearizable read has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadIndex {
    /// When the leader has confirmed that it leads.
    pub(crate) confirmed_at: SimTime,
    /// What the member must have applied by then.
    pub(crate) index: u64,
}

/// Agreement among the members of a cluster.
///
/// # Invariants
/// - `leader` is the member that leads in the highest term; it is up. Others may
///   believe that they lead, but nothing that they append is ever committed.
/// - `log` holds the entries that `leader` has and that are not committed. Each
///   entry is held by a prefix of time: who has received one has received all
///   before it.
pub(crate) struct Consensus<C> {
    seed: u64,
    election_timeout: Duration,
    links: Links,
    peers: Vec<Peer<C>>,
    voters: Voters,
    leader: Option<MemberId>,
    /// From when on the leader may answer reads: when it has committed an entry
    /// of its own term.
    reads_from: SimTime,
    log: VecDeque<Entry<C>>,
    committed: u64,
    /// Nobody stands for election before.
    elections_from: SimTime,
    /// The leader hands over its lead until then, and takes nothing in.
    transfers_until: SimTime,
    next_tick: SimTime,
    effects: VecDeque<Effect<C>>,
    /// When something is due, at the earliest.
    next_at: SimTime,
}

/// What a cluster is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConsensusOptions {
    pub(crate) members: usize,
    pub(crate) seed: u64,
    pub(crate) latency: Latency,
    pub(crate) term: u64,
    pub(crate) election_timeout: Duration,
}

impl<C> Consensus<C> {
    /// A cluster of which nothing runs yet.
    pub(crate) fn new(options: ConsensusOptions) -> Self {
        assert!(
            (1..=MEMBERS_MAX).contains(&options.members),
            "a cluster has 1 to {MEMBERS_MAX} members"
        );
        let peer = |_| Peer {
            is_up: false,
            up_since: SimTime::ZERO,
            is_paused: false,
            is_removed: false,
            leader: None,
            term: options.term,
            elected_at: SimTime::ZERO,
            heard_at: SimTime::ZERO,
            campaigns_at: NEVER,
            contact: [SimTime::ZERO; MEMBERS_MAX],
            is_behind: false,
            had: 0,
            catches_up_at: NEVER,
            draws: 0,
            forwarded: VecDeque::new(),
            held: Vec::new(),
            unread: Vec::new(),
        };
        Consensus {
            seed: options.seed,
            election_timeout: options.election_timeout,
            links: Links::new(options.seed, options.latency),
            peers: (0..options.members).map(peer).collect(),
            voters: Voters::new(options.members),
            leader: None,
            reads_from: SimTime::ZERO,
            log: VecDeque::new(),
            committed: 0,
            elections_from: SimTime::ZERO,
            transfers_until: SimTime::ZERO,
            next_tick: NEVER,
            effects: VecDeque::new(),
            next_at: NEVER,
        }
    }

    /// All members start together and agree on a leader at once.
    pub(crate) fn begin(&mut self, leader: MemberId, now: SimTime) {
        for peer in &mut self.peers {
            peer.is_up = true;
            peer.up_since = now;
            peer.leader = Some(leader);
            peer.heard_at = now;
        }
        self.leader = Some(leader);
        self.effects.push_back(Effect::Promoted);
    }

    /// Whether there is one member, which agrees with itself.
    pub(crate) fn is_single(&self) -> bool {
        self.peers.len() == 1 && self.voters.count() == 1
    }

    /// The member that leads, if there is one that can.
    pub(crate) fn leader(&self) -> Option<MemberId> {
        self.leader.filter(|&leader| self.runs(leader))
    }

    /// Whom a member believes to lead.
    pub(crate) fn leader_of(&self, member: MemberId) -> Option<MemberId> {
        self.peers[member].leader
    }

    /// The term that a member is in.
    pub(crate) fn term_of(&self, member: MemberId) -> u64 {
        self.peers[member].term
    }

    /// Whether a proposal of the only member would be committed at once.
    pub(crate) fn agrees_at_once(&self) -> bool {
        self.is_single() && self.log.is_empty() && self.leader().is_some()
    }

    /// Counts a proposal of the only member that is committed at once.
    pub(crate) fn commit_at_once(&mut self) {
        debug_assert!(self.agrees_at_once());
        self.committed += 1;
    }

    /// When something is due, at the earliest; [`NEVER`] when nothing is.
    pub(crate) fn next_at(&self) -> SimTime {
        self.next_at
    }

    /// When a member can notice that something has happened, at the earliest: what is
    /// due before may be done as late as that, if everybody who looks has it done
    /// first. Others than the leader hear of what is committed a message later, and
    /// what is on its way to the leader is committed two messages after it has arrived.
    ///
    /// `at_once` says of a proposal whether it is noticed as soon as it is committed.
    pub(crate) fn noticed_at(&self, at_once: impl Fn(&Proposal<C>) -> bool) -> SimTime {
        /// More are rarely on their way.
        const LOOKS_AT: usize = 8;
        let shortest = self.links.shortest();
        let mut noticed = self.next_tick;
        for (number, entry) in self.log.iter().enumerate().take(LOOKS_AT) {
            let proposal = &entry.proposal;
            let is_last = number + 1 == LOOKS_AT;
            if is_last || self.leader == Some(proposal.origin) || at_once(proposal) {
                noticed = noticed.min(entry.commits_at);
                break;
            }
            noticed = noticed.min(entry.commits_at + shortest);
        }
        for peer in &self.peers {
            noticed = noticed.min(peer.catches_up_at);
            if let Some((at, ..)) = peer.forwarded.front() {
                noticed = noticed.min(*at + 2 * shortest);
            }
        }
        noticed
    }

    /// The next thing that others have to do.
    pub(crate) fn next_effect(&mut self) -> Option<Effect<C>> {
        self.effects.pop_front()
    }

    /// Does what is due at `at`, which is [`Consensus::next_at`].
    pub(crate) fn step(&mut self, at: SimTime) {
        for origin in 0..self.peers.len() {
            while let Some((due, ..)) = self.peers[origin].forwarded.front()
                && *due <= at
                && let Some((due, to, proposal)) = self.peers[origin].forwarded.pop_front()
            {
                self.arrives(to, proposal, due);
            }
        }
        self.commit_due(at);
        for member in 0..self.peers.len() {
            if self.peers[member].catches_up_at <= at {
                self.catch_up(member, at);
            }
        }
        if self.next_tick <= at {
            self.tick(at);
        }
        self.schedule();
    }

    /// Finds out when something is due. To be called after every change.
    fn schedule(&mut self) {
        let mut next = self.next_tick;
        if let Some(entry) = self.log.front() {
            next = next.min(entry.commits_at);
        }
        for peer in &self.peers {
            next = next.min(peer.catches_up_at);
            if let Some((at, ..)) = peer.forwarded.front() {
                next = next.min(*at);
            }
        }
        self.next_at = next;
    }

    /// What a linearizable read that a member has received must wait for. None
    /// when nobody can say: it is to be asked again later.
    pub(crate) fn read_index(&mut self, member: MemberId, now: SimTime) -> Option<ReadIndex> {
        let leader = self.peers[member].leader?;
        if self.leader() != Some(leader) || !self.can_ask(member, leader, now) {
            return None;
        }
        let index = self.committed;
        let asked = self.way(member, leader, now);
        let confirmed = self.quorum_confirms(leader, asked)?.max(self.reads_from);
        let confirmed_at = self.way(leader, member, confirmed);
        (confirmed_at != NEVER).then_some(ReadIndex {
            confirmed_at,
            index,
        })
    }

    /// How a member gets an answer from the leader that does not take part in the
    /// history: when the question is there, and when the answer is back. None
    /// while it knows no leader or cannot reach it.
    pub(crate) fn ask_leader(
        &mut self,
        member: MemberId,
        now: SimTime,
    ) -> Option<(SimTime, SimTime)> {
        let leader = self.peers[member].leader?;
        if self.leader() != Some(leader)
            || !self.can_ask(member, leader, now)
            || !self.has_quorum(leader, now)
        {
            return None;
        }
        let there = self.way(member, leader, now);
        Some((there, self.way(leader, member, there)))
    }

    fn can_ask(&self, member: MemberId, leader: MemberId, now: SimTime) -> bool {
        member == leader
            || !self.peers[member].is_removed && self.links.is_open_both_ways(member, leader, now)
    }

    fn way(&mut self, from: MemberId, to: MemberId, sent: SimTime) -> SimTime {
        if from == to {
            sent
        } else {
            self.links.arrival(from, to, sent)
        }
    }

    /// When a quorum has answered a heartbeat of the leader that is sent at
    /// `sent`.
    fn quorum_confirms(&mut self, leader: MemberId, sent: SimTime) -> Option<SimTime> {
        let mut answers = [NEVER; MEMBERS_MAX];
        for (member, answer) in answers.iter_mut().enumerate().take(self.peers.len()) {
            if member == leader {
                *answer = self.own_vote(leader, sent);
            } else if self.in_touch(leader, member, sent) {
                *answer = self.links.round_trip(leader, member, sent);
            }
        }
        let at = self.quorum_of(answers);
        (at != NEVER).then_some(at)
    }

    /// Whether a member can talk to another one that belongs to the cluster, and both
    /// run.
    fn in_touch(&self, member: MemberId, other: MemberId, now: SimTime) -> bool {
        self.runs(member)
            && self.runs(other)
            && !self.peers[other].is_removed
            && self.links.is_open_both_ways(member, other, now)
    }

    /// Whether a member is still to be brought up to date.
    pub(crate) fn is_behind(&self, member: MemberId) -> bool {
        self.peers[member].is_behind
    }

    fn runs(&self, member: MemberId) -> bool {
        let peer = &self.peers[member];
        peer.is_up && !peer.is_paused
    }

    /// Why a request that a member has taken in at `start` has come to nothing
    /// (`parseProposeCtxErr` in etcd's `server/etcdserver/server.go`).
    pub(crate) fn blame(&self, member: MemberId, start: SimTime) -> Blame {
        let peer = &self.peers[member];
        // Others than the new leader do not count who led before.
        let lost = peer
            .elected_at
            .saturating_sub(SimTime::ZERO)
            .saturating_sub(2 * self.election_timeout);
        if start > SimTime::ZERO + lost && start < peer.elected_at {
            return Blame::LeaderFailed;
        }
        let connected = |other: MemberId| {
            let peer = &self.peers[other];
            peer.is_up && !peer.is_removed && self.links.was_open_since(member, other, start)
        };
        let is_connected = match peer.leader {
            None => return Blame::Nobody,
            Some(leader) if leader == member => {
                let others = (0..self.peers.len()).filter(|&other| other != member);
                self.voters
                    .are_quorum(1 + others.filter(|&other| connected(other)).count())
            }
            Some(leader) => connected(leader),
        };
        if is_connected {
            Blame::Nobody
        } else {
            Blame::Connection
        }
    }
}

/// What a member holds responsible for a request that came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    Nobody,
    LeaderFailed,
    Connection,
}
