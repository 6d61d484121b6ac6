//! The checker of transactions never contradicts a search through all orders, on
//! many small random histories with transactions of unknown outcome.

use std::collections::{BTreeMap, BTreeSet};

use etcd_checker::history::{Json, MicroOperation, Outcome, Process};
use etcd_checker::{Options, Verdict, Violation, txn};

use crate::support::{Op, Random, history, intervals};

const HISTORIES: usize = 200_000;
const KEYS: [&str; 3] = ["x", "y", "z"];

#[derive(Clone)]
struct Txn {
    reads: Vec<(usize, Option<u8>, Option<i64>)>,
    writes: Vec<Seen>,
    revision: Option<i64>,
    outcome: Outcome,
    /// Its completion does not say what it attempted.
    blank: bool,
    invoked: u64,
    returned: u64,
}

impl std::fmt::Debug for Txn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..{} {:?}", self.invoked, self.returned, self.outcome)?;
        write!(f, "{}", if self.blank { " blank" } else { "" })?;
        for (key, value, revision) in &self.reads {
            write!(f, "  r {} {value:?} @{revision:?}", KEYS[*key])?;
        }
        for (key, value) in &self.writes {
            write!(f, "  w {} {value:?}", KEYS[*key])?;
        }
        write!(f, "  at {:?}", self.revision)
    }
}

impl Txn {
    /// Whether it certainly takes a revision of its own, which is known.
    fn puts_at(&self) -> Option<i64> {
        self.revision.filter(|_| self.puts() && self.must_happen())
    }

    fn puts(&self) -> bool {
        self.writes.iter().any(|(_, value)| value.is_some())
    }

    fn op(&self) -> Op {
        let text = |value: &Option<u8>| value.map(|value| value.to_string().into());
        let reads = self
            .reads
            .iter()
            .map(|(key, value, mod_revision)| MicroOperation::Read {
                key: KEYS[*key].into(),
                value: text(value),
                mod_revision: *mod_revision,
            });
        let writes = self
            .writes
            .iter()
            .map(|(key, value)| MicroOperation::Write {
                key: KEYS[*key].into(),
                value: text(value),
            });
        let micro: Vec<_> = reads.chain(writes).collect();
        let result = if self.blank {
            Json::NULL
        } else {
            Json::from(&micro[..])
        };
        let revision = if self.outcome == Outcome::Ok {
            self.revision
        } else {
            None
        };
        let (invoked, returned, outcome) = (self.invoked, self.returned, self.outcome);
        Op {
            f: "txn",
            invoke: Json::NULL,
            result,
            outcome,
            revision,
            invoked,
            returned,
        }
    }

    fn must_happen(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    fn deadline(&self) -> u64 {
        if self.must_happen() {
            self.returned
        } else {
            u64::MAX
        }
    }
}

/// A key and what it held.
type Seen = (usize, Option<u8>);

/// The explained revisions, and the store.
type Outcomes = (u32, [Cell; KEYS.len()]);

/// What a key holds: value, the revision that wrote it, and whether that one is known.
type Cell = (Option<u8>, i64, bool);

/// Tries all orders, all subsets of the transactions that need not have happened,
/// and all revisions that these may have had.
struct Twin<'t> {
    txns: &'t [Txn],
    /// Revisions that were seen and not reported, with what was seen of them.
    unexplained: Vec<(i64, Vec<Seen>)>,
    seen: BTreeSet<(u32, u32, Vec<Cell>)>,
}

