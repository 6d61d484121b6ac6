//! What a contradiction means, in words.

use super::facts::{By, Fact, Facts, How, Joint, JointFact, Seen};
use super::kinds::*;
use super::lease::{Lives, NEVER};
use super::log::{Call, Entry, Log, Reply, puts};
use super::lost;
use super::message::KeyValue;
use super::solve::Contradiction;
use super::timeline::{Difference, State, Version, Wrong};
use super::watch::Coverage;
use crate::history::Event;
use crate::verdict::{Class, Kind, Seconds, Violation};

/// Says what a contradiction is and which operations prove it.
pub(super) fn explain(
    log: &Log<'_>,
    lives: &Lives,
    coverage: &Coverage,
    contradiction: &Contradiction<'_>,
) -> Violation {
    let explainer = Explainer {
        log,
        lives,
        coverage,
    };
    match contradiction {
        Contradiction::Key(key, difference) => explainer.key(*key, difference),
        Contradiction::Joint(joint, makers) => explainer.joint(joint, makers),
        Contradiction::Told {
            kind,
            sentence,
            entries,
        } => explainer.violation(*kind, sentence.clone(), entries.iter().copied()),
        Contradiction::Twice { entry, seen } => explainer.violation(
            TWICE,
            "a write of unknown outcome was seen at two revisions".to_owned(),
            [*entry, seen[0], seen[1]],
        ),
        Contradiction::Impossible { entry, seen, .. }
            if log.operation(*entry).invoked > log.operation(*seen).completed =>
        {
            let sentence = "a value was seen although its write had not begun".to_owned();
            explainer.violation(NEVER_WRITTEN, sentence, [*entry, *seen])
        }
        Contradiction::Dead { entry, seen } => {
            let sentence = "a write was seen whose lease did not live then".to_owned();
            let leases: Vec<i64> = puts(&log.entries[*entry].call)
                .into_iter()
                .map(|(put, _)| put.lease)
                .collect();
            let ends = log
                .entries
                .iter()
                .enumerate()
                .filter(|(_, other)| match &other.call {
                    Call::Grant(lease, _) | Call::Revoke(lease, Reply::Done(())) => {
                        leases.contains(&lease.lease)
                    }
                    _ => false,
                });
            let ends = ends.map(|(index, _)| index);
            explainer.violation(
                DEAD_LEASE,
                sentence,
                [*entry, *seen].into_iter().chain(ends),
            )
        }
        Contradiction::Impossible { entry, seen, other } => explainer.violation(
            REVISION_GOES_BACK,
            "a write of unknown outcome was seen at a revision that was another's, or known \
             before it began"
                .to_owned(),
            [*entry, *seen].into_iter().chain(*other),
        ),
    }
}

/// A value that nobody can have written by then. It is wrong whatever became of writes of
/// unknown outcome, and none of those is to blame for it.
pub(super) fn not_written(log: &Log<'_>, facts: &Facts<'_>) -> Option<Violation> {
    find_not_written(log, facts, &Coverage::default(), |_| true)
}

/// A value whose write did not happen. Of a watch that is all that is said here: when its client
/// heard of something need not be a time of the same clock.
pub(super) fn refused(log: &Log<'_>, facts: &Facts<'_>, coverage: &Coverage) -> Option<Violation> {
    find_not_written(log, facts, coverage, |kind| kind == REFUSED_WRITE)
}

/// One of the wanted kind.
fn find_not_written(
    log: &Log<'_>,
    facts: &Facts<'_>,
    coverage: &Coverage,
    wanted: impl Fn(Kind) -> bool,
) -> Option<Violation> {
    for (key, of_key) in facts.facts.iter().enumerate() {
        for fact in of_key {
            let (Seen::Version(kv) | Seen::Writing(kv)) = fact.seen else {
                continue;
            };
            let why = why_not_written(log, key, fact, kv);
            let Some((kind, why, writer)) = why.filter(|(kind, ..)| wanted(*kind)) else {
                continue;
            };
            let (name, revision) = (&log.keys[key], fact.revision);
            let sentence = format!(
                "`{name}` was seen as {} at revision {revision}, but {why}",
                show(kv)
            );
            let request = coverage.request_of(fact.entry);
            let witness = writer.into_iter().chain([fact.entry]).chain(request);
            let witness = witness.map(|entry| log.operation(entry));
            let kind = in_context(kind, fact.how);
            return Some(Violation::new(Class::Safety, kind, sentence, witness));
        }
    }
    None
}

