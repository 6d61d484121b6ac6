//! Dequeues with a receipt: claims that survive a lost answer or a crash.
//!
//! The transaction that deletes an item also writes it into a *slot*, the key
//! `<receipts>/<id>`. Whoever comes back with the same id finds it there.
//!
//! A request whose answer is lost may still be on its way and land at any time
//! later, when its sender has long given up, or died and come back. Each claim
//! therefore compares the slot's modification revision, which was read before
//! and is never zero: as soon as the slot was written or deleted since, a claim
//! that is late does nothing. So at most one of the claims that were sent for
//! one state of the slot takes effect, and it can simply be sent again.

use std::time::Duration;

use etcd_client::{Compare, CompareOp, Txn, TxnOp, TxnOpResponse, TxnResponse};

use super::page::{self, Heads};
use super::{Inner, Item, Queue, heads};
use crate::dequeue::first_present::{self, Candidate};
use crate::error::Error;
use crate::keys::{Name, check_id};
use crate::request::{Purpose, revision_of};
use crate::runtime;
use crate::telemetry;

impl Queue {
    /// Takes the item at the head, waiting for one as long as it takes, and
    /// keeps it under a receipt until it is
    /// [acknowledged](Self::acknowledge).
    ///
    /// While the receipt with this id holds an item, that item is returned at
    /// once. So nothing is lost if the call is cancelled, ends with an error, or
    /// its process dies: **call it again with the same id**. Use an id that
    /// stands for the consumer and is known after a crash, like a host's name;
    /// an id made up anew for each call protects nothing. One id is for one
    /// consumer: two that use it at the same time get the same item.
    ///
    /// Unlike [`dequeue`](Self::dequeue) it transfers each item three times. An
    /// item within some 200 bytes of etcd's limit for a request cannot be taken
    /// this way; that is refused.
    ///
    /// ```no_run
    /// # async fn example(client: etcd_recipes::etcd_client::Client) -> Result<(), etcd_recipes::Error> {
    /// # fn work_on(_: &[u8]) {}
    /// use etcd_recipes::{Queue, QueueOptions};
    ///
    /// let options = QueueOptions::new().receipts("receipts/jobs");
    /// let queue = Queue::with_options(&client, "jobs", options)?;
    /// loop {
    ///     let item = queue.dequeue_with_receipt("host-7").await?;
    ///     work_on(&item.value);
    ///     queue.acknowledge(&item).await?;
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [Invalid name](Error::is_invalid_name) if the id is empty or contains `/`
    /// or a NUL; invalid option on a queue without [`receipts`]; foreign data if
    /// the receipt's key holds something else. An unknown outcome is found out
    /// by reading the receipt; only if that fails too is it
    /// [returned](Error::is_outcome_unknown), and then a call with the same id
    /// settles it.
    ///
    /// [`receipts`]: super::QueueOptions::receipts
    pub async fn dequeue_with_receipt(&self, id: &str) -> Result<Item, Error> {
        let work = async {
            let mut turn = None;
            self.inner.line.let_others_go_first().await;
            loop {
                match self.inner.take_into_slot(id).await? {
                    Ok(item) => return Ok(item),
                    Err(Empty { revision }) => self.inner.wait(&mut turn, revision).await?,
                }
            }
        };
        telemetry::observed(self.call("dequeue_with_receipt"), work).await
    }

    /// As [`dequeue_with_receipt`](Self::dequeue_with_receipt), but returns none
    /// if the receipt holds no item and the queue is empty.
    ///
    /// # Errors
    ///
    /// As [`dequeue_with_receipt`](Self::dequeue_with_receipt).
    pub async fn try_dequeue_with_receipt(&self, id: &str) -> Result<Option<Item>, Error> {
        let work = async { Ok(self.inner.take_into_slot(id).await?.ok()) };
        telemetry::observed(self.call("try_dequeue_with_receipt"), work).await
    }

    /// The item that the receipt with this id holds.
    ///
    /// # Errors
    ///
    /// As [`dequeue_with_receipt`](Self::dequeue_with_receipt); never an unknown
    /// outcome.
    pub async fn receipt(&self, id: &str) -> Result<Option<Item>, Error> {
        let inner = &*self.inner;
        let key = inner.slot_key(id)?;
        let why = Purpose {
            operation: "read the receipt",
            target: &key,
        };
        let read = Txn::new().and_then([TxnOp::get(key.as_str(), None)]);
        let answer = inner.requests.read(why, read).await?;
        match slot_in(&answer, &key, id)? {
            Slot::Held(item) => Ok(Some(item)),
            Slot::Absent | Slot::Idle { .. } => Ok(None),
        }
    }

