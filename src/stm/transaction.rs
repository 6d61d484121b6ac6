//! One attempt of a transaction: what was read, and what is to be written.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use etcd_client::{GetOptions, KeyValue, Txn, TxnOp, TxnOpResponse, TxnResponse};
use tokio::sync::Notify;

use super::Isolation;
#[cfg(feature = "harness")]
use super::StmFault;
use crate::error::{self, Error};
use crate::request::{Purpose, Requests, revision_of};

/// How many keys to read in one request: safely below etcd's 128 operations.
pub(super) const KEYS_IN_A_REQUEST: usize = 100;

/// What the closure of a transaction works with: one attempt.
///
/// Clones are the same attempt. A clone that outlives the attempt still tells
/// what was read and written; what is written to it then is ignored.
#[derive(Clone)]
pub struct Transaction {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    isolation: Isolation,
    requests: Requests,
    state: Mutex<State>,
    /// One read at a time, so that the first one decides the snapshot for all,
    /// also if the closure reads several keys at once.
    reading: tokio::sync::Mutex<()>,
    snapshot_lost: Notify,
    #[cfg(feature = "harness")]
    pub(super) fault: Option<StmFault>,
}

/// Invariant: with a snapshot level, everything in `reads` and `fetched` is as
/// of `base`.
#[derive(Default)]
pub(super) struct State {
    /// The revision of the snapshot, once something was read.
    pub(super) base: Option<i64>,
    pub(super) reads: Reads,
    /// What the failed commit before this attempt has read.
    fetched: Reads,
    /// The revision of `fetched`, where that is not `base`: in a broken twin.
    #[cfg(feature = "harness")]
    pub(super) fetched_at: Option<i64>,
    pub(super) writes: Writes,
    /// Whether `base` may be from before the transaction began.
    is_ahead: bool,
    /// The latest revision that an answer to a read came with.
    last_read_at: Option<i64>,
    /// The snapshot is given up and never decided: only a broken twin does that.
    #[cfg(feature = "harness")]
    pub(super) is_base_open: bool,
    is_snapshot_lost: bool,
    failure: Option<Error>,
    is_finished: bool,
}

/// A key's value and modification revision; none and 0 if it does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Version {
    pub(super) value: Option<Vec<u8>>,
    pub(super) mod_revision: i64,
}

/// Keys and what they held.
pub(super) type Reads = BTreeMap<Vec<u8>, Version>;

/// Keys and what they shall hold; none is a deletion.
pub(super) type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Keys as of one revision.
pub(super) struct Snapshot {
    pub(super) revision: i64,
    pub(super) versions: Reads,
    /// Whether it was read before the transaction began.
    pub(super) is_ahead: bool,
}

/// A key that a transaction has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The key.
    pub key: Vec<u8>,
    /// What it held; none if it did not exist.
    pub value: Option<Vec<u8>>,
    /// The revision at which it was last modified; 0 if it did not exist.
    pub mod_revision: i64,
}

/// A key that a transaction writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: Vec<u8>,
    /// What it shall hold; none for a deletion.
    pub value: Option<Vec<u8>>,
}

impl Transaction {
    /// What the key holds; none if it does not exist. A key that this
    /// transaction has written holds what was written. Reading a key again
    /// gives the same answer.
    ///
    /// # Errors
    ///
    /// The read failed, was refused, or took too long. The transaction cannot
    /// commit then, and [`run`](super::Stm::run) returns this error, whatever
    /// the closure makes of it.
    pub async fn get(&self, key: impl Into<Vec<u8>>) -> Result<Option<Vec<u8>>, Error> {
        let mut values = self.get_many([key]).await?;
        Ok(values.pop().flatten())
    }

