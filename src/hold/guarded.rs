//! Transactions that etcd applies only while a key is held.

use etcd_client::{Compare, Txn, TxnOp, TxnOpResponse, TxnResponse};

use super::Hold;
use crate::error::Error;
use crate::request::Purpose;

/// A transaction that does nothing unless the hold is still one at that moment.
///
/// The key's create revision is compared in the same transaction, so a holder
/// that has been replaced without noticing can change nothing.
///
/// ```no_run
/// # async fn example(hold: &etcd_recipes::Hold) -> Result<(), etcd_recipes::Error> {
/// use etcd_recipes::etcd_client::TxnOp;
///
/// hold.txn().and_then([TxnOp::put("config/active", "7", None)]).commit().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "it is sent by commit"]
pub struct GuardedTxn<'h> {
    hold: &'h Hold,
    when: Vec<Compare>,
    then: Vec<TxnOp>,
    otherwise: Vec<TxnOp>,
}

impl<'h> GuardedTxn<'h> {
    pub(super) fn new(hold: &'h Hold) -> Self {
        Self {
            hold,
            when: Vec::new(),
            then: Vec::new(),
            otherwise: Vec::new(),
        }
    }

    /// Further conditions; all must hold for [`and_then`](Self::and_then).
    pub fn when(mut self, compares: impl IntoIterator<Item = Compare>) -> Self {
        self.when.extend(compares);
        self
    }

    /// What to do if the further conditions hold.
    pub fn and_then(mut self, operations: impl IntoIterator<Item = TxnOp>) -> Self {
        self.then.extend(operations);
        self
    }

    /// What to do if the key is held but the further conditions do not hold.
    pub fn or_else(mut self, operations: impl IntoIterator<Item = TxnOp>) -> Self {
        self.otherwise.extend(operations);
        self
    }

    /// Sends it, once. The answer is that of an ordinary transaction with the
    /// further conditions.
    ///
    /// # Errors
    ///
    /// [Not held](Error::is_not_held) if the key was no longer held: nothing was
    /// changed. An [unknown outcome](Error::is_outcome_unknown) leaves open
    /// whether it was applied; it is not sent again.
    pub async fn commit(self) -> Result<TxnResponse, Error> {
        let why = Purpose {
            operation: "write while holding",
            target: self.hold.key(),
        };
        let nested = !self.when.is_empty();
        let requests = self.hold.session.requests();
        let answer = requests.write(why, self.into_txn()).await?;
        if !answer.succeeded() {
            return Err(Error::not_held(why.operation, why.target));
        }
        if !nested {
            return Ok(answer);
        }
        match answer.op_responses().into_iter().next() {
            Some(TxnOpResponse::Txn(inner)) => Ok(inner),
            _ => Err(Error::unreadable_answer(why.operation, why.target)),
        }
    }

    fn into_txn(self) -> Txn {
        let guard = Txn::new().when([self.hold.compare()]);
        if self.when.is_empty() {
            return guard.and_then(self.then);
        }
        let inner = Txn::new()
            .when(self.when)
            .and_then(self.then)
            .or_else(self.otherwise);
        guard.and_then([TxnOp::txn(inner)])
    }
}
