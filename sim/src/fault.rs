//! What can go wrong, as data.

use serde::{Deserialize, Deserializer, Serialize};

/// A client process of a run, counted from 0. It keeps its number when it is
/// killed and started again.
pub type ClientId = u32;

/// A member of the cluster, counted from 0.
pub type MemberId = usize;

/// Somebody who sends and receives messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Party {
    /// A client process.
    Client(ClientId),
    /// A member of the cluster.
    Member(MemberId),
}

/// Any number of clients and members, for [faults by hand](crate::Simulation#faults-by-hand).
///
/// ```
/// use etcd_sim::fault::{Parties, Party};
///
/// let one: Parties = Party::Member(0).into();
/// let two: Parties = [Party::Member(1), Party::Client(0)].into();
/// # assert_eq!(one.iter().count() + two.iter().count(), 3);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parties(Vec<Party>);

impl Parties {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Party> {
        self.0.iter().copied()
    }

    /// All but those.
    #[must_use]
    pub fn without(mut self, others: impl Into<Parties>) -> Self {
        let others = others.into();
        self.0.retain(|party| !others.0.contains(party));
        self
    }

    pub(crate) fn into_vec(self) -> Vec<Party> {
        self.0
    }
}

impl From<Party> for Parties {
    fn from(party: Party) -> Self {
        Parties(vec![party])
    }
}

impl From<Vec<Party>> for Parties {
    fn from(parties: Vec<Party>) -> Self {
        Parties(parties)
    }
}

impl<const N: usize> From<[Party; N]> for Parties {
    fn from(parties: [Party; N]) -> Self {
        Parties(parties.into())
    }
}

impl FromIterator<Party> for Parties {
    fn from_iter<I: IntoIterator<Item = Party>>(parties: I) -> Self {
        Parties(parties.into_iter().collect())
    }
}

/// What becomes of proposals that are not committed when the leader changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pending {
    /// They never happen; who waits for one hears nothing until the request times
    /// out.
    Dropped,
    /// The new leader has them: they happen.
    Kept,
}

/// Which way a clock is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Jump {
    /// Ahead, and with it the monotonic clock.
    Forward,
    /// Back: the clock of the wall alone.
    Back,
}

const LOSS_WAITS_MS: u64 = 1_000;
/// How long a member that is told to stop goes on with what it was asked before, in
/// milliseconds: as long as a request may take (`stopServers` in etcd's
/// `server/embed/etcd.go`). A real 3.5.30 broke its streams after 7.0 s; 3.4.23, 3.5.1 and
/// 3.5.16 broke them at once.
pub(crate) const STOPS_WITHIN_MS: u64 = 7_000;
/// The cluster heals no sooner after a crash that lasts until then.
const CRASH_WAITS_MS: u64 = 2_000;

/// One fault of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When it strikes, in milliseconds of simulated time.
    pub at_ms: u64,
    /// What happens.
    pub kind: FaultKind,
}

/// A field that may be null must be there all the same: who leaves it out may have meant
/// to fill it.
fn said<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

