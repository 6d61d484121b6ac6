//! One simulated etcd process.

use std::fmt;
use std::future::Future;
use std::sync::MutexGuard;
use std::task::Waker;
use std::time::Duration;

use etcd_client::proto::{PbAlarmMember, PbResponseHeader, PbTxnRequest};
use futures_util::future::{Either, select};
use http::header::{AUTHORIZATION, HeaderName};
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::cluster::{Cluster, ClusterOptions};
use super::command::{Command, Executed, Outcome, Request};
use super::consensus::{HEARTBEAT, MemberId};
use super::error::ClusterError;
use super::roster::{Change, Listed, Roster};
use super::state::{Identity, State, Submitted, age};
use super::view::MemberView;
use super::waiting::{Begun, Waiting};
use super::watch::{StreamId, WatchHub};
use crate::auth::{Access, AuthError, AuthStore, Caller};
use crate::executor::{self, Node, SimTime};
use crate::fault::ClientId;
use crate::service::Router;
use crate::store::{LeaseId, Record, Store, StoreOptions};
use crate::version::{Checks, Version};

/// How often leases are looked at (`runLoop` in etcd's `server/lease/lessor.go`). In a
/// real one, of 3.4.23, keys went 7 to 495 ms after their leases' ends, half of them
/// within 243 ms (`etcd-recipes conform --timing`).
const EXPIRY_PERIOD: Duration = Duration::from_millis(500);
/// How often watches that lag behind are served (`watchResyncPeriod` in etcd's
/// `server/storage/mvcc/watchable_store.go`). Watches on a real one, of 3.4.23, heard
/// of the past after 1 to 101 ms, half of them within 51 ms, and of the present with
/// the answer to the put.
const SYNC_PERIOD: Duration = Duration::from_millis(100);
/// How often a member looks whether it has got as far as a token.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long a watch whose stream was full waits for the next attempt
/// (`syncVictimsLoop`, same file).
const VICTIM_PERIOD: Duration = Duration::from_millis(10);

/// For how long a simple token is good without being used
/// (`simpleTokenTTLDefault` in etcd's `server/auth/simple_token.go`).
pub const AUTH_TOKEN_TTL: Duration = Duration::from_secs(300);

/// The extension of an answer to a call that changed something.
///
/// The network finds it in the extensions of the HTTP response, and so knows
/// that the loss of this answer hides an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The revision of the store after the call.
    pub revision: i64,
}

/// What a member is called and how it is configured.
#[derive(Clone, Debug)]
pub struct MemberOptions {
    /// The name in the list of members.
    pub name: String,
    /// The id of the cluster in each header.
    pub cluster_id: u64,
    /// The id of the member in each header.
    pub member_id: u64,
    /// The term in each header, until the first restart.
    pub term: u64,
    /// The release of etcd that the member is: what it says of itself, and how it
    /// answers.
    pub version: Version,
    /// How long a follower waits for its leader. Leases get this much more
    /// after a change of leaders (`server/etcdserver/server.go`).
    pub election_timeout: Duration,
    /// How often a watch that asks for it hears that nothing has happened;
    /// default 10 minutes. etcd adds up to a tenth of it at random
    /// (`server/etcdserver/api/v3rpc/watch.go`); that is left out.
    pub progress_notify_interval: Duration,
    /// For how long a simple token is good without being used; default 300 s
    /// (`--auth-token-ttl`).
    pub auth_token_ttl: Duration,
    /// The limits of the store. Its release is that of the member.
    pub store: StoreOptions,
}

impl MemberOptions {
    /// Whether the version that it claims to be is this release or a later one.
    pub(crate) fn is_at_least(&self, major: u16, minor: u16) -> bool {
        self.version >= Version::new(major, minor, 0)
    }

    /// Its version without the number of the patch: `3.6.0` for `3.6.4`.
    pub(crate) fn minor_version(&self) -> String {
        let version = self.version.to_string();
        let release = version.rsplit_once('.').map(|(release, _)| release);
        format!("{}.0", release.unwrap_or(&version))
    }
}

impl Default for MemberOptions {
    fn default() -> Self {
        MemberOptions {
            name: "default".to_owned(),
            cluster_id: 0xcdf8_18da_3c24_31d5,
            member_id: 0x8e9e_05c5_2164_694d,
            term: 2,
            version: Version::default(),
            election_timeout: Duration::from_secs(1),
            progress_notify_interval: Duration::from_secs(600),
            auth_token_ttl: AUTH_TOKEN_TTL,
            store: StoreOptions::default(),
        }
    }
}