/// Why a value cannot have been written by the time at which it was seen, and the write of it.
fn why_not_written(
    log: &Log<'_>,
    key: usize,
    fact: &Fact<'_>,
    kv: &KeyValue<'_>,
) -> Option<(Kind, &'static str, Option<usize>)> {
    let value = (key, kv.1.clone()?);
    if !log.writers.contains_key(&value) {
        return Some((NEVER_WRITTEN, "nobody ever wrote that", None));
    }
    let writer = log.only_writer(&value)?;
    let entry = &log.entries[writer.entry];
    if entry.operation.invoked > log.operation(fact.entry).completed {
        let why = "that write had not begun";
        return Some((NEVER_WRITTEN, why, Some(writer.entry)));
    }
    let why = "that write did not happen";
    certainly_not(&entry.call, writer.branch).then_some((REFUSED_WRITE, why, Some(writer.entry)))
}

struct Explainer<'e, 'h> {
    log: &'e Log<'h>,
    lives: &'e Lives,
    coverage: &'e Coverage,
}

impl Explainer<'_, '_> {
    fn violation(
        &self,
        kind: Kind,
        sentence: String,
        entries: impl IntoIterator<Item = usize>,
    ) -> Violation {
        let witness = entries.into_iter().map(|entry| self.log.operation(entry));
        Violation::new(Class::Safety, kind, sentence, witness)
    }

    fn key(&self, key: usize, difference: &Difference<'_>) -> Violation {
        match &difference.what {
            Wrong::Seen(fact, state) => self.seen(key, fact, state),
            Wrong::Unheard { watch, state } => {
                let is_put = state.version.is_some();
                let sentence = lost::sentence(self.log, key, state.since, is_put);
                let makers = maker(state.by);
                let entries = makers.into_iter().chain(self.coverage.witness(*watch));
                self.violation(WATCH_LOST, sentence, entries)
            }
        }
    }

    fn seen(&self, key: usize, fact: &Fact<'_>, state: &State<'_>) -> Violation {
        let (kind, why, mut others) = match fact.seen {
            Seen::Version(kv) | Seen::Writing(kv) => self.version(key, fact, kv, state),
            Seen::Absent | Seen::Deletion => self.absent(key, fact, state),
            Seen::Present => {
                let others = maker(state.by).into_iter().collect();
                (UNDELETED, "nothing had written it since".to_owned(), others)
            }
            Seen::Without(lease) => {
                let why = format!("it was attached to lease {lease}, which was gone");
                (LEASE_LEFT_KEYS, why, maker(state.by).into_iter().collect())
            }
        };
        let (name, revision) = (&self.log.keys[key], fact.revision);
        let kind = in_context(kind, fact.how);
        let sentence = match fact.seen {
            Seen::Version(kv) | Seen::Writing(kv) => format!(
                "`{name}` was seen as {} at revision {revision}, but {why}",
                show(kv)
            ),
            Seen::Absent => format!("`{name}` was seen absent at revision {revision}, but {why}"),
            Seen::Deletion => format!("`{name}` was deleted at revision {revision}, but {why}"),
            Seen::Present => format!("`{name}` was there at revision {revision}, but {why}"),
            Seen::Without(_) => format!("`{name}` was still there at revision {revision}: {why}"),
        };
        others.extend(self.shown_by(key, state));
        others.push(fact.entry);
        let notices = others.iter();
        let requests = notices.filter_map(|notice| self.coverage.request_of(*notice));
        let requests: Vec<usize> = requests.collect();
        others.extend(requests);
        let lease = match (fact.seen, state.by) {
            (Seen::Version(kv) | Seen::Writing(kv), _) if kv.5 > 0 => kv.5,
            _ => state.version.map_or(0, |version| version.lease),
        };
        others.extend(self.log.grants.get(&lease));
        self.violation(kind, sentence, others)
    }

