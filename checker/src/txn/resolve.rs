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
//! account (see [`Deletable`](super::graph::Deletable)).

use rustc_hash::{FxHashMap, FxHashSet};

use super::certificate;
use super::cycle;
use super::explain;
use super::extract::{Read, Txns};
use super::graph::{self, Graph};
use super::level::{Level, Rule};
use super::model::{Commits, Model, Unexplained};
use crate::verdict::Violation;

/// How many choices are tried, and how many transactions are looked at on the way.
const TRIALS_MAX: usize = 1_000;
const TRIAL_NODES_MAX: usize = 5_000_000;

/// What is known about all choices together.
pub(super) enum Finding {
    /// Some choice explains everything.
    Explained(Commits),
    /// None does.
    Violation(Box<Violation>),
    /// Neither is certain.
    Unknown(String),
}

/// Looks for a choice that explains everything, as far as the level asks.
pub(super) fn resolve(txns: &Txns<'_>, level: Level) -> Finding {
    let known = || -> Commits { txns.txns.iter().map(|txn| txn.revision).collect() };
    let mut search = Search {
        txns,
        level,
        writers: writers(txns),
        trials: 0,
        nodes: 0,
        unclear: None,
        first: None,
    };
    let guess = search.guess(known());
    if guess.is_none()
        && let Err(violation) = search.certain(&known())
    {
        return Finding::Violation(violation);
    }
    if let Some(violation) = find_unwritten(txns) {
        return Finding::Violation(Box::new(violation));
    }
    if let Some(commits) = guess {
        return Finding::Explained(commits);
    }
    if let Some(commits) = search.choose(known(), &mut Vec::new()) {
        return Finding::Explained(commits);
    }
    match (search.unclear, search.first) {
        (None, Some(violation)) => Finding::Violation(violation),
        (Some(reason), _) => Finding::Unknown(reason),
        (None, None) => unreachable!("a choice that fails says why"),
    }
}