/// One simulated etcd process: a view of its cluster's history, and what its
/// clients have asked of it. Clones are the same process.
#[derive(Clone)]
pub struct Member {
    pub(super) cluster: Cluster,
    pub(super) number: MemberId,
}

impl Member {
    /// The only member of a cluster, with an empty store. Nothing runs before
    /// [`Member::start`].
    pub fn new(options: MemberOptions) -> Member {
        Cluster::new(&ClusterOptions::single(options)).member(0)
    }

    pub(super) fn of(cluster: Cluster, number: MemberId) -> Member {
        Member { cluster, number }
    }

    /// Which member of its cluster it is, counted from 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The cluster that it belongs to.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Starts the process on a node: the loops that end leases and serve
    /// watches. The members of a cluster start together, with a leader; one that
    /// is started again after a crash finds the others, or they elect a leader
    /// anew. A new leader gives each lease its full time to live and an election
    /// timeout (`lessor.Promote` in etcd's `server/lease/lessor.go`).
    ///
    /// # Panics
    ///
    /// Outside a simulation.
    pub fn start(&self, node: &Node) {
        self.cluster.starts(self.number, node);
        self.spawn(self.clone().keep_time());
        self.spawn(self.clone().sync_watches());
        self.spawn(self.clone().move_victims());
    }

    /// The process is about to end because it belongs to the cluster no more: who waits for
    /// a change is told so (`processInternalRaftRequestOnce` in etcd's
    /// `server/etcdserver/v3_server.go`).
    pub(crate) fn tell_that_it_stops(&self) {
        let number = self.number;
        self.cluster
            .at_present(|state, _| state.stop_waiting(number));
    }

    /// Crashes the process: it loses the streams of watches, the requests under
    /// way, the time that leases have left if it led. Keys and leases survive,
    /// for etcd answers only after they are on disk.
    ///
    /// Its loops end with its node, which the caller kills.
    pub fn crash(&self) {
        self.cluster.crashes(self.number);
    }

    /// The process stands still, and the others notice. The caller pauses its
    /// node.
    pub fn pause(&self) {
        let number = self.number;
        self.cluster
            .at_present(|state, now| state.consensus.pause(number, now));
    }

    /// Ends a [`pause`](Member::pause).
    pub fn resume(&self) {
        let number = self.number;
        self.cluster
            .at_present(|state, now| state.resume(number, now));
    }

    /// The member applies late what it hears until `until`: what it shows is old,
    /// and its watches hear of it late.
    pub fn lag(&self, until: SimTime, by: Duration) {
        self.at_present(|progress| progress.slow.push((until, by)));
    }

    /// The member applies and answers nothing until `until`, as during a
    /// defragmentation. It goes on to vote and to lead.
    pub fn stall(&self, until: SimTime) {
        self.at_present(|progress| progress.stall(until));
    }

    /// The member refuses whatever would change something until `until`: "too
    /// many requests".
    pub fn overload(&self, until: SimTime) {
        self.at_present(|progress| progress.overloaded_until = until);
    }

    /// Everybody who is logged in at the member is not any more. Whether anybody was.
    pub fn expire_tokens(&self) -> bool {
        self.lock().state.members[self.number].tokens.expire()
    }

    /// Watches of this member hear of nothing until `until`, and then of
    /// everything at once.
    pub fn hold_events(&self, until: SimTime) {
        self.at_present(|progress| progress.events_held_until = until);
    }

    /// Answers to watches that ask for that are split so that each part has
    /// fewer bytes than `bytes`, if it has more than one event. None: the usual limit.
    pub fn fragment_events(&self, bytes: Option<usize>) {
        let usual = self.options().store.request_bytes_max + super::state::GRPC_OVERHEAD_BYTES;
        self.at_present(|progress| progress.watches.fragment_at(bytes.unwrap_or(usual)));
    }

    /// Compacts everything before the present revision, as some other program
    /// may at any time. Whether there was anything to compact.
    pub fn compact(&self) -> bool {
        self.cluster.compact(None)
    }

