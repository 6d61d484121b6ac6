//! Who was let in, and whether the others were gone by then.

use super::extract::{Deletion, End, Grant, Locks};
use crate::verdict::{Class, Kind, Seconds, Violation};

const WITHOUT_KEY: Kind = Kind {
    name: "granted-without-key",
    meaning: "a lock was granted although its key was already gone",
};
const BOTH_ALIVE: Kind = Kind {
    name: "both-alive",
    meaning: "two clients held a lock at the same time, and the keys of both were alive",
};
const OVERTAKEN: Kind = Kind {
    name: "overtaken",
    meaning: "a lock was granted although somebody who came earlier had not got it yet",
};
const DELETED: Kind = Kind {
    name: "key-deleted",
    meaning: "the key of a holder was deleted while it held the lock and its lease lived",
};
const LEFT: Kind = Kind {
    name: "unlock-left-key",
    meaning: "an unlock returned although the key is still there",
};
const TOKEN_ORDER: Kind = Kind {
    name: "token-order",
    meaning: "a lock that was asked for later got a smaller token",
};

/// A holder whose own key was gone when it learned that it was the owner.
pub(super) fn find_granted_without_key(locks: &Locks<'_>) -> Option<Violation> {
    locks.grants.iter().find_map(|grant| {
        let End::Deleted(deletion) = grant.end else {
            return None;
        };
        if grant.owned_at < deletion.revision {
            return None;
        }
        let sentence = format!(
            "process {} was granted {} at revision {}, but its own key (token {}) had been deleted at revision {}{}: \
             it was no longer in the line, and whoever is may be let in as well",
            locks.lock(grant).process(),
            locks.name(grant),
            grant.owned_at,
            grant.token,
            deletion.revision,
            reason(deletion),
        );
        let witness = [locks.lock(grant)];
        Some(Violation::new(
            Class::Safety,
            WITHOUT_KEY,
            sentence,
            witness,
        ))
    })
}

fn reason(deletion: Deletion) -> &'static str {
    if deletion.with_lease {
        ", when its lease ended"
    } else {
        ""
    }
}

/// A holder that was let in while somebody who came before it was still there.
pub(super) fn find_let_in_too_early(locks: &Locks<'_>) -> Option<Violation> {
    // Of each lock, those whose keys live longest, so far.
    let mut longest = vec![Longest::default(); locks.names()];
    let mut found = None;
    // One key is not in its own way.
    for same_key in locks.by_token.chunk_by(|one, other| one.0 == other.0) {
        let same_key = same_key.iter().map(|(_, grant)| &locks.grants[*grant]);
        for grant in same_key.clone() {
            let in_the_way = longest[grant.name].in_the_way_of(grant);
            for earlier in in_the_way.into_iter().flatten() {
                if alive_until(earlier) <= grant.owned_at {
                    continue;
                }
                if overlap(locks, earlier, grant) {
                    return Some(too_early(locks, earlier, grant));
                }
                found = found.or_else(|| Some(too_early(locks, earlier, grant)));
            }
        }
        for grant in same_key {
            longest[grant.name].add(grant);
        }
    }
    found
}

/// The holdings of one lock whose keys live longest.
#[derive(Clone, Default)]
struct Longest<'g> {
    shared: Option<&'g Grant>,
    exclusive: Option<&'g Grant>,
}

impl<'g> Longest<'g> {
    fn in_the_way_of(&self, grant: &Grant) -> [Option<&'g Grant>; 2] {
        let shared = self.shared.filter(|_| grant.is_exclusive);
        [self.exclusive, shared]
    }

    fn add(&mut self, grant: &'g Grant) {
        let longest = if grant.is_exclusive {
            &mut self.exclusive
        } else {
            &mut self.shared
        };
        if longest.is_none_or(|other| alive_until(other) < alive_until(grant)) {
            *longest = Some(grant);
        }
    }
}

