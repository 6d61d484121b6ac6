//! Which operations of unknown outcome happened, and at which revisions.
//!
//! See the [module](super) for why the search is complete.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::{FxHashMap, FxHashSet};

use super::alike::Alike;
use super::assigned::Assigned;
use super::counted;
use super::facts::{By, Change, Effect, Facts, Joint, JointFact, Seen, attached_keys};
use super::gaps::Gaps;
use super::lease::Lives;
use super::lease_uses::LeaseUses;
use super::log::{Call, Log};
use super::message::{Compare, Relation, Target, Txn, TxnOp, UNKNOWN};
use super::order::Order;
use super::timeline::{Difference, Differences, Missing, State, Timeline, replay, state_at};
use super::watch::Coverage;
use crate::search::{Budget, Clock};
use crate::verdict::Kind;

/// How many attempts of the search go into a minute: the budget's time says how many it may
/// make. On any machine that is not a slow one it takes less.
const ATTEMPTS_PER_MINUTE: u64 = 50_000;

/// The part of its attempts that the search may make after a guess who deleted what.
const GUESS_DIVISOR: u64 = 8;

/// How many wrong facts about several keys are looked at in one step.
const JOINTS_MAX: usize = 4;

/// Where so many operations may have happened, what was seen is counted before it is searched.
const SEARCHED_AT_ONCE: usize = 64;

/// How many revisions are tried for one operation.
const PLACES_MAX: usize = 64;

/// Something that may have happened at some revision.
pub(super) struct Pending<'a> {
    by: By,
    /// Only at revisions above this one.
    pub(super) after: i64,
    /// Only at revisions below this one.
    pub(super) before: i64,
    /// What it does, by branch; one branch for anything but transactions.
    pub(super) branches: Vec<Branch<'a>>,
    pub(super) is_placed: bool,
}

/// What an operation does if it happens.
pub(super) struct Branch<'a> {
    pub(super) effects: Vec<(usize, Effect<'a>)>,
    /// The comparisons, and whether they hold.
    pub(super) condition: Option<(&'a [Compare<'a>], bool)>,
    /// Leases that must live when it happens.
    pub(super) leases: Vec<i64>,
}

/// A difference between what was seen and what is known to have happened.
struct Unexplained<'a> {
    /// Which keys it concerns.
    keys: Vec<usize>,
    /// Something else must have happened to them after this revision,
    after: i64,
    /// and not after this one.
    at: i64,
    missing: Missing,
    contradiction: Contradiction<'a>,
}

/// Something that may have happened, and when.
struct Place {
    pending: usize,
    branch: usize,
    revision: i64,
}

/// Keys with values that some answer or watch showed.
pub(super) type SeenValues<'a> = FxHashSet<(usize, &'a str)>;

/// What could explain a difference.
#[derive(Default)]
struct Explanations {
    places: Vec<Place>,
    /// There are more.
    was_cut: bool,
}

/// What contradicts everything that may have happened.
#[derive(Clone)]
pub(super) enum Contradiction<'a> {
    Key(usize, Difference<'a>),
    /// With who made the states that it is about.
    Joint(Joint<'a>, Vec<By>),
    /// An operation of unknown outcome was seen at two revisions.
    Twice {
        entry: usize,
        seen: [usize; 2],
    },
    /// It was seen at a revision that existed before it began, or that another
    /// operation took.
    Impossible {
        entry: usize,
        seen: usize,
        other: Option<usize>,
    },
    /// It was seen attached to a lease that did not live then.
    Dead {
        entry: usize,
        seen: usize,
    },
    /// What was seen contradicts itself, whatever happened besides.
    Told {
        kind: Kind,
        sentence: String,
        entries: Vec<usize>,
    },
}

/// A write whose answer does not say that it took a revision, and the one that it took: one of
/// unknown outcome, or a revocation that found keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    /// The operation.
    pub(super) entry: usize,
    pub(super) revision: i64,
}