    /// The services of this member, as a client reaches them.
    pub fn router(&self) -> Router {
        Router::new(self.clone())
    }

    /// Looks into the store, as far as the cluster has come. For tests and
    /// workloads: no client can do this.
    pub fn with_store<T>(&self, look: impl FnOnce(&Store) -> T) -> T {
        look(&self.cluster.present().store)
    }

    /// The revision that the member has applied.
    pub fn revision(&self) -> i64 {
        self.cluster.present().view(self.number).revision()
    }

    /// The term that the member is in.
    pub fn term(&self) -> u64 {
        self.cluster.present().consensus.term_of(self.number)
    }

    /// The member that this one believes to lead.
    pub fn leader(&self) -> Option<usize> {
        self.cluster.present().consensus.leader_of(self.number)
    }

    /// Tells `listener` of every change of the store from now on, at the instant of
    /// the change: no fault and no compaction comes between. For tests and workloads:
    /// no client can do this. The listener must not call the member.
    pub fn listen(&self, listener: impl Fn(&Record) + Send + 'static) {
        self.cluster.present().listeners.push(Box::new(listener));
    }

    /// How many watches are open. For tests: no client can ask for this.
    pub fn watches(&self) -> usize {
        self.cluster.lock().members[self.number].watches.len()
    }

    /// The version that it claims to be.
    pub fn version(&self) -> Version {
        self.options().version
    }

    pub(crate) fn options(&self) -> &MemberOptions {
        &self.cluster.shared.options[self.number]
    }