    /// Deletes the receipt of an item: it was dealt with.
    ///
    /// May be repeated, also after an unknown outcome: it only ever deletes the
    /// receipt of this very item, and one that is already gone is no error.
    ///
    /// # Errors
    ///
    /// [Refused](Error::is_refused), [not sent](Error::is_not_sent), or an
    /// [unknown outcome](Error::is_outcome_unknown); while the receipt exists, a
    /// dequeue with its id returns the item again. Invalid option if the item
    /// was taken without a receipt.
    pub async fn acknowledge(&self, item: &Item) -> Result<(), Error> {
        let inner = &*self.inner;
        let Some(id) = item.receipt_id() else {
            return Err(Error::invalid_option(
                "acknowledge",
                &item.key,
                "the item was taken without a receipt",
            ));
        };
        let key = inner.slot_key(id)?;
        let why = Purpose {
            operation: "acknowledge",
            target: &key,
        };
        let txn = Txn::new()
            .when([Compare::mod_revision(
                key.as_str(),
                CompareOp::Equal,
                item.revision,
            )])
            .and_then([TxnOp::delete(key.as_str(), None)]);
        let work = async { inner.requests.write(why, txn).await.map(drop) };
        telemetry::observed(self.call("acknowledge"), work).await
    }
}

/// The slot holds nothing and the queue was empty at this revision.
struct Empty {
    revision: i64,
}

/// What a slot holds.
#[derive(Debug, PartialEq, Eq)]
enum Slot {
    Absent,
    /// It can be claimed into while its modification revision is this.
    Idle {
        mod_revision: i64,
    },
    Held(Item),
}

/// What a claim into a slot came to.
enum Outcome {
    Taken(Item),
    /// The slot is not what it was, or all candidates are gone: look again.
    Again,
}

