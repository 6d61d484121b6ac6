//! A claimed item, and how the claim ends.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Compare, Txn, TxnOp, TxnOpResponse, TxnResponse};

use super::{Inner, layout};
use crate::error::Error;
use crate::hold::Hold;
use crate::request::{Purpose, revision_of};
use crate::runtime;
use crate::telemetry;

/// An item that was claimed, or looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReliableItem {
    /// What was enqueued.
    pub value: Vec<u8>,
    /// The item's key.
    pub key: String,
    /// The revision at which it joined the queue: its place.
    pub mod_revision: i64,
    /// The revision at which it was claimed; for
    /// [`ReliableQueue::peek`](super::ReliableQueue::peek), at which it was read.
    pub revision: i64,
}

/// An item that is ours to work on, until it is acknowledged or given back.
///
/// Dropping it gives the item back in the background. It also goes back when the
/// session's lease ends, whether this process notices or not; then
/// [`acknowledge`](Self::acknowledge) is refused.
#[must_use = "dropping it gives the item back"]
pub struct Claim {
    /// The item.
    pub item: ReliableItem,
    pub(super) hold: Hold,
    pub(super) queue: Arc<Inner>,
}

const ACKNOWLEDGE: &str = "acknowledge";
const PAUSE: Duration = Duration::from_millis(50);

impl Claim {
    /// The claim's key in etcd, with what every key that is held offers: the
    /// fencing token, a condition for transactions of one's own, the signal that
    /// the session is lost.
    pub fn hold(&self) -> &Hold {
        &self.hold
    }

    /// Takes the item out of the queue for good: it was dealt with. Returns the
    /// revision at which that happened, none if the answer was lost and it was
    /// found out later.
    ///
    /// Sent again while its outcome is unknown, for at most twice the session's
    /// request deadline: it is guarded by the claim, so it can happen only once.
    ///
    /// # Errors
    ///
    /// [Not held](Error::is_not_held) if the claim was lost: the item is in the
    /// queue again, or somebody else has it or has dealt with it. [Refused], not
    /// sent, or an [unknown outcome]; the item is then given back, if it is still
    /// there.
    ///
    /// [Refused]: Error::is_refused
    /// [unknown outcome]: Error::is_outcome_unknown
    pub async fn acknowledge(self) -> Result<Option<i64>, Error> {
        let queue = self.queue.clone();
        telemetry::observed(queue.call(ACKNOWLEDGE), self.send_until_known()).await
    }

    async fn send_until_known(self) -> Result<Option<i64>, Error> {
        let start = runtime::now();
        let requests = &self.queue.requests;
        let patience = requests.deadline() * 2;
        let mut unanswered: Option<Error> = None;
        loop {
            let why = Purpose {
                operation: ACKNOWLEDGE,
                target: &self.item.key,
            };
            let error = match requests.write(why, self.acknowledgement()).await {
                Ok(answer) if answer.succeeded() => {
                    tracing::debug!(key = self.item.key, "acknowledged");
                    self.hold.released_elsewhere();
                    return Ok(Some(revision_of(answer.header())));
                }
                Ok(answer) => {
                    let done = self.was_acknowledged(&answer, unanswered)?;
                    self.hold.released_elsewhere();
                    return done.map(|()| None);
                }
                Err(error) => error,
            };
            let waited = runtime::now().saturating_duration_since(start);
            let worth_it = error.is_outcome_unknown() || error.is_not_sent();
            if !worth_it || waited >= patience || !self.hold.session().is_alive() {
                return Err(unanswered.unwrap_or(error));
            }
            if error.is_outcome_unknown() {
                unanswered = Some(error);
            }
            runtime::sleep(runtime::jittered(PAUSE)).await;
        }
    }

