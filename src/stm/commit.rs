//! The txn at the end of an attempt.
//!
//! ```text
//! If mod(k) = what was read, for each key that was read
//!    [and mod(w) <= snapshot, for each key that was only written]
//! Then the writes
//! Else read again what was read
//! ```
//!
//! All compares run before any write (etcd's `server/etcdserver/txn`). The else
//! branch reads at one revision, which becomes the snapshot of the next attempt,
//! for these keys and for all others that it reads. So a retry costs one round
//! trip and still sees one state of the store.

use etcd_client::{Compare, CompareOp, Txn, TxnOp, TxnOpResponse, TxnResponse};

use super::Isolation;
#[cfg(feature = "harness")]
use super::fault::{self, StmFault};
use super::transaction::{
    KEYS_IN_A_REQUEST, Reads, Snapshot, Transaction, Version, Writes, versions,
};
use crate::error::Error;
use crate::request::{Purpose, Requests, revision_of};

/// How a commit ended, if not with an error.
pub(super) enum Commit {
    /// The writes have this revision, if there were any.
    Done { revision: Option<i64> },
    /// Something has changed. What the else branch has read, if anything.
    Conflict(Option<Snapshot>),
}

/// Commits an attempt.
pub(super) async fn commit(txn: &Transaction, requests: &Requests) -> Result<Commit, Error> {
    let (reads, writes) = txn.sets();
    if writes.is_empty() {
        return Ok(match validate(txn, requests).await? {
            true => Commit::Done { revision: None },
            false => Commit::Conflict(None),
        });
    }
    let target = name_of(&writes);
    let why = Purpose {
        operation: "commit to",
        target: &target,
    };
    #[cfg_attr(not(feature = "harness"), expect(unused_mut, reason = "for a twin"))]
    let mut compares = conditions(txn.isolation(), txn.base(), &reads, &writes);
    #[cfg(feature = "harness")]
    if txn.has_fault(StmFault::UnvalidatedCommit) {
        compares.clear();
    }
    let read_again = txn.isolation().has_snapshot() && is_small(&reads);
    let request = request(compares, &reads, &writes, read_again);
    let answer = write(txn, requests, why, request).await?;
    let revision = revision_of(answer.header());
    if answer.succeeded() {
        tracing::debug!(target, revision, "committed");
        let revision = has_written(&answer).then_some(revision);
        return Ok(Commit::Done { revision });
    }
    tracing::debug!(target, revision, "a conflict; a new attempt begins");
    let snapshot = read_again.then(|| Snapshot {
        revision,
        versions: versions(reads.into_keys(), &answer),
    });
    Ok(Commit::Conflict(snapshot))
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
    let gets: Vec<TxnOp> = keys
        .iter()
        .map(|key| TxnOp::get(key.as_slice(), None))
        .collect();
    let answer = requests.read(why, Txn::new().and_then(gets)).await?;
    Ok(Some(Snapshot {
        revision: revision_of(answer.header()),
        versions: versions(keys, &answer),
    }))
}

/// Whether everything that was read held together at some moment.
pub(super) async fn validate(txn: &Transaction, requests: &Requests) -> Result<bool, Error> {
    let (reads, _) = txn.sets();
    // A snapshot does by its nature, and so does a single key; at
    // `ReadCommitted` nobody asks.
    if txn.isolation() != Isolation::RepeatableReads || reads.len() < 2 {
        return Ok(true);
    }
    let compares = conditions(txn.isolation(), None, &reads, &Writes::new());
    let why = Purpose {
        operation: "validate the reads of",
        target: "a transaction",
    };
    let answer = requests.read(why, Txn::new().when(compares)).await?;
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

fn request(compares: Vec<Compare>, reads: &Reads, writes: &Writes, read_again: bool) -> Txn {
    let puts_and_deletes: Vec<TxnOp> = writes
        .iter()
        .map(|(key, value)| match value {
            Some(value) => TxnOp::put(key.as_slice(), value.as_slice(), None),
            None => TxnOp::delete(key.as_slice(), None),
        })
        .collect();
    let txn = Txn::new().when(compares).and_then(puts_and_deletes);
    if !read_again {
        return txn;
    }
    let gets: Vec<TxnOp> = reads
        .keys()
        .map(|key| TxnOp::get(key.as_slice(), None))
        .collect();
    txn.or_else(gets)
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
