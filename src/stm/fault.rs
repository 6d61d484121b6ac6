//! Deliberately broken twins of the STM. They exist to show that the tests catch
//! them.

use std::sync::Arc;

use etcd_client::{Txn, TxnResponse};

use super::Stm;
use super::transaction::{Inner, Snapshot, Transaction};
use crate::error::Error;
use crate::request::{Purpose, Requests};

/// What is wrong with an STM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StmFault {
    /// What the failed commit has read serves the next attempt, but does not
    /// decide its snapshot: a first read of another key does, at a newer
    /// revision.
    MixedSnapshot,
    /// The revision of a key that the transaction has written is read without
    /// deciding the snapshot, and no later read decides it.
    RevLeavesBaseOpen,
    /// Several keys read at once all get the value of the first that the
    /// transaction knows already.
    OneValueForAll,
    /// The commit does not compare what was read.
    UnvalidatedCommit,
    /// A commit that was not answered is sent again.
    BlindRetry,
    /// What the closure objects to is handed back without asking whether what
    /// it saw held together.
    UnvalidatedAbort,
}

impl Stm {
    /// Makes the STM a broken one.
    #[doc(hidden)]
    #[must_use]
    pub fn fault(mut self, fault: StmFault) -> Self {
        self.fault = Some(fault);
        self
    }
}

impl Transaction {
    /// The same attempt, before its first read, with a fault.
    pub(super) fn with_fault(self, fault: Option<StmFault>, snapshot: Option<i64>) -> Self {
        let mut inner = Arc::into_inner(self.inner).expect("nobody else has it yet");
        inner.fault = fault;
        let transaction = Self {
            inner: Arc::new(inner),
        };
        if fault == Some(StmFault::MixedSnapshot) {
            let mut state = transaction.lock();
            state.fetched_at = snapshot;
            state.base = None;
        }
        transaction
    }

    pub(super) fn has_fault(&self, fault: StmFault) -> bool {
        self.inner.has_fault(fault)
    }

    /// The value of a key that is known already, for all keys.
    pub(super) fn one_for_all(&self, keys: &[Vec<u8>]) -> Option<Vec<Option<Vec<u8>>>> {
        if !self.has_fault(StmFault::OneValueForAll) {
            return None;
        }
        let state = self.lock();
        let written = keys.iter().find_map(|key| state.writes.get(key).cloned());
        let read = || {
            let known = keys.iter().find_map(|key| state.reads.get(key));
            known.map(|read| read.value.clone())
        };
        let value = written.or_else(read)?;
        Some(vec![value; keys.len()])
    }

    pub(super) fn leave_base_open(&self, key: &[u8]) {
        if self.has_fault(StmFault::RevLeavesBaseOpen) {
            let mut state = self.lock();
            let is_first = state.reads.is_empty() && state.writes.contains_key(key);
            if is_first {
                state.base = None;
                state.is_base_open = true;
            }
        }
    }
}

impl Inner {
    fn has_fault(&self, fault: StmFault) -> bool {
        self.fault == Some(fault)
    }
}

/// The revision of what a failed commit has read.
pub(super) fn revision_of(snapshot: Option<&Snapshot>) -> Option<i64> {
    snapshot.map(|snapshot| snapshot.revision)
}

/// Sends a commit until it is answered.
pub(super) async fn write_until_answered(
    requests: &Requests,
    why: Purpose<'_>,
    txn: Txn,
) -> Result<TxnResponse, Error> {
    loop {
        match requests.write(why, txn.clone()).await {
            Err(error) if error.is_outcome_unknown() => {}
            answer => return answer,
        }
    }
}
