//! Which of the transactions of unknown outcome committed, and at which revision.
//!
//! A revision that somebody saw and that no transaction reported belongs to one of
//! unknown outcome. Mostly there is one that wrote just that; with several, the
//! right one has read what was current then. So first a guess: the best for each
//! revision. If the order of the revisions then explains everything, that is a
//! proof and all is well.
//!
//! If not, the guess may be at fault. What is wrong without any guess, each
//! unexplained revision standing for itself, is wrong for sure. Otherwise all
//! choices are tried, within a budget.
//!
//! Transactions of unknown outcome whose writes nobody saw are taken not to have
//! committed: a version more can only make reads staler. The exception are
//! deletions, which leave nothing to see; reads of absent keys take that into
//! account (see [`Deletable`](super::absence::Deletable)).

use rustc_hash::{FxHashMap, FxHashSet};

use super::certificate;
use super::choice::{Choice, Judged};
use super::explain;
use super::extract::{Read, Txns};
use super::model::{Commits, Model, Unexplained};
use crate::isolation::anomaly::{Anomaly, Dependencies, Order};
use crate::isolation::findings::{Findings, Found};
use crate::isolation::settle::open_questions;
use crate::search::Clock;

/// How many choices go into a minute, and how many transactions that are looked at on the
/// way: the budget's time says how many there may be. On any machine that is not a slow one
/// they take less.
const TRIALS_PER_MINUTE: u64 = 1_000;
const TRIAL_NODES_PER_MINUTE: u64 = 5_000_000;

/// What is known about all choices together.
pub(super) struct Finding {
    pub(super) answer: Answer,
    /// What is wrong whatever the choice.
    pub(super) certain: Findings,
    /// Anomalies of which it is not known whether they occur.
    pub(super) open: Vec<Anomaly>,
    /// Why not, as a sentence.
    pub(super) reason: String,
}

/// Whether something is wrong that is asked about.
pub(super) enum Answer {
    /// Some choice has nothing of it.
    Explained(Commits),
    /// It is among what is wrong whatever the choice. This is a likely one.
    Certain(Commits),
    /// Each choice has something of it: what they have in common, and what one of them
    /// has.
    Always(Option<Anomaly>, Box<Found>),
    /// Neither is certain.
    Unknown,
}

/// Looks for a choice that has none of the anomalies that are asked about.
pub(super) fn resolve(txns: &Txns<'_>, is_asked: &dyn Fn(Anomaly) -> bool) -> Finding {
    let known: Commits = txns.txns.iter().map(|txn| txn.revision).collect();
    let mut search = Search {
        txns,
        is_asked,
        writers: writers(txns),
        trials: 0,
        nodes: 0,
        clock: txns.budget.clock(),
        is_spent: false,
        unclear: None,
        first: None,
        common: None,
    };
    let Guess {
        commits: guess,
        is_proof,
        model,
        findings,
    } = search.guess(known.clone());
    let unwritten = find_unwritten(txns);
    if is_proof && unwritten.is_none() && txns.fault.is_none() {
        return Finding::explained(guess);
    }
    let choice = match guess == known {
        true => Choice::with(txns, &known, model, findings),
        false => Choice::of(txns, &known),
    };
    let is_explained = choice.revisions.model.unexplained.is_empty();
    let mut certain = search.certain(&known, choice);
    if let Some(unwritten) = unwritten {
        unwritten.note(&mut certain.findings);
    }
    let is_only_choice = guess == known && txns.blank.is_empty();
    let is_asked_open = certain.open.iter().any(|anomaly| is_asked(*anomaly));
    let is_settled = is_only_choice && is_explained && !is_asked_open;
    let (open, reason) = if is_proof {
        (Vec::new(), "")
    } else if is_only_choice {
        (certain.open, certain.reason)
    } else {
        search.judged(&guess).into_open()
    };
    let is_broken = certain.findings.anomalies().any(is_asked);
    let answer = match is_broken {
        true => Answer::Certain(guess),
        false => Answer::Explained(guess),
    };
    let mut finding = Finding {
        answer,
        certain: certain.findings,
        open,
        reason: reason.to_owned(),
    };
    if !is_broken && !is_settled {
        search.finish(known, &mut finding);
    }
    let certain = &finding.certain;
    finding.open.retain(|anomaly| !certain.imply(*anomaly));
    finding
}

impl Finding {
    fn explained(commits: Commits) -> Self {
        Self {
            answer: Answer::Explained(commits),
            certain: Findings::default(),
            open: Vec::new(),
            reason: String::new(),
        }
    }
}

