//! How long leases live.

use std::collections::BTreeMap;

use super::facts::refused_lease;
use super::kinds::{DEAD_LEASE, LEASE_EARLY, LEASE_KEYS, LEASE_TTL};
use super::log::{Call, Log, Reply, puts, took};
use super::message::UNTIL_REVOKED;
use super::order::Order;
use crate::history::Event;
use crate::verdict::{Class, Seconds, Violation};

/// How much of a time to live clocks may disagree about: one part in a thousand.
/// etcd and its clients count time with monotonic clocks, which time daemons keep
/// within 500 parts in a million each (`adjtimex(2)`, the largest slew rate).
const DRIFT_DIVISOR: u64 = 1_000;

/// What is known of the life of each lease.
pub(super) struct Lives {
    leases: BTreeMap<i64, Life>,
}

#[derive(Default)]
struct Life {
    /// The latest grant or renewal that was answered, and the time before which the
    /// lease cannot end by itself, in nanoseconds.
    renewed: Option<(usize, u64)>,
    /// A revocation that was answered.
    revoked: Option<usize>,
    /// The first revocation that may have happened: index of its first event.
    revocation_invoked: Option<usize>,
    /// Revocations of unknown outcome and those answered, by operation.
    revocations: Vec<usize>,
    /// Answers that there is no such lease.
    gone: Vec<usize>,
    /// Answers that it lives.
    alive: Vec<usize>,
}

/// Between which revisions a lease may have ended unseen.
#[derive(Clone, Copy, Debug)]
pub(super) struct PossibleEnd {
    pub(super) after: i64,
    pub(super) before: i64,
}

impl Lives {
    pub(super) fn of(log: &Log<'_>) -> Self {
        let mut lives = Lives {
            leases: log
                .grants
                .keys()
                .map(|lease| (*lease, Life::default()))
                .collect(),
        };
        for index in 0..log.entries.len() {
            lives.note(log, index);
        }
        lives
    }

    fn note(&mut self, log: &Log<'_>, index: usize) {
        let entry = &log.entries[index];
        let invoked = entry.operation.invoke.time();
        let mut with = |lease: i64, note: &mut dyn FnMut(&mut Life)| {
            if let Some(life) = self.leases.get_mut(&lease) {
                note(life);
            }
        };
        let mut renew = |lease: i64, lasts_ns: u64, life_goes_on: bool| {
            with(lease, &mut |life| {
                let until = invoked.saturating_add(lasts_ns);
                if life.renewed.is_none_or(|(_, known)| known < until) {
                    life.renewed = Some((index, until));
                }
                if life_goes_on {
                    life.alive.push(index);
                }
            });
        };
        match &entry.call {
            Call::Grant(lease, Reply::Done(result)) => {
                renew(lease.lease, granted_ns(result.ttl), false);
            }
            Call::Grant(lease, Reply::Unknown) => {
                renew(lease.lease, granted_ns(lease.ttl), false);
            }
            Call::KeepAlive(lease, Reply::Done(result)) if result.ttl > 0 => {
                renew(lease.lease, lasts_ns(result.ttl), true);
            }
            Call::KeepAlive(lease, Reply::Done(_)) => {
                with(lease.lease, &mut |life| life.gone.push(index));
            }
            Call::TimeToLive(lease, Reply::Done(result)) if result.ttl < 0 => {
                with(lease.lease, &mut |life| life.gone.push(index));
            }
            Call::Revoke(lease, reply @ (Reply::Done(()) | Reply::Unknown)) => {
                with(lease.lease, &mut |life| {
                    let event = entry.operation.invoked;
                    let first = life.revocation_invoked.get_or_insert(event);
                    *first = event.min(*first);
                    life.revocations.push(index);
                    if reply.done().is_some() {
                        life.revoked = life.revoked.or(Some(index));
                        life.alive.push(index);
                    }
                });
            }
            call => {
                if let Some(lease) = refused_lease(call) {
                    with(lease, &mut |life| life.gone.push(index));
                }
                if entry.wrote() {
                    for (put, branch) in puts(call) {
                        if put.lease != 0 && took(call, branch) {
                            with(put.lease, &mut |life| life.alive.push(index));
                        }
                    }
                }
            }
        }
    }

