//! Writes to what a lock protects.

use super::extract::{End, Grant, Locks, Write};
use crate::history::Operation;
use crate::verdict::{Class, Kind, Violation};

const BROKEN: Kind = Kind {
    name: "fence-broken",
    meaning: "a guarded write happened although its token was no longer good",
};
const STALE: Kind = Kind {
    name: "stale-write",
    meaning: "a write without a guard happened after the lock had gone to somebody else",
};

/// A guarded write after the end of its key, or after a write with a larger token.
pub(super) fn find_broken_fence(
    locks: &Locks<'_>,
    by_revision: &[(&Write, i64)],
) -> Option<Violation> {
    let mut largest: Vec<Option<&Write>> = vec![None; locks.names()];
    for &(write, revision) in by_revision {
        let grant = &locks.grants[write.grant];
        if write.is_guarded
            && let End::Deleted(deletion) = grant.end
            && deletion.revision < revision
        {
            let sentence = format!(
                "the guarded write of process {} with token {} happened at revision {revision}, but its key had been deleted at revision {}",
                operation(locks, write).process(),
                grant.token,
                deletion.revision,
            );
            let witness = [locks.lock(grant), operation(locks, write)];
            return Some(Violation::new(Class::Safety, BROKEN, sentence, witness));
        }
        let largest = &mut largest[grant.name];
        match largest {
            Some(earlier) if grant.token < locks.grants[earlier.grant].token => {
                if write.is_guarded {
                    return Some(out_of_order(locks, earlier, write));
                }
            }
            _ => *largest = Some(write),
        }
    }
    None
}

/// A write without a guard by somebody who no longer held the lock, while or after a
/// later holder was inside.
pub(super) fn find_stale(locks: &Locks<'_>, by_revision: &[(&Write, i64)]) -> Option<Violation> {
    overwrites(locks, by_revision).or_else(|| writes_after_a_later_grant(locks))
}

/// By revision: the write came after one with a larger token.
fn overwrites(locks: &Locks<'_>, by_revision: &[(&Write, i64)]) -> Option<Violation> {
    let mut largest: Vec<Option<&Write>> = vec![None; locks.names()];
    for &(write, _) in by_revision {
        let grant = &locks.grants[write.grant];
        let largest = &mut largest[grant.name];
        match largest {
            Some(earlier) if grant.token < locks.grants[earlier.grant].token => {
                let later = &locks.grants[earlier.grant];
                // Whoever begins after the later one was let in is wrong whatever that one wrote.
                let is_after = locks.granted(later) < operation(locks, write).invoked;
                let overwritten = (!is_after).then(|| operation(locks, earlier));
                return Some(stale(locks, write, later, overwritten));
            }
            _ => *largest = Some(write),
        }
    }
    None
}

/// By real time: the write was invoked after a later holder had been let in.
fn writes_after_a_later_grant(locks: &Locks<'_>) -> Option<Violation> {
    let mut largest: Vec<Option<&Grant>> = vec![None; locks.names()];
    let mut granted = locks.grants.iter().peekable();
    for write in &locks.writes {
        let invoked = operation(locks, write).invoked;
        while let Some(grant) = granted.next_if(|grant| locks.granted(grant) < invoked) {
            let largest = &mut largest[grant.name];
            if largest.is_none_or(|other| other.token < grant.token) {
                *largest = Some(grant);
            }
        }
        let grant = &locks.grants[write.grant];
        if let Some(later) = largest[grant.name].filter(|later| grant.token < later.token) {
            return Some(stale(locks, write, later, None));
        }
    }
    None
}

fn operation<'h>(locks: &Locks<'h>, write: &Write) -> Operation<'h> {
    locks.operations.get(write.operation)
}

/// The writes whose revision is known, in the order in which they happened.
pub(super) fn by_revision<'l>(locks: &'l Locks<'_>) -> Vec<(&'l Write, i64)> {
    let known = |write: &'l Write| write.revision.map(|revision| (write, revision));
    let mut writes = Vec::with_capacity(locks.writes.len());
    writes.extend(locks.writes.iter().filter_map(known));
    writes.sort_by_key(|(_, revision)| *revision);
    writes
}

fn out_of_order(locks: &Locks<'_>, earlier: &Write, write: &Write) -> Violation {
    let sentence = format!(
        "the guarded write of process {} with token {} happened after one with token {}",
        operation(locks, write).process(),
        locks.grants[write.grant].token,
        locks.grants[earlier.grant].token,
    );
    let witness = [operation(locks, earlier), operation(locks, write)];
    Violation::new(Class::Safety, BROKEN, sentence, witness)
}

fn stale<'l>(
    locks: &'l Locks<'l>,
    write: &Write,
    later: &Grant,
    overwritten: Option<Operation<'l>>,
) -> Violation {
    let grant = &locks.grants[write.grant];
    let process = operation(locks, write).process();
    let what = match overwritten {
        Some(overwritten) => format!(
            "overwrote what process {} had written while it held the lock with token {}",
            overwritten.process(),
            later.token
        ),
        None => format!(
            "wrote although process {} had already been granted the lock with token {}",
            locks.lock(later).process(),
            later.token
        ),
    };
    let why = match grant.end {
        End::Deleted(deletion) if deletion.with_lease => format!(
            "the lease of the first holder had expired at revision {}, so the lock was rightly given away; \
             a write that compares the create revision of the lock's key with the token would have been refused",
            deletion.revision
        ),
        End::Deleted(deletion) => format!(
            "the key of the first holder had been deleted at revision {}",
            deletion.revision
        ),
        End::AliveAt(_) => "nobody knows when the key of the first holder was deleted".to_owned(),
    };
    let sentence = format!(
        "process {process}, which held {} with token {}, {what}: {why}",
        locks.name(grant),
        grant.token
    );
    let witness = [
        Some(locks.lock(grant)),
        Some(locks.lock(later)),
        Some(operation(locks, write)),
    ];
    let witness = witness.into_iter().flatten().chain(overwritten);
    let kind = if write.is_guarded { BROKEN } else { STALE };
    Violation::new(Class::Safety, kind, sentence, witness)
}