/// A read whose version is not known, of a value that nobody can have written there.
fn find_unwritten(txns: &Txns<'_>) -> Option<explain::Local> {
    let is_open = |read: &&Read<'_>| read.revision.is_none() && read.value.is_some();
    let mut open = (0..).zip(&txns.txns).filter(|(_, txn)| txn.committed);
    let (first, _) = open.find(|(_, txn)| txn.reads.iter().any(|read| is_open(&read)))?;
    if !txns.blank.is_empty() {
        return None;
    }
    let writes = txns.txns.iter().flat_map(|txn| &txn.writes);
    let written = writes.filter_map(|write| Some((write.key, write.value.as_deref()?)));
    let initial = txns.initial.iter();
    let initial = initial.map(|initial| (initial.key, initial.value.as_str()));
    let known: FxHashSet<(usize, &str)> = written.chain(initial).collect();
    let readers = (first..txns.txns.len()).filter(|txn| txns.txns[*txn].committed);
    let mut reads = readers.flat_map(|txn| {
        let reads = txns.txns[txn].reads.iter();
        reads.filter(is_open).map(move |read| (txn, read))
    });
    let (reader, read) = reads.find(|(_, read)| {
        let value = read.value.as_deref().unwrap_or_default();
        !known.contains(&(read.key, value))
    })?;
    Some(explain::nobody_wrote(txns, reader, read))
}

/// Transactions of which the revision is unknown, by what they wrote.
type Writers<'t> = FxHashMap<(usize, &'t str), Vec<usize>>;

fn writers<'t>(txns: &'t Txns<'_>) -> Writers<'t> {
    let mut writers = Writers::default();
    for (index, txn) in txns
        .txns
        .iter()
        .enumerate()
        .filter(|(_, txn)| txn.revision.is_none())
    {
        for write in &txn.writes {
            if let Some(value) = &write.value {
                writers
                    .entry((write.key, value.as_ref()))
                    .or_default()
                    .push(index);
            }
        }
    }
    writers
}

/// A likely choice.
struct Guess {
    commits: Commits,
    /// Whether the order of the revisions explains everything.
    is_proof: bool,
    /// What it means.
    model: Model,
    /// What is wrong with the versions.
    findings: Findings,
}

struct Search<'t, 'h> {
    txns: &'t Txns<'h>,
    is_asked: &'t dyn Fn(Anomaly) -> bool,
    writers: Writers<'t>,
    trials: u64,
    nodes: u64,
    clock: Clock<'static>,
    /// Whether it ended before its time.
    is_spent: bool,
    /// Why a failure to explain is no proof of a violation.
    unclear: Option<String>,
    /// What was wrong with the first choice.
    first: Option<Box<Found>>,
    /// What was wrong with all choices so far, if that was the same thing.
    common: Option<Option<Anomaly>>,
}

impl<'t, 'h> Search<'t, 'h> {
    /// The best writer for each unexplained revision.
    fn guess(&self, mut commits: Commits) -> Guess {
        loop {
            let mut findings = Findings::default();
            let model = Model::of(self.txns, &commits, &mut findings);
            if findings.anomalies().next().is_some() {
                return Guess {
                    commits,
                    is_proof: false,
                    model,
                    findings,
                };
            }
            let mut chosen = false;
            for (revision, unexplained) in model.unexplained.iter().rev() {
                let mut candidates = self.candidates(*revision, unexplained, &commits);
                // What nobody likely made, a blank transaction made.
                let only_likely = !self.txns.blank.is_empty();
                candidates
                    .retain(|txn| !only_likely || is_likely(self.txns, &model, *txn, *revision));
                let best = candidates.into_iter().max_by_key(|txn| {
                    let invoked = self.txns.txns[*txn].invoked;
                    let is_early = invoked < unexplained.seen_by;
                    let is_likely = is_likely(self.txns, &model, *txn, *revision);
                    (is_likely && is_early, is_early, invoked)
                });
                if let Some(best) = best {
                    commits[best] = Some(*revision);
                    chosen = true;
                }
            }
            if !chosen {
                return Guess {
                    commits,
                    is_proof: certificate::holds(self.txns, &model),
                    model,
                    findings,
                };
            }
        }
    }

    /// What is wrong whatever the choice. `choice` is that of what is known alone.
    fn certain(&self, known: &Commits, mut choice: Choice<'t, 'h>) -> Judged {
        let mut unexplained = std::mem::take(&mut choice.revisions.model.unexplained);
        for (revision, unexplained) in &unexplained {
            let candidates = self.candidates(*revision, unexplained, known);
            if candidates.is_empty() && self.txns.blank.is_empty() {
                self.nobody_wrote(unexplained).note(&mut choice.findings);
            }
        }
        std::mem::swap(&mut unexplained, &mut choice.revisions.model.unexplained);
        choice.judge()
    }

    /// All that is wrong with a choice that leaves the other revisions to blank
    /// transactions.
    fn judged(&self, commits: &Commits) -> Judged {
        self.judge(Choice::of(self.txns, commits))
    }

