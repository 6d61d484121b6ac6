//! The members of a cluster and the task that moves their history on.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

use super::consensus::{ConsensusOptions, MEMBERS_MAX, MemberId};
use super::event::ClusterObserver;
use super::member::{Member, MemberOptions};
use super::progress::Progress;
use super::pump::Needed;
use super::state::State;
use crate::executor::{Node, SimTime, now};
use crate::plan::Latency;
use crate::seed::mix;

/// How a cluster is made.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// How many members it has, 1 to 5.
    pub members: usize,
    /// Where delays between members and the times of elections are drawn from.
    pub seed: u64,
    /// How long messages between members take.
    pub latency: Latency,
    /// What the first member is like. The others differ in name and id.
    pub member: MemberOptions,
}

impl ClusterOptions {
    /// One member, and no delays.
    pub fn single(member: MemberOptions) -> Self {
        ClusterOptions {
            members: 1,
            seed: 0,
            latency: Latency::NONE,
            member,
        }
    }

    /// What each member is like.
    fn each(&self) -> Vec<MemberOptions> {
        let nth = |number: usize| {
            let mut options = self.member.clone();
            if self.members > 1 {
                options.name = format!("{}-{number}", options.name);
            }
            if number > 0 {
                options.member_id = mix(options.member_id ^ number as u64);
            }
            options
        };
        (0..self.members).map(nth).collect()
    }
}

/// A simulated etcd cluster: members over one history. Clones are the same.
#[derive(Clone)]
pub struct Cluster {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) options: Vec<MemberOptions>,
    first_leader: MemberId,
    state: Mutex<State>,
    runs: Mutex<Vec<Run>>,
    /// Leases were revoked.
    pub(super) revoked: Notify,
    /// The loops that keep the time of leases are to look at once.
    pub(super) look: Notify,
    /// For each member: a watch could not be served because its stream was full.
    pub(super) victims: Vec<Notify>,
    /// Where members tell clients that they are, if not by their names.
    advertised: Mutex<Vec<String>>,
    /// Who is told when a member was removed.
    retires: OnceLock<Retire>,
}

/// Ends the process of a member that was removed.
type Retire = Box<dyn Fn(MemberId) + Send + Sync>;

/// Where a member's process runs.
#[derive(Clone, Default)]
struct Run {
    /// None before its first start.
    node: Option<Node>,
    has_crashed: bool,
}

impl Cluster {
    /// A cluster with an empty store. Nothing runs before [`Member::start`].
    ///
    /// # Panics
    ///
    /// Unless there are 1 to 5 members.
    pub fn new(options: &ClusterOptions) -> Cluster {
        assert!(
            (1..=MEMBERS_MAX).contains(&options.members),
            "a cluster has 1 to {MEMBERS_MAX} members"
        );
        let each = options.each();
        let consensus = ConsensusOptions {
            members: options.members,
            seed: options.seed,
            latency: options.latency,
            term: options.member.term,
            election_timeout: options.member.election_timeout,
        };
        let leader = mix(options.seed) % options.members as u64;
        Cluster {
            shared: Arc::new(Shared {
                state: Mutex::new(State::new(&each, consensus)),
                first_leader: usize::try_from(leader).expect("there are few members"),
                runs: Mutex::new(vec![Run::default(); each.len()]),
                revoked: Notify::new(),
                look: Notify::new(),
                victims: each.iter().map(|_| Notify::new()).collect(),
                advertised: Mutex::default(),
                retires: OnceLock::new(),
                options: each,
            }),
        }
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        self.shared.options.len()
    }

    /// Never: a cluster has at least one member.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// A member, counted from 0.
    ///
    /// # Panics
    ///
    /// When there is no such member.
    pub fn member(&self, number: usize) -> Member {
        assert!(number < self.len(), "there is no member {number}");
        Member::of(self.clone(), number)
    }

    /// All members.
    pub fn members(&self) -> impl Iterator<Item = Member> + use<> {
        let cluster = self.clone();
        (0..self.len()).map(move |number| cluster.member(number))
    }

    /// What the members say from now on to clients that ask where they are; one URL
    /// for each.
    pub fn advertise(&self, urls: Vec<String>) {
        *lock(&self.shared.advertised) = urls;
    }

