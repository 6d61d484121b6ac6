//! Taking the best item, now or as soon as there is one.

use etcd_client::{Compare, CompareOp, Txn, TxnOp, TxnOpResponse, TxnResponse};

use super::heads::{self, FOREIGN_MAX, Heads, Next};
use super::{Inner, PriorityItem, layout};
use crate::dequeue::consumers::{Look, Turn};
use crate::dequeue::first_present::{self, Candidate, Found};
use crate::error::Error;
use crate::request::{Purpose, revision_of};
use crate::runtime;

/// A claim that fails shows that about so many others claim too: of those that know
/// the same best item one gets it.
const OTHERS_PER_FAILURE: usize = 5;

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
    Item(PriorityItem),
    /// The queue was empty at this revision.
    Empty {
        revision: i64,
    },
}

impl Inner {
    pub(super) async fn dequeue(&self) -> Result<PriorityItem, Error> {
        #[cfg(feature = "harness")]
        if self.dequeues_like_go() {
            return self.dequeue_like_go().await;
        }
        let mut turn: Turn<'_> = None;
        loop {
            match self.claim(Ask::Known).await? {
                Taken::Item(item) => return Ok(item),
                Taken::Empty { revision } => {
                    tracing::trace!(queue = self.name.as_str(), revision, "waiting for an item");
                    if self.line.wait(&mut turn, revision).await? == Look::Anew {
                        self.known.forget();
                    }
                }
            }
        }
    }

    /// Takes the best item, without waiting for one.
    pub(super) async fn claim(&self, ask: Ask) -> Result<Taken, Error> {
        // The first claim reads if it has to; later ones know what they were told.
        let mut told: Option<Heads> = None;
        let mut failures = 0;
        self.line.let_others_go_first().await;
        loop {
            let (heads, is_fresh) = match told.take() {
                Some(heads) => (heads, true),
                None => match self.known.next(&self.name, &self.line) {
                    Next::Try(heads) => (heads, false),
                    Next::Empty { revision } if ask == Ask::Known => {
                        return Ok(Taken::Empty { revision });
                    }
                    Next::Empty { .. } | Next::Read => {
                        let heads = heads::read(&self.requests, &self.name).await?;
                        self.known.learn(&heads);
                        (heads, true)
                    }
                },
            };
            if heads.candidates.is_empty() {
                if self.line.is_late() {
                    self.line.came_late();
                }
                let revision = heads.revision;
                return Ok(Taken::Empty { revision });
            }
            if let Err(error) = self.check_foreign(&heads) {
                // The watch does not tell when they go: a read does.
                self.known.forget();
                if is_fresh {
                    return Err(error);
                }
                continue;
            }
            match self.try_to_take(heads, is_fresh).await? {
                Ok(item) => {
                    self.line.took(OTHERS_PER_FAILURE * failures);
                    return Ok(Taken::Item(item));
                }
                Err(next) => {
                    failures += 1;
                    told = next;
                }
            }
        }
    }

    /// Tries the candidates in one transaction. If that takes none: what it has
    /// read instead, if that was of use.
    async fn try_to_take(
        &self,
        heads: Heads,
        is_fresh: bool,
    ) -> Result<Result<PriorityItem, Option<Heads>>, Error> {
        let why = Purpose {
            operation: "dequeue from",
            target: self.name.as_str(),
        };
        let mut candidates = heads.candidates;
        candidates.truncate(self.tries.number());
        let txn = self.claim_txn(&candidates, &heads.foreign, heads.revision, is_fresh);
        let sent = runtime::now();
        let answer = self.requests.write(why, txn).await?;
        self.line
            .note_duration(runtime::now().saturating_duration_since(sent));
        let revision = revision_of(answer.header());
        match self.outcome(answer, candidates.len(), revision) {
            Some(Claim::Taken { index, value }) => {
                let taken = &candidates[index];
                self.known.passed(&taken.key, revision);
                self.tries.took(index);
                tracing::debug!(key = taken.key, revision, tried = index + 1, "dequeued");
                Ok(Ok(self.item(taken, value, revision)))
            }
            Some(Claim::Not { is_late, next }) => {
                if is_late {
                    self.tries.missed();
                    self.line.came_late();
                }
                tracing::debug!(
                    queue = self.name.as_str(),
                    revision,
                    is_late,
                    "others were faster, or something better has arrived"
                );
                match &next {
                    Some(heads) => self.known.learn(heads),
                    // Foreign keys fill the page: a larger one is read.
                    None => self.known.forget(),
                }
                Ok(Err(next))
            }
            None => Err(Error::unreadable_answer(why.operation, why.target)),
        }
    }

