//! The first items of the queue: read many at a time, and kept.
//!
//! etcd sorts the whole range to answer for the oldest item, so a read takes as
//! many as a claim can use, and those that the claim left over serve the next
//! one. An old list is as good as a new one (see `chain`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use etcd_client::GetOptions;

use super::chain::{Candidate, Heads, LONGEST_CHAIN, Page, page, page_request};
use crate::error::{self, Error};
use crate::keys::Name;
use crate::request::{Purpose, Requests, revision_of};

/// How many candidates a chain tries when nobody else seems to dequeue.
const SHORTEST_CHAIN: usize = 2;

/// How many items to read with their values. Few, because all of them are sent
/// here and, in the claim, back.
const PAGE_WITH_VALUES: usize = 8;

/// The heads that were last read and not yet taken.
#[derive(Debug)]
pub(super) struct Known {
    heads: Mutex<Heads>,
    /// How many of them a chain should try; see [`adapted`].
    chain_length: AtomicUsize,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            heads: Mutex::default(),
            chain_length: AtomicUsize::new(SHORTEST_CHAIN),
        }
    }
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, Heads> {
        // Whole at every moment.
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many candidates the next chain should try.
    pub(super) fn chain_length(&self) -> usize {
        self.chain_length.load(Ordering::Relaxed)
    }

    /// Learns from a chain that took the candidate with this number, or none.
    pub(super) fn adapt(&self, taken: Option<usize>) {
        let length = adapted(self.chain_length(), taken);
        self.chain_length.store(length, Ordering::Relaxed);
    }

    /// The candidates for a chain; empty if a read is needed.
    pub(super) fn heads(&self) -> Heads {
        self.lock().clone()
    }

    /// Remembers a read, unless a later one is known.
    pub(super) fn learn(&self, heads: &Heads) {
        let mut known = self.lock();
        if heads.revision >= known.revision {
            known.clone_from(heads);
        }
    }

    /// Forgets this item, which was taken, and everything before it, which was
    /// gone.
    pub(super) fn taken(&self, item: &Candidate) {
        let mut known = self.lock();
        known.candidates.retain(|c| c.order() > item.order());
    }
}

/// The next length of a chain: about twice as many candidates as others got
/// ahead of this one. On etcd 3.4.23 a chain of 32 takes three times as long as
/// one of 8 (0.66 ms and 0.23 ms), so one that is longer than the contention
/// asks for is a waste, and one that is too short is repeated.
fn adapted(length: usize, taken: Option<usize>) -> usize {
    let next = match taken {
        Some(index) => (length - length / 4).max(2 * (index + 1)),
        None => length * 2,
    };
    next.clamp(SHORTEST_CHAIN, LONGEST_CHAIN)
}

/// Reads the first items of the queue, without their values.
pub(super) async fn read(requests: &Requests, name: &Name) -> Result<Heads, Error> {
    let mut limit = LONGEST_CHAIN;
    loop {
        let page = read_page(requests, name, limit, false).await?;
        match complete(page) {
            Some(heads) => return Ok(heads),
            // Foreign keys have filled the page.
            None => limit = limit.saturating_mul(16),
        }
    }
}

/// Reads the first items of the queue with their values: as many as a claim can
/// carry, at least one if there is one.
pub(super) async fn read_with_values(requests: &Requests, name: &Name) -> Result<Heads, Error> {
    match read_page(requests, name, PAGE_WITH_VALUES, true).await {
        Ok(page) => {
            if let Some(heads) = complete(page) {
                return Ok(carryable(heads));
            }
        }
        Err(error) if error.etcd_error().is_some_and(error::is_answer_too_large) => {}
        Err(error) => return Err(error),
    }
    read_first_value(requests, name).await
}

/// Reads the first item by its key. One value always fits into an answer,
/// because etcd's limit for a request is below the client's for an answer.
async fn read_first_value(requests: &Requests, name: &Name) -> Result<Heads, Error> {
    loop {
        let mut heads = read(requests, name).await?;
        heads.candidates.truncate(1);
        let Some(first) = heads.candidates.first_mut() else {
            return Ok(heads);
        };
        let answer = requests
            .range(purpose(name), first.key.as_bytes(), GetOptions::new())
            .await?;
        // Otherwise it is gone or was put anew, and is no longer the head.
        if let Some(kv) = answer.kvs().first()
            && kv.mod_revision() == first.mod_revision
        {
            first.value = Some(kv.value().to_vec());
            return Ok(heads);
        }
    }
}