/// The first revision at which the key is not known to be alive any more.
fn alive_until(grant: &Grant) -> i64 {
    match grant.end {
        End::Deleted(deletion) => deletion.after + 1,
        End::AliveAt(last) => last + 1,
    }
}

/// Whether both believed to hold the lock at some instant.
fn overlap(locks: &Locks<'_>, one: &Grant, other: &Grant) -> bool {
    locks.granted(one) < other.believed_until && locks.granted(other) < one.believed_until
}

fn too_early(locks: &Locks<'_>, earlier: &Grant, later: &Grant) -> Violation {
    let end = match earlier.end {
        End::Deleted(deletion) => {
            format!("was not deleted before revision {}", deletion.after + 1)
        }
        End::AliveAt(_) => "was never deleted".to_owned(),
    };
    let (process, name) = (locks.lock(later).process(), locks.name(later));
    let (earlier_process, earlier_token) = (locks.lock(earlier).process(), earlier.token);
    let (revision, token) = (later.owned_at, later.token);
    let witness = [locks.lock(earlier), locks.lock(later)];
    if overlap(locks, earlier, later) {
        let sentence = format!(
            "process {process} was granted {name} (token {token}) at revision {revision} while process {earlier_process} held it: \
             the key of that holder (token {earlier_token}) {end}, so both keys were alive and no lease explains it"
        );
        Violation::new(Class::Safety, BOTH_ALIVE, sentence, witness)
    } else {
        let sentence = format!(
            "process {process} was granted {name} (token {token}) at revision {revision} ahead of process {earlier_process}, \
             which stood before it in the line: that key (token {earlier_token}) {end}"
        );
        Violation::new(Class::Safety, OVERTAKEN, sentence, witness)
    }
}

/// A key that somebody else has deleted.
pub(super) fn find_deleted_by_another(locks: &Locks<'_>) -> Option<Violation> {
    locks.grants.iter().find_map(|grant| {
        let End::Deleted(deletion) = grant.end else {
            return None;
        };
        if deletion.with_lease {
            return None;
        }
        let is_seen = |unlock: usize| deletion.revision <= locks.seen_before[unlock];
        if grant.unlock.is_some_and(|unlock| !is_seen(unlock)) {
            return None;
        }
        let unlock = grant.unlock.map(|unlock| locks.operations.get(unlock));
        // What was seen before it was granted is too early for any unlock.
        let seen_by = |event| locks.seen_by(deletion.revision, event);
        let before = unlock.and_then(|_| seen_by(locks.granted(grant)));
        let seen = before.or_else(|| seen_by(unlock?.invoked));
        let when = match seen {
            Some((_, seen)) => format!(
                "began to unlock it only after somebody had seen etcd at revision {seen}"
            ),
            None => "never unlocked it".to_owned(),
        };
        let suspect = locks.unanswered_unlock_before(grant);
        let by = suspect.map_or_else(String::new, |suspect| {
            format!(
                "; its unlock at {} (line {}) was never answered, and one that is repeated must not delete a later key of the same name",
                Seconds(suspect.invoke.time()),
                suspect.invoke.line()
            )
        });
        let sentence = format!(
            "the key of {} with token {} was deleted at revision {} by a request, not by the end of its lease, \
             but process {} {when}: the lock was freed under its holder{by}",
            locks.name(grant),
            grant.token,
            deletion.revision,
            locks.lock(grant).process(),
        );
        let seen = seen.map(|(seen, _)| seen);
        let unlock = unlock.filter(|_| before.is_none());
        let witness = [Some(locks.lock(grant)), seen, unlock];
        let witness = witness.into_iter().flatten();
        Some(Violation::new(Class::Safety, DELETED, sentence, witness))
    })
}