    /// What several keys hold, in the order of `keys`, read in one request where
    /// possible.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn get_many<K: Into<Vec<u8>>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let keys: Vec<Vec<u8>> = keys.into_iter().map(Into::into).collect();
        #[cfg(feature = "harness")]
        if let Some(values) = self.one_for_all(&keys) {
            return Ok(values);
        }
        let unwritten: Vec<Vec<u8>> = {
            let state = self.lock();
            let unwritten = keys.iter().filter(|key| !state.writes.contains_key(*key));
            unwritten.cloned().collect()
        };
        self.read(&unwritten).await?;
        let state = self.lock();
        let held = |key| match (state.writes.get(key), state.reads.get(key)) {
            (Some(written), _) => written.clone(),
            (None, Some(read)) => read.value.clone(),
            (None, None) => None,
        };
        Ok(keys.iter().map(held).collect())
    }

    /// The revision at which the key was last modified, as this transaction
    /// reads it; 0 if it does not exist. Does not look at what this transaction
    /// has written.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn rev(&self, key: impl Into<Vec<u8>>) -> Result<i64, Error> {
        let key = key.into();
        #[cfg(feature = "harness")]
        self.leave_base_open(&key);
        self.read(std::slice::from_ref(&key)).await?;
        let state = self.lock();
        Ok(state.reads.get(&key).map_or(0, |read| read.mod_revision))
    }

    /// Writes a value to a key when the transaction commits. The last write to a
    /// key counts. The key's lease, if it has one, is taken from it.
    pub fn put(&self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.write(key.into(), Some(value.into()));
    }

    /// Deletes a key when the transaction commits. The last write to a key
    /// counts.
    pub fn del(&self, key: impl Into<Vec<u8>>) {
        self.write(key.into(), None);
    }

    /// What this attempt has read from etcd, in order of the keys.
    pub fn reads(&self) -> Vec<Read> {
        let state = self.lock();
        let reads = state.reads.iter().map(|(key, version)| Read {
            key: key.clone(),
            value: version.value.clone(),
            mod_revision: version.mod_revision,
        });
        reads.collect()
    }

    /// What this attempt writes, in order of the keys.
    pub fn writes(&self) -> Vec<Write> {
        let state = self.lock();
        let writes = state.writes.iter().map(|(key, value)| Write {
            key: key.clone(),
            value: value.clone(),
        });
        writes.collect()
    }

    /// A revision at which everything that was read so far held together; none
    /// if nothing was read or the level promises no such thing.
    pub fn read_revision(&self) -> Option<i64> {
        let state = self.lock();
        match self.inner.isolation {
            Isolation::SerializableSnapshot | Isolation::Serializable if state.reads.is_empty() => {
                None
            }
            Isolation::SerializableSnapshot | Isolation::Serializable => state.base,
            Isolation::RepeatableReads if state.reads.len() == 1 => state.last_read_at,
            Isolation::RepeatableReads | Isolation::ReadCommitted => None,
        }
    }

    pub(super) fn new(
        isolation: Isolation,
        requests: Requests,
        snapshot: Option<Snapshot>,
    ) -> Self {
        let mut state = State::default();
        if let Some(snapshot) = snapshot {
            state.base = Some(snapshot.revision);
            state.fetched = snapshot.versions;
            state.is_ahead = snapshot.is_ahead;
        }
        Self {
            inner: Arc::new(Inner {
                isolation,
                requests,
                state: Mutex::new(state),
                reading: tokio::sync::Mutex::new(()),
                snapshot_lost: Notify::new(),
                #[cfg(feature = "harness")]
                fault: None,
            }),
        }
    }

    pub(super) fn isolation(&self) -> Isolation {
        self.inner.isolation
    }

    pub(super) fn requests(&self) -> &Requests {
        &self.inner.requests
    }

    /// The revision of the snapshot, if there is one that counts: one from before
    /// the transaction does not, as long as nothing was read from it.
    pub(super) fn base(&self) -> Option<i64> {
        let state = self.lock();
        state
            .base
            .filter(|_| !state.is_ahead || !state.reads.is_empty())
    }

    /// Whether what was read may be out of date, because it was read before the
    /// transaction began.
    pub(super) fn is_ahead(&self) -> bool {
        let state = self.lock();
        state.is_ahead && !state.reads.is_empty()
    }

    /// Everything that was read held at this later revision too.
    pub(super) fn held_until(&self, revision: i64) {
        let mut state = self.lock();
        state.base = Some(revision);
        state.is_ahead = false;
    }

    /// Copies of the read and the write set, for the commit.
    pub(super) fn sets(&self) -> (Reads, Writes) {
        let state = self.lock();
        (state.reads.clone(), state.writes.clone())
    }

    /// Resolves once the attempt has to begin anew because its snapshot was
    /// compacted away.
    pub(super) async fn snapshot_lost(&self) {
        self.inner.snapshot_lost.notified().await;
    }

    /// Ends the attempt. Returns whether its snapshot was lost; or the error
    /// that one of its reads ended with.
    pub(super) fn finish(&self) -> Result<bool, Error> {
        let mut state = self.lock();
        state.is_finished = true;
        match state.failure.take() {
            Some(error) => Err(error),
            None => Ok(state.is_snapshot_lost),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Whole at every moment.
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let mut state = self.lock();
        if !state.is_finished {
            state.writes.insert(key, value);
        }
    }

    /// Sees to it that the keys are among the reads.
    async fn read(&self, keys: &[Vec<u8>]) -> Result<(), Error> {
        let _alone = self.inner.reading.lock().await;
        let missing = self.lock().take_fetched(keys);
        for keys in missing.chunks(KEYS_IN_A_REQUEST) {
            if let Err(error) = self.fetch(keys).await {
                self.lock().failure = Some(error.clone());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Reads keys from etcd. Never returns if the snapshot is gone: the closure
    /// is dropped where it waits, and runs again.
    async fn fetch(&self, keys: &[Vec<u8>]) -> Result<(), Error> {
        let base = {
            let state = self.lock();
            if state.is_finished {
                let name = purpose(keys).1;
                return Err(Error::invalid_option("read", &name, "the attempt is over"));
            }
            state.base.filter(|_| self.inner.isolation.has_snapshot())
        };
        let answer = match base {
            None => self.fetch_now(keys).await?,
            Some(revision) => match self.fetch_at(keys, revision).await {
                Err(e) if e.etcd_error().is_some_and(error::is_compacted) => {
                    tracing::debug!(revision, "the snapshot was compacted; a new attempt begins");
                    self.lock().is_snapshot_lost = true;
                    self.inner.snapshot_lost.notify_one();
                    return std::future::pending().await;
                }
                answer => answer?,
            },
        };
        self.lock().take_answer(keys, &answer);
        Ok(())
    }

    /// Reads what is committed now; a member's own view will do at
    /// `ReadCommitted` only.
    async fn fetch_now(&self, keys: &[Vec<u8>]) -> Result<TxnResponse, Error> {
        let options = match self.inner.isolation {
            Isolation::ReadCommitted => GetOptions::new().with_serializable(),
            _ => GetOptions::new(),
        };
        self.fetch_with(keys, &options).await
    }

    /// Reads as of a revision. Any member may answer, because the past is the
    /// same everywhere; one that has not got that far refuses, and then the
    /// cluster is asked.
    async fn fetch_at(&self, keys: &[Vec<u8>], revision: i64) -> Result<TxnResponse, Error> {
        let options = GetOptions::new().with_revision(revision);
        let local = options.clone().with_serializable();
        match self.fetch_with(keys, &local).await {
            Err(e) if e.etcd_error().is_some_and(error::is_future_revision) => {
                self.fetch_with(keys, &options).await
            }
            answer => answer,
        }
    }

    async fn fetch_with(
        &self,
        keys: &[Vec<u8>],
        options: &GetOptions,
    ) -> Result<TxnResponse, Error> {
        let (operation, target) = purpose(keys);
        let why = Purpose {
            operation,
            target: &target,
        };
        let gets: Vec<TxnOp> = keys
            .iter()
            .map(|key| TxnOp::get(key.as_slice(), Some(options.clone())))
            .collect();
        let txn = Txn::new().and_then(gets);
        self.inner.requests.read(why, txn).await
    }
}

impl State {
    #[cfg(feature = "harness")]
    fn is_base_open(&self) -> bool {
        self.is_base_open
    }

    #[cfg(not(feature = "harness"))]
    #[expect(clippy::unused_self, reason = "a broken twin looks at the state")]
    fn is_base_open(&self) -> bool {
        false
    }

    /// Moves what was fetched in advance to the reads. Returns the keys that are
    /// still to be fetched, each once.
    fn take_fetched(&mut self, keys: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut missing = Vec::new();
        for key in keys {
            if self.reads.contains_key(key) {
                continue;
            }
            match self.fetched.remove_entry(key) {
                Some((key, version)) => {
                    #[cfg(feature = "harness")]
                    if self.reads.is_empty() {
                        self.base = self.base.or(self.fetched_at);
                    }
                    self.reads.insert(key, version);
                }
                None if missing.contains(key) => {}
                None => missing.push(key.clone()),
            }
        }
        missing
    }

    /// Takes the answer to a request for `keys`.
    fn take_answer(&mut self, keys: &[Vec<u8>], answer: &TxnResponse) {
        let revision = revision_of(answer.header());
        // The first read decides; later ones are asked for at its revision.
        if !self.is_base_open() {
            self.base.get_or_insert(revision);
        }
        self.last_read_at = Some(revision);
        self.reads.extend(versions(keys.iter().cloned(), answer));
    }
}

/// What each key held, from an answer with one range for each, in order.
pub(super) fn versions(keys: impl IntoIterator<Item = Vec<u8>>, answer: &TxnResponse) -> Reads {
    versions_from(0, keys, answer)
}

/// The same, where the ranges follow on other operations.
pub(super) fn versions_from(
    others: usize,
    keys: impl IntoIterator<Item = Vec<u8>>,
    answer: &TxnResponse,
) -> Reads {
    let version = |kv: KeyValue| Version {
        mod_revision: kv.mod_revision(),
        value: Some(kv.into_key_value().1),
    };
    let ranges = answer.op_responses().into_iter().skip(others);
    let versions = ranges.map(|op| match op {
        TxnOpResponse::Get(mut range) => range.take_kvs().pop().map(version).unwrap_or_default(),
        _ => Version::default(),
    });
    keys.into_iter().zip(versions).collect()
}

fn purpose(keys: &[Vec<u8>]) -> (&'static str, String) {
    let first = keys.first().map(|key| String::from_utf8_lossy(key));
    let target = match (first, keys.len()) {
        (Some(first), 1) => first.into_owned(),
        (Some(first), n) => format!("{first} and {} more", n - 1),
        (None, _) => String::new(),
    };
    ("read in a transaction", target)
}

impl fmt::Debug for Transaction {
    /// Keys and revisions; no values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        let name = |key: &Vec<u8>| String::from_utf8_lossy(key).into_owned();
        let reads: BTreeMap<String, i64> = state
            .reads
            .iter()
            .map(|(key, version)| (name(key), version.mod_revision))
            .collect();
        let writes: Vec<String> = state.writes.keys().map(name).collect();
        f.debug_struct("Transaction")
            .field("base", &state.base)
            .field("reads", &reads)
            .field("writes", &writes)
            .finish_non_exhaustive()
    }
}
