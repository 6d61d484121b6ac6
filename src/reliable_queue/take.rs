//! Claiming: an item gets a claim key that is attached to the consumer's lease.
//!
//! ```text
//! If Mod(consumers/<lease>) = f Then Txn(
//!     If Mod(items/12) = r and Create(claims/12) = 0
//!     Then Put(claims/12, <attempt>, lease), Get(items/12)
//!     Else Txn(the same with the next item ..)) Else Get(consumers/<lease>)
//! ```
//!
//! An attempt whose answer is lost may have made a claim that nobody knows of, or
//! may make it later. So before anything else is done, the consumer's key is
//! written anew, which no attempt that was sent before survives, and in the same
//! transaction the claims are read: what an attempt came to is certain from then
//! on. An attempt runs in a task of its own; where nobody waits for it any more,
//! the claims that it made are given back.

use std::sync::{Arc, Mutex, PoisonError};

use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp, TxnOpResponse, TxnResponse};
use tokio::sync::oneshot;

use super::layout;
use super::ready::ReadyItem;
use super::{Claim, Inner, ReliableItem};
use crate::error::{self, Error};
use crate::hold;
use crate::request::{Purpose, revision_of};
use crate::runtime;
use crate::telemetry;

/// How many items one attempt for a single item tries.
pub(super) const TRIES: usize = 12;

/// How many items one attempt can claim at once.
pub(super) const BATCH_MAX: usize = 32;

const OPERATION: &str = "claim from";

/// What an attempt is to do.
pub(super) enum Plan {
    /// Claim the first of these that is free.
    First(Vec<ReadyItem>),
    /// Claim all of these, or none.
    All(Vec<ReadyItem>),
}

impl Plan {
    fn items(&self) -> &[ReadyItem] {
        match self {
            Self::First(items) | Self::All(items) => items,
        }
    }
}

/// The modification revision of the consumer's key; 0 while it is not known.
#[derive(Debug, Default)]
pub(super) struct Fence(Mutex<i64>);

impl Fence {
    fn get(&self) -> i64 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a revision; it only ever grows.
    fn raise(&self, revision: i64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known = revision.max(*known);
    }
}

impl Inner {
    /// Carries out the plan. Empty if others were faster.
    pub(super) async fn take(self: &Arc<Self>, plan: Plan) -> Result<Vec<Claim>, Error> {
        let (done, outcome) = oneshot::channel();
        let inner = Arc::clone(self);
        runtime::spawn_detached(async move {
            // Where nobody hears it, the claims are dropped: given back.
            drop(done.send(inner.attempt(&plan).await));
        });
        let lost = || Error::unreadable_answer(OPERATION, self.name.as_str());
        let outcome = async { outcome.await.map_err(|_| lost())? };
        self.session.while_alive(outcome).await
    }

    async fn attempt(self: &Arc<Self>, plan: &Plan) -> Result<Vec<Claim>, Error> {
        let why = Purpose {
            operation: OPERATION,
            target: self.name.as_str(),
        };
        let fence = match self.fence.get() {
            0 => self.open_consumer().await?,
            fence => fence,
        };
        let attempt = format!("{:016x}", runtime::random_u64());
        let txn = self.claim_txn(plan, fence, &attempt);
        let answer = match self.requests.write(why, txn).await {
            Ok(answer) => answer,
            Err(error) if error.is_outcome_unknown() => {
                tracing::debug!(queue = why.target, %error, "a claim was not answered");
                #[cfg(feature = "harness")]
                if self.forgets_unknown_claims() {
                    return Ok(Vec::new());
                }
                return self.find_out(plan, &attempt).await;
            }
            Err(error) => return Err(self.explained(error)),
        };
        let revision = revision_of(answer.header());
        if !answer.succeeded() {
            tracing::debug!(queue = why.target, "this consumer has barred the attempt");
            if let Some(TxnOpResponse::Get(read)) = answer.op_responses().first() {
                let known = read
                    .kvs()
                    .first()
                    .map_or(0, etcd_client::KeyValue::mod_revision);
                self.fence.raise(known);
            }
            return Ok(Vec::new());
        }
        match answer.op_responses().into_iter().next() {
            Some(TxnOpResponse::Txn(inner)) => self.claimed(plan, inner, revision),
            _ => Err(Error::unreadable_answer(why.operation, why.target)),
        }
    }

