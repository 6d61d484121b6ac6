//! What a cluster knows: one history, and how far each member is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;
use std::time::Duration;

use etcd_client::proto::PbResponseHeader;
use tonic::Status;

use super::access::{Alarms, CORRUPT, NO_SPACE};
use super::command::{Command, Executed, Outcome, Request};
use super::consensus::{
    Blame, Consensus, ConsensusOptions, Effect, MEMBERS_MAX, MemberId, NEVER, Proposal,
};
use super::error::ClusterError;
use super::event::{ClusterEvent, ClusterObserver};
use super::member::MemberOptions;
use super::progress::{Apply, Confirming, Progress};
use super::pump::{Needed, Pump};
use super::roster::{Listed, Roster};
use super::ticket::{Answer, Tickets};
use super::view::MemberView;
use super::watch::WatchHub;
use crate::auth::{AuthStore, Tokens};
use crate::bug::EtcdBug;
use crate::executor::SimTime;
use crate::fault::ClientId;
use crate::store::{LeaseId, Record, Store, StoreOptions, View};

/// How many leases one round of the expiry loop revokes at most: half of the
/// rate per second (`defaultLeaseRevokeRate` in etcd's `server/lease/lessor.go`).
const EXPIRED_MAX: usize = 500;

/// By how much a message may exceed the limit of a request before gRPC itself
/// refuses it (`grpcOverheadBytes` in etcd's `server/embed/config.go`).
pub(super) const GRPC_OVERHEAD_BYTES: usize = 512 * 1024;

/// How long a request may take, beside two election timeouts (`ReqTimeout` in
/// etcd's `server/config/config.go`). In a real cluster, of 3.4.23, writes on their way
/// to a leader that was killed ended after 7.007 to 7.010 s.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// What a member says about itself in each answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) cluster_id: u64,
    pub(crate) member_id: u64,
    pub(crate) term: u64,
}

impl Identity {
    pub(crate) fn header(&self, revision: i64) -> PbResponseHeader {
        PbResponseHeader {
            cluster_id: self.cluster_id,
            member_id: self.member_id,
            revision,
            raft_term: self.term,
        }
    }
}

/// Who is told of every change of the store.
pub(crate) type Listener = Box<dyn Fn(&Record) + Send>;

/// What became of a request at the moment at which it came in.
pub(super) enum Submitted<T> {
    Done(T),
    /// The ticket by which to wait.
    Waits(u64),
}

/// What a cluster knows: the part behind its lock.
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) auth: AuthStore,
    pub(super) alarms: Alarms,
    /// The list of members after each change, and how many proposals had been carried
    /// out by then.
    pub(super) rosters: Vec<(u64, Roster)>,
    /// Members that were removed, and whose processes have not been told.
    pub(super) removed: Vec<MemberId>,
    pub(super) consensus: Consensus<Request>,
    pub(super) members: Vec<Progress>,
    tickets: Tickets,
    /// Nothing is due to a member before.
    due: SimTime,
    pub(super) pump: Pump,
    /// How many requests have been written to the log.
    pub(crate) raft_index: u64,
    /// How many proposals have been carried out.
    pub(super) executed: u64,
    pub(super) listeners: Vec<Listener>,
    observer: Option<ClusterObserver>,
    /// Who has asked for leases that are not granted yet; only while somebody
    /// observes.
    lease_callers: BTreeMap<LeaseId, ClientId>,
    request_timeout: Duration,
    election_timeout: Duration,
    /// Leases whose revocation has been proposed.
    revoking: Vec<LeaseId>,
    /// A lease was revoked since the last look.
    revoked: bool,
    /// A compaction is marked and not everywhere applied.
    discards: bool,
    /// The database counts as full before.
    no_space_until: SimTime,
    /// Members count as disagreeing before.
    pub(super) corrupt_until: SimTime,
    /// Alarms of a full database or of members that disagree, and of which member: raised
    /// while what has raised them lasts.
    pub(super) passing_alarms: BTreeSet<(i32, u64)>,
    /// Until when leases are looked at as soon as they expire, and until when
    /// they are not looked at.
    pub(super) expires_at_once_until: SimTime,
    pub(super) expires_late_until: SimTime,
}

