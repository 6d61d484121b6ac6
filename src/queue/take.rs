//! Taking the item at the head, now or as soon as there is one.

use etcd_client::{TxnOp, TxnResponse};

use super::heads::{self, Next};
use super::page::{self, Claim, Heads, Page};
use super::{Inner, Item};
use crate::dequeue::consumers::{Look, Turn};
use crate::dequeue::first_present::{self, CANDIDATES_MAX, Candidate};
use crate::error::Error;
use crate::request::{Purpose, revision_of};
use crate::runtime;
use crate::telemetry;

/// Whom to ask whether the queue is empty.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// What is known will do: whoever then waits hears of anything newer.
    Known,
    /// Only etcd can tell what is true at this moment.
    Etcd,
}

/// What an attempt to take an item came to.
pub(super) enum Taken {
    Item(Item),
    /// The queue was empty at this revision.
    Empty {
        revision: i64,
    },
}

impl Inner {
    /// Takes the head, waiting for one as long as it takes.
    pub(super) async fn dequeue(&self) -> Result<Item, Error> {
        let mut turn = None;
        self.line.let_others_go_first().await;
        loop {
            match self.claim(Ask::Known).await? {
                Taken::Item(item) => return Ok(item),
                Taken::Empty { revision } => self.wait(&mut turn, revision).await?,
            }
        }
    }

    /// Takes the head, without waiting for one.
    pub(super) async fn claim(&self, ask: Ask) -> Result<Taken, Error> {
        #[cfg(feature = "harness")]
        if self.deletes_without_comparing() {
            return self.claim_without_comparing().await;
        }
        #[cfg(feature = "harness")]
        if self.reads_like_go() {
            return self.claim_like_go().await;
        }
        loop {
            let heads = match self.known.next(&self.name, &self.line) {
                Next::Try(heads) => heads,
                Next::Empty { revision } if ask == Ask::Known => {
                    return Ok(Taken::Empty { revision });
                }
                Next::Empty { .. } | Next::Read => {
                    let heads = heads::read(&self.requests, &self.name).await?;
                    self.known.learn(&heads);
                    heads
                }
            };
            if heads.candidates.is_empty() {
                if self.line.is_late() {
                    self.line.came_late();
                }
                let revision = heads.revision;
                return Ok(Taken::Empty { revision });
            }
            match self.try_to_take(heads).await? {
                Ok(item) => return Ok(Taken::Item(item)),
                // The innermost branch has found the queue empty.
                Err(Some(Heads {
                    candidates,
                    revision,
                    ..
                })) if candidates.is_empty() => return Ok(Taken::Empty { revision }),
                Err(_) => {}
            }
        }
    }

    /// Tries the candidates in one transaction. All gone: the next heads, if
    /// what the innermost branch has read was of use.
    async fn try_to_take(&self, heads: Heads) -> Result<Result<Item, Option<Heads>>, Error> {
        let why = Purpose {
            operation: "dequeue from",
            target: self.name.as_str(),
        };
        let (start, options) = page::request(&self.name, CANDIDATES_MAX, false);
        let next = TxnOp::get(start, Some(options));
        let mut candidates = heads.candidates;
        candidates.truncate(self.tries.number());
        let take = |candidate: &Candidate| vec![candidate.delete()];
        let txn = first_present::claim(&candidates, &take, next);
        let sent = runtime::now();
        let answer = self.requests.write(why, txn).await?;
        self.line
            .note_duration(runtime::now().saturating_duration_since(sent));
        let revision = revision_of(answer.header());
        match self.settle(answer, candidates, revision, None)? {
            Ok(item) => Ok(Ok(item)),
            Err(page) => {
                let next = heads::complete(page);
                if let Some(heads) = &next {
                    self.known.learn(heads);
                }
                Ok(Err(next))
            }
        }
    }

    /// What the answer to a claim of these candidates says: the item that was
    /// taken, else what the innermost branch has read.
    pub(super) fn settle(
        &self,
        answer: TxnResponse,
        mut candidates: Vec<Candidate>,
        revision: i64,
        receipt: Option<&str>,
    ) -> Result<Result<Item, Page>, Error> {
        let tried = candidates.len();
        match page::outcome(&self.name, answer, tried, revision) {
            Some(Claim::Taken {
                index,
                value,
                revision,
            }) => {
                let taken = candidates.swap_remove(index);
                self.known.passed(&taken);
                self.tries.took(index);
                self.line.took(index);
                tracing::debug!(
                    key = taken.key,
                    receipt,
                    revision,
                    tried = index + 1,
                    "dequeued"
                );
                telemetry::done_at(revision);
                Ok(Ok(Item {
                    value,
                    key: taken.key,
                    mod_revision: taken.mod_revision,
                    revision,
                    receipt: receipt.map(str::to_owned),
                }))
            }
            Some(Claim::AllGone(page)) => {
                if let Some(last) = candidates.last() {
                    self.known.passed(last);
                }
                self.tries.missed();
                self.line.came_late();
                tracing::debug!(
                    queue = self.name.as_str(),
                    revision,
                    tried,
                    "all candidates were taken by others"
                );
                Ok(Err(page))
            }
            None => Err(Error::unreadable_answer("dequeue from", self.name.as_str())),
        }
    }

    /// Waits until it makes sense to look again, after the queue was empty at
    /// `revision`.
    pub(super) async fn wait<'a>(
        &'a self,
        turn: &mut Turn<'a>,
        revision: i64,
    ) -> Result<(), Error> {
        tracing::trace!(queue = self.name.as_str(), revision, "waiting for an item");
        #[cfg(feature = "harness")]
        if self.waits_by_itself() {
            self.known.forget();
            return self.wait_by_itself(revision).await;
        }
        if self.line.wait(turn, revision).await? == Look::Anew {
            self.known.forget();
        }
        Ok(())
    }
}