    /// Creates the consumer's key, or reads it. Done twice it does no more.
    async fn open_consumer(&self) -> Result<i64, Error> {
        let key = layout::consumer_key(&self.name, self.session.lease_id());
        let why = Purpose {
            operation: "open the consumer of",
            target: self.name.as_str(),
        };
        let txn = Txn::new()
            .when([Compare::version(key.as_str(), CompareOp::Equal, 0)])
            .and_then([TxnOp::put(key.as_str(), "", Some(self.leased()))])
            .or_else([TxnOp::get(key.as_str(), None)]);
        let answer = self.requests.read(why, txn).await;
        let answer = answer.map_err(|error| self.explained(error))?;
        let revision = match answer.op_responses().first() {
            Some(TxnOpResponse::Get(read)) => read
                .kvs()
                .first()
                .map_or(0, etcd_client::KeyValue::mod_revision),
            _ => revision_of(answer.header()),
        };
        self.fence.raise(revision);
        Ok(revision)
    }

    /// Bars every attempt that was sent so far, and reads what this one came to.
    /// Repeated for as long as the session lives.
    async fn find_out(self: &Arc<Self>, plan: &Plan, attempt: &str) -> Result<Vec<Claim>, Error> {
        let why = Purpose {
            operation: OPERATION,
            target: self.name.as_str(),
        };
        let key = layout::consumer_key(&self.name, self.session.lease_id());
        let read = |item: &ReadyItem| {
            let claim = layout::claim_key(&self.name, item.number);
            TxnOp::get(claim, None)
        };
        let bar = TxnOp::put(key, "", Some(self.leased()));
        let operations: Vec<TxnOp> = std::iter::once(bar)
            .chain(plan.items().iter().map(read))
            .collect();
        let answer = loop {
            let txn = Txn::new().and_then(operations.clone());
            match self.requests.read(why, txn).await {
                Ok(answer) => break answer,
                Err(error) if is_lease_gone(&error) => return Err(self.explained(error)),
                Err(error) => {
                    self.session.check()?;
                    tracing::debug!(queue = why.target, %error, "asked again");
                    let pause = std::time::Duration::from_millis(200);
                    runtime::sleep(runtime::jittered(pause)).await;
                }
            }
        };
        self.fence.raise(revision_of(answer.header()));
        let reads = answer.op_responses().into_iter().skip(1);
        let mut claims = Vec::new();
        for (item, read) in plan.items().iter().zip(reads) {
            if let TxnOpResponse::Get(read) = read
                && let Some(kv) = read.kvs().first()
                && kv.value() == attempt.as_bytes()
            {
                claims.push(self.claim(item, Vec::new(), kv.create_revision()));
            }
        }
        self.fill(claims).await
    }

    /// Reads the values of claims that were found without. An item that somebody
    /// removed although it is claimed is left out.
    ///
    /// Fails if a claim is gone: its lease has ended, and what this attempt claimed
    /// may be in other hands.
    pub(super) async fn fill(&self, claims: Vec<Claim>) -> Result<Vec<Claim>, Error> {
        let mut filled = Vec::with_capacity(claims.len());
        let why = Purpose {
            operation: "read the items of",
            target: self.name.as_str(),
        };
        for mut claim in claims {
            let txn = Txn::new()
                .when([claim.hold.compare()])
                .and_then([TxnOp::get(claim.item.key.as_str(), None)]);
            let answer = self.requests.read(why, txn).await?;
            if !answer.succeeded() {
                return Err(Error::not_held(OPERATION, claim.hold.key()));
            }
            if let Some(TxnOpResponse::Get(read)) = answer.op_responses().first()
                && let Some(kv) = read.kvs().first()
            {
                claim.item.value = kv.value().to_vec();
                filled.push(claim);
            }
        }
        Ok(filled)
    }

