//! What a seed makes of a run: how large the cluster is, how long messages take,
//! which kinds of fault there are, and how often each.
//!
//! A run in which a few kinds of fault pile up finds more than one in which a
//! little of everything happens (Groce and others, "Swarm testing", 2012). So a
//! seed first draws *which* kinds are on, few or many, then how often each.

use std::fmt;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::{Latency, Plan};
use crate::fault::{ClientId, Fault, FaultKind, Jump, MemberId, Party, Pending};
use crate::network::Endpoints;
use crate::seed::Stream;

/// What plans are drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// How many clients there are to strike.
    pub clients: ClientId,
    /// Faults strike before this time, in milliseconds.
    pub until_ms: u64,
    /// No more faults than this.
    pub faults_max: usize,
    /// How many members the cluster has. None: the seed says so too. Every other seed
    /// then has one member, and only those kinds of fault that strike clients, crashes
    /// and compactions (the first ten of [`FaultKind::NAMES`]); the others have one,
    /// three or five, and all kinds.
    pub members: Option<usize>,
}

const KINDS: usize = FaultKind::NAMES.len();

/// The first kinds: what strikes clients and their connections, crashes of the
/// leader, and compaction.
const OF_CLIENTS: usize = 10;

/// Kinds that need more than one member.
const OF_SEVERAL: [usize; 3] = [21, 22, 34];

/// Kinds that strike only whoever has logged in, which workloads do not.
const OF_USERS: [usize; 1] = [33];

/// How many kinds there were when plans were first drawn. Those that came later draw from a
/// stream of their own, so that what the others draw stays as it was.
const FIRST_KINDS: usize = 31;

/// What a seed has drawn before any single fault.
#[derive(Clone, Debug)]
pub struct Swarm {
    members: usize,
    endpoints: Endpoints,
    latency: Latency,
    weights: [u32; KINDS],
    count: usize,
    /// Only the first kinds.
    is_plain: bool,
    rng: ChaCha8Rng,
}

impl Profile {
    /// The kinds of fault that can be drawn for so many members (see
    /// [`Profile::members`]).
    pub fn kinds(members: Option<usize>) -> impl Iterator<Item = &'static str> {
        let can_be_drawn = move |(number, _): &(usize, &'static str)| {
            !OF_USERS.contains(number) && (members != Some(1) || !OF_SEVERAL.contains(number))
        };
        let kinds = FaultKind::NAMES.into_iter().enumerate();
        kinds.filter(can_be_drawn).map(|(_, kind)| kind)
    }
}

impl Swarm {
    /// What a seed draws.
    pub fn draw(seed: u64, profile: &Profile) -> Self {
        let mut rng = Stream::Faults.rng(seed);
        let max_us = [0, 3_000, 8_000, 30_000][rng.random_range(0..4)];
        let Some(members) = profile.members.or_else(|| drawn_members(seed)) else {
            return Swarm::plain(rng, max_us, profile);
        };
        let knows_one = rng.random_bool(0.4) && members > 1;
        let weights = weights(seed, &mut rng, members);
        let count = rng.random_range(1..=profile.faults_max.max(1));
        Swarm {
            members,
            endpoints: if knows_one {
                Endpoints::Own
            } else {
                Endpoints::All
            },
            latency: Latency { min_us: 0, max_us },
            weights,
            count: count.min(profile.faults_max),
            is_plain: false,
            rng,
        }
    }

    /// One member, and the first kinds of fault.
    fn plain(mut rng: ChaCha8Rng, max_us: u64, profile: &Profile) -> Self {
        let mut weights = [0; KINDS];
        for weight in &mut weights[..OF_CLIENTS] {
            if rng.random_bool(0.6) {
                *weight = rng.random_range(1..=100);
            }
        }
        weights[1] = weights[1].max(rng.random_range(10..=100));
        Swarm {
            members: 1,
            endpoints: Endpoints::All,
            latency: Latency { min_us: 0, max_us },
            weights,
            // There are fewer kinds than in the others.
            count: rng
                .random_range(1..=(profile.faults_max * 3 / 4).max(1))
                .min(profile.faults_max),
            is_plain: true,
            rng,
        }
    }

    /// How many members the cluster has.
    pub fn members(&self) -> usize {
        self.members
    }