impl Twin<'_> {
    fn is_serializable(txns: &[Txn]) -> bool {
        let mut puts: Vec<i64> = txns.iter().filter_map(Txn::puts_at).collect();
        puts.sort_unstable();
        if puts.windows(2).any(|pair| pair[0] == pair[1]) {
            return false;
        }
        let known: BTreeSet<i64> = puts.into_iter().collect();
        let mut unexplained: BTreeMap<i64, Vec<Seen>> = BTreeMap::new();
        for txn in txns.iter().filter(|txn| !txn.blank) {
            for (key, value, revision) in &txn.reads {
                if let Some(revision) =
                    revision.filter(|revision| *revision > 0 && !known.contains(revision))
                {
                    let seen = unexplained.entry(revision).or_default();
                    seen.push((*key, *value));
                }
            }
        }
        let mut twin = Twin {
            txns,
            unexplained: unexplained.into_iter().collect(),
            seen: BTreeSet::new(),
        };
        twin.search(0, 0, [(None, 0, true); KEYS.len()])
    }

    fn search(&mut self, done: u32, used: u32, cells: [Cell; KEYS.len()]) -> bool {
        let open: Vec<usize> = (0..self.txns.len())
            .filter(|index| done & (1 << index) == 0)
            .collect();
        let deadline = open
            .iter()
            .map(|index| self.txns[*index].deadline())
            .min()
            .unwrap_or(u64::MAX);
        if deadline == u64::MAX {
            return true;
        }
        if !self.seen.insert((done, used, cells.to_vec())) {
            return false;
        }
        open.into_iter().any(|index| {
            let txn = &self.txns[index];
            txn.invoked < deadline
                && txn.outcome != Outcome::Fail
                && self
                    .outcomes(txn, used, &cells)
                    .into_iter()
                    .any(|(used, cells)| self.search(done | 1 << index, used, cells))
        })
    }

    /// What the store may hold after the transaction.
    fn outcomes(&self, txn: &Txn, used: u32, cells: &[Cell; KEYS.len()]) -> Vec<Outcomes> {
        if txn.blank {
            return self.blank_outcomes(used, cells);
        }
        let agrees = |(key, value, revision): &(usize, Option<u8>, Option<i64>)| {
            let (current, at, known) = cells[*key];
            current == *value
                && (value.is_none() || revision.is_none_or(|revision| known && revision == at))
        };
        if !txn.reads.iter().all(agrees) {
            return Vec::new();
        }
        let deletes_nothing = txn
            .writes
            .iter()
            .all(|(key, value)| value.is_none() && cells[*key].0.is_none());
        if deletes_nothing {
            return vec![(used, *cells)];
        }
        if txn.must_happen() && txn.revision.is_some() {
            let is_taken = |other: &Txn| other.puts_at() == txn.revision;
            let is_seen = self
                .unexplained
                .iter()
                .any(|(revision, _)| Some(*revision) == txn.revision);
            if txn.puts_at().is_none() && (is_seen || self.txns.iter().any(is_taken)) {
                return Vec::new();
            }
            return write(cells, &txn.writes, txn.revision)
                .map(|cells| (used, cells))
                .into_iter()
                .collect();
        }
        let unseen = write(cells, &txn.writes, None).map(|cells| (used, cells));
        // Whoever saw another value at that revision will not agree.
        let free = (0..self.unexplained.len()).filter(|index| used & (1 << index) == 0);
        let explaining = free.filter_map(|index| {
            let cells = write(cells, &txn.writes, Some(self.unexplained[index].0))?;
            Some((used | 1 << index, cells))
        });
        explaining.chain(unseen).collect()
    }

    /// A blank transaction may have made one revision that was seen, and may have
    /// deleted any keys.
    fn blank_outcomes(&self, used: u32, cells: &[Cell; KEYS.len()]) -> Vec<Outcomes> {
        let mut outcomes = Vec::new();
        for writes in all_writes(&[]) {
            outcomes.extend(write(cells, &writes, None).map(|cells| (used, cells)));
        }
        for index in (0..self.unexplained.len()).filter(|index| used & (1 << index) == 0) {
            let (revision, seen) = &self.unexplained[index];
            for writes in all_writes(seen) {
                let cells = write(cells, &writes, Some(*revision));
                outcomes.extend(cells.map(|cells| (used | 1 << index, cells)));
            }
        }
        outcomes
    }
}

/// All ways to leave each key alone, to delete it, or to give it a value that was
/// seen.
fn all_writes(seen: &[Seen]) -> Vec<Vec<Seen>> {
    let mut all = vec![Vec::new()];
    for key in 0..KEYS.len() {
        let values: BTreeSet<Option<u8>> = seen
            .iter()
            .filter(|(other, _)| *other == key)
            .map(|(_, value)| *value)
            .collect();
        let options = std::iter::once(None).chain(values.into_iter().filter(Option::is_some));
        let written: Vec<Vec<_>> = options
            .flat_map(|value| {
                all.iter()
                    .map(move |writes: &Vec<_>| [writes.as_slice(), &[(key, value)]].concat())
            })
            .collect();
        all.extend(written);
    }
    all
}

/// The store after these writes, unless a later version is already there. A revision
/// that nobody saw is somewhere after the one before.
fn write(
    cells: &[Cell; KEYS.len()],
    writes: &[Seen],
    revision: Option<i64>,
) -> Option<[Cell; KEYS.len()]> {
    let mut cells = *cells;
    for (key, value) in writes {
        let (_, before, _) = cells[*key];
        if revision.is_some_and(|revision| revision <= before) {
            return None;
        }
        cells[*key] = (*value, revision.unwrap_or(before), revision.is_some());
    }
    Some(cells)
}