impl State {
    pub(super) fn new(options: &[MemberOptions], consensus: ConsensusOptions) -> Self {
        let first = &options[0];
        let store = Store::new(StoreOptions {
            version: first.version,
            ..first.store
        });
        let fragment_bytes = first.store.request_bytes_max + GRPC_OVERHEAD_BYTES;
        let member = |options: &MemberOptions| {
            let identity = Identity {
                cluster_id: options.cluster_id,
                member_id: options.member_id,
                term: options.term,
            };
            let watches = WatchHub::new(identity, fragment_bytes)
                .answering_as(first.version)
                .with_bug(first.store.bug);
            let tokens = Tokens::new(options.auth_token_ttl);
            Progress::new(identity, store.present(), watches, tokens)
        };
        State {
            members: options.iter().map(member).collect(),
            store,
            auth: AuthStore::default(),
            rosters: vec![(0, Roster::new(listed(options)))],
            removed: Vec::new(),
            alarms: Alarms::default(),
            consensus: Consensus::new(consensus),
            tickets: Tickets::default(),
            due: NEVER,
            pump: Pump::default(),
            // Electing the leader takes the first entry of the log.
            raft_index: 1,
            executed: 0,
            listeners: Vec::new(),
            observer: None,
            lease_callers: BTreeMap::new(),
            request_timeout: REQUEST_TIMEOUT + 2 * first.election_timeout,
            election_timeout: first.election_timeout,
            revoking: Vec::new(),
            revoked: false,
            discards: false,
            no_space_until: SimTime::ZERO,
            corrupt_until: SimTime::ZERO,
            passing_alarms: BTreeSet::new(),
            expires_at_once_until: SimTime::ZERO,
            expires_late_until: SimTime::ZERO,
        }
    }

    pub(super) fn identity(&self, member: MemberId) -> Identity {
        Identity {
            term: self.consensus.term_of(member),
            ..self.members[member].identity
        }
    }