impl Inner {
    /// Returns what the slot holds, else takes the head into it.
    async fn take_into_slot(&self, id: &str) -> Result<Result<Item, Empty>, Error> {
        let key = self.slot_key(id)?;
        let mut pause = Duration::from_millis(10);
        let mut unanswered: Option<Error> = None;
        loop {
            // Without an answer to a claim, only the slot can tell what it did.
            let looked = self.look(&key, id).await;
            let (slot, heads) = match (looked, unanswered.take()) {
                (Ok(looked), _) => looked,
                (Err(_), Some(unknown)) => return Err(unknown),
                (Err(error), None) => return Err(error),
            };
            let mod_revision = match slot {
                Slot::Held(item) => return Ok(Ok(item)),
                _ if heads.candidates.is_empty() => {
                    let revision = heads.revision;
                    return Ok(Err(Empty { revision }));
                }
                Slot::Idle { mod_revision } => mod_revision,
                Slot::Absent => match self.open_slot(&key, id).await? {
                    Slot::Idle { mod_revision } => mod_revision,
                    _ => continue,
                },
            };
            match self.claim_into(&key, id, mod_revision, heads).await {
                Ok(Outcome::Taken(item)) => return Ok(Ok(item)),
                Ok(Outcome::Again) => {}
                Err(error) if error.is_outcome_unknown() => {
                    tracing::debug!(key, %error, "a claim was not answered; its receipt tells");
                    unanswered = Some(error);
                    runtime::sleep(runtime::jittered(pause)).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn slot_key(&self, id: &str) -> Result<String, Error> {
        check_id(id)?;
        match &self.receipts {
            Some(receipts) => Ok(receipts.child(id)),
            None => Err(Error::invalid_option(
                "use a receipt of",
                self.name.as_str(),
                "the queue was made without QueueOptions::receipts",
            )),
        }
    }

    /// Reads the heads, then the slot. In this order: if the queue was empty, no
    /// claim that is still on its way can find anything any more, so an item
    /// that one of them has taken shows in the slot.
    async fn look(&self, key: &str, id: &str) -> Result<(Slot, Heads), Error> {
        let why = Purpose {
            operation: "read the receipt",
            target: key,
        };
        let heads = heads::read_with_values(&self.requests, &self.name).await?;
        let read = Txn::new().and_then([TxnOp::get(key, None)]);
        let answer = self.requests.read(why, read).await?;
        Ok((slot_in(&answer, key, id)?, heads))
    }

    /// Creates the slot, or reads it if it exists. Done twice it does no more
    /// than once, so it is repeated like a read.
    async fn open_slot(&self, key: &str, id: &str) -> Result<Slot, Error> {
        let why = Purpose {
            operation: "open the receipt",
            target: key,
        };
        let txn = Txn::new()
            .when([Compare::version(key, CompareOp::Equal, 0)])
            .and_then([TxnOp::put(key, IDLE, None)])
            .or_else([TxnOp::get(key, None)]);
        let answer = self.requests.read(why, txn).await?;
        if answer.succeeded() {
            let mod_revision = revision_of(answer.header());
            return Ok(Slot::Idle { mod_revision });
        }
        slot_in(&answer, key, id)
    }

    /// Claims the first of the candidates that is left into the slot.
    async fn claim_into(
        &self,
        key: &str,
        id: &str,
        mod_revision: i64,
        heads: Heads,
    ) -> Result<Outcome, Error> {
        let why = Purpose {
            operation: "dequeue from",
            target: self.name.as_str(),
        };
        let candidates = heads.candidates;
        let answer = self
            .requests
            .write(why, claim_txn(&self.name, key, mod_revision, &candidates))
            .await?;
        let revision = revision_of(answer.header());
        if !answer.succeeded() {
            tracing::debug!(key, revision, "the receipt has changed meanwhile");
            return Ok(Outcome::Again);
        }
        let Some(TxnOpResponse::Txn(inner)) = answer.op_responses().into_iter().next() else {
            return Err(Error::unreadable_answer(why.operation, why.target));
        };
        Ok(match self.settle(inner, candidates, revision, Some(id))? {
            Ok(item) => Outcome::Taken(item),
            Err(_) => Outcome::Again,
        })
    }
}

/// The claim: nothing unless the slot is what it was.
fn claim_txn(name: &Name, slot: &str, mod_revision: i64, candidates: &[Candidate]) -> Txn {
    let into_slot = |c: &Candidate| vec![c.delete(), TxnOp::put(slot, encode(c), None)];
    // One key is enough where something must be read; the values are read anew.
    let (start, options) = page::request(name, 1, false);
    let claim = first_present::claim(candidates, &into_slot, TxnOp::get(start, Some(options)));
    Txn::new()
        .when([Compare::mod_revision(slot, CompareOp::Equal, mod_revision)])
        .and_then([TxnOp::txn(claim)])
}

/// The value of a slot that holds nothing.
const IDLE: &[u8] = b"";

/// How the value of a slot that holds an item begins. Then follow the item's
/// modification revision, a space, its key, a line feed, and its value.
const HELD: &[u8] = b"etcd-recipes receipt 1 ";

fn encode(candidate: &Candidate) -> Vec<u8> {
    let mut slot = HELD.to_vec();
    slot.extend_from_slice(candidate.mod_revision.to_string().as_bytes());
    slot.push(b' ');
    slot.extend_from_slice(candidate.key.as_bytes());
    slot.push(b'\n');
    slot.extend_from_slice(candidate.value.as_deref().unwrap_or_default());
    slot
}

/// The modification revision, key and value of the item in a slot.
fn decode(slot: &[u8]) -> Option<(i64, String, Vec<u8>)> {
    let rest = slot.strip_prefix(HELD)?;
    let end = rest.iter().position(|&byte| byte == b'\n')?;
    let header = std::str::from_utf8(&rest[..end]).ok()?;
    let (mod_revision, key) = header.split_once(' ')?;
    Some((
        mod_revision.parse().ok()?,
        key.to_owned(),
        rest[end + 1..].to_vec(),
    ))
}

/// The slot in the first response of an answer, which must be a read of it.
fn slot_in(answer: &TxnResponse, key: &str, id: &str) -> Result<Slot, Error> {
    let Some(TxnOpResponse::Get(mut read)) = answer.op_responses().into_iter().next() else {
        return Err(Error::foreign_data(
            key,
            "the answer does not fit the request",
        ));
    };
    let Some(kv) = read.take_kvs().pop() else {
        return Ok(Slot::Absent);
    };
    if kv.value() == IDLE {
        let mod_revision = kv.mod_revision();
        return Ok(Slot::Idle { mod_revision });
    }
    let Some((mod_revision, item_key, value)) = decode(kv.value()) else {
        return Err(Error::foreign_data(key, "it is not a receipt"));
    };
    Ok(Slot::Held(Item {
        value,
        key: item_key,
        mod_revision,
        revision: kv.mod_revision(),
        receipt: Some(id.to_owned()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_reads_back_what_was_written() {
        let candidate = Candidate {
            key: "my jobs/17".to_owned(),
            mod_revision: 42,
            value: Some(b"two\nlines".to_vec()),
        };
        let expected = (42, "my jobs/17".to_owned(), b"two\nlines".to_vec());
        assert_eq!(decode(&encode(&candidate)), Some(expected));
        for foreign in [&b"hello"[..], HELD, b"etcd-recipes receipt 1 x jobs/1\nv"] {
            assert_eq!(decode(foreign), None);
        }
    }
}