/// What happens.
///
/// How each looks from the client is what a real etcd shows: a lost message
/// shows nothing until the client's own deadline, a reset shows a transport
/// error at once, a member that is down refuses connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum FaultKind {
    /// The client's next message to the member, if it sends one before the
    /// network heals, never arrives, nor does anything later on the same
    /// stream.
    LoseRequest {
        /// Whose message.
        client: ClientId,
    },
    /// The member's next message to the client, if it sends one before the
    /// network heals, never arrives, nor does anything later on the same
    /// stream. What was asked for has happened.
    LoseResponse {
        /// Whose answer.
        client: ClientId,
    },
    /// Every message of the client takes longer, in both directions.
    Delay {
        /// Whose messages.
        client: ClientId,
        /// How much longer, in milliseconds.
        by_ms: u64,
        /// For how long this lasts, in milliseconds.
        for_ms: u64,
    },
    /// The client's connection breaks: every open stream ends with a transport
    /// error, whatever is on its way is gone.
    Reset {
        /// Whose connection.
        client: ClientId,
    },
    /// Nothing passes between the client and any member.
    Partition {
        /// Who is cut off.
        client: ClientId,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// The process of the member that leads crashes, and comes back with what was
    /// committed. Where none leads, that of the first member.
    RestartMember {
        /// How long it is down, in milliseconds.
        down_ms: u64,
    },
    /// Another program compacts the history away, up to the present revision.
    /// Nothing happens where nothing leads.
    Compact,
    /// The client's process stands still while time runs on, as in a long
    /// garbage collection or a suspended virtual machine.
    PauseClient {
        /// Which client.
        client: ClientId,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// The client's process dies and does not come back.
    KillClient {
        /// Which client.
        client: ClientId,
    },
    /// The client's process dies and starts again.
    RestartClient {
        /// Which client.
        client: ClientId,
        /// How long it is down, in milliseconds.
        down_ms: u64,
    },
    /// What some send to others does not arrive, nor the other way round, unless
    /// it is cut one way only. Any sets of clients and members: of members alone, a
    /// partition of the cluster.
    Cut {
        /// One side.
        from: Vec<Party>,
        /// The other side.
        to: Vec<Party>,
        /// Only what `from` sends is lost.
        one_way: bool,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// Messages between two take longer, in both directions.
    DelayLink {
        /// The two.
        between: (Party, Party),
        /// How much longer, in milliseconds.
        by_ms: u64,
        /// How much longer still at most, drawn for each message, in milliseconds.
        jitter_ms: u64,
        /// For how long this lasts, in milliseconds.
        for_ms: u64,
    },
    /// The client's connections break, and new ones are refused.
    Refuse {
        /// Whose connections.
        client: ClientId,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// The streams of the client's watches break; its other calls do not.
    BreakWatches {
        /// Whose watches.
        client: ClientId,
    },
    /// A member's process crashes. It comes back with what it had, or all others
    /// have committed.
    CrashMember {
        /// Which member.
        member: MemberId,
        /// How long it is down, in milliseconds; none: until the cluster heals.
        #[serde(deserialize_with = "said")]
        down_ms: Option<u64>,
    },
    /// A member's process stands still while time runs on. Connections stay open.
    PauseMember {
        /// Which member.
        member: MemberId,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// A member applies late what is committed: it shows old revisions.
    LagMember {
        /// Which member.
        member: MemberId,
        /// How late, in milliseconds.
        by_ms: u64,
        /// For how long this lasts, in milliseconds.
        for_ms: u64,
    },
    /// A member is defragmented: it answers nothing meanwhile, but goes on to vote
    /// and to lead.
    StallMember {
        /// Which member.
        member: MemberId,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// A member refuses whatever would change something: "too many requests".
    OverloadMember {
        /// Which member.
        member: MemberId,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// The watches of a member hear of nothing, and then of everything at once.
    HoldEvents {
        /// Which member.
        member: MemberId,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// Answers to watches that ask for fragments are split as soon as they have
    /// this many bytes.
    FragmentEvents {
        /// Which member.
        member: MemberId,
        /// Where answers are split.
        bytes: usize,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// Another member takes the lead, if one can.
    ChangeLeader {
        /// Which one; none: any.
        #[serde(deserialize_with = "said")]
        to: Option<MemberId>,
        /// What becomes of proposals that are not committed.
        pending: Pending,
    },
    /// The leader gives up, and nobody stands for election for this long.
    LoseLeader {
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// Another program compacts the history away, up to this revision, if that has
    /// happened and is not compacted yet.
    CompactAt {
        /// The oldest revision that can be read afterwards.
        revision: i64,
    },
    /// Leases end the moment their time is over, not at the leader's next look
    /// half a second later at most.
    ExpireAtOnce {
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// No lease ends: the leader has no time to look.
    ExpireLate {
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// The client's next message to a member, if it sends one before the network
    /// heals, is on its way for so long; what follows on the same stream waits behind
    /// it, other calls overtake it. It arrives although its sender is dead by then.
    HoldRequest {
        /// Whose message.
        client: ClientId,
        /// How much longer it takes, in milliseconds.
        by_ms: u64,
    },
    /// The clock that the client's process reads runs fast or slow. What it has gained
    /// or lost stays.
    SkewClock {
        /// Whose clock.
        client: ClientId,
        /// How far it gets in a thousand milliseconds, in milliseconds.
        permille: u32,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// The clock that the client's process reads is set.
    JumpClock {
        /// Whose clock.
        client: ClientId,
        /// Which way.
        to: Jump,
        /// By how much, in milliseconds.
        by_ms: u64,
    },
    /// The database counts as full: puts and new leases are refused, all else is
    /// done.
    FillUp {
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// A member's process is told to stop in good order, as when a newer release takes its
    /// place, and is started again. It accepts no connections any more, goes on with what
    /// it was asked before for as long as a request may take, 7 s, then breaks the
    /// connections that are left, gives the lead away and ends. Before 3.5.18 it breaks
    /// them at once.
    StopMember {
        /// Which member.
        member: MemberId,
        /// How long it is down after it has ended, in milliseconds.
        down_ms: u64,
    },
    /// The alarm is raised that members disagree: whatever would change something is
    /// refused, "corrupt cluster", and no lease ends.
    Corrupt {
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// Everybody who is logged in at a member is not any more, as when tokens have not
    /// been used for five minutes. Nothing happens where nobody is logged in.
    ExpireTokens {
        /// Which member.
        member: MemberId,
    },
    /// The leader is to hand over its lead, and the other one takes its time. Meanwhile
    /// the leader takes nothing in: its own clients are told "raft proposal dropped",
    /// those of others hear nothing until the request times out. After an election timeout
    /// it gives up, and keeps the lead.
    TransferLead {
        /// To whom; none: to any.
        #[serde(deserialize_with = "said")]
        to: Option<MemberId>,
        /// How long the other one takes, in milliseconds.
        for_ms: u64,
    },
}

impl FaultKind {
    /// The names of all kinds, in the order in which reports list them.
    pub const NAMES: [&'static str; 35] = [
        "request lost",
        "response lost",
        "delay",
        "reset",
        "partition",
        "member restart",
        "client pause",
        "client kill",
        "client restart",
        "compaction",
        "connection refused",
        "watches broken",
        "link cut",
        "link delay",
        "member crash",
        "member pause",
        "member lag",
        "defragmentation",
        "overload",
        "events held",
        "events fragmented",
        "leader change, pending dropped",
        "leader change, pending kept",
        "no leader",
        "compaction at revision",
        "early expiry",
        "late expiry",
        "database full",
        "request held",
        "clock skew",
        "clock jump",
        "member stop",
        "corrupt cluster",
        "tokens expired",
        "leader transfer",
    ];

    /// The name of this kind in reports.
    pub const fn name(&self) -> &'static str {
        Self::NAMES[match self {
            FaultKind::LoseRequest { .. } => 0,
            FaultKind::LoseResponse { .. } => 1,
            FaultKind::Delay { .. } => 2,
            FaultKind::Reset { .. } => 3,
            FaultKind::Partition { .. } => 4,
            FaultKind::RestartMember { .. } => 5,
            FaultKind::PauseClient { .. } => 6,
            FaultKind::KillClient { .. } => 7,
            FaultKind::RestartClient { .. } => 8,
            FaultKind::Compact => 9,
            FaultKind::Refuse { .. } => 10,
            FaultKind::BreakWatches { .. } => 11,
            FaultKind::Cut { .. } => 12,
            FaultKind::DelayLink { .. } => 13,
            FaultKind::CrashMember { .. } => 14,
            FaultKind::PauseMember { .. } => 15,
            FaultKind::LagMember { .. } => 16,
            FaultKind::StallMember { .. } => 17,
            FaultKind::OverloadMember { .. } => 18,
            FaultKind::HoldEvents { .. } => 19,
            FaultKind::FragmentEvents { .. } => 20,
            FaultKind::ChangeLeader {
                pending: Pending::Dropped,
                ..
            } => 21,
            FaultKind::ChangeLeader {
                pending: Pending::Kept,
                ..
            } => 22,
            FaultKind::LoseLeader { .. } => 23,
            FaultKind::CompactAt { .. } => 24,
            FaultKind::ExpireAtOnce { .. } => 25,
            FaultKind::ExpireLate { .. } => 26,
            FaultKind::FillUp { .. } => 27,
            FaultKind::HoldRequest { .. } => 28,
            FaultKind::SkewClock { .. } => 29,
            FaultKind::JumpClock { .. } => 30,
            FaultKind::StopMember { .. } => 31,
            FaultKind::Corrupt { .. } => 32,
            FaultKind::ExpireTokens { .. } => 33,
            FaultKind::TransferLead { .. } => 34,
        }]
    }

    /// The one client that it strikes; none for a fault of members or of links.
    pub fn client(&self) -> Option<ClientId> {
        match *self {
            FaultKind::LoseRequest { client }
            | FaultKind::LoseResponse { client }
            | FaultKind::Delay { client, .. }
            | FaultKind::Reset { client }
            | FaultKind::Partition { client, .. }
            | FaultKind::PauseClient { client, .. }
            | FaultKind::KillClient { client }
            | FaultKind::RestartClient { client, .. }
            | FaultKind::Refuse { client, .. }
            | FaultKind::BreakWatches { client }
            | FaultKind::HoldRequest { client, .. }
            | FaultKind::SkewClock { client, .. }
            | FaultKind::JumpClock { client, .. } => Some(client),
            _ => None,
        }
    }

    /// The one member that it strikes, where it names one.
    pub fn member(&self) -> Option<MemberId> {
        match *self {
            FaultKind::CrashMember { member, .. }
            | FaultKind::PauseMember { member, .. }
            | FaultKind::LagMember { member, .. }
            | FaultKind::StallMember { member, .. }
            | FaultKind::OverloadMember { member, .. }
            | FaultKind::HoldEvents { member, .. }
            | FaultKind::FragmentEvents { member, .. }
            | FaultKind::StopMember { member, .. }
            | FaultKind::ExpireTokens { member } => Some(member),
            FaultKind::ChangeLeader { to, .. } | FaultKind::TransferLead { to, .. } => to,
            _ => None,
        }
    }

    /// Everybody that it names.
    pub fn parties(&self) -> Vec<Party> {
        match self {
            FaultKind::Cut { from, to, .. } => from.iter().chain(to).copied().collect(),
            FaultKind::DelayLink { between, .. } => vec![between.0, between.1],
            kind => {
                let client = kind.client().map(Party::Client);
                let member = kind.member().map(Party::Member);
                client.into_iter().chain(member).collect()
            }
        }
    }

    /// The same for half as long; none when it lasts no time, or hardly any.
    pub fn halved(&self) -> Option<FaultKind> {
        let mut half = self.clone();
        let lasts = match &mut half {
            FaultKind::Delay { for_ms, .. }
            | FaultKind::Partition { for_ms, .. }
            | FaultKind::PauseClient { for_ms, .. }
            | FaultKind::Cut { for_ms, .. }
            | FaultKind::DelayLink { for_ms, .. }
            | FaultKind::Refuse { for_ms, .. }
            | FaultKind::PauseMember { for_ms, .. }
            | FaultKind::LagMember { for_ms, .. }
            | FaultKind::StallMember { for_ms, .. }
            | FaultKind::OverloadMember { for_ms, .. }
            | FaultKind::HoldEvents { for_ms, .. }
            | FaultKind::FragmentEvents { for_ms, .. }
            | FaultKind::LoseLeader { for_ms }
            | FaultKind::ExpireAtOnce { for_ms }
            | FaultKind::ExpireLate { for_ms }
            | FaultKind::FillUp { for_ms }
            | FaultKind::Corrupt { for_ms }
            | FaultKind::TransferLead { for_ms, .. }
            | FaultKind::HoldRequest { by_ms: for_ms, .. }
            | FaultKind::SkewClock { for_ms, .. }
            | FaultKind::JumpClock { by_ms: for_ms, .. } => for_ms,
            FaultKind::RestartMember { down_ms }
            | FaultKind::RestartClient { down_ms, .. }
            | FaultKind::StopMember { down_ms, .. }
            | FaultKind::CrashMember {
                down_ms: Some(down_ms),
                ..
            } => down_ms,
            _ => return None,
        };
        if *lasts < 2 {
            return None;
        }
        *lasts /= 2;
        Some(half)
    }

    /// Leaves out whom the run does not have; whether anybody is left to strike.
    pub(crate) fn restrict(
        &mut self,
        has_client: impl Fn(ClientId) -> bool,
        has_member: impl Fn(MemberId) -> bool,
    ) -> bool {
        let exists = |party: &Party| match *party {
            Party::Client(client) => has_client(client),
            Party::Member(member) => has_member(member),
        };
        if let FaultKind::Cut { from, to, .. } = self {
            from.retain(exists);
            to.retain(exists);
            return !from.is_empty() && !to.is_empty();
        }
        self.parties().iter().all(exists)
    }

    /// For how long after its end it still shows, in milliseconds: what was sent while
    /// messages were slow is on its way, and what is sent later comes after it, as on a
    /// connection of TCP. So does what a member hears while it lags.
    pub fn lingers_ms(&self) -> u64 {
        match *self {
            FaultKind::Delay { by_ms, .. } | FaultKind::LagMember { by_ms, .. } => by_ms,
            FaultKind::DelayLink {
                by_ms, jitter_ms, ..
            } => by_ms.saturating_add(jitter_ms),
            _ => 0,
        }
    }

    /// How long it lasts, in milliseconds; zero for what happens at an instant.
    /// A loss waits a second for its message before the network can heal.
    pub fn lasts_ms(&self) -> u64 {
        match *self {
            FaultKind::Delay { for_ms, .. }
            | FaultKind::Partition { for_ms, .. }
            | FaultKind::PauseClient { for_ms, .. }
            | FaultKind::Cut { for_ms, .. }
            | FaultKind::DelayLink { for_ms, .. }
            | FaultKind::Refuse { for_ms, .. }
            | FaultKind::PauseMember { for_ms, .. }
            | FaultKind::LagMember { for_ms, .. }
            | FaultKind::StallMember { for_ms, .. }
            | FaultKind::OverloadMember { for_ms, .. }
            | FaultKind::HoldEvents { for_ms, .. }
            | FaultKind::FragmentEvents { for_ms, .. }
            | FaultKind::LoseLeader { for_ms }
            | FaultKind::ExpireAtOnce { for_ms }
            | FaultKind::ExpireLate { for_ms }
            | FaultKind::FillUp { for_ms }
            | FaultKind::Corrupt { for_ms }
            | FaultKind::TransferLead { for_ms, .. }
            | FaultKind::SkewClock { for_ms, .. } => for_ms,
            // It waits for its message, and that is on its way.
            FaultKind::HoldRequest { by_ms, .. } => LOSS_WAITS_MS.saturating_add(by_ms),
            FaultKind::RestartMember { down_ms } | FaultKind::RestartClient { down_ms, .. } => {
                down_ms
            }
            FaultKind::CrashMember { down_ms, .. } => down_ms.unwrap_or(CRASH_WAITS_MS),
            FaultKind::StopMember { down_ms, .. } => STOPS_WITHIN_MS.saturating_add(down_ms),
            FaultKind::LoseRequest { .. } | FaultKind::LoseResponse { .. } => LOSS_WAITS_MS,
            FaultKind::Reset { .. }
            | FaultKind::KillClient { .. }
            | FaultKind::Compact
            | FaultKind::BreakWatches { .. }
            | FaultKind::JumpClock { .. }
            | FaultKind::ChangeLeader { .. }
            | FaultKind::ExpireTokens { .. }
            | FaultKind::CompactAt { .. } => 0,
        }
    }
}