    pub(super) fn view(&self, member: MemberId) -> MemberView<'_> {
        MemberView {
            store: &self.store,
            view: self.members[member].view,
        }
    }

    /// When something is due, or before; [`NEVER`] when nothing is.
    fn next_at(&self) -> SimTime {
        self.due.min(self.consensus.next_at())
    }

    /// Sees to it that the pump runs when somebody is to notice something.
    pub(super) fn wake_pump(&mut self) -> Needed {
        if self.pump.is_up_by(self.next_at()) {
            return Needed::Nothing;
        }
        let at = self.noticed_at();
        self.pump.be_up_by(at)
    }

    /// When somebody notices that something has happened, at the earliest. What is due
    /// before is done by whoever looks next: [`State::advance`] does it as if it had been
    /// done at its time.
    pub(super) fn noticed_at(&self) -> SimTime {
        let members = self.members.iter().map(Progress::noticed_at);
        members.fold(self.commits_noticed_at(), SimTime::min)
    }

    fn commits_noticed_at(&self) -> SimTime {
        let leader = self.consensus.leader();
        let watched = leader.is_some_and(|leader| self.members[leader].watches.len() > 0);
        let next = self.consensus.next_at();
        if watched || self.is_full(next) {
            return next;
        }
        let concerns_leases = |proposal: &Proposal<Request>| !proposal.command.command.is_of_keys();
        self.consensus.noticed_at(concerns_leases)
    }

    /// Does everything that is due by now, in the order of time.
    pub(super) fn advance(&mut self, now: SimTime) {
        self.work_off_effects(now);
        loop {
            let at = self.next_at();
            if at > now || at == NEVER {
                return;
            }
            if self.consensus.next_at() <= at {
                self.consensus.step(at);
                self.work_off_effects(at);
            }
            for member in 0..self.members.len() {
                self.apply_due(member, at);
                self.confirm_due(member, at);
            }
            let members = self.members.iter().map(Progress::next_at);
            self.due = members.fold(NEVER, SimTime::min);
        }
    }

    /// A member takes in a request that changes something.
    pub(super) fn propose(
        &mut self,
        member: MemberId,
        request: impl Into<Request>,
        now: SimTime,
    ) -> Result<Submitted<Executed>, ClusterError> {
        let request = request.into();
        // Changes of membership take another way.
        let is_bounded = !matches!(request.command, Command::Member(_));
        if is_bounded && now < self.members[member].overloaded_until {
            return Err(ClusterError::TooManyRequests);
        }
        if now < self.no_space_until && request.command.needs_space() {
            self.raise_no_space(member);
            return Err(ClusterError::NoSpace);
        }
        // What etcd refuses unseen comes before what it refuses to this user.
        if self.auth.is_enabled()
            && let Err(error) = request.command.precheck(&self.store)
        {
            let revision = self.view(member).revision();
            return Ok(Submitted::Done(Executed::refused(error, revision)));
        }
        if self.takes_effect_at_once(member, now) {
            self.consensus.commit_at_once();
            let executed = self.execute(request, now);
            let (index, view) = (self.executed, self.store.present());
            self.apply(member, index, view, now);
            return Ok(Submitted::Done(executed));
        }
        if let Err(error) = request.command.precheck(&self.store) {
            let revision = self.view(member).revision();
            return Ok(Submitted::Done(Executed::refused(error, revision)));
        }
        let ticket = self.tickets.issue();
        self.submit(member, ticket, request, now);
        Ok(Submitted::Waits(ticket))
    }

    fn submit(&mut self, member: MemberId, ticket: u64, command: Request, now: SimTime) {
        let Self {
            members, tickets, ..
        } = self;
        // A change of membership waits for as long as its client does.
        if !matches!(command.command, Command::Member(_)) {
            let proposed = &mut members[member].proposed;
            while proposed
                .front()
                .is_some_and(|(_, ticket)| !tickets.is_open(*ticket))
            {
                proposed.pop_front();
            }
            proposed.push_back((now, ticket));
        }
        let proposal = Proposal {
            origin: member,
            ticket,
            command,
        };
        self.consensus.propose(proposal, now);
        self.advance(now);
    }

    /// Whether a member agrees with itself and has nothing else to do: then
    /// nobody has to wait for anything.
    fn takes_effect_at_once(&self, member: MemberId, now: SimTime) -> bool {
        let progress = &self.members[member];
        self.consensus.agrees_at_once()
            && progress.applies.is_empty()
            && progress.slow.is_empty()
            && progress.stalled_until <= now
    }

    /// A member takes in a linearizable read: when it may be done.
    pub(super) fn read(&mut self, member: MemberId, now: SimTime) -> Submitted<()> {
        if self.takes_effect_at_once(member, now) || self.reads_unasked(member) {
            return Submitted::Done(());
        }
        match self.ask_to_read(member, now) {
            Some(Submitted::Done(())) => Submitted::Done(()),
            Some(Submitted::Waits(ticket)) => Submitted::Waits(ticket),
            None => {
                let ticket = self.tickets.issue();
                self.members[member].unconfirmed.push((now, ticket));
                Submitted::Waits(ticket)
            }
        }
    }

    /// Whether a known bug of etcd's lets a member answer by what it knows.
    fn reads_unasked(&self, member: MemberId) -> bool {
        let is_stale = self.members[member].stood_still && self.consensus.is_behind(member);
        self.has(EtcdBug::StaleReadAfterPause) && is_stale
    }

    fn has(&self, bug: EtcdBug) -> bool {
        self.store.options().bug == Some(bug)
    }

    fn ask_to_read(&mut self, member: MemberId, now: SimTime) -> Option<Submitted<()>> {
        let read = self.consensus.read_index(member, now)?;
        let progress = &self.members[member];
        let waits = !progress.confirming.is_empty() || !progress.lagging.is_empty();
        if read.confirmed_at <= now && read.index <= progress.applied && !waits {
            return Some(Submitted::Done(()));
        }
        let ticket = self.tickets.issue();
        self.await_confirmation(member, read.confirmed_at, read.index, ticket);
        Some(Submitted::Waits(ticket))
    }

    fn await_confirmation(&mut self, member: MemberId, at: SimTime, index: u64, ticket: u64) {
        self.due = self.due.min(at);
        let confirming = &mut self.members[member].confirming;
        let earlier = confirming.back().map_or(SimTime::ZERO, |read| read.at);
        confirming.push_back(Confirming {
            at: at.max(earlier),
            index,
            ticket,
        });
    }

    /// Waits for the answer to a request that was taken in.
    pub(super) fn poll(
        &mut self,
        ticket: u64,
        context: &std::task::Context<'_>,
    ) -> std::task::Poll<Result<Answer, ClusterError>> {
        self.tickets.poll(ticket, context)
    }

    /// Nobody waits for the answer any more.
    pub(super) fn forget(&mut self, ticket: u64) {
        self.tickets.forget(ticket);
    }

    /// The client has gone that waited for a member's answer: what was not proposed yet
    /// is not proposed any more.
    pub(super) fn abandon(&mut self, member: MemberId, ticket: u64) {
        if self.tickets.is_open(ticket) {
            self.consensus.withdraw(member, ticket);
        }
        self.tickets.forget(ticket);
    }

    fn work_off_effects(&mut self, now: SimTime) {
        while let Some(effect) = self.consensus.next_effect() {
            match effect {
                Effect::Commit { proposal, heard_at } => self.commit(proposal, heard_at, now),
                Effect::CaughtUp { member, leads } => {
                    self.members[member].stood_still = false;
                    if !leads {
                        self.members[member].watches.restored();
                    }
                    self.hear(member, now, None);
                }
                Effect::Promoted => {
                    // Who waits for the end of a lease looks again: it lives on.
                    self.revoked = true;
                    self.raft_index += 1;
                    self.revoking.clear();
                    self.store.promote(age(now), self.election_timeout);
                    if let Some(member) = self.consensus.leader() {
                        let term = self.consensus.term_of(member);
                        self.tell(now, &ClusterEvent::Leads { member, term });
                    }
                }
                Effect::Demoted => {
                    self.store.demote();
                    self.tell(now, &ClusterEvent::LeaderLost);
                }
                Effect::LeaderChanged { member } => self.learn_leader(member),
                Effect::Dropped(proposal) => self.drop_proposal(&proposal),
            }
        }
    }

    /// The leader has not taken a proposal in, and says so.
    fn drop_proposal(&mut self, proposal: &Proposal<Request>) {
        if let Command::Expire(id) = proposal.command.command {
            self.revoking.retain(|revoking| *revoking != id);
        }
        let dropped = Err(ClusterError::ProposalDropped);
        self.tickets.finish(proposal.ticket, dropped);
    }

    fn commit(
        &mut self,
        proposal: Proposal<Request>,
        heard_at: [SimTime; MEMBERS_MAX],
        now: SimTime,
    ) {
        let Proposal {
            origin,
            ticket,
            command,
        } = proposal;
        // What finds the database full only when it is carried out is carried out all
        // the same (`quotaApplierV3` in etcd's `server/etcdserver/apply`).
        let overflows = command.command.needs_space() && self.is_full(now);
        if overflows {
            self.overflow(now);
        }
        let executed = self.execute(command, now);
        if overflows {
            self.tickets.finish(ticket, Err(ClusterError::NoSpace));
        }
        self.tickets.executed(ticket, executed);
        for (member, heard_at) in heard_at.into_iter().enumerate().take(self.members.len()) {
            if heard_at != NEVER {
                self.hear(member, heard_at, (member == origin).then_some(ticket));
            } else if member == origin {
                // It is told when it has caught up.
                self.members[member].applies_when_caught_up(self.executed, ticket);
            }
        }
    }

    /// A member hears of everything that has been carried out so far.
    fn hear(&mut self, member: MemberId, heard_at: SimTime, ticket: Option<u64>) {
        let (index, view) = (self.executed, self.store.present());
        let progress = &mut self.members[member];
        let at = progress.applies_at(heard_at);
        self.due = self.due.min(at);
        progress.applies.push_back(Apply {
            at,
            index,
            view,
            ticket,
        });
    }

    fn apply_due(&mut self, member: MemberId, now: SimTime) {
        while let Some(apply) = self.members[member].applies.front()
            && apply.at <= now
            && let Some(apply) = self.members[member].applies.pop_front()
        {
            self.apply(member, apply.index, apply.view, now);
            if let Some(ticket) = apply.ticket {
                self.tickets.heard(ticket);
            }
            let missed = self.members[member].take_missed(apply.index);
            missed.for_each(|ticket| self.tickets.heard(ticket));
        }
    }

    /// A member applies what it has heard of: it shows more, tells its watches,
    /// and answers reads that waited for it.
    fn apply(&mut self, member: MemberId, index: u64, view: View, now: SimTime) {
        let Self {
            store,
            members,
            tickets,
            ..
        } = self;
        let progress = &mut members[member];
        if index <= progress.applied {
            return;
        }
        let before = progress.view.revision;
        progress.applied = index;
        if view.compacted > progress.view.compacted {
            progress.hash_memory.compacted(view.compacted);
        }
        progress.view = view;
        if view.revision > before {
            if now < progress.events_held_until {
                progress.watches.hold(before);
            } else {
                let seen = MemberView { store, view };
                for revision in before + 1..=view.revision {
                    progress.watches.notify(seen, revision);
                }
            }
        }
        while let Some((needed, ticket)) = progress.lagging.front()
            && *needed <= index
        {
            tickets.finish(*ticket, Ok(Answer::MayRead));
            progress.lagging.pop_front();
        }
        if self.discards {
            self.discard();
        }
    }

    /// Forgets what was compacted as soon as every member has heard of it.
    fn discard(&mut self) {
        let compacted = self.store.compacted_revision();
        let heard = |(member, progress): (MemberId, &Progress)| {
            self.consensus.is_removed(member) || progress.view.compacted >= compacted
        };
        if self.members.iter().enumerate().all(heard) {
            self.store.discard();
            self.discards = false;
        }
    }

    /// Waits until a member has carried out what is committed now; none if it has.
    pub(super) fn await_applied(&mut self, member: MemberId) -> Option<u64> {
        let committed = self.executed;
        if self.members[member].applied >= committed {
            return None;
        }
        let ticket = self.tickets.issue();
        self.members[member].lag_until(committed, ticket);
        Some(ticket)
    }

    fn confirm_due(&mut self, member: MemberId, now: SimTime) {
        let progress = &mut self.members[member];
        while let Some(read) = progress.confirming.front()
            && read.at <= now
            && let Some(read) = progress.confirming.pop_front()
        {
            if read.index <= progress.applied {
                self.tickets.finish(read.ticket, Ok(Answer::MayRead));
            } else {
                progress.lag_until(read.index, read.ticket);
            }
        }
    }

    /// A member learns that another member leads. Reads that nobody has confirmed
    /// fail (`requestCurrentIndex` in etcd's `server/etcdserver/v3_server.go`).
    fn learn_leader(&mut self, member: MemberId) {
        let identity = self.identity(member);
        let progress = &mut self.members[member];
        progress.watches.identify(identity);
        let confirming = progress.confirming.drain(..).map(|read| read.ticket);
        let unconfirmed = progress.unconfirmed.drain(..).map(|(_, ticket)| ticket);
        for ticket in confirming.chain(unconfirmed) {
            self.tickets
                .finish(ticket, Err(ClusterError::LeaderChanged));
        }
    }

    /// Changes the store.
    fn execute(&mut self, request: Request, now: SimTime) -> Executed {
        let before = self.store.revision();
        self.raft_index += 1;
        self.executed += 1;
        if let Err(refused) = self.permits(&request, now) {
            if let Command::Expire(id) = request.command {
                self.revoking.retain(|revoking| *revoking != id);
            }
            return Executed::refused(refused, self.store.revision());
        }
        let command = match request.command {
            Command::Auth(command) => return self.execute_auth(command, age(now)),
            Command::Alarm(request) => return self.execute_alarm(&request, now),
            Command::Member(change) => return self.execute_member(change, now),
            command => command,
        };
        let is_compaction = matches!(command, Command::Compact(_));
        let revokes = match command {
            Command::Revoke(id) | Command::Expire(id) => Some(id),
            _ => None,
        };
        let lease = self.lease_event(&command, now);
        let executed = command.execute(&mut self.store, age(now));
        if let (Some(event), Ok(outcome)) = (lease, &executed.outcome) {
            self.tell(now, &with_outcome(event, outcome));
        }
        if self.store.revision() > before {
            for listener in &self.listeners {
                self.store.events(before + 1).for_each(listener);
            }
        }
        if let Some(id) = revokes {
            self.revoking.retain(|revoking| *revoking != id);
            self.revoked = executed.outcome.is_ok();
        }
        self.discards |= is_compaction && executed.outcome.is_ok();
        executed
    }

    /// Those who were told of changes of the store, and who was told of leaders and leases.
    pub(super) fn take_listeners(&mut self) -> (Vec<Listener>, Option<ClusterObserver>) {
        (std::mem::take(&mut self.listeners), self.observer.take())
    }

    /// Tells `observer` of what happens to the cluster from now on.
    pub(super) fn observe(&mut self, observer: ClusterObserver) {
        self.observer = Some(observer);
    }

    /// This client asks for this lease.
    pub(crate) fn note_caller(&mut self, lease: LeaseId, client: ClientId) {
        if self.observer.is_some() {
            self.lease_callers.insert(lease, client);
        }
    }

    fn tell(&self, now: SimTime, event: &ClusterEvent) {
        if let Some(observer) = &self.observer {
            observer(now, event);
        }
    }

    /// What there is to be told of a command about leases, if it is carried out.
    fn lease_event(&mut self, command: &Command, now: SimTime) -> Option<ClusterEvent> {
        self.observer.as_ref()?;
        match *command {
            Command::Grant { id, ttl } => Some(ClusterEvent::LeaseGranted {
                lease: id,
                ttl,
                client: self.lease_callers.remove(&id),
            }),
            Command::Revoke(id) => {
                let status = self.store.lease_status(age(now), id);
                Some(ClusterEvent::LeaseEnded {
                    lease: id,
                    expired: status.is_some_and(|status| status.remaining.is_zero()),
                })
            }
            Command::Expire(id) => {
                let ends = self.store.is_expired(age(now), id);
                ends.then_some(ClusterEvent::LeaseEnded {
                    lease: id,
                    expired: true,
                })
            }
            _ => None,
        }
    }

    /// Compacts everything before `revision`, as some other program may; whether
    /// that was possible. Where nothing leads it waits for a leader.
    pub(super) fn compact(&mut self, revision: i64, now: SimTime) -> bool {
        let request = etcd_client::proto::PbCompactionRequest {
            revision,
            physical: true,
        };
        let newest = self.store.revision();
        if revision > newest || revision <= self.store.compacted_revision() {
            return false;
        }
        let Some(leader) = self.consensus.leader() else {
            return false;
        };
        match self.propose(leader, Command::Compact(request), now) {
            Ok(Submitted::Done(executed)) => executed.outcome.is_ok(),
            Ok(Submitted::Waits(ticket)) => {
                self.forget(ticket);
                true
            }
            Err(_) => false,
        }
    }

    /// An id for a lease that nobody has: positive, and too large for a number
    /// of JSON, as etcd's are (`pkg/idutil`).
    pub(crate) fn next_lease_id(&mut self, member: MemberId) -> LeaseId {
        let progress = &mut self.members[member];
        let id = i64::try_from(progress.identity.member_id & 0x7fff).unwrap_or(0);
        progress.leases_granted += 1;
        LeaseId(id.max(1) << 48 | progress.leases_granted << 8)
    }

    /// The leader revokes leases whose time is over.
    pub(super) fn revoke_expired(&mut self, member: MemberId, now: SimTime) {
        if self.consensus.leader() != Some(member) || now < self.expires_late_until {
            return;
        }
        for id in self.store.expired(age(now), EXPIRED_MAX) {
            if self.revoking.contains(&id) {
                continue;
            }
            let expire = Request {
                command: Command::Expire(id),
                caller: self.auth.is_enabled().then(|| self.auth.root()),
            };
            if self.takes_effect_at_once(member, now) {
                let revoked = self.propose(member, expire, now);
                drop(revoked);
            } else {
                self.revoking.push(id);
                let ticket = self.tickets.issue();
                self.submit(member, ticket, expire, now);
                self.tickets.forget(ticket);
            }
        }
    }

    /// Gives up on requests that have waited too long, and asks again for reads
    /// that nobody could confirm.
    pub(super) fn give_up_waiting(&mut self, member: MemberId, now: SimTime) {
        while let Some((since, ticket)) = self.members[member].proposed.front().copied() {
            if self.tickets.is_open(ticket) {
                if now.saturating_sub(since) < self.request_timeout {
                    break;
                }
                let error = match self.consensus.blame(member, since) {
                    Blame::Nobody => ClusterError::Timeout,
                    Blame::LeaderFailed => ClusterError::TimeoutLeaderFailed,
                    Blame::Connection => ClusterError::TimeoutConnectionLost,
                };
                self.tickets.finish(ticket, Err(error));
                self.consensus.withdraw(member, ticket);
            }
            self.members[member].proposed.pop_front();
        }
        for (since, ticket) in std::mem::take(&mut self.members[member].unconfirmed) {
            if now.saturating_sub(since) >= self.request_timeout {
                self.tickets.finish(ticket, Err(ClusterError::Timeout));
            } else if let Some(read) = self.consensus.read_index(member, now) {
                self.await_confirmation(member, read.confirmed_at, read.index, ticket);
            } else {
                self.members[member].unconfirmed.push((since, ticket));
            }
        }
        self.advance(now);
    }

    /// A member's process is about to end: nobody waits at it for a change any more.
    pub(super) fn stop_waiting(&mut self, member: MemberId) {
        for (_, ticket) in std::mem::take(&mut self.members[member].proposed) {
            let error = match self.consensus.withdraw(member, ticket) {
                true => ClusterError::RaftStopped,
                false => ClusterError::Stopped,
            };
            self.tickets.finish(ticket, Err(error));
        }
    }

    /// How soon leases are to be looked at again, while that is not as usual.
    pub(super) fn looks_again_in(&self, now: SimTime) -> Option<Duration> {
        (now < self.expires_at_once_until).then(|| {
            let next = self.store.next_expiry().unwrap_or(Duration::MAX);
            next.saturating_sub(age(now)).max(Duration::from_millis(1))
        })
    }

    /// Whether a lease was revoked since this was last asked.
    pub(super) fn take_revoked(&mut self) -> bool {
        std::mem::take(&mut self.revoked)
    }

    /// The process of a member dies; who is to be woken for that, without a lock.
    #[must_use]
    pub(super) fn crash(&mut self, member: MemberId, now: SimTime) -> Vec<Waker> {
        self.consensus.crash(member, now);
        self.members[member].lose_volatile();
        self.damage(member);
        self.advance(now);
        let identity = self.identity(member);
        self.members[member].watches.close_all(identity)
    }

    /// The process of a member goes on after it stood still.
    pub(super) fn resume(&mut self, member: MemberId, now: SimTime) {
        self.members[member].stood_still = true;
        self.consensus.resume(member, now);
    }

    /// What known bugs of etcd's do to the history when a member crashes.
    fn damage(&mut self, member: MemberId) {
        let is_single = self.members.len() == 1;
        if self.has(EtcdBug::CrashLosesWrite) && is_single && self.store.undo_newest() {
            self.members[member].view = self.store.present();
        }
        if self.has(EtcdBug::RevisionGoesBack) && self.store.compacted_revision() > 0 {
            let newest = self.members[member].view.revision;
            let counts_from = newest - self.store.deletions_up_to(newest);
            self.members[member].view.revision = counts_from;
            if is_single {
                self.store.count_from(counts_from);
            }
        }
    }

    /// The database counts as full until `until`.
    pub(super) fn fill_up(&mut self, until: SimTime, now: SimTime) {
        if !self.is_full(now) {
            self.passing_alarms.retain(|(alarm, _)| *alarm != NO_SPACE);
        }
        self.no_space_until = self.no_space_until.max(until);
    }

    /// Members count as disagreeing until `until`.
    pub(super) fn corrupt(&mut self, until: SimTime) {
        self.raise(CORRUPT);
        self.corrupt_until = self.corrupt_until.max(until);
    }

    /// Whether the database counts as full.
    pub(super) fn is_full(&self, now: SimTime) -> bool {
        now < self.no_space_until
    }

    /// Ends every hindrance.
    pub(super) fn heal(&mut self, now: SimTime) {
        self.consensus.heal(now);
        for progress in &mut self.members {
            progress.slow.clear();
            progress.go_on(now);
            self.due = self.due.min(progress.next_at());
            progress.overloaded_until = progress.overloaded_until.min(now);
            progress.events_held_until = progress.events_held_until.min(now);
        }
        self.no_space_until = self.no_space_until.min(now);
        self.corrupt_until = self.corrupt_until.min(now);
        self.expires_at_once_until = self.expires_at_once_until.min(now);
        self.expires_late_until = self.expires_late_until.min(now);
        self.advance(now);
    }
}