    fn version(
        &self,
        key: usize,
        fact: &Fact<'_>,
        kv: &KeyValue<'_>,
        state: &State<'_>,
    ) -> (Kind, String, Vec<usize>) {
        if let Some((kind, why, writer)) = why_not_written(self.log, key, fact, kv) {
            return (kind, why.to_owned(), writer.into_iter().collect());
        }
        let value = kv.1.as_ref().map(|value| (key, value.clone()));
        let writer = value.as_ref().and_then(|of| self.log.writers.get(of));
        let only = value.as_ref().and_then(|of| self.log.only_writer(of));
        if let Some(only) = only {
            let entry = &self.log.entries[only.entry];
            let told = entry.header();
            if entry.wrote() && told != kv.3 {
                let why = format!("it was written at revision {told}");
                let is_txn = puts(&entry.call).len() > 1;
                let kind = if is_txn { TORN_TXN } else { WRONG_REVISION };
                return (kind, why, vec![only.entry]);
            }
        }
        let by: Vec<usize> = maker(state.by)
            .into_iter()
            .chain(writer.map(|writer| writer.entry))
            .collect();
        let Some(version) = &state.version else {
            let (kind, why) = match state.by {
                Some(By::EndOf(lease)) => (
                    LEASE_LEFT_KEYS,
                    format!("lease {lease}, which it was attached to, had ended"),
                ),
                Some(By::Entry(entry))
                    if matches!(self.log.entries[entry].call, Call::Revoke(..)) =>
                {
                    let why = format!("its lease had been revoked at revision {}", state.since);
                    (LEASE_LEFT_KEYS, why)
                }
                Some(_) => {
                    let why = format!("it had been deleted at revision {}", state.since);
                    (UNDELETED, why)
                }
                None => (NEVER_WRITTEN, "nothing had written it by then".to_owned()),
            };
            return (kind, why, by);
        };
        if version.mod_revision != kv.3 {
            let why = format!("{} had been written by then", version.show());
            let kind = match self.is_torn(state, fact) {
                true => TORN_TXN,
                false => LOST_WRITE,
            };
            return (kind, why, by);
        }
        let (kind, why) = not_as_written(version, kv);
        (kind, why, by)
    }

    fn absent(&self, key: usize, fact: &Fact<'_>, state: &State<'_>) -> (Kind, String, Vec<usize>) {
        let by: Vec<usize> = maker(state.by).into_iter().collect();
        let Some(version) = &state.version else {
            return (VANISHED, "it was not there to be deleted".to_owned(), by);
        };
        let seen = self.log.operation(fact.entry);
        let told = seen.completion.map_or(u64::MAX, Event::time);
        let lease = version.lease;
        let promised = self.lives.must_live_until(lease, seen.completed);
        if let Some((renewal, until)) = promised.filter(|(_, until)| lease != 0 && told < *until) {
            let lives = match until {
                NEVER => "had not been revoked, and nothing else could end it".to_owned(),
                until => format!("must live until {} at least", Seconds(until)),
            };
            let why = format!("lease {lease}, which it is attached to, {lives}");
            let by = by.into_iter().chain([renewal]).collect();
            return (LEASE_EARLY, why, by);
        }
        let why = format!("it was {}, and nobody had deleted it", version.show());
        let kind = match self.is_torn(state, fact) {
            true => TORN_TXN,
            false if self.log.keys.len() > key && version.version == 1 => LOST_WRITE,
            false => VANISHED,
        };
        (kind, why, by)
    }

    /// Who was told of a version whose writer was not.
    fn shown_by(&self, key: usize, state: &State<'_>) -> Option<usize> {
        let entry = &self.log.entries[maker(state.by)?];
        let name = self.log.keys[key].as_ref();
        let shows = |entry: &Entry<'_>| match &entry.call {
            Call::Notice(notice) => {
                let mut events = notice.events.iter();
                events.any(|event| event.key() == name && event.revision() == state.since)
            }
            Call::Range(_, Reply::Done(result)) => {
                let mut kvs = result.kvs.iter();
                kvs.any(|kv| kv.0 == name && kv.3 == state.since)
            }
            _ => false,
        };
        let is_unknown = entry.header() == 0;
        is_unknown.then(|| self.log.entries.iter().position(shows))?
    }

    /// Whether the missing write is of a transaction of which the same answer shows
    /// another write.
    fn is_torn(&self, state: &State<'_>, fact: &Fact<'_>) -> bool {
        let Some(By::Entry(entry)) = state.by else {
            return false;
        };
        let written = puts(&self.log.entries[entry].call);
        let Call::Range(_, Reply::Done(result)) = &self.log.entries[fact.entry].call else {
            return false;
        };
        result.kvs.iter().any(|kv| {
            written
                .iter()
                .any(|(put, _)| kv.0 == put.key && kv.1.as_ref() == Some(&put.value))
        })
    }

    fn joint(&self, joint: &Joint<'_>, makers: &[By]) -> Violation {
        let revision = joint.revision;
        let (kind, sentence) = match &joint.what {
            JointFact::Count(_, count) => (
                WRONG_COUNT,
                format!(
                    "the number of keys that was counted at revision {revision} is {count}, but \
                     there were others"
                ),
            ),
            JointFact::Holds(_, true) => (
                TXN_CONDITION,
                format!("a transaction's conditions held, but not at revision {revision}"),
            ),
            JointFact::Holds(_, false) => (
                TXN_CONDITION,
                format!(
                    "a transaction's conditions did not hold, but at revision {revision} they do"
                ),
            ),
        };
        let entries = (joint.entry != usize::MAX).then_some(joint.entry);
        let makers = makers.iter().filter_map(|by| maker(Some(*by)));
        self.violation(kind, sentence, entries.into_iter().chain(makers))
    }
}