    fn claim_txn(&self, plan: &Plan, fence: i64, attempt: &str) -> Txn {
        let consumer = layout::consumer_key(&self.name, self.session.lease_id());
        let inner = match plan {
            Plan::First(items) => self.first_of(items, attempt),
            Plan::All(items) => {
                let free: Vec<Compare> = items.iter().flat_map(|i| self.is_free(i)).collect();
                let puts = items.iter().map(|item| self.put_claim(item, attempt));
                Txn::new().when(free).and_then(puts.collect::<Vec<_>>())
            }
        };
        Txn::new()
            .when([Compare::mod_revision(
                consumer.as_str(),
                CompareOp::Equal,
                fence,
            )])
            .and_then([TxnOp::txn(inner)])
            .or_else([TxnOp::get(consumer, None)])
    }

    fn first_of(&self, items: &[ReadyItem], attempt: &str) -> Txn {
        let Some((first, rest)) = items.split_first() else {
            return Txn::new();
        };
        let link = Txn::new().when(self.is_free(first)).and_then([
            self.put_claim(first, attempt),
            TxnOp::get(first.key.as_str(), None),
        ]);
        match rest {
            [] => link,
            rest => link.or_else([TxnOp::txn(self.first_of(rest, attempt))]),
        }
    }

    fn is_free(&self, item: &ReadyItem) -> [Compare; 2] {
        let claim = layout::claim_key(&self.name, item.number);
        [
            Compare::mod_revision(item.key.as_str(), CompareOp::Equal, item.mod_revision),
            Compare::create_revision(claim, CompareOp::Equal, 0),
        ]
    }

    fn put_claim(&self, item: &ReadyItem, attempt: &str) -> TxnOp {
        let claim = layout::claim_key(&self.name, item.number);
        TxnOp::put(claim, attempt, self.claim_options())
    }

    fn claim_options(&self) -> Option<PutOptions> {
        #[cfg(feature = "harness")]
        if self.claims_without_lease() {
            return None;
        }
        Some(self.leased())
    }

    fn leased(&self) -> PutOptions {
        PutOptions::new().with_lease(self.session.lease_id())
    }

    /// What the answer to the inner transaction says.
    fn claimed(
        self: &Arc<Self>,
        plan: &Plan,
        answer: TxnResponse,
        revision: i64,
    ) -> Result<Vec<Claim>, Error> {
        match plan {
            Plan::All(items) if answer.succeeded() => {
                let claims = items.iter();
                Ok(claims
                    .map(|i| self.claim(i, Vec::new(), revision))
                    .collect())
            }
            Plan::All(_) => Ok(Vec::new()),
            Plan::First(items) => {
                let mut level = answer;
                for item in items {
                    let succeeded = level.succeeded();
                    match (succeeded, level.op_responses().pop()) {
                        (true, Some(TxnOpResponse::Get(read))) => {
                            let value = read.kvs().first().map(|kv| kv.value().to_vec());
                            let claim = self.claim(item, value.unwrap_or_default(), revision);
                            return Ok(vec![claim]);
                        }
                        (false, Some(TxnOpResponse::Txn(inner))) => level = inner,
                        (false, None) => return Ok(Vec::new()),
                        _ => {
                            let name = self.name.as_str();
                            return Err(Error::unreadable_answer(OPERATION, name));
                        }
                    }
                }
                Ok(Vec::new())
            }
        }
    }

    fn claim(self: &Arc<Self>, item: &ReadyItem, value: Vec<u8>, revision: i64) -> Claim {
        let key = layout::claim_key(&self.name, item.number);
        tracing::debug!(key, revision, "claimed");
        telemetry::done_at(revision);
        Claim {
            item: ReliableItem {
                value,
                key: item.key.clone(),
                mod_revision: item.mod_revision,
                revision,
            },
            hold: hold::Claim::new(&self.session, key).into_hold(revision),
            queue: Arc::clone(self),
        }
    }

    /// A lease that etcd does not know is a lost session.
    fn explained(&self, error: Error) -> Error {
        if is_lease_gone(&error) {
            let lease = self.session.lease_id();
            return Error::session_lost(lease, "etcd no longer knows the lease");
        }
        error
    }
}

fn is_lease_gone(error: &Error) -> bool {
    error.etcd_error().is_some_and(error::is_lease_not_found)
}