    fn judge(&self, mut choice: Choice<'_, '_>) -> Judged {
        let unexplained = std::mem::take(&mut choice.revisions.model.unexplained);
        // Each blank transaction has made one.
        for left in unexplained.values().skip(self.txns.blank.len()) {
            self.nobody_wrote(left).note(&mut choice.findings);
        }
        let late = choice.late_stand_in(&unexplained);
        choice.revisions.model.unexplained = unexplained.clone();
        let mut judged = choice.judge();
        if let Some(revision) = late {
            self.note_late(revision, &unexplained[&revision], &mut judged);
        }
        judged
    }

    /// Notes that a blank transaction began too late to have made a revision. How bad a
    /// cycle that is depends on which one it was.
    fn note_late(&self, revision: i64, unexplained: &Unexplained, judged: &mut Judged) {
        let mildest = Anomaly::Cycle(Dependencies::G2Item, Order::RealTime);
        let (_, reader, read) = unexplained.seen[0];
        let read = &self.txns.txns[reader].reads[read];
        let late = || explain::too_late(self.txns, revision, reader, read);
        judged.findings.note(mildest, late);
        judged.open.extend(open_questions(&judged.findings));
    }

    /// Looks for a choice that explains what is asked about, as far as nothing certain
    /// speaks against it.
    fn finish(&mut self, known: Commits, finding: &mut Finding) {
        let found = self.choose(known, &mut Vec::new());
        finding.answer = match (found, self.unclear.take(), self.first.take()) {
            (Some((commits, judged)), ..) => {
                let (open, reason) = judged.into_open();
                (finding.open, finding.reason) = (open, reason.to_owned());
                Answer::Explained(commits)
            }
            (None, None, Some(found)) => Answer::Always(self.common.take().flatten(), found),
            (None, Some(reason), _) => {
                finding.open = open_questions(&finding.certain);
                finding.open.extend([Anomaly::G1a, Anomaly::GarbageRead]);
                finding.reason = reason;
                Answer::Unknown
            }
            (None, None, None) => unreachable!("a choice that fails says why"),
        };
    }

    /// Whether the budget is spent.
    fn is_over(&mut self) -> bool {
        let budget = &self.txns.budget;
        self.is_spent |= self.trials > budget.steps(TRIALS_PER_MINUTE)
            || self.nodes > budget.steps(TRIAL_NODES_PER_MINUTE)
            || self.clock.is_over();
        self.is_spent
    }

    /// Tries all choices. `blank` are the revisions that are left to transactions of
    /// which nothing is known.
    fn choose(&mut self, mut commits: Commits, blank: &mut Vec<i64>) -> Option<(Commits, Judged)> {
        let (choice, revision, options) = loop {
            self.trials += 1;
            self.nodes += commits.len() as u64;
            if self.is_over() {
                let reason = "too many transactions of unknown outcome may have made the revisions that others saw";
                self.unclear = Some(format!(
                    "{reason}; gave up after {} choices",
                    self.trials - 1
                ));
                return None;
            }
            let choice = self.consistent(&commits)?;
            let open = self.open(&choice.revisions.model, &commits, blank);
            // Where there is no choice there is nothing to try.
            let may_be_blank = blank.len() < self.txns.blank.len();
            let forced = |(_, options): &&(i64, Vec<usize>)| options.len() == 1 && !may_be_blank;
            let mut is_forced = false;
            for (revision, options) in open.iter().filter(forced) {
                if commits[options[0]].is_none() {
                    commits[options[0]] = Some(*revision);
                    is_forced = true;
                }
            }
            if is_forced {
                continue;
            }
            // The revision with the least choice first, and of these the latest.
            let next = open
                .into_iter()
                .rev()
                .min_by_key(|(_, options)| options.len());
            match next {
                Some((revision, options)) => break (choice, revision, options),
                None => return self.accept(commits, choice),
            }
        };
        for option in &options {
            let mut commits = commits.clone();
            commits[*option] = Some(revision);
            let found = self.choose(commits, blank);
            if found.is_some() || self.is_spent {
                return found;
            }
        }
        let unmade = self.nobody_wrote(&choice.revisions.model.unexplained[&revision]);
        // Where such reads are allowed, nobody need have made the revision.
        let is_allowed = options.is_empty() && !(self.is_asked)(unmade.anomaly);
        if blank.len() < self.txns.blank.len() || is_allowed {
            blank.push(revision);
            let found = self.choose(commits, blank);
            blank.pop();
            return found;
        }
        if options.is_empty() {
            self.fail(unmade.anomaly, Box::new(unmade.violation.into()));
        }
        None
    }

    /// Notes what is wrong with a choice.
    fn fail(&mut self, anomaly: Anomaly, found: Box<Found>) {
        self.first.get_or_insert(found);
        self.common = Some(match self.common {
            None => Some(anomaly),
            Some(Some(common)) if common.implied().contains(&anomaly) => Some(anomaly),
            Some(Some(common)) if anomaly.implied().contains(&common) => Some(common),
            _ => None,
        });
    }