    /// The leases that may have ended without an answer that says so.
    pub(super) fn possible_ends<'a>(
        &'a self,
        log: &'a Log<'_>,
        order: &'a Order,
    ) -> impl Iterator<Item = (i64, PossibleEnd)> + 'a {
        let unseen = self
            .leases
            .iter()
            .filter(|(_, life)| life.revoked.is_none());
        unseen.map(|(&lease, life)| {
            let expired = life
                .renewed
                .map_or(0, |(_, until)| order.known_before_time(until).0);
            let revoked = life
                .revocations
                .iter()
                .map(|revocation| order.known_before(log.operation(*revocation).invoked).0);
            let end = PossibleEnd {
                after: revoked.fold(expired, i64::min),
                before: i64::MAX,
            };
            (lease, end)
        })
    }

    /// When a lease can have ended by itself at the earliest, in nanoseconds or [`NEVER`], and
    /// the answer that says so; unless somebody may have revoked it.
    pub(super) fn must_live_until(&self, lease: i64, event: usize) -> Option<(usize, u64)> {
        let life = self.leases.get(&lease)?;
        let may_be_revoked = life.revocation_invoked.is_some_and(|at| at < event);
        life.renewed.filter(|_| !may_be_revoked)
    }
}

/// The instant at which a lease ends by itself that does not.
pub(super) const NEVER: u64 = u64::MAX;

/// Nanoseconds that a lease certainly lives after it was granted.
fn granted_ns(ttl: i64) -> u64 {
    match ttl {
        UNTIL_REVOKED => NEVER,
        ttl => lasts_ns(ttl),
    }
}

/// Nanoseconds that a lease certainly lives.
fn lasts_ns(ttl: i64) -> u64 {
    let ns = u64::try_from(ttl)
        .unwrap_or(0)
        .saturating_mul(1_000_000_000);
    ns - ns / DRIFT_DIVISOR
}

/// What leases do that they must not, as far as no key shows it.
pub(super) fn find_wrong(log: &Log<'_>, order: &Order, lives: &Lives) -> Option<Violation> {
    find_ungranted(log)
        .or_else(|| find_short(log))
        .or_else(|| find_early(log, lives))
        .or_else(|| find_dead(log, order, lives))
        .or_else(|| find_listed(log))
}

/// A lease was used that nobody had asked for by then.
fn find_ungranted(log: &Log<'_>) -> Option<Violation> {
    for entry in &log.entries {
        // With the last revision at which the lease can have been granted.
        let used: Vec<(i64, i64)> = match &entry.call {
            Call::Revoke(lease, Reply::Done(())) => vec![(lease.lease, entry.header())],
            call if entry.wrote() => {
                let done = puts(call)
                    .into_iter()
                    .filter(|(_, branch)| took(call, *branch));
                let leases = done.map(|(put, _)| put.lease).filter(|lease| *lease != 0);
                leases.map(|lease| (lease, entry.header() - 1)).collect()
            }
            _ => continue,
        };
        for (lease, limit) in used {
            let grant = log.grants.get(&lease).map(|&grant| &log.entries[grant]);
            let is_later = |grant: &super::log::Entry<'_>| {
                grant.operation.invoked > entry.operation.completed || grant.header() > limit
            };
            if grant.is_none_or(is_later) {
                let sentence =
                    format!("lease {lease} was used, but nobody had been granted it by then");
                let grant = grant.map(|grant| &grant.operation);
                let witness = grant.into_iter().chain([&entry.operation]);
                return Some(Violation::new(Class::Safety, DEAD_LEASE, sentence, witness));
            }
        }
    }
    None
}

fn find_short(log: &Log<'_>) -> Option<Violation> {
    log.entries.iter().find_map(|entry| match &entry.call {
        Call::Grant(lease, Reply::Done(result)) if result.ttl < lease.ttl => {
            let sentence = format!(
                "lease {} was asked for with {} s to live, but granted for {} s",
                lease.lease, lease.ttl, result.ttl
            );
            Some(Violation::new(
                Class::Safety,
                LEASE_TTL,
                sentence,
                [&entry.operation],
            ))
        }
        _ => None,
    })
}

