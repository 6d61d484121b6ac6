//! The first items of a priority queue: read many at a time, kept, and joined by
//! those that the watch has seen since.
//!
//! Unlike those of a FIFO queue they get out of date: something better may have
//! arrived. So a claim takes the first candidate that is there only if nothing
//! better was put since.

use std::sync::{Mutex, MutexGuard, PoisonError};

use etcd_client::{GetOptions, GetResponse};

use super::layout::priority_of;
use crate::dequeue::consumers::Line;
use crate::dequeue::first_present::{CANDIDATES_MAX, Candidate};
use crate::error::Error;
use crate::keys::Name;
use crate::request::{Purpose, Requests, revision_of};

/// How many candidates are kept.
const KEPT_MAX: usize = 2 * CANDIDATES_MAX;

/// The first items of a queue as of `revision`, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heads {
    pub(super) revision: i64,
    pub(super) candidates: Vec<Candidate>,
    /// These are all items that there were.
    pub(super) is_all: bool,
}

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

/// The heads that are known and not yet taken.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Heads>);

impl Known {
    fn lock(&self) -> MutexGuard<'_, Heads> {
        // Whole at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to try, with what the watch has seen since.
    pub(super) fn next(&self, name: &Name, line: &Line) -> Next {
        let mut known = self.lock();
        match line.watch.puts_after(known.revision) {
            Some((puts, revision)) => {
                for put in puts {
                    known.insert(name, put.into());
                }
                known.revision = revision;
            }
            None => known.is_all = false,
        }
        if known.candidates.is_empty() {
            return match known.is_all {
                true => Next::Empty {
                    revision: known.revision,
                },
                false => Next::Read,
            };
        }
        if line.is_late() {
            return Next::Read;
        }
        let mut heads = known.clone();
        heads.candidates.truncate(CANDIDATES_MAX);
        Next::Try(heads)
    }

    /// Remembers a read, unless something later is known.
    pub(super) fn learn(&self, heads: &Heads) {
        let mut known = self.lock();
        if heads.revision >= known.revision {
            known.clone_from(heads);
        }
    }

    /// Forgets what a claim has found gone at this revision: everything up to
    /// this key that had been put before.
    pub(super) fn passed(&self, key: &str, revision: i64) {
        let mut known = self.lock();
        known
            .candidates
            .retain(|c| c.key.as_str() > key || c.mod_revision > revision);
    }

    /// Forgets everything: the next claim reads.
    pub(super) fn forget(&self) {
        *self.lock() = Heads::default();
    }
}

impl Heads {
    /// Adds what was put, if it lies within what is known.
    fn insert(&mut self, name: &Name, put: Candidate) {
        let key = put.key.as_bytes();
        if priority_of(name, key).is_none() {
            return;
        }
        match self.candidates.binary_search_by(|c| c.key.cmp(&put.key)) {
            Ok(place) => self.candidates[place] = put,
            Err(place) if place < self.candidates.len() || self.is_all => {
                self.candidates.insert(place, put);
                if self.candidates.len() > KEPT_MAX {
                    self.candidates.truncate(KEPT_MAX);
                    self.is_all = false;
                }
            }
            Err(_) => {}
        }
    }
}

/// The range and options that read the first `limit` keys of a queue, in order.
pub(super) fn request(name: &Name, limit: usize) -> (String, GetOptions) {
    let (start, end) = name.item_range();
    let options = GetOptions::new()
        .with_range(end)
        .with_limit(i64::try_from(limit).unwrap_or(0))
        .with_keys_only();
    (start, options)
}

/// What the answer to a [`request`] says; `revision` is the header's. `None` if
/// keys that are no items fill it, so that there may be items behind.
pub(super) fn page(name: &Name, answer: &GetResponse, revision: i64) -> Option<Heads> {
    let mut heads = Heads {
        revision,
        is_all: !answer.more(),
        ..Heads::default()
    };
    for kv in answer.kvs() {
        if priority_of(name, kv.key()).is_some() {
            heads.candidates.push(Candidate {
                key: String::from_utf8_lossy(kv.key()).into_owned(),
                mod_revision: kv.mod_revision(),
                value: None,
            });
        }
    }
    (heads.is_all || !heads.candidates.is_empty()).then_some(heads)
}

/// Reads the first items of the queue.
pub(super) async fn read(requests: &Requests, name: &Name) -> Result<Heads, Error> {
    let why = Purpose {
        operation: "read the head of",
        target: name.as_str(),
    };
    let mut limit = CANDIDATES_MAX;
    loop {
        let (start, options) = request(name, limit);
        let answer = requests.range(why, start.as_bytes(), options).await?;
        if let Some(mut heads) = page(name, &answer, revision_of(answer.header())) {
            heads.is_all &= heads.candidates.len() <= KEPT_MAX;
            heads.candidates.truncate(KEPT_MAX);
            return Ok(heads);
        }
        limit = limit.saturating_mul(16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(key: &str, mod_revision: i64) -> Candidate {
        Candidate {
            key: key.to_owned(),
            mod_revision,
            value: None,
        }
    }

    fn item(priority: u16, sequence: u64, mod_revision: i64) -> Candidate {
        let key = format!("pq/{priority:05}/{sequence:016}");
        candidate(&key, mod_revision)
    }

    fn heads(is_all: bool, candidates: &[Candidate]) -> Heads {
        Heads {
            revision: 20,
            candidates: candidates.to_vec(),
            is_all,
        }
    }

    #[test]
    fn something_better_that_the_watch_saw_comes_first() {
        let name = Name::new("pq").unwrap();
        let mut known = heads(false, &[item(5, 0, 11)]);
        known.insert(&name, item(3, 0, 21));
        // What lies behind a list that is not all may have others before it.
        known.insert(&name, item(7, 0, 22));
        known.insert(&name, candidate("pq/00001", 23));
        assert_eq!(known.candidates, [item(3, 0, 21), item(5, 0, 11)]);
        known.is_all = true;
        known.insert(&name, item(7, 0, 22));
        assert_eq!(known.candidates.len(), 3);
    }

    #[test]
    fn a_claim_forgets_what_was_gone_and_not_what_came_later() {
        let known = Known::default();
        let all = [
            item(1, 0, 30),
            item(2, 0, 15),
            item(3, 0, 11),
            item(3, 1, 12),
        ];
        known.learn(&heads(true, &all));
        known.passed(&item(3, 0, 0).key, 25);
        assert_eq!(known.lock().candidates, [item(1, 0, 30), item(3, 1, 12)]);
    }
}
