//! The certificate of the good case: the order of the revisions explains all.

use super::extract::Txns;
use super::model::{Model, Node, Seen, What};

/// Whether the order of the revisions is an order that explains everything: each
/// transaction that wrote stands at its revision, each that only read after the
/// first revision at which all that it saw was current and that real time allows.
///
/// Instants are `2R` for the commit of revision R and `2R + 1` for right after it.
/// `floor` is the latest instant of what had returned when a transaction was
/// invoked; the transaction must come after it. To choose the earliest instant for
/// each reader, in the order of the invocations, is best for all later ones.
pub(super) fn holds(txns: &Txns<'_>, model: &Model) -> bool {
    instants(txns, model).is_some()
}

/// When each node took effect, if the order of the revisions explains everything.
pub(super) fn instants(txns: &Txns<'_>, model: &Model) -> Option<Vec<i64>> {
    let (instants, blank_floors) = sweep(txns, model, |_, _| None)?;
    stand_ins_fit(model, &blank_floors).then_some(instants)
}

/// When each node took effect by the order of the revisions, also where that does not explain it.
pub(super) fn likely_instants(txns: &Txns<'_>, model: &Model) -> Vec<i64> {
    let swept = sweep(txns, model, |node, reads| Some(likely(model, node, reads)));
    let (mut instants, _) = swept.expect("each node has a place");
    for (instant, node) in instants.iter_mut().zip(&model.nodes) {
        if let (None, Some(revision)) = (node.txn, node.revision) {
            *instant = revision.saturating_mul(2);
        }
    }
    instants
}

/// The instant of each node of a transaction, and the floor of each blank one. `otherwise` tells
/// the instant of what the order of the revisions does not explain.
fn sweep(
    txns: &Txns<'_>,
    model: &Model,
    otherwise: impl Fn(&Node, &[Seen]) -> Option<i64>,
) -> Option<(Vec<i64>, Vec<i64>)> {
    let nodes = (0..).zip(&model.nodes);
    let nodes = nodes.filter(|(_, node)| node.txn.is_some());
    let returned = by_return(&model.nodes);
    let invoked = nodes.map(|(at, node)| (node.invoked, Moment::Invoked(at)));
    let blank = txns.blank.iter();
    let blank = blank.map(|operation| {
        let invoked = txns.operations[*operation].invoked;
        (invoked, Moment::BlankInvoked)
    });
    let mut moments: Vec<(usize, Moment)> = invoked.chain(blank).collect();
    moments.sort_by_key(|(index, _)| *index);

    let reads = Reads::of(model);
    let mut instants = vec![0; model.nodes.len()];
    let mut blank_floors = Vec::new();
    let mut floor = 0;
    let mut passed = 0;
    for (invoked, moment) in moments {
        let until = invoked.min(returned.len());
        for at in returned.get(passed..until).unwrap_or_default() {
            if *at != NONE {
                floor = floor.max(instants[*at as usize]);
            }
        }
        passed = passed.max(until);
        match moment {
            Moment::Invoked(at) => {
                let reads = reads.of_node(model, at);
                let instant = place(txns, model, reads, at, floor);
                instants[at] = instant.or_else(|| otherwise(&model.nodes[at], reads))?;
            }
            Moment::BlankInvoked => blank_floors.push(floor),
        }
    }
    Some((instants, blank_floors))
}

/// Where what cannot be explained most likely stands: at its revision, or else right after the
/// latest version that it saw.
fn likely(model: &Model, node: &Node, reads: &[Seen]) -> i64 {
    if let Some(revision) = node.revision {
        return revision.saturating_mul(2);
    }
    let seen = reads.iter().filter_map(|read| match read.what {
        What::Version(version) => Some(model.versions[read.key][version].revision),
        What::Absent => None,
    });
    seen.max().unwrap_or(0).saturating_mul(2).saturating_add(1)
}

enum Moment {
    Invoked(usize),
    BlankInvoked,
}

/// No node.
pub(super) const NONE: u32 = u32::MAX;