/// A lease was gone although it had time left and nobody had revoked it.
fn find_early(log: &Log<'_>, lives: &Lives) -> Option<Violation> {
    for (&lease, life) in &lives.leases {
        // Before its grant it is not there either.
        let granted = log.granted.get(&lease).copied().unwrap_or(usize::MAX);
        for &gone in &life.gone {
            if granted > log.operation(gone).invoked {
                continue;
            }
            let operation = log.operation(gone);
            let told = operation.completion.map_or(u64::MAX, Event::time);
            let Some((renewal, until)) = lives.must_live_until(lease, operation.completed) else {
                continue;
            };
            if told < until {
                let why = match until {
                    NEVER => "nobody had revoked it, and nothing else could end it".to_owned(),
                    until => format!(
                        "an answer had promised it until {} at least, and nobody had revoked it",
                        Seconds(until)
                    ),
                };
                let sentence = format!("lease {lease} was gone by {}, but {why}", Seconds(told));
                let witness = [log.operation(renewal), operation];
                return Some(Violation::new(
                    Class::Safety,
                    LEASE_EARLY,
                    sentence,
                    witness,
                ));
            }
        }
    }
    None
}

/// A lease lived although it had been gone before.
fn find_dead(log: &Log<'_>, order: &Order, lives: &Lives) -> Option<Violation> {
    for (&lease, life) in &lives.leases {
        let Some(&granted) = log.granted.get(&lease) else {
            continue;
        };
        let told = life
            .gone
            .iter()
            .filter(|gone| log.operation(**gone).invoked > granted);
        let limit = |gone: usize| match log.entries[gone].call {
            Call::Revoke(_, Reply::Done(())) => log.entries[gone].header(),
            _ => order.possible_at(log.operation(gone).completed).0,
        };
        let wrote = |alive: usize| {
            let entry = &log.entries[alive];
            if entry.wrote() { entry.header() } else { 0 }
        };
        let gone: Vec<usize> = told.chain(&life.revoked).copied().collect();
        let first = gone
            .iter()
            .min_by_key(|gone| log.operation(**gone).completed);
        let last = life
            .alive
            .iter()
            .max_by_key(|alive| log.operation(**alive).invoked);
        let lowest = gone.iter().min_by_key(|gone| limit(**gone));
        let highest = life.alive.iter().max_by_key(|alive| wrote(**alive));
        let by_time = first.zip(last).filter(|(gone, alive)| {
            log.operation(**alive).invoked > log.operation(**gone).completed
        });
        let by_revision = || {
            lowest
                .zip(highest)
                .filter(|(gone, alive)| wrote(**alive) > limit(**gone))
        };
        if let Some((&gone, &alive)) = by_time.or_else(by_revision) {
            let sentence = format!(
                "lease {lease} was gone, yet it was used afterwards; a lease that is gone never \
                 comes back"
            );
            let witness = [log.operation(gone), log.operation(alive)];
            return Some(Violation::new(Class::Safety, DEAD_LEASE, sentence, witness));
        }
    }
    None
}

/// A lease lists a key that nobody can have attached to it.
fn find_listed(log: &Log<'_>) -> Option<Violation> {
    let mut attached: BTreeMap<(i64, &str), usize> = BTreeMap::new();
    for entry in &log.entries {
        for (put, _) in puts(&entry.call) {
            let place = (put.lease, put.key.as_ref());
            attached.entry(place).or_insert(entry.operation.invoked);
        }
    }
    for entry in &log.entries {
        let Call::TimeToLive(lease, Reply::Done(result)) = &entry.call else {
            continue;
        };
        for key in &result.keys {
            let since = attached.get(&(lease.lease, key.as_ref()));
            if since.is_none_or(|since| *since > entry.operation.completed) {
                let sentence = format!(
                    "lease {} lists the key `{key}`, which nobody had attached to it",
                    lease.lease
                );
                let witness = [&entry.operation];
                return Some(Violation::new(Class::Safety, LEASE_KEYS, sentence, witness));
            }
        }
    }
    None
}