    /// The kinds of fault that are on, and how often each is drawn beside the others.
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let kinds = FaultKind::NAMES.into_iter().zip(self.weights);
        kinds.filter(|(_, weight)| *weight > 0)
    }

    /// The same without this kind of fault.
    #[must_use]
    pub fn without(self, kind: &str) -> Self {
        self.only(|number| FaultKind::NAMES[number] != kind)
    }

    /// The same with this kind of fault as often as all others together, at least.
    #[must_use]
    pub fn with_many(mut self, kind: &str) -> Self {
        let all = FaultKind::NAMES.into_iter().zip(&mut self.weights);
        let (these, others): (Vec<_>, Vec<_>) = all.partition(|(name, _)| *name == kind);
        let others: u32 = others.into_iter().map(|(_, weight)| *weight).sum();
        for (_, weight) in these {
            *weight = others.max(*weight);
        }
        self
    }

    /// The same without the kinds that `has` has not, by their place in
    /// [`FaultKind::NAMES`].
    #[must_use]
    pub(super) fn only(mut self, has: impl Fn(usize) -> bool) -> Self {
        for (kind, weight) in self.weights.iter_mut().enumerate() {
            if !has(kind) {
                *weight = 0;
            }
        }
        self
    }

    /// Faults of these kinds, so many a second each on average. Each kind draws from a
    /// stream of its own.
    pub(super) fn at_rates(seed: u64, profile: &Profile, rates: &[(usize, f64)]) -> Vec<Fault> {
        let seconds = profile.until_ms as f64 / 1_000.0;
        let mut faults = Vec::new();
        for (kind, rate) in rates {
            let mut rng = Stream::Faults.rng(seed);
            rng.set_stream(1 + *kind as u64);
            let expected = (rate * seconds).clamp(0.0, 1_000_000.0);
            // What is expected, give or take less than one.
            let count = (expected + rng.random_range(0.0..1.0)) as usize;
            let mut swarm = Swarm {
                members: profile.members.unwrap_or(1),
                endpoints: Endpoints::All,
                latency: Latency::NONE,
                weights: [0; KINDS],
                count,
                is_plain: false,
                rng,
            };
            swarm.weights[*kind] = 1;
            faults.extend(swarm.faults(profile));
        }
        faults.sort_by_key(|fault| fault.at_ms);
        faults
    }

    fn faults(&mut self, profile: &Profile) -> Vec<Fault> {
        let until_ms = profile.until_ms.max(6);
        let any = self.weights.iter().any(|weight| *weight > 0);
        let count = if any { self.count } else { 0 };
        let mut faults = Vec::new();
        while faults.len() < count {
            let at_ms = self.rng.random_range(5..until_ms);
            let kind = self.kind(profile);
            let death = self.death_after(&kind);
            faults.push(Fault { at_ms, kind });
            if let Some((later_ms, kind)) = death.filter(|_| faults.len() < count) {
                let at_ms = at_ms + later_ms;
                faults.push(Fault { at_ms, kind });
            }
        }
        faults
    }

    /// Draws the faults themselves.
    pub fn plan(mut self, seed: u64, profile: &Profile) -> Plan {
        let mut faults = self.faults(profile);
        faults.sort_by_key(|fault| fault.at_ms);
        Plan {
            seed,
            latency: self.latency,
            members: self.members,
            endpoints: self.endpoints,
            faults,
        }
    }

    fn kind(&mut self, profile: &Profile) -> FaultKind {
        let rng = &mut self.rng;
        let client = rng.random_range(0..profile.clients.max(1));
        let member = match self.is_plain {
            true => 0,
            false => rng.random_range(0..self.members),
        };
        // Both sides of every limit that clients have: request deadlines and
        // leases are counted in seconds.
        let short_ms = rng.random_range(1..=200);
        let long_ms = rng.random_range(200..=8_000);
        let for_ms = if rng.random_bool(0.5) {
            short_ms
        } else {
            long_ms
        };
        if self.is_plain {
            let kind = self.draw_kind();
            return of_clients(kind, client, short_ms, for_ms);
        }
        let to = rng.random_bool(0.5).then_some(member);
        let stands_still = rng.random_bool(0.5);
        // No lease keeps its promises to a clock that is slower than by one part in a
        // thousand; a fast one only gives up too early.
        let permille = [999, 999, 999, 1_001, 1_010, 1_100, 2_000][rng.random_range(0..7)];
        let pause_ms = rng.random_range(1_500..=5_000);
        // A message that is on its way for longer than a lease lives is the one that
        // lands when its sender counts as dead.
        let by_ms = if rng.random_bool(0.3) {
            long_ms
        } else {
            short_ms
        };
        match self.draw_kind() {
            2 => FaultKind::Delay {
                client,
                by_ms,
                for_ms,
            },
            // About as long as a lease lives, often: so that it ends meanwhile.
            6 => FaultKind::PauseClient {
                client,
                for_ms: if stands_still { pause_ms } else { for_ms },
            },
            kind if kind < OF_CLIENTS => of_clients(kind, client, short_ms, for_ms),
            10 => FaultKind::Refuse { client, for_ms },
            11 => FaultKind::BreakWatches { client },
            12 => self.cut(profile, for_ms),
            13 => self.delay_link(profile, by_ms, for_ms),
            14 => FaultKind::CrashMember {
                member,
                down_ms: to.is_none().then_some(for_ms),
            },
            15 => FaultKind::PauseMember { member, for_ms },
            16 => FaultKind::LagMember {
                member,
                by_ms: short_ms * 5,
                for_ms,
            },
            17 => FaultKind::StallMember { member, for_ms },
            18 => FaultKind::OverloadMember { member, for_ms },
            19 => FaultKind::HoldEvents { member, for_ms },
            20 => FaultKind::FragmentEvents {
                member,
                bytes: 64,
                for_ms,
            },
            21 => FaultKind::ChangeLeader {
                to,
                pending: Pending::Dropped,
            },
            22 => FaultKind::ChangeLeader {
                to,
                pending: Pending::Kept,
            },
            23 => FaultKind::LoseLeader { for_ms },
            24 => FaultKind::CompactAt {
                revision: 1 + i64::try_from(short_ms / 4).unwrap_or(0),
            },
            25 => FaultKind::ExpireAtOnce { for_ms },
            26 => FaultKind::ExpireLate { for_ms },
            27 => FaultKind::FillUp { for_ms },
            28 => FaultKind::HoldRequest { client, by_ms },
            29 => FaultKind::SkewClock {
                client,
                permille,
                for_ms,
            },
            31 => FaultKind::StopMember {
                member,
                down_ms: short_ms * 5,
            },
            32 => FaultKind::Corrupt { for_ms },
            33 => FaultKind::ExpireTokens { member },
            34 => FaultKind::TransferLead {
                to,
                for_ms: short_ms * 5,
            },
            _ => FaultKind::JumpClock {
                client,
                to: if stands_still {
                    Jump::Forward
                } else {
                    Jump::Back
                },
                by_ms: for_ms,
            },
        }
    }

    /// A request that is held up is worst when its sender is dead, or has begun anew,
    /// by the time it arrives.
    fn death_after(&mut self, kind: &FaultKind) -> Option<(u64, FaultKind)> {
        let FaultKind::HoldRequest { client, by_ms } = *kind else {
            return None;
        };
        let (later_ms, down_ms) = (
            self.rng.random_range(1..=100),
            self.rng.random_range(1..=by_ms),
        );
        let kind = FaultKind::RestartClient { client, down_ms };
        self.rng.random_bool(0.5).then_some((later_ms, kind))
    }

    fn draw_kind(&mut self) -> usize {
        let mut ticket = self.rng.random_range(0..self.weights.iter().sum::<u32>());
        let mut index = 0;
        while ticket >= self.weights[index] {
            ticket -= self.weights[index];
            index += 1;
        }
        index
    }

    /// Cuts off a member from the others, a member from everybody, some members
    /// from the others, or a client from a member.
    fn cut(&mut self, profile: &Profile, for_ms: u64) -> FaultKind {
        let rng = &mut self.rng;
        let one_way = rng.random_bool(0.3);
        let turned = rng.random_bool(0.5);
        let members = (0..self.members).map(Party::Member);
        let clients = (0..profile.clients.max(1)).map(Party::Client);
        let chosen = rng.random_range(0..self.members);
        let (from, to): (Vec<Party>, Vec<Party>) = match rng.random_range(0..4) {
            0 if self.members > 1 => members.partition(|party| *party == Party::Member(chosen)),
            1 => members
                .chain(clients)
                .partition(|party| *party == Party::Member(chosen)),
            2 if self.members > 1 => {
                let others = rng.random_range(1..self.members);
                let side = move |member: MemberId| (member + chosen).is_multiple_of(others.max(2));
                members.partition(|party| matches!(party, Party::Member(m) if side(*m)))
            }
            _ => {
                let client = rng.random_range(0..profile.clients.max(1));
                (vec![Party::Client(client)], vec![Party::Member(chosen)])
            }
        };
        let (from, to) = if turned { (to, from) } else { (from, to) };
        FaultKind::Cut {
            from,
            to,
            one_way,
            for_ms,
        }
    }

    fn delay_link(&mut self, profile: &Profile, by_ms: u64, for_ms: u64) -> FaultKind {
        let rng = &mut self.rng;
        let member = rng.random_range(0..self.members);
        let other = rng.random_range(0..self.members);
        let between = if other != member && rng.random_bool(0.6) {
            (Party::Member(member), Party::Member(other))
        } else {
            let client = rng.random_range(0..profile.clients.max(1));
            (Party::Client(client), Party::Member(member))
        };
        FaultKind::DelayLink {
            between,
            by_ms,
            jitter_ms: rng.random_range(0..=100),
            for_ms,
        }
    }
}