/// A run of a real store, seen by clients some of which miss the answers.
///
/// Whether a transaction that only deletes took the revision that it reports shows
/// from what others report, so it has no place in a history that is falsified.
fn real_run(random: &mut Random, may_only_delete: bool) -> Vec<Txn> {
    let keys = 1 + random.below(KEYS.len());
    let longest = if random.one_in(2) {
        1
    } else {
        1 + random.below(6)
    };
    let (unknowns, deletions) = (2 + random.below(6), 2 + random.below(8));
    let mut store: [Cell; KEYS.len()] = [(None, 0, true); KEYS.len()];
    let mut revision = 1;
    let mut txns = Vec::new();
    let count = 3 + random.below(4);
    for (invoked, _, returned) in intervals(random, count, longest) {
        let mut reads = Vec::new();
        let mut writes = Vec::new();
        for (key, (held, at, _)) in store.iter().copied().enumerate().take(keys) {
            if random.one_in(2) {
                reads.push((key, held, Some(if held.is_some() { at } else { 0 })));
            }
            if random.below(5) < 2 {
                let value = if random.one_in(deletions) {
                    None
                } else {
                    Some(1 + random.below(3) as u8)
                };
                writes.push((key, value));
            }
        }
        if !may_only_delete && writes.iter().all(|(_, value)| value.is_none()) {
            writes
                .iter_mut()
                .take(1)
                .for_each(|(_, value)| *value = Some(1));
        }
        let outcome = match random.below(unknowns) {
            0 => [Outcome::Info, Outcome::Info, Outcome::Open, Outcome::Fail][random.below(4)],
            _ => Outcome::Ok,
        };
        let happens = outcome == Outcome::Ok || outcome != Outcome::Fail && random.below(3) > 0;
        let changes = writes
            .iter()
            .any(|(key, value)| value.is_some() || store[*key].0.is_some());
        if happens && changes {
            revision += 1;
            for (key, value) in &writes {
                store[*key] = (*value, revision, true);
            }
        }
        let blank = outcome == Outcome::Open || outcome == Outcome::Info && random.one_in(3);
        let revision = (!writes.is_empty()).then_some(revision);
        txns.push(Txn {
            reads,
            writes,
            revision,
            outcome,
            blank,
            invoked,
            returned,
        });
    }
    txns
}

/// Changes what some clients saw, or hides a revision.
fn falsify(random: &mut Random, txns: &mut [Txn]) {
    let versions: Vec<(usize, Option<u8>, Option<i64>)> = txns
        .iter()
        .flat_map(|txn| {
            txn.writes.iter().map(move |(key, value)| {
                (
                    *key,
                    *value,
                    txn.revision.filter(|_| value.is_some()).or(Some(0)),
                )
            })
        })
        .chain([(0, None, Some(0)), (1, None, Some(0))])
        .collect();
    for _ in 0..2 + random.below(5) {
        let (first, second) = (random.below(txns.len()), random.below(txns.len()));
        match random.below(12) {
            0..8 => {
                let (key, value, revision) = versions[random.below(versions.len())];
                for read in txns[first].reads.iter_mut().filter(|read| read.0 == key) {
                    *read = (key, value, revision);
                }
            }
            8 if txns[first].puts() && txns[second].puts() => {
                let revision = txns[first].revision;
                txns[first].revision = txns[second].revision;
                txns[second].revision = revision;
            }
            9 => {
                txns[first].outcome = if txns[first].blank {
                    Outcome::Info
                } else {
                    Outcome::Ok
                }
            }
            10 if random.one_in(4) => txns[first].revision = None,
            11 if random.one_in(4) => txns[first]
                .reads
                .iter_mut()
                .filter(|read| read.1.is_some())
                .for_each(|read| read.2 = None),
            _ => {}
        }
    }
}