/// By event, the node that it is the end of.
pub(super) fn by_return(nodes: &[Node]) -> Vec<u32> {
    let ended = || nodes.iter().filter(|node| node.returned != usize::MAX);
    let events = ended().map(|node| node.returned + 1).max();
    let mut by_return = vec![NONE; events.unwrap_or(0)];
    for (at, node) in (0..).zip(nodes) {
        if let Some(event) = by_return.get_mut(node.returned) {
            *event = at;
        }
    }
    by_return
}

/// The reads of each node.
struct Reads {
    /// Index of the first read of each node, and the end.
    starts: Vec<usize>,
}

impl Reads {
    fn of(model: &Model) -> Self {
        let mut starts = vec![0; model.nodes.len() + 1];
        for read in &model.reads {
            starts[read.node + 1] += 1;
        }
        for index in 1..starts.len() {
            starts[index] += starts[index - 1];
        }
        Self { starts }
    }

    fn of_node<'m>(&self, model: &'m Model, at: usize) -> &'m [Seen] {
        &model.reads[self.starts[at]..self.starts[at + 1]]
    }
}

/// The instant of a node, or none when there is none.
fn place(txns: &Txns<'_>, model: &Model, reads: &[Seen], at: usize, floor: i64) -> Option<i64> {
    let node = &model.nodes[at];
    let Some(revision) = node.revision else {
        if node
            .txn
            .is_some_and(|txn| !txns.txns[txn].writes.is_empty())
        {
            // It wrote, but nobody knows when.
            return None;
        }
        let seen = first_seen(model, reads, floor / 2, i64::MAX - 1)?;
        return seen.checked_mul(2)?.checked_add(1);
    };
    let instant = revision.checked_mul(2)?;
    if instant > floor && first_seen(model, reads, revision - 1, revision - 1).is_some() {
        return Some(instant);
    }
    let after = instant.checked_add(1)?;
    let found_nothing = after >= floor
        && deleted_nothing(txns, model, at, revision)
        && first_seen(model, reads, revision, revision).is_some();
    found_nothing.then_some(after)
}

/// The first revision of the range at which all that was read was current.
fn first_seen(model: &Model, reads: &[Seen], mut first: i64, mut last: i64) -> Option<i64> {
    for read in reads {
        if let What::Version(version) = read.what {
            let window = model.window(read.key, version);
            (first, last) = (first.max(window.0), last.min(window.1));
        }
    }
    all_absent_from(model, reads, first, last).filter(|first| *first <= last)
}

/// Whether a transaction may have deleted nothing at this revision of the store,
/// because others had deleted it all.
fn deleted_nothing(txns: &Txns<'_>, model: &Model, at: usize, revision: i64) -> bool {
    let Some(txn) = model.nodes[at]
        .txn
        .filter(|txn| txns.txns[*txn].only_deletes())
    else {
        return false;
    };
    txns.txns[txn].writes.iter().all(|write| {
        let versions = &model.versions[write.key];
        let until = versions.partition_point(|version| version.revision <= revision);
        let others = versions[..until]
            .iter()
            .rev()
            .find(|version| version.writer != Some(at));
        others.is_none_or(|version| !version.present)
    })
}

/// The first revision of the range at which all keys were absent that the reads
/// found absent.
fn all_absent_from(model: &Model, reads: &[Seen], mut first: i64, last: i64) -> Option<i64> {
    loop {
        let mut moved = false;
        for read in reads
            .iter()
            .filter(|read| matches!(read.what, What::Absent))
        {
            let (start, _) = model.absent_from(read.key, first)?;
            if start > last {
                return None;
            }
            moved |= start > first;
            first = first.max(start);
        }
        if !moved {
            return Some(first);
        }
    }
}

/// Whether each unexplained revision has a blank transaction of its own that was
/// invoked early enough. Both are thresholds, so the earliest go together.
fn stand_ins_fit(model: &Model, blank_floors: &[i64]) -> bool {
    let revisions = model.unexplained.keys();
    // The floors come in the order of the invocations and never decrease.
    revisions.len() <= blank_floors.len()
        && revisions
            .zip(blank_floors)
            .all(|(revision, floor)| revision.saturating_mul(2) > *floor)
}
