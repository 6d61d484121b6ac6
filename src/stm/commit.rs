//! The txn at the end of an attempt.
//!
//! ```text
//! If mod(k) = what was read, for each key that was read
//!    [and mod(w) <= snapshot, for each key that was only written]
//! Then the writes, and what other keys hold that were lately read
//! Else read again what was read
//! ```
//!
//! All compares run before any write (etcd's `server/etcdserver/txn`). The else
//! branch reads at one revision, which becomes the snapshot of the next attempt,
//! for these keys and for all others that it reads. So a retry costs one round
//! trip and still sees one state of the store.

use etcd_client::{Compare, CompareOp, Txn, TxnOp, TxnOpResponse, TxnResponse};

use super::Isolation;
use super::ahead::Ahead;
#[cfg(feature = "harness")]
use super::fault::{self, StmFault};
use super::transaction::{
    KEYS_IN_A_REQUEST, Reads, Snapshot, Transaction, Version, Writes, versions, versions_from,
};
use crate::error::Error;
use crate::request::{Purpose, Requests, revision_of};
use crate::telemetry;

/// How a commit ended, if not with an error.
pub(super) enum Commit {
    /// The writes have this revision, if there were any.
    Done { revision: Option<i64> },
    /// Something has changed. What the else branch has read, if anything.
    Conflict(Option<Snapshot>),
}

/// Commits an attempt.
pub(super) async fn commit(
    txn: &Transaction,
    ahead: &Ahead,
    requests: &Requests,
) -> Result<Commit, Error> {
    let (reads, writes) = txn.sets();
    if writes.is_empty() {
        return Ok(match validate(txn, requests).await? {
            true => Commit::Done { revision: None },
            false => Commit::Conflict(None),
        });
    }
    let beside = beside(txn, ahead, &reads, &writes);
    let (answer, beside) = match send(txn, requests, &reads, &writes, &beside).await {
        // Perhaps because of a key that only the read ahead has to do with.
        Err(error) if error.is_refused() && !beside.is_empty() => {
            ahead.forget();
            (send(txn, requests, &reads, &writes, &[]).await?, Vec::new())
        }
        answer => (answer?, beside),
    };
    let revision = revision_of(answer.header());
    if answer.succeeded() {
        tracing::debug!(target = name_of(&writes), revision, "committed");
        telemetry::done_at(revision);
        let written = has_written(&answer).then_some(revision);
        if txn.is_ahead() {
            txn.held_until(written.map_or(revision, |own| own - 1));
        }
        if txn.isolation().has_snapshot() {
            ahead.offer(state_after(revision, reads, writes, beside, &answer));
        }
        return Ok(Commit::Done { revision: written });
    }
    tracing::debug!(
        target = name_of(&writes),
        revision,
        "a conflict; a new attempt begins"
    );
    let snapshot = reads_again(txn, &reads).then(|| Snapshot {
        revision,
        versions: versions(reads.into_keys(), &answer),
        is_ahead: false,
    });
    Ok(Commit::Conflict(snapshot))
}

/// The keys that the commit reads although the transaction did not.
fn beside(txn: &Transaction, ahead: &Ahead, reads: &Reads, writes: &Writes) -> Vec<Vec<u8>> {
    let has_room = reads.len() + writes.len() < KEYS_IN_A_REQUEST;
    if !txn.isolation().has_snapshot() || !has_room {
        return Vec::new();
    }
    ahead.keys_beside(reads, writes)
}

async fn send(
    txn: &Transaction,
    requests: &Requests,
    reads: &Reads,
    writes: &Writes,
    beside: &[Vec<u8>],
) -> Result<TxnResponse, Error> {
    let target = name_of(writes);
    let why = Purpose {
        operation: "commit to",
        target: &target,
    };
    #[cfg_attr(not(feature = "harness"), expect(unused_mut, reason = "for a twin"))]
    let mut compares = conditions(txn.isolation(), txn.base(), reads, writes);
    #[cfg(feature = "harness")]
    if txn.has_fault(StmFault::UnvalidatedCommit) {
        compares.clear();
    }
    let request = Txn::new()
        .when(compares)
        .and_then([puts_and_deletes(writes), gets(beside)].concat());
    let request = match reads_again(txn, reads) {
        true => request.or_else(gets(reads.keys())),
        false => request,
    };
    write(txn, requests, why, request).await
}

/// What the keys of a transaction that was committed hold at its revision.
fn state_after(
    revision: i64,
    reads: Reads,
    writes: Writes,
    beside: Vec<Vec<u8>>,
    answer: &TxnResponse,
) -> Snapshot {
    let count = writes.len();
    let written = writes.into_iter().map(|(key, value)| {
        let mod_revision = value.as_ref().map_or(0, |_| revision);
        (
            key,
            Version {
                value,
                mod_revision,
            },
        )
    });
    let mut versions = reads;
    versions.extend(written);
    versions.extend(versions_from(count, beside, answer));
    Snapshot {
        revision,
        versions,
        is_ahead: true,
    }
}

/// Whether a commit that fails reads again what was read.
fn reads_again(txn: &Transaction, reads: &Reads) -> bool {
    txn.isolation().has_snapshot() && is_small(reads)
}

#[cfg(not(feature = "harness"))]
async fn write(
    _: &Transaction,
    requests: &Requests,
    why: Purpose<'_>,
    request: Txn,
) -> Result<TxnResponse, Error> {
    requests.write(why, request).await
}

#[cfg(feature = "harness")]
async fn write(
    txn: &Transaction,
    requests: &Requests,
    why: Purpose<'_>,
    request: Txn,
) -> Result<TxnResponse, Error> {
    if txn.has_fault(StmFault::BlindRetry) {
        return fault::write_until_answered(requests, why, request).await;
    }
    requests.write(why, request).await
}