/// What the search found.
pub(super) enum Solution<'a> {
    /// With the writes whose answers do not say where they happened.
    Possible(Vec<Placed>),
    /// What is wrong, and what would be if operations of unknown outcome had caused
    /// that, where they could.
    Impossible(Box<(Contradiction<'a>, Option<Contradiction<'a>>)>),
    /// It was given up: what else must have happened, and how many operations of
    /// unknown outcome there are.
    Unknown(Option<Contradiction<'a>>, usize),
}

pub(super) struct Solver<'a> {
    pub(super) log: &'a Log<'a>,
    pub(super) coverage: &'a Coverage,
    pub(super) facts: Facts<'a>,
    timelines: Vec<Timeline<'a>>,
    /// Keys whose replay differs from what was seen.
    wrong: BTreeMap<usize, Differences<'a>>,
    /// The same for facts about several keys, by index.
    wrong_joint: BTreeSet<usize>,
    /// Which facts about several keys concern each key.
    joint_of: Vec<Vec<usize>>,
    /// Who took each revision.
    pub(super) occupied: BTreeMap<i64, usize>,
    /// The revisions of the writes that were answered, in order.
    answered: Vec<i64>,
    /// The place of each operation that may have happened among those that began at
    /// the same known revision.
    places_in_line: Vec<i64>,
    /// The revisions that nobody took.
    pub(super) gaps: Gaps,
    /// The keys that revocations may have deleted, by the revision in their answers.
    pub(super) revoked: BTreeMap<i64, Vec<usize>>,
    pub(super) pending: Vec<Pending<'a>>,
    alike: Alike,
    /// The place of each operation of unknown outcome in `pending`.
    pending_of: FxHashMap<usize, usize>,
    /// The last revision before each lease can have been granted.
    granted_after: BTreeMap<i64, i64>,
    /// By the changes of the facts.
    lease_uses: LeaseUses,
    seen_values: SeenValues<'a>,
    attempts: u64,
    attempts_max: u64,
    clock: Clock<'static>,
    /// Whether it ended before its time.
    is_spent: bool,
    was_cut: bool,
    /// The contradiction without any attempt.
    first: Option<Contradiction<'a>>,
    /// The contradiction that the search met first at its deepest.
    deepest: Option<(usize, Contradiction<'a>)>,
}

/// Decides whether what was seen can have happened.
pub(super) fn solve<'a>(
    log: &'a Log<'a>,
    order: &Order,
    lives: &Lives,
    facts: Facts<'a>,
    coverage: &'a Coverage,
    budget: &Budget,
) -> Solution<'a> {
    if coverage.is_empty() {
        let solver = Solver::prepared(log, order, lives, facts, coverage, budget);
        let impossible = |contradiction: Box<_>| Solution::impossible(*contradiction);
        return solver.map_or_else(impossible, Solver::searched);
    }
    let solver = Solver::prepared(log, order, lives, facts.clone(), coverage, budget);
    let mut solver = match solver {
        Ok(solver) => solver,
        Err(contradiction) => return Solution::impossible(*contradiction),
    };
    let assigned = solver.assign_deletions();
    if assigned == Assigned::Exactly {
        return solver.compared();
    }
    solver.attempts_max /= GUESS_DIVISOR;
    let guess = solver.searched();
    if matches!(guess, Solution::Possible(_)) {
        return guess;
    }
    // As above, which was no contradiction.
    match Solver::prepared(log, order, lives, facts, coverage, budget) {
        Ok(mut solver) => {
            solver.place_deletions();
            solver.searched()
        }
        Err(contradiction) => Solution::impossible(*contradiction),
    }
}

impl<'a> Solution<'a> {
    fn impossible(contradiction: Contradiction<'a>) -> Self {
        Self::Impossible(Box::new((contradiction, None)))
    }
}

