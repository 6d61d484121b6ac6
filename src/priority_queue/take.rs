//! Taking the best item, now or as soon as there is one.

use std::time::Duration;

use super::claim::{Claim, Outcome};
use super::heads::{self, Heads, Next};
use super::{Inner, PriorityItem, layout};
use crate::dequeue::consumers::{Look, Turn};
use crate::dequeue::first_present::Candidate;
use crate::error::Error;
use crate::request::{Purpose, revision_of};
use crate::runtime;
use crate::telemetry;
use crate::watch::Wake;

/// Where others take items too, each claim that failed on the way to one counts for so many
/// of them. Each costs etcd as much as one that succeeds, so it pays to stand back for long;
/// measured with 2 to 10 consumers and 2 to 10 producers.
const OTHERS_PER_FAILURE: usize = 15;

/// For how long to wait for the watch to tell of something that was put already.
const HEARING: Duration = Duration::from_millis(50);

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
            let heads = match told.take() {
                Some(heads) => heads,
                None => match self.known.next(&self.name, &self.line) {
                    Next::Try(heads) => heads,
                    Next::Empty { revision } if ask == Ask::Known => {
                        return Ok(Taken::Empty { revision });
                    }
                    Next::Empty { .. } | Next::Read => {
                        let heads = heads::read(&self.requests, &self.name).await?;
                        self.known.learn(&heads);
                        heads
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
            let known_at = heads.revision;
            match self.try_to_take(heads).await? {
                Tried::Taken { item, index } => {
                    // If nobody had taken a better one, the producers alone made the claims fail:
                    // to stand back would help nobody.
                    let failures = if index == 0 { 0 } else { failures };
                    self.line.took(OTHERS_PER_FAILURE * failures);
                    return Ok(Taken::Item(item));
                }
                Tried::AllGone(heads) => told = heads,
                Tried::SomethingBetter => {
                    failures += 1;
                    self.hear_what_came_after(known_at).await;
                }
            }
        }
    }

    /// Tries the first candidates in one transaction.
    async fn try_to_take(&self, heads: Heads) -> Result<Tried, Error> {
        let why = Purpose {
            operation: "dequeue from",
            target: self.name.as_str(),
        };
        let mut candidates = heads.candidates;
        candidates.truncate(self.tries.number());
        let claim = Claim::new(self, &candidates, heads.revision);
        let sent = runtime::now();
        let answer = self.requests.write(why, claim.txn(&self.name)).await?;
        self.line
            .note_duration(runtime::now().saturating_duration_since(sent));
        let revision = revision_of(answer.header());
        let queue = self.name.as_str();
        match claim.outcome(&self.name, answer, revision) {
            Some(Outcome::Taken { index, value }) => {
                let taken = &candidates[index];
                self.known.passed(&taken.key, revision);
                self.tries.took(index);
                tracing::debug!(key = taken.key, revision, tried = index + 1, "dequeued");
                telemetry::done_at(revision);
                let item = self.item(taken, value, revision);
                Ok(Tried::Taken { item, index })
            }
            Some(Outcome::SomethingBetter) => {
                tracing::debug!(queue, revision, "something better has arrived");
                Ok(Tried::SomethingBetter)
            }
            Some(Outcome::AllGone(next)) => {
                self.tries.missed();
                self.line.came_late();
                tracing::debug!(queue, revision, "others were faster");
                match &next {
                    Some(heads) => self.known.learn(heads),
                    // Keys that are no items fill the page: a larger one is read.
                    None => self.known.forget(),
                }
                Ok(Tried::AllGone(next))
            }
            None => Err(Error::unreadable_answer(why.operation, why.target)),
        }
    }

    /// Something was put after `revision`: the watch is about to tell what. Without
    /// it, what there is will be read.
    async fn hear_what_came_after(&self, revision: i64) {
        let watch = &self.line.watch;
        if watch.puts_after(revision).is_some() {
            let heard = watch.wait_for_put_after(revision);
            if let Ok(Ok(Wake::Event(_))) = runtime::timeout(HEARING, heard).await {
                return;
            }
        } else {
            // For the next time.
            watch.open_after(revision);
        }
        self.known.forget();
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

/// How an attempt ended.
enum Tried {
    /// Others had taken the first `index` of those that were known.
    Taken { item: PriorityItem, index: usize },
    /// Others were faster; the first items as they were then, if that is known.
    AllGone(Option<Heads>),
    /// Something better has arrived.
    SomethingBetter,
}