/// The list of members at the start.
fn listed(options: &[MemberOptions]) -> Vec<Listed> {
    let member = |(number, options): (MemberId, &MemberOptions)| Listed {
        id: options.member_id,
        process: Some(number),
        peer_urls: vec![format!("http://{}:2380", options.name)],
        is_learner: false,
        votes: true,
    };
    options.iter().enumerate().map(member).collect()
}

/// The event with what became of the command.
fn with_outcome(event: ClusterEvent, outcome: &Outcome) -> ClusterEvent {
    match (event, outcome) {
        (ClusterEvent::LeaseGranted { lease, client, .. }, Outcome::Granted { ttl }) => {
            let ttl = *ttl;
            ClusterEvent::LeaseGranted { lease, ttl, client }
        }
        (event, _) => event,
    }
}

/// The simulated time as the store counts it.
pub(crate) fn age(now: SimTime) -> Duration {
    Duration::from_nanos(now.as_nanos())
}

/// Refuses a message that gRPC itself would refuse, in the words of grpc-go.
pub(crate) fn receive_limit(
    message: &impl prost::Message,
    request_bytes_max: usize,
) -> Result<(), Status> {
    let (size, max) = (
        message.encoded_len(),
        request_bytes_max + GRPC_OVERHEAD_BYTES,
    );
    if size > max {
        let text = format!("grpc: received message larger than max ({size} vs. {max})");
        return Err(Status::resource_exhausted(text));
    }
    Ok(())
}