/// The witness of a cycle alone is the same violation, once reads of what others
/// wrote are left out. Returns whether it is not without any one of its transactions,
/// or none when the witness is of another sort.
fn check_witness(txns: &[Txn], ops: &[Op], violation: &Violation) -> Option<bool> {
    let cycles = [
        "G0",
        "G1c",
        "G-single",
        "G-nonadjacent",
        "G2-item",
        "lost-update",
        "fractured-read",
    ];
    let name = violation.kind.name;
    let is_cycle = cycles.contains(
        &name
            .trim_end_matches("-realtime")
            .trim_end_matches("-process"),
    );
    // The witness cannot name whoever made a revision unseen.
    let is_known = |txn: &Txn| match txn.outcome {
        Outcome::Fail => true,
        // Without the deletion, what found the key absent found it as it began.
        Outcome::Ok if txn.writes.iter().any(|(_, value)| value.is_none()) => false,
        Outcome::Ok => txn.writes.is_empty() || txn.revision.is_some(),
        Outcome::Info | Outcome::Open => false,
    };
    let is_certain = txns.iter().all(is_known);
    if !is_cycle || !is_certain {
        return None;
    }
    let whole = history("transactions", "{}", ops);
    let named = |op: &etcd_checker::verdict::WitnessOperation| {
        let process = whole.events()[op.invoked.line - 2].process();
        ops.iter()
            .enumerate()
            .position(|(index, _)| Process::Number(index as u64) == process)
            .unwrap()
    };
    let witness: Vec<Txn> = violation
        .witness
        .iter()
        .map(|op| txns[named(op)].clone())
        .collect();
    let kind = |txns: &[Txn]| {
        let own = txns.iter().filter_map(|txn| txn.revision);
        let written: BTreeSet<i64> = own.chain([0]).collect();
        let known = |mut txn: Txn| {
            let is_known = |revision: i64| written.contains(&revision);
            txn.reads.retain(|read| read.2.is_some_and(is_known));
            txn.op()
        };
        let ops: Vec<Op> = txns.iter().cloned().map(known).collect();
        let verdict =
            txn::check(&history("transactions", "{}", &ops), &Options::default()).unwrap();
        verdict.violation().map(|violation| violation.kind.name)
    };
    assert_eq!(
        kind(&witness),
        Some(violation.kind.name),
        "{violation}\n{txns:#?}"
    );
    let without = |spared: usize| {
        let mut rest = witness.clone();
        rest.remove(spared);
        kind(&rest) != Some(violation.kind.name)
    };
    Some((0..witness.len()).all(without))
}

#[test]
fn the_verdict_never_contradicts_a_search_through_all_orders() {
    let mut random = Random(11);
    let (mut valid, mut unknown) = (0, 0);
    let (mut unknown_real, mut witnesses, mut larger) = (0, 0, 0);
    let mut with_unknown = 0;
    let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
    let mut reasons: BTreeMap<String, u32> = BTreeMap::new();
    for number in 0..HISTORIES {
        let is_real = number % 4 == 0;
        let mut txns = real_run(&mut random, is_real);
        if !is_real {
            falsify(&mut random, &mut txns);
        }
        let expected = Twin::is_serializable(&txns);
        assert!(
            expected || !is_real,
            "the twin refuses a real run: {txns:#?}"
        );
        let ops: Vec<Op> = txns.iter().map(Txn::op).collect();
        match txn::check(&history("transactions", "{}", &ops), &Options::default()).unwrap() {
            Verdict::Valid(_) => assert!(expected, "history {number} is called valid: {txns:#?}"),
            Verdict::Violation(violation) => {
                assert!(
                    !expected,
                    "history {number} is refused: {violation}\n{txns:#?}"
                );
                let minimal = check_witness(&txns, &ops, &violation);
                witnesses += usize::from(minimal.is_some());
                larger += usize::from(minimal == Some(false));
                with_unknown +=
                    usize::from(violation.witness.iter().any(|op| op.outcome != Outcome::Ok));
                *kinds.entry(violation.kind.name).or_default() += 1;
            }
            Verdict::Unknown { reason } => {
                unknown += 1;
                unknown_real += usize::from(is_real);
                let reason = if reason.contains("needs revisions") {
                    "needs revisions".to_owned()
                } else {
                    reason
                };
                *reasons.entry(reason).or_default() += 1;
            }
            other => panic!("history {number}: {other}"),
        }
        valid += usize::from(expected);
    }
    let (share, unknown_share) = (valid * 100 / HISTORIES, unknown * 100 / HISTORIES);
    println!("{share} % serializable, {unknown_share} % unknown {reasons:?}");
    println!("{with_unknown} violations with unknown outcomes, {kinds:?}");
    assert!((40..85).contains(&share), "{share} % are serializable");
    println!("{witnesses} witnesses were taken apart, {larger} hold a smaller one");
    assert!(witnesses > 1_000, "{witnesses} witnesses were taken apart");
    // Those whose cycle is shortest but needs the writers of what was read.
    assert!(
        larger * 50 < witnesses,
        "{larger} of {witnesses} witnesses hold a smaller one"
    );
    println!("{unknown_real} real runs are unknown");
    assert!(
        unknown_real * 100 < HISTORIES,
        "{unknown_real} real runs are unknown"
    );
    assert!(unknown_share < 10, "{unknown_share} % are unknown");
    assert!(
        with_unknown > 500,
        "{with_unknown} violations with transactions of unknown outcome"
    );
    assert!(kinds.len() > 10, "{kinds:?}");
}
