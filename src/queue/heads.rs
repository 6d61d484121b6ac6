//! The first items of the queue: read many at a time, and kept.
//!
//! etcd sorts the whole range to answer for the oldest item, so a read takes as
//! many as a claim can use, and those that the claim left over serve the next
//! one. An old list is as good as a new one (see `page`).

use std::sync::{Mutex, MutexGuard, PoisonError};

use etcd_client::GetOptions;

use super::page::{Heads, Page, order, page, request};
use crate::dequeue::consumers::Line;
use crate::dequeue::first_present::{CANDIDATES_MAX, Candidate};
use crate::error::{self, Error};
use crate::keys::Name;
use crate::request::{Purpose, Requests, revision_of};

/// How many items to read with their values. Few, because all of them are sent
/// here and, in the claim, back.
const PAGE_WITH_VALUES: usize = 8;

/// How many candidates are kept. Above this, puts that the watch has seen wait
/// there, or are forgotten and read again.
const KEPT_MAX: usize = 128;

/// What to do to find the head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Try these; they are not empty.
    Try(Heads),
    /// Nothing is left of what there was at this revision.
    Empty { revision: i64 },
    /// Nothing is known.
    Read,
}

/// The heads that were last read or seen by the watch, and not yet taken.
#[derive(Debug, Default)]
pub(super) struct Known {
    heads: Mutex<Heads>,
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, Heads> {
        // Whole at every moment.
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The candidates for a claim, with those that the watch has seen since.
    ///
    /// Who was late last time reads anew: what it knows is mostly gone, and a
    /// read costs etcd less than a transaction that comes to nothing.
    pub(super) fn next(&self, name: &Name, line: &Line) -> Next {
        let mut known = self.lock();
        if known.is_all && known.candidates.len() < KEPT_MAX {
            match line.watch.puts_after(known.revision) {
                Some((puts, revision)) => {
                    let items = puts.into_iter().filter(|put| name.is_item(&put.key));
                    known.candidates.extend(items.map(Candidate::from));
                    known.revision = revision;
                }
                None => known.is_all = false,
            }
        }
        if known.candidates.is_empty() {
            return match known.is_all {
                true => Next::Empty {
                    revision: known.revision,
                },
                false => Next::Read,
            };
        }
        if line.is_late() && known.is_all {
            return Next::Read;
        }
        let mut heads = known.clone();
        heads.candidates.truncate(CANDIDATES_MAX);
        Next::Try(heads)
    }

    /// Remembers a read, unless a later one is known.
    pub(super) fn learn(&self, heads: &Heads) {
        let mut known = self.lock();
        if heads.revision >= known.revision {
            known.clone_from(heads);
        }
    }

    /// Forgets this item and everything before it: it is gone, and so are they.
    pub(super) fn passed(&self, item: &Candidate) {
        let mut known = self.lock();
        known.candidates.retain(|c| order(c) > order(item));
    }

    /// Forgets everything: the next claim reads.
    pub(super) fn forget(&self) {
        *self.lock() = Heads::default();
    }
}

/// Reads the first items of the queue, without their values.
pub(super) async fn read(requests: &Requests, name: &Name) -> Result<Heads, Error> {
    let mut limit = CANDIDATES_MAX;
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
        heads.is_all &= heads.candidates.len() <= 1;
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
    heads.is_all &= heads.candidates.len() <= CANDIDATES_MAX;
    heads.candidates.truncate(CANDIDATES_MAX);
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
    heads.is_all &= heads.candidates.len() <= fitting.max(1);
    heads.candidates.truncate(fitting.max(1));
    heads
}

async fn read_page(
    requests: &Requests,
    name: &Name,
    limit: usize,
    with_values: bool,
) -> Result<Page, Error> {
    let (start, options) = request(name, limit, with_values);
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
            is_all: false,
        }
    }

    #[test]
    fn a_claim_forgets_what_it_took_and_what_was_before() {
        let known = Known::default();
        known.learn(&heads(20, &[5, 6, 7]));
        known.passed(&heads(0, &[6]).candidates[0]);
        assert_eq!(*known.lock(), heads(20, &[7]));
    }

    #[test]
    fn of_items_of_one_transaction_only_the_taken_one_is_forgotten() {
        let known = Known::default();
        let mut twins = heads(20, &[5, 5]);
        twins.candidates[1].key = "jobs/6".to_owned();
        known.learn(&twins);
        known.passed(&twins.candidates[0]);
        assert_eq!(known.lock().candidates, twins.candidates[1..]);
    }

    #[test]
    fn an_older_read_does_not_replace_a_newer_one() {
        let known = Known::default();
        known.learn(&heads(20, &[7]));
        known.learn(&heads(19, &[5]));
        assert_eq!(*known.lock(), heads(20, &[7]));
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
