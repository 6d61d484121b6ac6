//! The versions of one key, replayed, and compared with what was seen.

use super::facts::{By, Change, Effect, Fact, Seen};
use super::message::{EARLIER, KeyValue, UNKNOWN};
use super::watch::Coverage;

/// A version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version<'a> {
    pub(super) value: &'a str,
    pub(super) create_revision: i64,
    pub(super) mod_revision: i64,
    pub(super) version: i64,
    pub(super) lease: i64,
    pub(super) by: By,
}

impl Version<'_> {
    pub(super) fn is(&self, seen: &KeyValue<'_>) -> bool {
        let KeyValue(_, value, create, modified, version, lease) = seen;
        let is = |seen: i64, replayed: i64| seen == UNKNOWN || seen == replayed;
        let is_created = match *create {
            EARLIER => self.create_revision < self.mod_revision,
            create => is(create, self.create_revision),
        };
        value.as_ref().is_none_or(|value| value == self.value)
            && is_created
            && is(*modified, self.mod_revision)
            && is(*version, self.version)
            && is(*lease, self.lease)
    }
}

/// The states of a key: each holds from its revision on.
pub(super) type Timeline<'a> = Vec<State<'a>>;

/// A state of a key, and what made it.
#[derive(Clone, Copy, Debug)]
pub(super) struct State<'a> {
    pub(super) since: i64,
    pub(super) version: Option<Version<'a>>,
    /// None before the first change.
    pub(super) by: Option<By>,
}

/// The state at a revision.
pub(super) fn state_at<'a>(timeline: &[State<'a>], revision: i64) -> State<'a> {
    let after = timeline.partition_point(|state| state.since <= revision);
    match after.checked_sub(1) {
        Some(index) => timeline[index],
        None => NEVER,
    }
}

/// Before anything happened to a key.
const NEVER: State<'static> = State {
    since: 0,
    version: None,
    by: None,
};

/// Differences between what was replayed and what was seen, each of which something must
/// explain.
#[derive(Clone, Default, Debug)]
pub(super) struct Differences<'a> {
    first: Option<Difference<'a>>,
    /// The first that nothing explains: a later write had certainly replaced what was seen.
    overwritten: Option<Difference<'a>>,
    /// Of keys that were gone soon after they were written, the one with the least room for
    /// that.
    removed: Option<Difference<'a>>,
}

impl<'a> Differences<'a> {
    pub(super) fn all(&self) -> impl Iterator<Item = &Difference<'a>> {
        let all = [&self.first, &self.overwritten, &self.removed];
        all.into_iter().flatten()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Whether it matters that this was seen instead of that.
    fn wants(&self, fact: &Fact<'_>, state: &State<'_>) -> bool {
        let is_removed = matches!(fact.seen, Seen::Absent) && state.version.is_some();
        let is_first = self.first.is_none();
        is_first || is_removed || self.overwritten.is_none() && is_overwritten(fact, state)
    }

    fn add(&mut self, difference: Difference<'a>) {
        let room = |difference: &Difference<'_>| difference.at - difference.after;
        if self.first.is_none() {
            self.first = Some(difference);
            return;
        }
        let place = match difference.missing {
            Missing::Impossible => &mut self.overwritten,
            _ => &mut self.removed,
        };
        if place.is_none_or(|other| room(&difference) < room(&other)) {
            *place = Some(difference);
        }
    }

    /// Adds what a watch should have heard of, if that came first.
    fn add_unheard(&mut self, unheard: Difference<'a>) {
        if self.first.is_none_or(|first| unheard.at < first.at) {
            self.first = Some(unheard);
        }
    }
}

/// Whether what was seen had been replaced by a later write.
fn is_overwritten(fact: &Fact<'_>, state: &State<'_>) -> bool {
    let (Seen::Version(seen) | Seen::Writing(seen)) = fact.seen else {
        return false;
    };
    seen.3 != UNKNOWN && state.version.is_some() && state.since > seen.3
}

/// A difference between what was replayed and what was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Difference<'a> {
    /// The state was certain here.
    pub(super) after: i64,
    /// It is wrong here.
    pub(super) at: i64,
    pub(super) missing: Missing,
    pub(super) what: Wrong<'a>,
}

/// What else must have happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Anything,
    /// So many puts, each at a revision of its own.
    Puts(i64),
    /// What takes the key away: a deletion, the end of a lease, or a put with a lease that
    /// ends then. Whatever else is written, the key is there.
    Removal,
    /// Nothing that happens could make it right.
    Impossible,
}

impl Missing {
    /// The part of it that one revision has to bring.
    fn one(self) -> Self {
        match self {
            Missing::Puts(_) => Missing::Puts(1),
            missing => missing,
        }
    }