/// Reads the keys of a snapshot again, in one request; none if they are too many
/// for one.
pub(super) async fn read_anew(
    stale: Snapshot,
    requests: &Requests,
) -> Result<Option<Snapshot>, Error> {
    let keys: Vec<Vec<u8>> = stale.versions.into_keys().collect();
    if keys.is_empty() || keys.len() > KEYS_IN_A_REQUEST {
        return Ok(None);
    }
    let why = Purpose {
        operation: "read in",
        target: "a transaction",
    };
    let request = Txn::new().and_then(gets(&keys));
    let answer = requests.read(why, request).await?;
    Ok(Some(Snapshot {
        revision: revision_of(answer.header()),
        versions: versions(keys, &answer),
        is_ahead: false,
    }))
}

/// Whether everything that was read held together at some moment since the
/// transaction began.
pub(super) async fn validate(txn: &Transaction, requests: &Requests) -> Result<bool, Error> {
    let (reads, _) = txn.sets();
    let holds = match txn.isolation() {
        Isolation::SerializableSnapshot | Isolation::Serializable => !txn.is_ahead(),
        Isolation::RepeatableReads => reads.len() < 2,
        // Nobody asks.
        Isolation::ReadCommitted => true,
    };
    if holds {
        return Ok(true);
    }
    let compares = conditions(txn.isolation(), None, &reads, &Writes::new());
    let why = Purpose {
        operation: "validate the reads of",
        target: "a transaction",
    };
    let answer = requests.read(why, Txn::new().when(compares)).await?;
    if answer.succeeded() && txn.is_ahead() {
        txn.held_until(revision_of(answer.header()));
    }
    Ok(answer.succeeded())
}

/// What must hold for the writes to happen.
fn conditions(
    isolation: Isolation,
    base: Option<i64>,
    reads: &Reads,
    writes: &Writes,
) -> Vec<Compare> {
    let unchanged = |(key, version): (&Vec<u8>, &Version)| {
        Compare::mod_revision(key.as_slice(), CompareOp::Equal, version.mod_revision)
    };
    let mut compares = match isolation {
        Isolation::ReadCommitted => Vec::new(),
        _ => reads.iter().map(unchanged).collect(),
    };
    if let (Isolation::SerializableSnapshot, Some(base)) = (isolation, base) {
        let only_written = writes.keys().filter(|key| !reads.contains_key(*key));
        compares.extend(
            only_written
                .map(|key| Compare::mod_revision(key.as_slice(), CompareOp::Less, base + 1)),
        );
    }
    compares
}

fn puts_and_deletes(writes: &Writes) -> Vec<TxnOp> {
    let operation = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| match value {
        Some(value) => TxnOp::put(key.as_slice(), value.as_slice(), None),
        None => TxnOp::delete(key.as_slice(), None),
    };
    writes.iter().map(operation).collect()
}

fn gets<'a>(keys: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<TxnOp> {
    let get = |key: &Vec<u8>| TxnOp::get(key.as_slice(), None);
    keys.into_iter().map(get).collect()
}

/// Whether what was read is small enough to be read again on a conflict. An
/// answer that the client cannot take in would leave open which branch ran.
fn is_small(reads: &Reads) -> bool {
    const BYTES: usize = 512 * 1024;
    let sizes = reads.values().flat_map(|version| &version.value);
    sizes.map(Vec::len).sum::<usize>() <= BYTES
}

/// Whether a txn that succeeded has a revision of its own: a deletion of keys
/// that do not exist writes nothing.
fn has_written(answer: &TxnResponse) -> bool {
    answer.op_responses().iter().any(|op| match op {
        TxnOpResponse::Put(_) => true,
        TxnOpResponse::Delete(deleted) => deleted.deleted() > 0,
        _ => false,
    })
}

fn name_of(writes: &Writes) -> String {
    let first = writes.keys().next().map(|key| String::from_utf8_lossy(key));
    let first = first.unwrap_or_default();
    match writes.len() {
        0 | 1 => first.into_owned(),
        n => format!("{first} and {} more", n - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets() -> (Reads, Writes) {
        let version = |mod_revision| Version {
            value: None,
            mod_revision,
        };
        let reads = Reads::from([(b"a".to_vec(), version(3)), (b"b".to_vec(), version(0))]);
        let writes = Writes::from([(b"b".to_vec(), None), (b"w".to_vec(), Some(vec![1]))]);
        (reads, writes)
    }

    #[test]
    fn each_level_has_its_conditions() {
        let (reads, writes) = sets();
        let count = |isolation| conditions(isolation, Some(7), &reads, &writes).len();
        assert_eq!(count(Isolation::SerializableSnapshot), 3);
        assert_eq!(count(Isolation::Serializable), 2);
        assert_eq!(count(Isolation::RepeatableReads), 2);
        assert_eq!(count(Isolation::ReadCommitted), 0);
    }

    #[test]
    fn a_key_that_was_only_written_may_have_changed_up_to_the_snapshot() {
        let writes = Writes::from([(b"w".to_vec(), None)]);
        let isolation = Isolation::SerializableSnapshot;
        let compares = conditions(isolation, Some(7), &Reads::new(), &writes);
        let expected = Compare::mod_revision("w", CompareOp::Less, 8);
        assert_eq!(format!("{compares:?}"), format!("{:?}", [expected]));
        // Without any read there is no snapshot, and nothing to conflict with.
        assert!(conditions(isolation, None, &Reads::new(), &writes).is_empty());
    }
}