    /// Starts a task of the process.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(node) = self.cluster.node(self.number) {
            node.spawn(task);
        }
    }

    pub(crate) fn lock(&self) -> Guard<'_> {
        Guard {
            state: self.cluster.present(),
            number: self.number,
        }
    }

    /// Who sends a request: whose token is among its metadata. A token that was given
    /// at a place of the history that the member has not reached yet waits for that.
    ///
    /// # Errors
    ///
    /// [`AuthError::InvalidToken`].
    pub(crate) async fn caller(&self, metadata: &MetadataMap) -> Result<Option<Caller>, AuthError> {
        let Some(token) = token(metadata.as_ref()) else {
            return Ok(None);
        };
        // Newer releases do not look at tokens that nobody needs.
        if !self.lock().state.auth.is_enabled() && self.checks().skips_tokens {
            return Ok(None);
        }
        let token = token.to_str().map_err(|_| AuthError::InvalidToken)?;
        let mut parts = token.split('.');
        let (Some(_), Some(index), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(AuthError::InvalidToken);
        };
        let index: i64 = index.parse().map_err(|_| AuthError::InvalidToken)?;
        while self.lock().raft_index() < index.cast_unsigned() {
            executor::sleep(LOOK_AGAIN).await;
        }
        let now = age(executor::now());
        let mut guard = self.lock();
        let revision = guard.state.auth.revision();
        let user = guard.state.members[self.number].tokens.user_of(now, token);
        let user = user.ok_or(AuthError::InvalidToken)?;
        Ok(Some(Caller { user, revision }))
    }

    /// What its release checks about users and roles.
    pub(crate) fn checks(&self) -> Checks {
        self.options().version.profile().checks
    }

    /// Whether whoever sent these metadata is the root user, or nothing is checked.
    ///
    /// # Errors
    ///
    /// Those of [`Member::caller`] and [`AuthStore::permits_admin`].
    pub(crate) async fn permits_admin(&self, metadata: &MetadataMap) -> Result<(), AuthError> {
        let caller = self.caller(metadata).await?;
        self.lock().auth().permits_admin(caller.as_ref())
    }

    /// Whether whoever sent these metadata may look at what only root may change, or nothing
    /// is checked.
    ///
    /// # Errors
    ///
    /// Those of [`Member::caller`] and [`AuthStore::permits_admin`].
    pub(crate) async fn permits_look(
        &self,
        metadata: &MetadataMap,
        by_users: bool,
    ) -> Result<(), AuthError> {
        match by_users {
            true => self.permits_leases(metadata, Access::Read, &[]).await,
            false => self.permits_admin(metadata).await,
        }
    }

    /// Whether whoever sent these metadata has logged in, and may read or write the keys
    /// of these leases, or nothing is checked.
    ///
    /// # Errors
    ///
    /// Those of [`Member::caller`] and [`AuthStore::permits`].
    pub(crate) async fn permits_leases(
        &self,
        metadata: &MetadataMap,
        access: Access,
        leases: &[LeaseId],
    ) -> Result<(), AuthError> {
        if !self.lock().auth().is_enabled() {
            return Ok(());
        }
        let caller = self.caller(metadata).await?;
        let now = age(executor::now());
        let guard = self.lock();
        guard.auth().permits_user(caller.as_ref())?;
        let mut leases = leases.iter();
        leases.try_for_each(|id| {
            guard
                .state
                .permits_keys_of(*id, caller.as_ref(), access, now)
        })
    }

    /// Carries out a request that changes something, for whoever sent it with these
    /// metadata.
    pub(crate) async fn propose_for(
        &self,
        metadata: &MetadataMap,
        command: Command,
    ) -> Result<Executed, Status> {
        let caller = self.caller(metadata).await;
        if caller.is_err() {
            command.precheck(&self.lock().state.store)?;
        }
        let caller = caller?;
        self.propose(Request { command, caller }).await
    }

    /// Carries out a request that changes something: it becomes part of the
    /// history, and this member has applied it.
    async fn propose(&self, request: Request) -> Result<Executed, Status> {
        match self.begin_change(request)? {
            Begun::Done(executed) => Ok(executed),
            Begun::Waits(waiting) => waiting.executed().await,
        }
    }

    /// Waits until a read of what the member shows is linearizable.
    pub(crate) async fn confirm_read(&self) -> Result<(), ClusterError> {
        match self.begin_read() {
            Begun::Done(()) => Ok(()),
            Begun::Waits(waiting) => waiting.may_read().await,
        }
    }

    /// Takes in a request that changes something.
    ///
    /// # Errors
    ///
    /// When it is refused at once.
    pub(crate) fn begin_change(
        &self,
        request: impl Into<Request>,
    ) -> Result<Begun<Executed>, ClusterError> {
        let now = executor::now();
        let mut state = self.cluster.lock();
        state.advance(now);
        let submitted = state.propose(self.number, request, now);
        self.cluster.release(state);
        Ok(self.begun(submitted?))
    }

    /// Takes in a linearizable read.
    pub(crate) fn begin_read(&self) -> Begun<()> {
        let now = executor::now();
        let mut state = self.cluster.lock();
        state.advance(now);
        let submitted = state.read(self.number, now);
        self.cluster.release(state);
        self.begun(submitted)
    }

    fn begun<T>(&self, submitted: Submitted<T>) -> Begun<T> {
        match submitted {
            Submitted::Done(done) => Begun::Done(done),
            Submitted::Waits(ticket) => Begun::Waits(Waiting::new(self.clone(), ticket)),
        }
    }

    /// Changes who belongs to the cluster; the list of members after that.
    ///
    /// # Errors
    ///
    /// Those of etcd, `RosterError`; when no leader can be asked in time.
    pub(crate) async fn change_members(&self, change: Change) -> Result<Vec<Listed>, Status> {
        // Only the leader knows how far a learner is.
        if matches!(change, Change::Promote(_)) && self.leader() != Some(self.number) {
            let (_, back) = self.reach_leader(executor::now()).await?;
            let leader = self.leader().unwrap_or(self.number);
            let promoted = self.cluster.member(leader).let_pass(change).await;
            executor::sleep_until(back).await;
            return promoted;
        }
        self.let_pass(change).await
    }

    async fn let_pass(&self, change: Change) -> Result<Vec<Listed>, Status> {
        self.cluster
            .at_present(|state, now| state.may_change(self.number, &change, now))?;
        let executed = self.propose(Command::Member(change).into()).await?;
        match executed.outcome? {
            Outcome::Members(members) => Ok(members),
            _ => Err(Status::internal("another kind of outcome")),
        }
    }

    /// Gives the lead to the member with this id, and waits until it leads
    /// (`MoveLeader` in etcd's `server/etcdserver/server.go`).
    ///
    /// # Errors
    ///
    /// [`ClusterError::NotLeader`], [`ClusterError::BadLeaderTransferee`],
    /// [`ClusterError::TimeoutLeaderTransfer`].
    pub(crate) async fn move_leader(&self, id: u64) -> Result<(), ClusterError> {
        if self.leader() != Some(self.number) {
            return Err(ClusterError::NotLeader);
        }
        let to = {
            let guard = self.lock();
            let member = guard.roster().find(id).filter(|member| !member.is_learner);
            member.ok_or(ClusterError::BadLeaderTransferee)?.process
        };
        let start = executor::now();
        if to != Some(self.number) {
            if to.is_some() && !self.cluster.change_leader(to, false) {
                let until = executor::now() + self.options().election_timeout;
                self.cluster.begin_transfer(until);
            }
            // The lead goes over in the time of a few messages, but etcd looks for that
            // only once a tick.
            executor::sleep(HEARTBEAT).await;
        }
        while to.is_none() || self.leader() != to {
            if executor::now().saturating_sub(start) >= self.request_timeout() {
                return Err(ClusterError::TimeoutLeaderTransfer);
            }
            executor::sleep(HEARTBEAT).await;
        }
        Ok(())
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        super::state::REQUEST_TIMEOUT + 2 * self.options().election_timeout
    }

    /// It answers nothing before.
    pub(crate) fn stalled_until(&self) -> SimTime {
        self.lock().state.members[self.number].stalled_until
    }

    /// Whether the member knows a leader.
    pub(crate) fn has_leader(&self) -> bool {
        self.leader().is_some()
    }

    /// Changes the watches of the member. Those that are new are told in time.
    pub(crate) fn change_watches<T>(
        &self,
        change: impl FnOnce(&mut WatchHub, MemberView<'_>) -> T,
    ) -> T {
        let mut guard = self.lock();
        let (watches, view) = guard.watches_and_view();
        let changed = change(watches, view);
        self.cluster.release(guard.state);
        changed
    }

    /// Ends a stream of watches.
    pub(crate) fn close_watches(&self, stream: StreamId) {
        let woken = self.lock().watches().close(stream);
        woken.into_iter().for_each(Waker::wake);
    }

    fn at_present(&self, change: impl FnOnce(&mut super::progress::Progress)) {
        let number = self.number;
        self.cluster
            .at_present(|state, _| change(&mut state.members[number]));
    }

    /// The leader ends leases whose time is over; every member gives up on
    /// requests that take too long.
    async fn keep_time(self) {
        loop {
            let wait = {
                let now = executor::now();
                let mut state = self.cluster.lock();
                state.advance(now);
                state.revoke_expired(self.number, now);
                state.give_up_waiting(self.number, now);
                let wait = state.looks_again_in(now);
                self.cluster.release(state);
                wait
            };
            let look = self.cluster.shared.look.notified();
            match wait {
                None => executor::sleep(EXPIRY_PERIOD).await,
                Some(wait) => {
                    let sleep = std::pin::pin!(executor::sleep(wait.min(EXPIRY_PERIOD)));
                    match select(sleep, std::pin::pin!(look)).await {
                        Either::Left(_) | Either::Right(_) => {}
                    }
                }
            }
        }
    }

    async fn sync_watches(self) {
        loop {
            loop {
                let mut guard = self.lock();
                if guard.holds_events() {
                    break;
                }
                let (watches, view) = guard.watches_and_view();
                let before = watches.unsynced_len();
                let after = watches.sync(view);
                if watches.has_victims() {
                    self.cluster.shared.victims[self.number].notify_one();
                }
                if after == 0 || after >= before {
                    break;
                }
            }
            executor::sleep(SYNC_PERIOD).await;
        }
    }

    async fn move_victims(self) {
        loop {
            self.cluster.shared.victims[self.number].notified().await;
            loop {
                let left = {
                    let mut guard = self.lock();
                    let (watches, view) = guard.watches_and_view();
                    watches.move_victims(view)
                };
                if left == 0 {
                    break;
                }
                executor::sleep(VICTIM_PERIOD).await;
            }
        }
    }
}