    /// The unexplained revisions that are not left to blank transactions, each with
    /// those that may have made it, the likeliest first.
    fn open(&self, model: &Model, commits: &Commits, blank: &[i64]) -> Vec<(i64, Vec<usize>)> {
        let open = model
            .unexplained
            .iter()
            .filter(|(revision, _)| !blank.contains(revision));
        open.map(|(revision, unexplained)| {
            let mut options = self.candidates(*revision, unexplained, commits);
            options.sort_by_key(|txn| {
                let likely = is_likely(self.txns, model, *txn, *revision);
                std::cmp::Reverse((likely, self.txns.txns[*txn].invoked))
            });
            (*revision, options)
        })
        .collect()
    }

    /// A choice, unless something is wrong with it already that is asked about.
    fn consistent(&mut self, commits: &Commits) -> Option<Choice<'t, 'h>> {
        let choice = Choice::of(self.txns, commits);
        let Some(anomaly) = choice.breaks(self.is_asked) else {
            return Some(choice);
        };
        if let Some(first) = self.first.clone() {
            self.fail(anomaly, first);
            return None;
        }
        let judged = choice.judge();
        match judged.findings.first(self.is_asked) {
            Some(found) => self.fail(anomaly, Box::new(found)),
            None => self.unclear = Some(judged.reason.to_owned()),
        }
        None
    }

    /// Whether a choice that leaves open nothing but blank transactions explains what is
    /// asked about.
    fn accept(&mut self, commits: Commits, choice: Choice<'t, 'h>) -> Option<(Commits, Judged)> {
        let model = &choice.revisions.model;
        if self.txns.fault.is_none()
            && choice.findings.anomalies().next().is_none()
            && certificate::holds(self.txns, model)
        {
            return Some((commits, Judged::default()));
        }
        let judged = self.judge(choice);
        if let Some(anomaly) = judged
            .findings
            .anomalies()
            .find(|found| (self.is_asked)(*found))
        {
            let found = judged.findings.first(self.is_asked)?;
            self.fail(anomaly, Box::new(found));
            return None;
        }
        if judged.open.iter().any(|anomaly| (self.is_asked)(*anomaly)) {
            self.unclear.get_or_insert_with(|| judged.reason.to_owned());
            return None;
        }
        Some((commits, judged))
    }

    fn nobody_wrote(&self, unexplained: &Unexplained) -> explain::Local {
        let (_, reader, read) = unexplained.seen[0];
        let read = &self.txns.txns[reader].reads[read];
        explain::nobody_wrote(self.txns, reader, read)
    }

    /// The transactions that may have made a revision.
    fn candidates(
        &self,
        revision: i64,
        unexplained: &Unexplained,
        commits: &Commits,
    ) -> Vec<usize> {
        let value = |txn: usize, read: usize| {
            self.txns.txns[txn].reads[read]
                .value
                .as_deref()
                .unwrap_or_default()
        };
        let seen: Vec<(usize, &str)> = unexplained
            .seen
            .iter()
            .map(|(key, txn, read)| (*key, value(*txn, *read)))
            .collect();
        let wrote = |txn: usize, key: usize, value: &str| {
            self.txns.txns[txn]
                .writes
                .iter()
                .any(|write| write.key == key && write.value.as_deref() == Some(value))
        };
        let may_have_made = |txn: &usize| {
            commits[*txn].is_none()
                && seen.iter().all(|(key, value)| wrote(*txn, *key, value))
                && !read_itself(self.txns, *txn, revision)
        };
        let writers = self.writers.get(&seen[0]).map_or(&[][..], Vec::as_slice);
        writers.iter().copied().filter(may_have_made).collect()
    }
}

/// A transaction cannot have read what it wrote itself.
fn read_itself(txns: &Txns<'_>, txn: usize, revision: i64) -> bool {
    txns.txns[txn]
        .reads
        .iter()
        .any(|read| read.revision == Some(revision))
}

/// Whether all that the transaction read was current just before `revision`, and
/// nothing that it wrote was seen unchanged later.
fn is_likely(txns: &Txns<'_>, model: &Model, txn: usize, revision: i64) -> bool {
    let was_current = |read: &Read<'_>| match read.revision {
        None => true,
        Some(0) => model
            .absent_from(read.key, revision - 1)
            .is_some_and(|(first, _)| first < revision),
        Some(seen) => {
            let next = model.next_after(read.key, seen);
            seen < revision && next.is_none_or(|next| next.revision >= revision)
        }
    };
    let txn = &txns.txns[txn];
    txn.reads.iter().all(was_current)
        && !txn
            .writes
            .iter()
            .any(|write| model.seen_unchanged(write.key, revision))
}