    pub(super) fn may_be(self, effect: &Effect<'_>) -> bool {
        match (self, effect) {
            (Missing::Anything, _) => true,
            (Missing::Puts(_), effect) => matches!(effect, Effect::Put { .. }),
            (Missing::Removal, effect) => !matches!(effect, Effect::Put { lease: 0, .. }),
            (Missing::Impossible, _) => false,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Wrong<'a> {
    /// Something else was seen.
    Seen(Fact<'a>, State<'a>),
    /// A watch should have heard of the change that made this state.
    Unheard { watch: usize, state: State<'a> },
}

/// Replays the changes of a key, in order of their revisions, and compares.
pub(super) fn replay<'c, 'a: 'c>(
    key: usize,
    changes: impl Iterator<Item = &'c Change<'a>>,
    facts: &[Fact<'a>],
    coverage: &Coverage,
) -> (Timeline<'a>, Differences<'a>) {
    let mut timeline: Timeline<'a> = Vec::new();
    let mut differences = Differences::default();
    let mut state = NEVER;
    let mut certain = 0;
    let mut next = 0;
    let mut compare = |facts: &[Fact<'a>], timeline: &Timeline<'a>, certain: &mut i64| {
        let state = timeline.last().copied().unwrap_or(NEVER);
        for fact in facts {
            if fits(fact, &state) {
                if fact.seen.is_full() {
                    *certain = fact.revision;
                }
            } else if differences.wants(fact, &state) {
                let (missing, after, at) = narrowed(fact, timeline, *certain);
                differences.add(Difference {
                    after,
                    at,
                    missing,
                    what: Wrong::Seen(*fact, state),
                });
            }
        }
    };
    let mut unheard = None;
    for change in changes {
        let until = next + facts[next..].partition_point(|fact| fact.revision < change.revision);
        compare(&facts[next..until], &timeline, &mut certain);
        next = until;
        let Some(version) = apply(change, state.version) else {
            continue;
        };
        state = State {
            since: change.revision,
            version,
            by: Some(change.by),
        };
        timeline.push(state);
        if unheard.is_none()
            && let Some(watch) = coverage.missed_by(key, change.revision, version.is_some())
        {
            let what = Wrong::Unheard { watch, state };
            unheard = Some(Difference {
                after: certain,
                at: change.revision,
                missing: Missing::Anything,
                what,
            });
        }
    }
    compare(&facts[next..], &timeline, &mut certain);
    if let Some(unheard) = unheard {
        differences.add_unheard(unheard);
    }
    (timeline, differences)
}

/// What else must have happened for the fact to be true, after which revision, and not
/// after which one, when everything was right at `certain`.
///
/// - Who was written later than the fact says is not as it says, whatever else happened.
/// - Who is absent although it was written at some revision was removed after that, or
///   written once more with a lease that has ended. So it was if it is created later.
/// - A version that was written when the fact says, but counts another number of writes,
///   had another past: what happens to the key later changes nothing about it. If it was
///   created when the fact says, it was never removed since, so puts are missing.
/// - A version says when its key was created: the key was written at that revision, and
///   was not there before.
fn narrowed(fact: &Fact<'_>, timeline: &Timeline<'_>, certain: i64) -> (Missing, i64, i64) {
    let now = state_at(timeline, fact.revision);
    let seen = match fact.seen {
        Seen::Version(seen) | Seen::Writing(seen) => seen,
        Seen::Absent if now.version.is_some() => {
            return (Missing::Removal, certain.max(now.since), fact.revision);
        }
        _ => return (Missing::Anything, certain, fact.revision),
    };
    let KeyValue(_, _, created, modified, count, _) = *seen;
    if is_overwritten(fact, &now) {
        return (Missing::Impossible, certain, fact.revision);
    }
    let of_then = now.version.filter(|_| now.since == modified);
    let last = of_then.map_or(fact.revision, |_| modified - 1);
    let is_older = created == UNKNOWN || created == EARLIER || created > fact.revision;
    let missing = match of_then {
        Some(version) if !is_older && version.create_revision == created && count != UNKNOWN => {
            match count > version.version {
                true => Missing::Puts(count - version.version),
                // Or its value or lease is another one.
                false => Missing::Impossible,
            }
        }
        _ => Missing::Anything,
    };
    if is_older || created <= certain {
        return (missing, certain, last);
    }
    let state = state_at(timeline, created);
    match state.version {
        Some(version) if version.create_revision == created => match not_written(seen, timeline) {
            Some(at) => (missing.one(), at - 1, at),
            None => (missing, created, last),
        },
        // It was there before.
        Some(_) if state.since == created => {
            let written = state_at(timeline, created - 1).since;
            (Missing::Removal, certain.max(written), created - 1)
        }
        _ => (Missing::Puts(1), created - 1, created),
    }
}

/// If the count of a version says that every revision since its creation has written
/// it: the first that has not.
fn not_written(seen: &KeyValue<'_>, timeline: &Timeline<'_>) -> Option<i64> {
    let KeyValue(_, _, created, modified, count, _) = *seen;
    let every_one_has = modified != UNKNOWN && count == modified - created + 1;
    let is_written = |revision: i64| {
        let state = state_at(timeline, revision);
        state.since == revision && state.version.is_some()
    };
    let mut all = (created..=modified).filter(|revision| !is_written(*revision));
    all.next().filter(|_| every_one_has)
}

/// The version after a change; none when it changes nothing.
fn apply<'a>(change: &Change<'a>, before: Option<Version<'a>>) -> Option<Option<Version<'a>>> {
    match change.effect {
        Effect::Put { value, lease } => Some(Some(Version {
            value,
            create_revision: before.map_or(change.revision, |version| version.create_revision),
            mod_revision: change.revision,
            version: before.map_or(1, |version| version.version + 1),
            lease,
            by: change.by,
        })),
        Effect::Delete => before.map(|_| None),
        Effect::End(lease) => before
            .filter(|version| version.lease == lease)
            .map(|_| None),
    }
}

fn fits(fact: &Fact<'_>, state: &State<'_>) -> bool {
    match (fact.seen, state.version) {
        (Seen::Absent, version) => version.is_none(),
        (Seen::Present, version) => version.is_some(),
        (Seen::Version(seen), version) => version.is_some_and(|version| version.is(seen)),
        (Seen::Writing(seen), version) => {
            version.is_some_and(|version| version.is(seen)) && state.since == fact.revision
        }
        (Seen::Deletion, version) => version.is_none() && state.since == fact.revision,
        (Seen::Without(lease), version) => version.is_none_or(|version| version.lease != lease),
    }
}