/// The token that comes with a request, if one does
/// (`AuthInfoFromCtx` in etcd's `server/auth/store.go`).
pub(crate) fn token(headers: &http::HeaderMap) -> Option<&http::HeaderValue> {
    static TOKEN: HeaderName = HeaderName::from_static("token");
    headers.get(&TOKEN).or_else(|| headers.get(AUTHORIZATION))
}

/// A member and its cluster, at one moment.
pub(crate) struct Guard<'a> {
    state: MutexGuard<'a, State>,
    number: MemberId,
}

impl Guard<'_> {
    /// What the member says about itself.
    pub(crate) fn identity(&self) -> Identity {
        self.state.identity(self.number)
    }

    /// The header of an answer about the present.
    pub(crate) fn header(&self) -> PbResponseHeader {
        self.identity().header(self.view().revision())
    }

    /// Completes the header of an answer of the store; a revision that it does
    /// not give is the present one (`header.fill` in etcd's
    /// `server/etcdserver/api/v3rpc/header.go`).
    pub(crate) fn fill(&self, header: &mut Option<PbResponseHeader>) {
        let revision = header.as_ref().map_or(0, |header| header.revision);
        let revision = if revision == 0 {
            self.view().revision()
        } else {
            revision
        };
        *header = Some(self.identity().header(revision));
    }

    /// This client asks for this lease.
    pub(crate) fn note_caller(&mut self, lease: LeaseId, client: ClientId) {
        self.state.note_caller(lease, client);
    }

    /// What the member shows.
    pub(crate) fn view(&self) -> MemberView<'_> {
        self.state.view(self.number)
    }

    /// Whether the member answers a question about all keys by what it remembers of
    /// revision 0.
    pub(crate) fn remembers_hash_of_zero(&self) -> bool {
        let profile = self.state.store.options().version.profile();
        profile.remembers_hashes && self.state.members[self.number].hash_memory.has_zero()
    }

    /// Users and roles.
    pub(crate) fn auth(&self) -> &AuthStore {
        &self.state.auth
    }

    /// Whether a caller may read these keys.
    pub(crate) fn permits_range(
        &self,
        caller: Option<&Caller>,
        key: &[u8],
        range_end: &[u8],
    ) -> Result<(), AuthError> {
        self.auth().permits(caller, Access::Read, key, range_end)
    }

    /// Whether a caller may do everything that a transaction could do.
    pub(crate) fn permits_txn(
        &self,
        caller: Option<&Caller>,
        txn: &PbTxnRequest,
    ) -> Result<(), AuthError> {
        if self.auth().is_enabled() {
            self.state.permits_txn(txn, caller, age(executor::now()))
        } else {
            Ok(())
        }
    }

    /// The alarms that were raised.
    pub(crate) fn alarms(&self) -> Vec<PbAlarmMember> {
        self.state.alarms_of(0, executor::now())
    }

    /// The member's watches.
    pub(crate) fn watches(&mut self) -> &mut WatchHub {
        &mut self.state.members[self.number].watches
    }

    /// The member's watches, and what they can be told.
    pub(crate) fn watches_and_view(&mut self) -> (&mut WatchHub, MemberView<'_>) {
        let State { store, members, .. } = &mut *self.state;
        let progress = &mut members[self.number];
        let view = MemberView {
            store,
            view: progress.view,
        };
        (&mut progress.watches, view)
    }

    /// How a token begins that nobody has: sixteen letters.
    pub(crate) fn token_prefix(&mut self) -> String {
        self.state.token_prefix(self.number)
    }

    /// Who belongs to the cluster, as far as the member knows.
    pub(crate) fn roster(&self) -> &Roster {
        self.state.roster(self.number)
    }

    /// An id for a lease that nobody has.
    pub(crate) fn next_lease_id(&mut self) -> LeaseId {
        self.state.next_lease_id(self.number)
    }

    /// How many requests have been written to the log.
    pub(crate) fn raft_index(&self) -> u64 {
        self.state.raft_index
    }

    /// How many bytes the member's database has, and how many of them it needs.
    pub(crate) fn db_size(&mut self) -> (i64, i64) {
        let needed = self.state.store.bytes();
        let size = &mut self.state.members[self.number].db_size;
        *size = (*size).max(needed);
        (*size, needed)
    }

    /// The member's database gives back what it does not need.
    pub(crate) fn defragment(&mut self) {
        self.state.members[self.number].db_size = self.state.store.bytes();
    }

    /// The id of the member that this one believes to lead; 0 for none.
    pub(crate) fn leader_id(&self) -> u64 {
        let leader = self.state.consensus.leader_of(self.number);
        leader.map_or(0, |leader| self.state.identity(leader).member_id)
    }

    fn holds_events(&self) -> bool {
        executor::now() < self.state.members[self.number].events_held_until
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("name", &self.options().name)
            .finish_non_exhaustive()
    }
}