impl<'a> Solver<'a> {
    /// With what is known to have happened.
    fn prepared(
        log: &'a Log<'a>,
        order: &Order,
        lives: &Lives,
        facts: Facts<'a>,
        coverage: &'a Coverage,
        budget: &Budget,
    ) -> Result<Self, Box<Contradiction<'a>>> {
        let mut solver = Solver::new(log, coverage, facts, budget);
        solver.pending = pending(log, order, lives);
        solver.places_in_line = places_in_line(&solver.pending);
        solver.alike = Alike::of(&solver.pending, &solver.seen_values);
        for (index, pending) in solver.pending.iter().enumerate() {
            if let By::Entry(entry) = pending.by {
                solver.pending_of.insert(entry, index);
            }
        }
        let grants = log.grants.iter().map(|(lease, grant)| {
            let entry = &log.entries[*grant];
            let known = order.known_before(entry.operation.invoked).0;
            (*lease, known.max(entry.header()))
        });
        solver.granted_after = grants.collect();
        solver.place_what_was_seen(order)?;
        Ok(solver)
    }

    /// What it comes to where nothing is left to be searched for.
    fn compared(mut self) -> Solution<'a> {
        self.replay_all();
        // The first one is that which the fewest operations might have explained.
        match self.hardest() {
            Some((contradiction, _)) => Solution::impossible(contradiction),
            None if self.is_spent => self.given_up(),
            None => Solution::Possible(self.placed()),
        }
    }

    fn given_up(self) -> Solution<'a> {
        let unplaced = |one: &&Pending<'_>| !one.is_placed;
        let pending = self.pending.iter().filter(unplaced).count();
        Solution::Unknown(self.first, pending)
    }

    fn searched(mut self) -> Solution<'a> {
        // A search among so many may not come to an end. Elsewhere tests hold it against the search.
        let are_many = self.pending.len() > SEARCHED_AT_ONCE;
        let is_counted = are_many || cfg!(debug_assertions);
        let miscounted = is_counted.then(|| counted::find_wrong(&self)).flatten();
        let is_miscounted = miscounted.is_some();
        if let Some(contradiction) = miscounted.filter(|_| are_many) {
            return Solution::impossible(contradiction);
        }
        self.replay_all();
        match self.search(0) {
            true => {
                debug_assert!(!is_miscounted, "the search places what counting rules out");
                Solution::Possible(self.placed())
            }
            false if self.is_spent || self.was_cut => self.given_up(),
            false => {
                let first = self.first.expect("the search failed somewhere");
                let deepest = self.deepest.map(|(_, contradiction)| contradiction);
                Solution::Impossible(Box::new((first, deepest)))
            }
        }
    }

    fn new(
        log: &'a Log<'a>,
        coverage: &'a Coverage,
        mut facts: Facts<'a>,
        budget: &Budget,
    ) -> Self {
        for (changes, facts) in facts.changes.iter_mut().zip(&mut facts.facts) {
            changes.sort_by_key(|change| change.revision);
            // What says how a state came about goes first: another fact about the same
            // state would make it certain before.
            let tells_how = |seen: &Seen<'_>| matches!(seen, Seen::Deletion | Seen::Writing(_));
            facts.sort_by_key(|fact| (fact.revision, !tells_how(&fact.seen)));
        }
        let mut joint_of = vec![Vec::new(); log.keys.len()];
        for (index, joint) in facts.joint.iter().enumerate() {
            for key in keys_of(log, &joint.what) {
                joint_of[key].push(index);
            }
        }
        let wrote = log.entries.iter().enumerate();
        let occupied: BTreeMap<i64, usize> = wrote
            .filter(|(_, entry)| entry.wrote())
            .map(|(index, entry)| (entry.header(), index))
            .collect();
        // A revocation takes its revision only if it finds keys.
        let mut revoked: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (key, changes) in facts.changes.iter().enumerate() {
            for change in changes.iter().filter(|change| is_revocation(change)) {
                revoked.entry(change.revision).or_default().push(key);
            }
        }
        Solver {
            log,
            coverage,
            timelines: vec![Timeline::new(); log.keys.len()],
            wrong: BTreeMap::new(),
            wrong_joint: BTreeSet::new(),
            joint_of,
            answered: occupied.keys().copied().collect(),
            places_in_line: Vec::new(),
            gaps: Gaps::of(occupied.keys().copied()),
            occupied,
            revoked,
            pending: Vec::new(),
            alike: Alike::default(),
            pending_of: FxHashMap::default(),
            granted_after: BTreeMap::new(),
            lease_uses: LeaseUses::of(&facts.changes),
            seen_values: seen_values(&facts),
            attempts: 0,
            attempts_max: budget.steps(ATTEMPTS_PER_MINUTE),
            clock: budget.clock(),
            is_spent: false,
            was_cut: false,
            first: None,
            deepest: None,
            facts,
        }
    }

    /// A value that was seen tells who wrote it and when; values are unique.
    fn place_what_was_seen(&mut self, order: &Order) -> Result<(), Box<Contradiction<'a>>> {
        let mut places: BTreeMap<usize, (i64, bool, usize)> = BTreeMap::new();
        for (key, facts) in self.facts.facts.iter().enumerate() {
            for fact in facts {
                let (Seen::Version(kv) | Seen::Writing(kv)) = fact.seen else {
                    continue;
                };
                let Some(value) = kv.1.as_ref().filter(|_| kv.3 != UNKNOWN) else {
                    continue;
                };
                let place = (key, value.clone());
                // Of several writes of one value the search finds the right one.
                let Some(writer) = self.log.only_writer(&place) else {
                    continue;
                };
                if !is_unknown(&self.log.entries[writer.entry].call) {
                    continue;
                }
                let place = (kv.3, writer.branch);
                match places.get(&writer.entry) {
                    None => {
                        places.insert(writer.entry, (place.0, place.1, fact.entry));
                    }
                    Some(&(revision, branch, _)) if (revision, branch) == place => {}
                    Some(&(.., seen)) => {
                        return Err(Box::new(Contradiction::Twice {
                            entry: writer.entry,
                            seen: [seen, fact.entry],
                        }));
                    }
                }
            }
        }
        let mut placed = Vec::new();
        for (entry, (revision, branch, seen)) in places {
            let invoked = self.log.operation(entry).invoked;
            let (known, teller) = order.known_before(invoked);
            let other = self.occupied.get(&revision).copied();
            if revision <= known || other.is_some() {
                let other = other.or(teller);
                return Err(Box::new(Contradiction::Impossible { entry, seen, other }));
            }
            // An operation of unknown outcome is pending.
            let pending = self.pending_of[&entry];
            let branch = usize::from(!branch);
            self.insert(pending, branch, revision);
            placed.push((pending, branch, revision, entry, seen));
        }
        for (pending, branch, revision, entry, seen) in placed {
            if !self.leases_live(pending, branch, revision) {
                return Err(Box::new(Contradiction::Dead { entry, seen }));
            }
        }
        Ok(())
    }

    fn placed(&self) -> Vec<Placed> {
        let taken = self.occupied.iter();
        let unknown = taken.filter_map(|(&revision, &entry)| {
            let is_placed = self.pending_of.contains_key(&entry);
            is_placed.then_some(Placed { entry, revision })
        });
        let free = |revision: &&i64| !self.occupied.contains_key(revision);
        let revocations = self.revoked.keys().filter(free).filter_map(|&revision| {
            let mut changes = self.facts.changes[self.revoked[&revision][0]].iter();
            let change =
                changes.find(|change| change.revision == revision && is_revocation(change))?;
            let By::Entry(entry) = change.by else {
                return None;
            };
            Some(Placed { entry, revision })
        });
        unknown.chain(revocations).collect()
    }

    fn replay_all(&mut self) {
        for key in 0..self.log.keys.len() {
            self.replay(key);
        }
        for joint in 0..self.facts.joint.len() {
            self.judge(joint);
        }
    }

    fn replay(&mut self, key: usize) {
        let (changes, facts) = (&self.facts.changes[key], &self.facts.facts[key]);
        let happens = |change: &&Change<'_>| {
            !is_revocation(change) || !self.occupied.contains_key(&change.revision)
        };
        let changes = changes.iter().filter(happens);
        let (timeline, differences) = replay(key, changes, facts, self.coverage);
        self.timelines[key] = timeline;
        if differences.is_empty() {
            self.wrong.remove(&key);
        } else {
            self.wrong.insert(key, differences);
        }
    }

    fn judge(&mut self, joint: usize) {
        let Joint { revision, what, .. } = &self.facts.joint[joint];
        let state = |key: usize| state_at(&self.timelines[key], *revision);
        let is_right = match what {
            JointFact::Count(keys, count) => {
                let found = keys.clone().filter(|key| state(*key).version.is_some());
                i64::try_from(found.count()).unwrap_or(i64::MAX) == *count
            }
            JointFact::Holds(compares, expected) => {
                let holds =
                    |compare: &Compare<'_>| holds(compare, &state(self.log.key(&compare.1)));
                compares.iter().all(holds) == *expected
            }
        };
        if is_right {
            self.wrong_joint.remove(&joint);
        } else {
            self.wrong_joint.insert(joint);
        }
    }

    /// The difference that the fewest things could explain. None also when the time is over.
    fn hardest(&mut self) -> Option<(Contradiction<'a>, Explanations)> {
        let mut fewest: Option<(Contradiction<'a>, Explanations)> = None;
        for difference in self.differences() {
            self.is_spent |= self.clock.is_over();
            if self.is_spent {
                return None;
            }
            let explanations = self.explanations(&difference);
            let is_fewer =
                |(_, other): &(_, Explanations)| explanations.places.len() < other.places.len();
            if fewest.as_ref().is_none_or(is_fewer) {
                fewest = Some((difference.contradiction, explanations));
            }
        }
        fewest
    }

    /// Takes the difference that the fewest things could explain, and tries them all.
    /// Each difference must be explained by something, so any would do; one that
    /// nothing explains ends the attempt at once.
    fn search(&mut self, depth: usize) -> bool {
        let hardest = self.hardest();
        if self.is_spent {
            return false;
        }
        let Some((contradiction, explanations)) = hardest else {
            return true;
        };
        if depth == 0 {
            self.first = Some(contradiction);
        } else if self
            .deepest
            .as_ref()
            .is_none_or(|(known, _)| *known < depth)
        {
            self.deepest = Some((depth, contradiction));
        }
        let Explanations {
            mut places,
            was_cut,
        } = explanations;
        places.sort_by_key(|place| {
            let of_it = (place.pending, place.branch, place.revision);
            (self.unlikeliness(place), of_it)
        });
        self.was_cut |= was_cut;
        for Place {
            pending,
            branch,
            revision,
        } in places
        {
            self.is_spent |= self.attempts >= self.attempts_max || self.clock.is_over();
            if self.is_spent {
                return false;
            }
            self.attempts += 1;
            if !self.leases_live(pending, branch, revision) {
                continue;
            }
            let touched = self.insert(pending, branch, revision);
            self.replay_touched(&touched);
            if self.search(depth + 1) {
                return true;
            }
            self.remove(pending, branch, revision);
            self.replay_touched(&touched);
        }
        false
    }

    /// What of that which may have happened could explain a difference.
    fn explanations(&self, difference: &Unexplained<'a>) -> Explanations {
        let Unexplained {
            keys,
            after,
            at,
            missing,
            ..
        } = difference;
        let mut explanations = Explanations::default();
        let explains = |branch: &Branch<'_>| {
            let mut effects = branch.effects.iter();
            effects.any(|(key, effect)| keys.contains(key) && missing.may_be(effect))
        };
        let mut able = 0;
        for group in self.alike.groups() {
            let branches = &self.pending[group[0]].branches;
            if !branches.iter().any(explains) {
                continue;
            }
            let may_come = |index: &usize| {
                let one = &self.pending[*index];
                let (low, high) = ((*after).max(one.after), (*at).min(one.before - 1));
                let mut free = self.gaps.within(low.saturating_add(1), high);
                !one.is_placed && free.next().is_some()
            };
            let able_ones: Vec<usize> = group.iter().copied().filter(may_come).collect();
            able += i64::try_from(able_ones.len()).unwrap_or(i64::MAX);
            for (branch, _) in branches.iter().enumerate().filter(|(_, one)| explains(one)) {
                self.add_places(&able_ones, branch, (*after, *at), &mut explanations);
            }
        }
        // Where more is missing than there is to be had, none of it would help.
        if let Missing::Puts(needed) = *missing {
            let free = self.gaps.within(after.saturating_add(1), *at);
            let wanted = usize::try_from(needed).unwrap_or(usize::MAX);
            if able < needed || free.take(wanted).count() < wanted {
                return Explanations::default();
            }
        }
        explanations
    }

    /// Adds for each free revision after the first and up to the second of these which of a
    /// group that does the same is to be tried there.
    fn add_places(
        &self,
        group: &[usize],
        branch: usize,
        (after, at): (i64, i64),
        explanations: &mut Explanations,
    ) {
        let Some(first) = group.first().map(|index| &self.pending[*index]) else {
            return;
        };
        let high = at.min(first.before - 1);
        let mut next = after.max(first.after).saturating_add(1);
        let mut count = (usize::MAX, 0);
        while let Some(revision) = self.gaps.within(next, high).next() {
            let come = group.partition_point(|index| self.pending[*index].after < revision);
            if count.0 != come {
                count = (come, 0);
            }
            if count.1 == PLACES_MAX {
                explanations.was_cut = true;
                let Some(later) = group.get(come) else { return };
                next = self.pending[*later].after.saturating_add(1);
                continue;
            }
            explanations.places.push(Place {
                pending: group[come - 1],
                branch,
                revision,
            });
            count.1 += 1;
            next = revision + 1;
        }
    }

    /// How far a place is from the one that an operation would have if all operations
    /// of unknown outcome had happened in the order in which they were asked for, and
    /// nobody else had written. Mostly it is like that: what is likely is tried first.
    fn unlikeliness(&self, place: &Place) -> u64 {
        let after = self.pending[place.pending].after;
        let answered = |revision: i64| self.answered.partition_point(|taken| *taken < revision);
        let taken = answered(place.revision).saturating_sub(answered(after.saturating_add(1)));
        let taken = i64::try_from(taken).unwrap_or(i64::MAX);
        let free_before = place
            .revision
            .saturating_sub(after)
            .saturating_sub(1 + taken);
        free_before.abs_diff(self.places_in_line[place.pending])
    }

    /// What is not explained yet: of each key, then facts about several.
    fn differences(&self) -> Vec<Unexplained<'a>> {
        let each = self.wrong.iter();
        let each = each.flat_map(|(&key, all)| all.all().map(move |difference| (key, difference)));
        let of_keys = each.map(|(key, difference)| Unexplained {
            keys: vec![key],
            after: difference.after,
            at: difference.at,
            missing: difference.missing,
            contradiction: Contradiction::Key(key, *difference),
        });
        let of_several = self.wrong_joint.iter().take(JOINTS_MAX).map(|&joint| {
            let joint = &self.facts.joint[joint];
            let keys = keys_of(self.log, &joint.what);
            let state = |key: &usize| state_at(&self.timelines[*key], joint.revision);
            let makers = keys.iter().filter_map(|key| state(key).by).collect();
            Unexplained {
                keys,
                after: 0,
                at: joint.revision,
                missing: Missing::Anything,
                contradiction: Contradiction::Joint(joint.clone(), makers),
            }
        });
        of_keys.chain(of_several).collect()
    }

    /// Whether each lease that it needs lives then, and none that it ends is
    /// used afterwards.
    pub(super) fn leases_live(&self, pending: usize, branch: usize, revision: i64) -> bool {
        let branch = &self.pending[pending].branches[branch];
        let is_dead = |lease: i64| {
            let granted_after = self.granted_after.get(&lease);
            let lived_until = self.facts.lived_until.get(&lease);
            if granted_after.is_none_or(|granted| revision <= *granted)
                || lived_until.is_some_and(|until| revision > *until)
            {
                return true;
            }
            self.lease_uses.has_ended_before(lease, revision)
        };
        !branch.leases.iter().any(|lease| is_dead(*lease))
            && !branch.effects.iter().any(|(key, effect)| match effect {
                Effect::End(lease) => self.lease_uses.is_put_after(*key, *lease, revision),
                _ => false,
            })
    }

    /// Lets an operation have happened; the keys that it touches.
    pub(super) fn insert(&mut self, pending: usize, branch: usize, revision: i64) -> Vec<usize> {
        let one = &mut self.pending[pending];
        one.is_placed = true;
        let by = one.by;
        let branch = &one.branches[branch];
        let mut touched = Vec::new();
        for &(key, effect) in &branch.effects {
            let changes = &mut self.facts.changes[key];
            let place = changes.partition_point(|change| change.revision < revision);
            let change = Change {
                revision,
                effect,
                by,
            };
            changes.insert(place, change);
            self.lease_uses.add(key, &effect, revision);
            touched.push(key);
        }
        let entry = match by {
            By::Entry(entry) => entry,
            By::EndOf(_) => usize::MAX,
        };
        self.occupied.insert(revision, entry);
        self.gaps.take(revision);
        touched.extend(self.revoked.get(&revision).into_iter().flatten());
        if let Some((compares, expected)) = branch.condition {
            let index = self.facts.joint.len();
            self.facts.joint.push(Joint {
                revision: revision - 1,
                what: JointFact::Holds(compares, expected),
                entry,
            });
            for compare in compares {
                self.joint_of[self.log.key(&compare.1)].push(index);
            }
            self.judge(index);
        }
        touched
    }

    pub(super) fn log_key(&self, key: &str) -> usize {
        self.log.key(key)
    }

    /// Takes back the last insertion.
    fn remove(&mut self, pending: usize, branch: usize, revision: i64) {
        let one = &mut self.pending[pending];
        one.is_placed = false;
        let by = one.by;
        let branch = &one.branches[branch];
        for (key, effect) in &branch.effects {
            self.facts.changes[*key]
                .retain(|change| (change.revision, change.by) != (revision, by));
            self.lease_uses.remove(*key, effect, revision);
        }
        self.occupied.remove(&revision);
        self.gaps.give_back(revision);
        if let Some((compares, _)) = branch.condition {
            for compare in compares {
                self.joint_of[self.log.key(&compare.1)].pop();
            }
            self.facts.joint.pop();
            self.wrong_joint.remove(&self.facts.joint.len());
        }
    }

    fn replay_touched(&mut self, keys: &[usize]) {
        for &key in keys {
            self.replay(key);
        }
        let joints: BTreeSet<usize> = keys
            .iter()
            .flat_map(|key| self.joint_of[*key].iter().copied())
            .collect();
        for joint in joints {
            self.judge(joint);
        }
    }
}