    /// What is done when a member was removed. Its process ends soon after.
    pub(crate) fn when_removed(&self, retire: impl Fn(MemberId) + Send + Sync + 'static) {
        self.shared.retires.set(Box::new(retire)).ok();
    }

    /// Where a member tells clients that it is.
    pub(crate) fn advertised(&self, number: MemberId) -> String {
        let urls = lock(&self.shared.advertised);
        let by_name = || format!("http://{}:2379", self.shared.options[number].name);
        urls.get(number).cloned().unwrap_or_else(by_name)
    }

    /// The member that leads, if there is one that can do its work.
    pub fn leader(&self) -> Option<usize> {
        self.at_present(|state, _| state.consensus.leader())
    }

    /// How many hold it.
    #[cfg(test)]
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.shared)
    }

    /// Tells nobody of anything any more.
    pub(crate) fn forget_listeners(&self) {
        let forgotten = self.lock().take_listeners();
        drop(forgotten);
    }

    /// Tells `observer` of everything that happens to the cluster from now on: who
    /// leads, and which leases come and go.
    pub fn observe(&self, observer: ClusterObserver) {
        self.lock().observe(observer);
    }

    /// Messages from one member to another are lost from now on until `until`;
    /// those on the way back are not.
    ///
    /// # Panics
    ///
    /// When there is no such member.
    pub fn cut(&self, from: usize, to: usize, until: SimTime) {
        self.at_present(|state, now| state.consensus.cut(from, to, until, now));
    }

    /// Messages from one member to another take longer until `until`: by `by` and
    /// at most `jitter` more.
    pub fn slow_down_link(
        &self,
        from: usize,
        to: usize,
        until: SimTime,
        by: Duration,
        jitter: Duration,
    ) {
        self.at_present(|state, _| state.consensus.slow_down((from, to), until, by, jitter));
    }

    /// To be called when a [`cut`](Cluster::cut) has ended: members find each
    /// other again.
    pub fn look_again(&self) {
        self.at_present(|state, now| state.consensus.disturbed(now));
    }

    /// Another member takes the lead: the chosen one, or any. Proposals that are
    /// not committed are dropped, or survive. Whether another one could lead.
    pub fn change_leader(&self, to: Option<usize>, drops_pending: bool) -> bool {
        self.at_present(|state, now| state.consensus.change_leader(to, drops_pending, now))
    }

    /// The leader is about to hand over its lead until `until`, an election timeout from
    /// now at most: it takes nothing in. What then becomes of it,
    /// [`change_leader`](Cluster::change_leader) says. Whether there was one, and others.
    pub fn begin_transfer(&self, until: SimTime) -> bool {
        self.at_present(|state, now| state.consensus.begin_transfer(until, now))
    }

    /// Whether the leader is about to hand over its lead, and has not given up before `at`.
    pub(crate) fn transfers_until(&self, at: SimTime) -> bool {
        self.at_present(|state, _| state.consensus.transfers_until(at))
    }

    /// The leader gives up, and nobody stands for election before `until`.
    /// Whether there was one.
    pub fn lose_leader(&self, until: SimTime) -> bool {
        self.at_present(|state, now| state.consensus.lose_leader(until, now))
    }

    /// Compacts everything before `revision`, or before the present, as some
    /// other program may at any time. Whether there was anything to compact.
    pub fn compact(&self, revision: Option<i64>) -> bool {
        self.at_present(|state, now| {
            let revision = revision.unwrap_or_else(|| state.store.revision());
            state.compact(revision, now)
        })
    }

    /// The database counts as full until `until`: puts and new leases are refused, and each
    /// member that is asked for one raises its alarm. That can be disarmed; the next such
    /// request raises it again.
    pub fn fill_up(&self, until: SimTime) {
        self.at_present(|state, now| state.fill_up(until, now));
    }

    /// The alarm is raised until `until` that members disagree: nothing is changed any
    /// more, unless somebody disarms it.
    pub fn corrupt(&self, until: SimTime) {
        self.at_present(|state, _| state.corrupt(until));
    }

    /// Which alarms are raised, and of which member, as long as what has raised them lasts.
    pub(crate) fn passing_alarms(&self) -> BTreeSet<(i32, u64)> {
        self.lock().passing_alarms.clone()
    }

    /// Sets [`passing_alarms`](Self::passing_alarms).
    pub(crate) fn set_passing_alarms(&self, alarms: BTreeSet<(i32, u64)>) {
        self.at_present(|state, _| state.passing_alarms = alarms);
    }

    /// Until `until` leases end the moment their time is over.
    pub fn expire_at_once(&self, until: SimTime) {
        self.at_present(|state, _| state.expires_at_once_until = until);
        self.shared.look.notify_waiters();
    }

    /// Until `until` no lease ends, as if the leader had too much to do.
    pub fn expire_late(&self, until: SimTime) {
        self.at_present(|state, _| state.expires_late_until = until);
    }

    /// Ends everything that hinders members and the links between them. Who is
    /// down stays down, who is paused stays paused.
    pub fn heal(&self) {
        self.at_present(State::heal);
    }

    /// Changes the cluster, with everything done that is due before and after.
    pub(super) fn at_present<T>(&self, change: impl FnOnce(&mut State, SimTime) -> T) -> T {
        let now = now();
        let mut state = self.lock();
        state.advance(now);
        let result = change(&mut state, now);
        state.advance(now);
        self.release(state);
        result
    }

    /// The cluster as it is now, with everything done that is due.
    pub(super) fn present(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.advance(now());
        state
    }

    /// The cluster as it was when somebody looked last.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }

    /// Ends a change: wakes who has something to do after it.
    pub(super) fn release(&self, mut state: MutexGuard<'_, State>) {
        let pump = state.wake_pump();
        self.settle(state);
        match pump {
            Needed::Nothing => {}
            Needed::Start => Node::new("cluster").spawn(self.clone().pump()),
            Needed::Wake(waker) => waker.wake(),
        }
    }

    /// Ends a change of the pump's own: wakes everybody else who has something to do
    /// after it.
    fn settle(&self, mut state: MutexGuard<'_, State>) {
        let revoked = state.take_revoked();
        let removed = std::mem::take(&mut state.removed);
        let members = state.members.iter().enumerate();
        let waits = |progress: &Progress| revoked || progress.watches.has_victims();
        let mut victims = 0_u8;
        for (number, _) in members.filter(|(_, progress)| waits(progress)) {
            victims |= 1 << number;
        }
        drop(state);
        if revoked {
            self.shared.revoked.notify_waiters();
        }
        for (number, notify) in self.shared.victims.iter().enumerate() {
            if victims & 1 << number != 0 {
                notify.notify_one();
            }
        }
        if let Some(retire) = self.shared.retires.get() {
            removed.into_iter().for_each(retire);
        }
    }

    /// A member's process starts, for the first time or after a crash.
    pub(super) fn starts(&self, number: MemberId, node: &Node) {
        let is_first = {
            let mut runs = lock(&self.shared.runs);
            let is_first = runs.iter().all(|run| run.node.is_none());
            runs[number].node = Some(node.clone());
            is_first
        };
        let has_crashed = std::mem::take(&mut lock(&self.shared.runs)[number].has_crashed);
        let leader = self.shared.first_leader;
        self.at_present(|state, now| {
            if is_first {
                state.consensus.begin(leader, now);
            }
            if has_crashed {
                state.consensus.restart(number, now);
                state.remember_users(number, now);
            }
        });
    }

    pub(super) fn crashes(&self, number: MemberId) {
        lock(&self.shared.runs)[number].has_crashed = true;
        let woken = self.at_present(|state, now| state.crash(number, now));
        woken.into_iter().for_each(Waker::wake);
    }

    pub(super) fn node(&self, number: MemberId) -> Option<Node> {
        lock(&self.shared.runs)[number].node.clone()
    }

    async fn pump(self) {
        std::future::poll_fn(move |context| self.poll_pump(context)).await;
    }

    fn poll_pump(&self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = now();
            let mut state = self.lock();
            state.advance(now);
            let next = state.noticed_at();
            let sleeps = state.pump.sleep(now, next, context);
            self.settle(state);
            if sleeps.is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.shared.options.iter().map(|options| &options.name);
        f.debug_list().entries(names).finish()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