/// How many members the cluster of a seed has; none: one, and the first kinds of fault.
///
/// What goes wrong between clients and etcd needs neither members nor their faults, and
/// is found soonest where there is nothing else.
fn drawn_members(seed: u64) -> Option<usize> {
    let mut rng = Stream::Cluster.rng(seed);
    let is_plain = rng.random_bool(0.5);
    let members = [1, 3, 3, 5][rng.random_range(0..4)];
    (!is_plain).then_some(members)
}

/// One of the first kinds.
fn of_clients(kind: usize, client: ClientId, short_ms: u64, for_ms: u64) -> FaultKind {
    match kind {
        0 => FaultKind::LoseRequest { client },
        1 => FaultKind::LoseResponse { client },
        2 => FaultKind::Delay {
            client,
            by_ms: short_ms,
            for_ms,
        },
        3 => FaultKind::Reset { client },
        4 => FaultKind::Partition { client, for_ms },
        5 => FaultKind::RestartMember {
            down_ms: short_ms * 5,
        },
        6 => FaultKind::PauseClient { client, for_ms },
        7 => FaultKind::KillClient { client },
        8 => FaultKind::RestartClient {
            client,
            down_ms: for_ms,
        },
        _ => FaultKind::Compact,
    }
}

/// For each kind of fault how often it is drawn; many are never. Those that
/// strike clients alone are on more often: there are fewer of them, and each
/// finds much.
fn weights(seed: u64, rng: &mut ChaCha8Rng, members: usize) -> [u32; KINDS] {
    let (first, others) = [(0.3, 0.1), (0.4, 0.2), (0.6, 0.4), (0.6, 0.0)][rng.random_range(0..4)];
    let mut weights = [0; KINDS];
    let mut later = Stream::Faults.rng(seed);
    later.set_stream(1 << 32);
    // Together or not at all: what few kinds find is not to be found less often.
    let any_later = later.random_bool(0.3);
    for (kind, weight) in weights.iter_mut().enumerate() {
        let (rng, chance) = match kind {
            0..OF_CLIENTS => (&mut *rng, first),
            OF_CLIENTS..FIRST_KINDS => (&mut *rng, others),
            _ => (&mut later, if any_later { 0.6 } else { 0.0 }),
        };
        let is_on = rng.random_bool(chance);
        let drawn = rng.random_range(1..=100);
        let can_be_drawn = members > 1 || !OF_SEVERAL.contains(&kind);
        if is_on && can_be_drawn && !OF_USERS.contains(&kind) {
            *weight = drawn;
        }
    }
    // The most telling of all: a lost answer leaves an unknown outcome, and who
    // stands still for too long does not know what it has lost.
    weights[1] = weights[1].max(rng.random_range(10..=100));
    let pause = rng.random_range(10..=100);
    if rng.random_bool(0.5) {
        weights[6] = weights[6].max(pause);
    }
    weights
}

/// `3 members, messages take up to 8 ms; response lost 40, member crash 12`.
impl fmt::Display for Swarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.members == 1 { "" } else { "s" };
        write!(f, "{} member{plural}", self.members)?;
        if self.endpoints == Endpoints::Own {
            write!(f, ", each client knows one")?;
        }
        let millis = self.latency.max_us / 1_000;
        write!(f, ", messages take up to {millis} ms; faults by weight:")?;
        let mut kinds: Vec<_> = self.kinds().collect();
        kinds.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
        for (index, (name, weight)) in kinds.into_iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma} {name} {weight}")?;
        }
        Ok(())
    }
}