fn places_in_line(pending: &[Pending<'_>]) -> Vec<i64> {
    let mut next: BTreeMap<i64, i64> = BTreeMap::new();
    let place = |one: &Pending<'_>| {
        let next = next.entry(one.after).or_default();
        *next += 1;
        *next - 1
    };
    pending.iter().map(place).collect()
}

fn seen_values<'a>(facts: &Facts<'a>) -> SeenValues<'a> {
    let facts = facts.facts.iter().enumerate();
    let value = |seen: &Seen<'a>| match *seen {
        Seen::Version(kv) | Seen::Writing(kv) => kv.1.as_deref(),
        _ => None,
    };
    facts
        .flat_map(|(key, facts)| {
            facts
                .iter()
                .filter_map(move |fact| Some((key, value(&fact.seen)?)))
        })
        .collect()
}

fn is_revocation(change: &Change<'_>) -> bool {
    matches!((change.effect, change.by), (Effect::End(_), By::Entry(_)))
}

fn keys_of(log: &Log<'_>, what: &JointFact<'_>) -> Vec<usize> {
    match what {
        JointFact::Count(keys, _) => keys.clone().collect(),
        JointFact::Holds(compares, _) => {
            compares.iter().map(|compare| log.key(&compare.1)).collect()
        }
    }
}