/// A read whose version is not known, of a value that nobody can have written there.
fn find_unwritten(txns: &Txns<'_>) -> Option<Violation> {
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

struct Search<'t, 'h> {
    txns: &'t Txns<'h>,
    level: Level,
    writers: Writers<'t>,
    trials: usize,
    nodes: usize,
    /// Why a failure to explain is no proof of a violation.
    unclear: Option<String>,
    /// What was wrong with the first choice.
    first: Option<Box<Violation>>,
}

impl Search<'_, '_> {
    /// The best writer for each unexplained revision. Returns the choice when the
    /// order of the revisions then explains everything.
    fn guess(&self, mut commits: Commits) -> Option<Commits> {
        loop {
            let model = Model::of(self.txns, &commits).ok()?;
            let mut chosen = false;
            for (revision, unexplained) in model.unexplained.iter().rev() {
                let mut candidates = self.candidates(*revision, unexplained, &commits);
                // What nobody likely made, a blank transaction made.
                let only_likely = !self.txns.blank.is_empty();
                candidates
                    .retain(|txn| !only_likely || is_likely(self.txns, &model, *txn, *revision));
                let best = candidates.into_iter().max_by_key(|txn| {
                    let invoked = self.txns.txns[*txn].invoked;
                    (is_likely(self.txns, &model, *txn, *revision), invoked)
                });
                if let Some(best) = best {
                    commits[best] = Some(*revision);
                    chosen = true;
                }
            }
            if !chosen {
                return certificate::holds(self.txns, &model).then_some(commits);
            }
        }
    }

    /// What is wrong whatever the choice.
    fn certain(&self, known: &Commits) -> Result<(), Box<Violation>> {
        let model = self.model(known)?;
        for (revision, unexplained) in &model.unexplained {
            let candidates = self.candidates(*revision, unexplained, known);
            if candidates.is_empty() && self.txns.blank.is_empty() {
                return Err(self.nobody_wrote(unexplained));
            }
        }
        if let Order::Cyclic { nodes, graph } = self.sort(&model, known) {
            return Err(Box::new(explain::cycle(
                self.txns,
                &model,
                &cycle::find(&graph, &model, &nodes),
            )));
        }
        Ok(())
    }

    /// Tries all choices. `blank` are the revisions that are left to transactions of
    /// which nothing is known.
    fn choose(&mut self, mut commits: Commits, blank: &mut Vec<i64>) -> Option<Commits> {
        let (model, revision, options) = loop {
            self.trials += 1;
            self.nodes += commits.len();
            if self.trials > TRIALS_MAX || self.nodes > TRIAL_NODES_MAX {
                let reason = "too many transactions of unknown outcome may have made the revisions that others saw";
                self.unclear = Some(format!(
                    "{reason}; gave up after {TRIALS_MAX} choices or {TRIAL_NODES_MAX} transactions"
                ));
                return None;
            }
            let model = self.consistent(&commits)?;
            let open: Vec<(i64, Vec<usize>)> = self.open(&model, &commits, blank);
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
            match open
                .into_iter()
                .rev()
                .min_by_key(|(_, options)| options.len())
            {
                Some((revision, options)) => break (model, revision, options),
                None => return self.accept(commits, &model),
            }
        };
        for option in &options {
            let mut commits = commits.clone();
            commits[*option] = Some(revision);
            let found = self.choose(commits, blank);
            if found.is_some() || self.trials > TRIALS_MAX {
                return found;
            }
        }
        if blank.len() < self.txns.blank.len() {
            blank.push(revision);
            let found = self.choose(commits, blank);
            blank.pop();
            return found;
        }
        if options.is_empty() {
            let violation = self.nobody_wrote(&model.unexplained[&revision]);
            self.first.get_or_insert(violation);
        }
        None
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

    /// The model of a choice, unless something is wrong with it already.
    fn consistent(&mut self, commits: &Commits) -> Option<Model> {
        match self.model(commits) {
            Ok(model) => match self.sort(&model, commits) {
                Order::Sorted { .. } => Some(model),
                Order::Cyclic { nodes, graph } => {
                    if self.first.is_none() {
                        let cycle = cycle::find(&graph, &model, &nodes);
                        self.first = Some(Box::new(explain::cycle(self.txns, &model, &cycle)));
                    }
                    None
                }
            },
            Err(violation) => {
                self.first.get_or_insert(violation);
                None
            }
        }
    }

    /// Whether a consistent choice that leaves open nothing but blank transactions
    /// explains everything.
    fn accept(&mut self, commits: Commits, model: &Model) -> Option<Commits> {
        if certificate::holds(self.txns, model) {
            return Some(commits);
        }
        let Order::Sorted {
            deadlines,
            ambiguous,
        } = self.sort(model, &commits)
        else {
            return None;
        };
        if let Some(late) = late_stand_in(self.txns, model, &deadlines) {
            let violation = self.nobody_wrote(&model.unexplained[&late]);
            self.first.get_or_insert(violation);
            return None;
        }
        if ambiguous {
            let reason = "reads of absent keys that may have been deleted more than once, or unseen, can be explained in several ways";
            self.unclear.get_or_insert_with(|| reason.to_owned());
            return None;
        }
        Some(commits)
    }

    /// The versions that a choice means, unless something is wrong with them.
    fn model(&self, commits: &Commits) -> Result<Model, Box<Violation>> {
        let model = Model::of(self.txns, commits)?;
        if self.level == Level::ItemCutIsolation
            && let Some(reader) = find_changed(self.txns, &model)
        {
            return Err(Box::new(explain::changed(self.txns, reader)));
        }
        Ok(model)
    }

    fn sort(&self, model: &Model, commits: &Commits) -> Order {
        let graph = Graph::of(self.txns, model, commits, self.level.rule());
        match graph.sort(model) {
            graph::Order::Sorted { deadlines } => Order::Sorted {
                deadlines,
                ambiguous: graph.ambiguous,
            },
            graph::Order::Cyclic { nodes } => Order::Cyclic { nodes, graph },
        }
    }

    fn nobody_wrote(&self, unexplained: &Unexplained) -> Box<Violation> {
        let (_, reader, read) = unexplained.seen[0];
        let read = &self.txns.txns[reader].reads[read];
        Box::new(explain::nobody_wrote(self.txns, reader, read))
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
        let counts_time = self.level.rule() == Rule::RealTime;
        let may_have_made = |txn: &usize| {
            commits[*txn].is_none()
                && (!counts_time || self.txns.txns[*txn].invoked < unexplained.seen_by)
                && seen.iter().all(|(key, value)| wrote(*txn, *key, value))
                && !read_itself(self.txns, *txn, revision)
        };
        let writers = self.writers.get(&seen[0]).map_or(&[][..], Vec::as_slice);
        writers.iter().copied().filter(may_have_made).collect()
    }
}

/// What sorting a model by all dependencies gave.
enum Order {
    Sorted {
        deadlines: Vec<usize>,
        ambiguous: bool,
    },
    Cyclic {
        nodes: Vec<usize>,
        graph: Graph,
    },
}

/// The first transaction, taken to have committed, that read a key in two versions.
fn find_changed(txns: &Txns<'_>, model: &Model) -> Option<usize> {
    let taken = model.nodes.iter().filter_map(|node| node.txn);
    taken.into_iter().find(|txn| {
        let reads = &txns.txns[*txn].reads;
        let earlier = |at: usize| reads[..at].iter().map(|read| read.key);
        (0..reads.len()).any(|at| earlier(at).any(|key| key == reads[at].key))
    })
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

/// The first unexplained revision for which no blank transaction was invoked early
/// enough. Invocations and deadlines are thresholds, so the earliest go together.
fn late_stand_in(txns: &Txns<'_>, model: &Model, deadlines: &[usize]) -> Option<i64> {
    let stand_ins = model
        .nodes
        .iter()
        .zip(deadlines)
        .filter(|(node, _)| node.txn.is_none());
    let mut stand_ins: Vec<(usize, i64)> = stand_ins
        .filter_map(|(node, deadline)| Some((*deadline, node.revision?)))
        .collect();
    stand_ins.sort_unstable();
    let invoked = txns
        .blank
        .iter()
        .map(|operation| txns.operations[*operation].invoked);
    let mut invoked = invoked.map(Some).chain(std::iter::repeat(None));
    let late = stand_ins.into_iter().find(|(deadline, _)| {
        invoked
            .next()
            .flatten()
            .is_none_or(|invoked| invoked > *deadline)
    });
    late.map(|(_, revision)| revision)
}