    /// A transaction that acknowledges the item and does something else besides,
    /// or neither: what is written with it happens exactly once for each item.
    ///
    /// ```no_run
    /// # async fn example(claim: etcd_recipes::reliable_queue::Claim) -> Result<(), etcd_recipes::Error> {
    /// use etcd_recipes::etcd_client::TxnOp;
    ///
    /// let done = TxnOp::put("results/7", "42", None);
    /// claim.acknowledge_with().and_then([done]).commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn acknowledge_with(self) -> AcknowledgeTxn {
        AcknowledgeTxn {
            claim: self,
            when: Vec::new(),
            then: Vec::new(),
            otherwise: Vec::new(),
        }
    }

    /// Gives the item back: it takes its old place, and somebody else gets it.
    ///
    /// # Errors
    ///
    /// [Not held](Error::is_not_held) if the claim was lost already. With any other
    /// error it is given back in the background, or when the session ends.
    pub async fn release(self) -> Result<(), Error> {
        let queue = self.queue.clone();
        telemetry::observed(queue.call("release"), self.hold.release("give back")).await
    }

    fn deletions(&self) -> [TxnOp; 2] {
        let item = TxnOp::delete(self.item.key.as_str(), None);
        [self.hold.delete_op(), item]
    }

    /// Deletes claim and item, if the claim is still this one; else reads what can
    /// tell why not.
    fn acknowledgement(&self) -> Txn {
        let guard = Txn::new();
        #[cfg(feature = "harness")]
        let guarded = !self.queue.acknowledges_unguarded();
        #[cfg(not(feature = "harness"))]
        let guarded = true;
        let guard = if guarded {
            guard.when([self.hold.compare()])
        } else {
            guard
        };
        let consumer = layout::consumer_key(&self.queue.name, self.hold.lease_id());
        guard.and_then(self.deletions()).or_else([
            TxnOp::get(consumer, None),
            TxnOp::get(self.item.key.as_str(), None),
        ])
    }

    /// The claim was gone. Whether an acknowledgement that was not answered is the
    /// reason.
    fn was_acknowledged(
        &self,
        answer: &TxnResponse,
        unanswered: Option<Error>,
    ) -> Result<Result<(), Error>, Error> {
        let not_held = || Error::not_held(ACKNOWLEDGE, &self.item.key);
        let responses = answer.op_responses();
        let [TxnOpResponse::Get(consumer), TxnOpResponse::Get(item)] = responses.as_slice() else {
            return Err(Error::unreadable_answer(ACKNOWLEDGE, &self.item.key));
        };
        let Some(unknown) = unanswered else {
            return Ok(Err(not_held()));
        };
        // While the lease lives, nothing but the acknowledgement deletes the claim.
        if !consumer.kvs().is_empty() {
            return Ok(Ok(()));
        }
        // Guarded by the claim, what was sent can no longer do anything.
        if item.kvs().is_empty() {
            return Ok(Err(unknown));
        }
        Ok(Err(not_held()))
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("key", &self.item.key)
            .field("hold", &self.hold)
            .finish_non_exhaustive()
    }
}

/// A transaction that acknowledges an item; see [`Claim::acknowledge_with`].
#[derive(Debug)]
#[must_use = "it is sent by commit"]
pub struct AcknowledgeTxn {
    claim: Claim,
    when: Vec<Compare>,
    then: Vec<TxnOp>,
    otherwise: Vec<TxnOp>,
}

/// What an [`AcknowledgeTxn`] came to.
#[derive(Debug)]
pub enum Acknowledged {
    /// The item was acknowledged; the answer has those to what was to be done
    /// besides, in order, and two more.
    Done(TxnResponse),
    /// The further conditions did not hold. The item is still claimed.
    NotMet(TxnResponse, Claim),
}

impl AcknowledgeTxn {
    /// Further conditions; all must hold for the item to be acknowledged.
    pub fn when(mut self, compares: impl IntoIterator<Item = Compare>) -> Self {
        self.when.extend(compares);
        self
    }

    /// What to do besides, in the same transaction.
    pub fn and_then(mut self, operations: impl IntoIterator<Item = TxnOp>) -> Self {
        self.then.extend(operations);
        self
    }

    /// What to do if the item is claimed but the further conditions do not hold.
    pub fn or_else(mut self, operations: impl IntoIterator<Item = TxnOp>) -> Self {
        self.otherwise.extend(operations);
        self
    }

    /// Sends it, once.
    ///
    /// # Errors
    ///
    /// [Not held](Error::is_not_held) if the claim was lost: nothing was changed.
    /// An [unknown outcome](Error::is_outcome_unknown) leaves open whether it was
    /// applied: the item then is gone together with all that was to be written
    /// besides, or it is given back.
    pub async fn commit(self) -> Result<Acknowledged, Error> {
        let queue = self.claim.queue.clone();
        telemetry::observed(queue.call("acknowledge_with"), self.send()).await
    }

    async fn send(self) -> Result<Acknowledged, Error> {
        let Self {
            claim,
            when,
            mut then,
            otherwise,
        } = self;
        let why = Purpose {
            operation: ACKNOWLEDGE,
            target: &claim.item.key,
        };
        then.extend(claim.deletions());
        let inner = Txn::new().when(when).and_then(then).or_else(otherwise);
        let txn = Txn::new()
            .when([claim.hold.compare()])
            .and_then([TxnOp::txn(inner)]);
        let answer = claim.queue.requests.write(why, txn).await?;
        if !answer.succeeded() {
            return Err(Error::not_held(why.operation, why.target));
        }
        match answer.op_responses().into_iter().next() {
            Some(TxnOpResponse::Txn(inner)) if inner.succeeded() => {
                claim.hold.released_elsewhere();
                Ok(Acknowledged::Done(inner))
            }
            Some(TxnOpResponse::Txn(inner)) => Ok(Acknowledged::NotMet(inner, claim)),
            _ => Err(Error::unreadable_answer(why.operation, why.target)),
        }
    }
}