/// Whether a comparison of one key holds. An absent key has zeros.
pub(super) fn holds(compare: &Compare<'_>, state: &State<'_>) -> bool {
    let Compare(target, _, relation, operand) = compare;
    let value = state.version.map_or(0, |version| match target {
        Target::Version => version.version,
        Target::Create => version.create_revision,
        Target::Mod => version.mod_revision,
        Target::Lease => version.lease,
    });
    match relation {
        Relation::Equal => value == *operand,
        Relation::NotEqual => value != *operand,
        Relation::Greater => value > *operand,
        Relation::Less => value < *operand,
    }
}

fn is_unknown(call: &Call<'_>) -> bool {
    match call {
        Call::Put(_, reply) => reply.is_unknown(),
        Call::Delete(_, reply) => reply.is_unknown(),
        Call::Txn(_, reply) => reply.is_unknown(),
        _ => false,
    }
}

/// Everything that may have happened although nobody was told.
fn pending<'a>(log: &'a Log<'a>, order: &Order, lives: &Lives) -> Vec<Pending<'a>> {
    let mut pending = Vec::new();
    for (index, entry) in log.entries.iter().enumerate() {
        if !is_unknown(&entry.call) {
            continue;
        }
        let branches = match &entry.call {
            Call::Put(put, _) => vec![Branch {
                effects: vec![(
                    log.key(&put.key),
                    Effect::Put {
                        value: &put.value,
                        lease: put.lease,
                    },
                )],
                condition: None,
                leases: (put.lease != 0).then_some(put.lease).into_iter().collect(),
            }],
            Call::Delete(delete, _) => vec![Branch {
                effects: log
                    .span(&delete.span)
                    .map(|key| (key, Effect::Delete))
                    .collect(),
                condition: None,
                leases: Vec::new(),
            }],
            // The other branch cannot be taken.
            Call::Txn(txn, _) if txn.compare.is_empty() => vec![Branch {
                condition: None,
                ..branch(log, txn, true)
            }],
            Call::Txn(txn, _) => [true, false]
                .into_iter()
                .map(|succeeded| branch(log, txn, succeeded))
                .collect(),
            _ => unreachable!("nothing else has effects of its own"),
        };
        pending.push(Pending {
            by: By::Entry(index),
            after: order.known_before(entry.operation.invoked).0,
            before: i64::MAX,
            branches,
            is_placed: false,
        });
    }
    let attached = attached_keys(log);
    for (lease, end) in lives.possible_ends(log, order) {
        let keys = attached.get(&lease).into_iter().flatten();
        pending.push(Pending {
            by: By::EndOf(lease),
            after: end.after,
            before: end.before,
            branches: vec![Branch {
                effects: keys.map(|&key| (key, Effect::End(lease))).collect(),
                condition: None,
                leases: Vec::new(),
            }],
            is_placed: false,
        });
    }
    pending
}

fn branch<'a>(log: &Log<'_>, txn: &'a Txn<'a>, succeeded: bool) -> Branch<'a> {
    let mut effects = Vec::new();
    let mut leases = Vec::new();
    for op in txn.branch(succeeded) {
        match op {
            TxnOp::Range(_) => {}
            TxnOp::Put(put) => {
                let (value, lease) = (put.value.as_ref(), put.lease);
                effects.push((log.key(&put.key), Effect::Put { value, lease }));
                leases.extend((lease != 0).then_some(lease));
            }
            TxnOp::Delete(delete) => {
                let keys = log.span(&delete.span);
                effects.extend(keys.map(|key| (key, Effect::Delete)));
            }
        }
    }
    Branch {
        effects,
        condition: Some((&txn.compare, succeeded)),
        leases,
    }
}