/// The heads of a page. `None` if it holds none although the queue may have
/// some.
pub(super) fn complete(page: Page) -> Option<Heads> {
    if page.heads.candidates.is_empty() && page.more {
        return None;
    }
    let mut heads = page.heads;
    heads.candidates.truncate(LONGEST_CHAIN);
    Some(heads)
}

/// As many heads as one request may carry with their values; etcd's limit for a
/// request is 1.5 MiB unless set otherwise.
fn carryable(mut heads: Heads) -> Heads {
    const BYTES: usize = 512 * 1024;
    let mut sum = 0;
    let fitting = heads
        .candidates
        .iter()
        .take_while(|c| {
            sum += c.value.as_ref().map_or(0, Vec::len);
            sum <= BYTES
        })
        .count();
    heads.candidates.truncate(fitting.max(1));
    heads
}

async fn read_page(
    requests: &Requests,
    name: &Name,
    limit: usize,
    with_values: bool,
) -> Result<Page, Error> {
    let (start, options) = page_request(name, limit, with_values);
    let answer = requests
        .range(purpose(name), start.as_bytes(), options)
        .await?;
    let revision = revision_of(answer.header());
    Ok(page(name, &answer, revision, with_values))
}

fn purpose(name: &Name) -> Purpose<'_> {
    Purpose {
        operation: "read the head of",
        target: name.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(revision: i64, mods: &[i64]) -> Heads {
        let candidates = mods
            .iter()
            .map(|&mod_revision| Candidate {
                key: format!("jobs/{mod_revision}"),
                mod_revision,
                value: None,
            })
            .collect();
        Heads {
            revision,
            candidates,
        }
    }

    #[test]
    fn a_claim_forgets_what_it_took_and_what_was_before() {
        let known = Known::default();
        known.learn(&heads(20, &[5, 6, 7]));
        known.taken(&heads(0, &[6]).candidates[0]);
        assert_eq!(known.heads(), heads(20, &[7]));
    }

    #[test]
    fn of_items_of_one_transaction_only_the_taken_one_is_forgotten() {
        let known = Known::default();
        let mut twins = heads(20, &[5, 5]);
        twins.candidates[1].key = "jobs/6".to_owned();
        known.learn(&twins);
        known.taken(&twins.candidates[0]);
        assert_eq!(known.heads().candidates, twins.candidates[1..]);
    }

    #[test]
    fn a_chain_is_as_long_as_others_make_it() {
        let alone = (0..20).fold(LONGEST_CHAIN, |length, _| adapted(length, Some(0)));
        assert!(alone <= 4, "{alone}");
        assert_eq!(adapted(2, None), 4);
        assert_eq!(adapted(4, Some(3)), 8);
        let crowded = (0..20).fold(SHORTEST_CHAIN, |length, _| adapted(length, None));
        assert_eq!(crowded, LONGEST_CHAIN);
    }

    #[test]
    fn an_older_read_does_not_replace_a_newer_one() {
        let known = Known::default();
        known.learn(&heads(20, &[7]));
        known.learn(&heads(19, &[5]));
        assert_eq!(known.heads(), heads(20, &[7]));
    }

    #[test]
    fn foreign_keys_that_fill_a_page_are_no_empty_queue() {
        let page = |more| Page {
            heads: heads(20, &[]),
            more,
        };
        assert_eq!(complete(page(true)), None);
        assert_eq!(complete(page(false)), Some(heads(20, &[])));
    }

    #[test]
    fn a_claim_carries_at_least_one_value_however_large() {
        let mut large = heads(20, &[1, 2, 3]);
        for candidate in &mut large.candidates {
            candidate.value = Some(vec![0; 400 * 1024]);
        }
        assert_eq!(carryable(large.clone()).candidates.len(), 1);
        large.candidates[0].value = Some(vec![0; 700 * 1024]);
        assert_eq!(carryable(large).candidates.len(), 1);
        assert_eq!(carryable(heads(20, &[])).candidates.len(), 0);
    }
}