impl Version<'_> {
    fn show(&self) -> String {
        format!("\"{}\" of revision {}", self.value, self.mod_revision)
    }
}

/// What is wrong with a value of the right revision.
fn not_as_written(version: &Version<'_>, kv: &KeyValue<'_>) -> (Kind, String) {
    let KeyValue(_, value, created, _, number, lease) = kv;
    let unknown = super::message::UNKNOWN;
    if let Some(value) = value
        && *value != version.value
    {
        let why = format!("\"{}\" was written at that revision", version.value);
        return (WRONG_VERSION, why);
    }
    if ![unknown, version.version].contains(number) {
        let why = format!("that was version {} of it", version.version);
        return (WRONG_VERSION, why);
    }
    if ![unknown, version.lease].contains(lease) {
        return (WRONG_LEASE, other_lease(version.lease, *lease));
    }
    let revision = version.create_revision;
    let said = match *created {
        super::message::EARLIER => "an earlier one".to_owned(),
        created => format!("revision {created}"),
    };
    let why = format!("it was created at revision {revision}, and is said to have been at {said}");
    (WRONG_VERSION, why)
}

/// That a key was written with another lease than it is said to have.
pub(super) fn other_lease(written: i64, seen: i64) -> String {
    let attached = |lease: i64| match lease {
        0 => "no lease".to_owned(),
        lease => format!("lease {lease}"),
    };
    let (written, seen) = (attached(written), attached(seen));
    format!("it was written with {written}, and is said to have {seen}")
}

pub(super) fn show(kv: &KeyValue<'_>) -> String {
    let KeyValue(_, value, _, modified, version, _) = kv;
    let value = value.as_ref().map_or("a value", |value| value.as_ref());
    let unknown = super::message::UNKNOWN;
    match (*modified == unknown, *version == unknown) {
        (true, _) => "some version".to_owned(),
        (_, true) => format!("\"{value}\" of revision {modified}"),
        _ => format!("\"{value}\" of revision {modified}, version {version}"),
    }
}

/// The operation that made a state.
fn maker(by: Option<By>) -> Option<usize> {
    match by {
        Some(By::Entry(entry)) => Some(entry),
        _ => None,
    }
}

/// Whether a write certainly did not happen.
fn certainly_not(call: &Call<'_>, branch: bool) -> bool {
    match call {
        Call::Put(_, reply) => matches!(reply, Reply::Failed | Reply::Refused(_)),
        Call::Txn(_, Reply::Done(result)) => result.succeeded != branch,
        Call::Txn(_, reply) => matches!(reply, Reply::Failed | Reply::Refused(_)),
        _ => false,
    }
}

/// The kind of a violation, by how it was seen.
pub(super) fn in_context(kind: Kind, how: How) -> Kind {
    let says_more = [NEVER_WRITTEN, REFUSED_WRITE, TORN_TXN].contains(&kind);
    match how {
        How::Serializable if !says_more => SERIALIZABLE,
        How::Historic if !says_more => HISTORIC,
        How::Previous => PREVIOUS,
        How::EventPrevious => WATCH_PREVIOUS,
        How::Event if [WRONG_VERSION, WRONG_LEASE].contains(&kind) => WATCH_CONTENT,
        How::Event => WATCH_INVENTED,
        _ => kind,
    }
}