/// An unlock that did not unlock.
pub(super) fn find_key_left(locks: &Locks<'_>) -> Option<Violation> {
    locks.grants.iter().find_map(|grant| {
        let unlock = locks.operations.get(grant.unlock?);
        let told = unlock.ok()?.revision();
        let later = || locks.first_write_after(unlock.completed);
        let revision = told.or_else(later)?;
        if grant.end.is_gone_at(revision) != Some(false) {
            return None;
        }
        let end = match grant.end {
            End::Deleted(deletion) => format!("and until revision {}", deletion.revision),
            End::AliveAt(last) => format!("and at revision {last}"),
        };
        let sentence = format!(
            "process {} unlocked {}, but its key (token {}) was still there at revision {revision}, {end}: the lock stays taken",
            unlock.process(),
            locks.name(grant),
            grant.token,
        );
        let wrote = || locks.write_after(unlock.completed, revision);
        let write = if told.is_none() { wrote() } else { None };
        let witness = [Some(locks.lock(grant)), Some(unlock), write];
        let witness = witness.into_iter().flatten();
        Some(Violation::new(Class::Safety, LEFT, sentence, witness))
    })
}

/// A token that is smaller than one that was granted before it was asked for.
pub(super) fn find_token_out_of_order(locks: &Locks<'_>) -> Option<Violation> {
    let asked = (locks.by_invocation.iter()).map(|grant| &locks.grants[*grant as usize]);
    let mut largest: Vec<Option<&Grant>> = vec![None; locks.names()];
    let mut granted = locks.grants.iter().peekable();
    for grant in asked {
        let invoked = locks.lock(grant).invoked;
        while let Some(earlier) = granted.next_if(|earlier| locks.granted(earlier) < invoked) {
            let largest = &mut largest[earlier.name];
            if largest.is_none_or(|other| other.token < earlier.token) {
                *largest = Some(earlier);
            }
        }
        if let Some(earlier) = largest[grant.name].filter(|earlier| earlier.token > grant.token) {
            let sentence = format!(
                "process {} asked for {} only after process {} had got it with token {}, yet its own token is {}: \
                 tokens that do not rise protect nothing",
                locks.lock(grant).process(),
                locks.name(grant),
                locks.lock(earlier).process(),
                earlier.token,
                grant.token,
            );
            let witness = [locks.lock(earlier), locks.lock(grant)];
            return Some(Violation::new(
                Class::Safety,
                TOKEN_ORDER,
                sentence,
                witness,
            ));
        }
    }
    None
}

/// Holdings that overlap in real time, in a history without a violation.
#[derive(Default)]
pub(super) struct Overlaps {
    /// How many grants came while somebody else still believed to hold the lock, and
    /// its lease had ended.
    pub(super) excused: u64,
    /// A grant of which nobody knows when its key was deleted.
    pub(super) unexplained: Option<usize>,
}

pub(super) fn overlaps(locks: &Locks<'_>) -> Overlaps {
    #[derive(Clone, Default)]
    struct Believed {
        shared: Option<usize>,
        exclusive: Option<usize>,
    }
    let mut overlaps = Overlaps::default();
    // Of each lock, who believes longest to hold it.
    let mut longest = vec![Believed::default(); locks.names()];
    let until = |grant: usize| locks.grants[grant].believed_until;
    for (index, grant) in locks.grants.iter().enumerate() {
        let before = &mut longest[grant.name];
        let in_the_way = [
            before.exclusive,
            before.shared.filter(|_| grant.is_exclusive),
        ];
        let granted = locks.granted(grant);
        let believes = |earlier: &usize| granted < until(*earlier);
        if let Some(earlier) = in_the_way.into_iter().flatten().find(believes) {
            let pair = [&locks.grants[earlier], grant];
            let first = usize::from(pair[1].token < pair[0].token);
            match pair[first].end.is_gone_at(pair[1 - first].owned_at) {
                Some(_) => overlaps.excused += 1,
                None => {
                    overlaps.unexplained.get_or_insert([earlier, index][first]);
                }
            }
        }
        let longest = if grant.is_exclusive {
            &mut before.exclusive
        } else {
            &mut before.shared
        };
        if longest.is_none_or(|other| until(other) < until(index)) {
            *longest = Some(index);
        }
    }
    overlaps
}