    /// Deletes the first of the candidates that is there, provided that nothing
    /// lies before it; else reads the first items.
    ///
    /// If the candidates were read during this call (`is_fresh`), the first of them
    /// was the best item at a moment of the call. That is when the dequeue takes
    /// effect, whatever has arrived since: who meanwhile took something better came
    /// later, and nobody can have taken something worse. The others were never seen
    /// to be the best.
    fn claim_txn(
        &self,
        candidates: &[Candidate],
        foreign: &[Vec<u8>],
        revision: i64,
        is_fresh: bool,
    ) -> Txn {
        let read = || {
            let (start, options) = heads::request(&self.name, first_present::CANDIDATES_MAX);
            TxnOp::get(start, Some(options))
        };
        let take = |candidate: &Candidate| {
            let mut needs_no_look = is_fresh && candidate.key == candidates[0].key;
            #[cfg(feature = "harness")]
            {
                needs_no_look |= self.takes_stale_minimum();
            }
            if needs_no_look {
                return vec![TxnOp::txn(Txn::new().and_then([candidate.delete()]))];
            }
            let is_best = Txn::new()
                .when(self.nothing_before(&candidate.key, foreign))
                .and_then([candidate.delete()])
                .or_else([read()]);
            let nothing_better = Txn::new()
                .when(self.nothing_better_since(&candidate.key, revision))
                .and_then([candidate.delete()])
                .or_else([TxnOp::txn(is_best)]);
            vec![TxnOp::txn(nothing_better)]
        };
        first_present::claim(candidates, &take, read())
    }

    /// Holds if nothing was put into a better priority since the revision as of which
    /// the candidates are known: every item comes with a write to its priority's
    /// bookkeeping key. This spares etcd from looking through all keys that were
    /// deleted since the last compaction.
    fn nothing_better_since(&self, key: &str, revision: i64) -> Vec<Compare> {
        let priority = layout::priority_of(&self.name, key.as_bytes()).unwrap_or(u16::MAX);
        if priority == 0 {
            return Vec::new();
        }
        let first = layout::bookkeeping_key(&self.name, 0);
        let own = layout::bookkeeping_key(&self.name, priority);
        let unchanged = Compare::mod_revision(first, CompareOp::Less, revision + 1);
        vec![unchanged.with_range(own)]
    }

    /// Holds if there is nothing before this key but the foreign keys that are
    /// known.
    fn nothing_before(&self, key: &str, foreign: &[Vec<u8>]) -> Vec<Compare> {
        let (start, _) = self.name.item_range();
        let mut gaps = Vec::new();
        let mut start = start.into_bytes();
        let before = foreign.iter().take_while(|f| f.as_slice() < key.as_bytes());
        for foreign in before {
            gaps.push((start, foreign.clone()));
            start = foreign.clone();
            start.push(0);
        }
        gaps.push((start, key.as_bytes().to_vec()));
        // "Nothing" is what a range compare of the create revision with 0 says
        // (tried on etcd 3.4.23 and 3.5.1).
        gaps.into_iter()
            .filter(|(start, end)| start < end)
            .map(|(start, end)| {
                Compare::create_revision(start, CompareOp::Equal, 0).with_range(end)
            })
            .collect()
    }

    /// Whether a claim can leave out the keys that are no items and lie before its
    /// candidates.
    fn check_foreign(&self, heads: &Heads) -> Result<(), Error> {
        let mut tried = heads.candidates.iter().take(self.tries.number());
        let Some(last) = tried.next_back() else {
            return Ok(());
        };
        let last = last.key.as_bytes();
        let before = heads.foreign.iter().filter(|f| f.as_slice() < last);
        if before.count() <= FOREIGN_MAX {
            return Ok(());
        }
        Err(Error::foreign_data(
            &String::from_utf8_lossy(&heads.foreign[0]),
            "more than 60 keys below the queue's name are no items and lie before the best one",
        ))
    }

    /// What the answer to a [`claim_txn`](Self::claim_txn) says. `None` if it does
    /// not have the shape of one.
    fn outcome(&self, answer: TxnResponse, tried: usize, revision: i64) -> Option<Claim> {
        let (answer, is_late) = match first_present::read_answer(answer, tried)? {
            Found::First(index, answers) => {
                let TxnOpResponse::Txn(inner) = answers.into_iter().next()? else {
                    return None;
                };
                let inner = match inner.succeeded() {
                    true => inner,
                    false => match inner.op_responses().into_iter().next()? {
                        TxnOpResponse::Txn(second) => second,
                        _ => return None,
                    },
                };
                if inner.succeeded() {
                    let value = first_present::deleted_value(inner.op_responses())?;
                    return Some(Claim::Taken { index, value });
                }
                (inner.op_responses().into_iter().next()?, false)
            }
            Found::None(answer) => (answer, true),
        };
        let TxnOpResponse::Get(read) = answer else {
            return None;
        };
        let next = heads::page(&self.name, &read, revision);
        Some(Claim::Not { is_late, next })
    }

    pub(super) fn item(
        &self,
        candidate: &Candidate,
        value: Vec<u8>,
        revision: i64,
    ) -> PriorityItem {
        PriorityItem {
            value,
            priority: layout::priority_of(&self.name, candidate.key.as_bytes()).unwrap_or(0),
            key: candidate.key.clone(),
            mod_revision: candidate.mod_revision,
            revision,
        }
    }
}

/// How a claim ended.
enum Claim {
    /// This candidate, by number, was deleted.
    Taken { index: usize, value: Vec<u8> },
    /// All candidates were gone, or the first was not the best; the first items
    /// as they were then.
    Not { is_late: bool, next: Option<Heads> },
}
