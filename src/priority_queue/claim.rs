//! The transaction that takes the best item, and what its answer says.
//!
//! ```text
//! If nothing was put into priorities 0 to 2 since the candidates were known
//! Then delete the first of name/00003/..07, name/00003/..08 that is still there,
//!      or, if neither is: If nothing was put into priorities 0 to 4 either Then ..
//! ```
//!
//! Every item comes with a write to its priority's bookkeeping key, so one compare
//! over the range of those keys says whether anything better has arrived, however
//! many items there are and were. Nothing can have come before a candidate within
//! its own priority, because sequence numbers only grow.

use etcd_client::{Compare, CompareOp, Txn, TxnOp, TxnOpResponse, TxnResponse};

use super::heads::{self, Heads};
use super::{Inner, layout};
use crate::dequeue::first_present::{self, Candidate, Found};
use crate::keys::Name;

/// Candidates of so many priorities at most: each is a level of nested
/// transactions, on top of those of the search among its own candidates, and the
/// client cannot decode an answer of 50 levels.
const PRIORITIES_MAX: usize = 4;

/// How a claim ended.
pub(super) enum Outcome {
    /// This candidate, by number, was deleted.
    Taken { index: usize, value: Vec<u8> },
    /// Something better than those that are left has arrived.
    SomethingBetter,
    /// All candidates were gone; the first items as they were then, unless keys that
    /// are no items fill the page.
    AllGone(Option<Heads>),
}

/// A claim of the best of some candidates.
pub(super) struct Claim<'c> {
    /// In order; of one priority each.
    groups: Vec<&'c [Candidate]>,
    /// As of when the candidates are known.
    revision: i64,
    /// Whether to ask if something better has arrived. Only a broken twin does not.
    looks: bool,
}

impl<'c> Claim<'c> {
    /// `candidates` are all that were there as of `revision`, up to the last of them.
    pub(super) fn new(inner: &Inner, candidates: &'c [Candidate], revision: i64) -> Self {
        let priority = |c: &Candidate| layout::priority_of(&inner.name, c.key.as_bytes());
        let groups = candidates.chunk_by(|a, b| priority(a) == priority(b));
        Self {
            groups: groups.take(PRIORITIES_MAX).collect(),
            revision,
            #[cfg(feature = "harness")]
            looks: !inner.takes_stale_minimum(),
            #[cfg(not(feature = "harness"))]
            looks: true,
        }
    }

    pub(super) fn txn(&self, name: &Name) -> Txn {
        self.level(name, &self.groups)
    }

    fn level(&self, name: &Name, groups: &[&[Candidate]]) -> Txn {
        let Some((group, rest)) = groups.split_first() else {
            unreachable!("a claim has candidates");
        };
        let next = if rest.is_empty() {
            let (start, options) = heads::request(name, first_present::CANDIDATES_MAX);
            TxnOp::get(start, Some(options))
        } else {
            TxnOp::txn(self.level(name, rest))
        };
        let take = |candidate: &Candidate| vec![candidate.delete()];
        let nothing_better = self.nothing_better_than(name, &group[0]);
        Txn::new()
            .when(nothing_better.into_iter().collect::<Vec<_>>())
            .and_then([TxnOp::txn(first_present::claim(group, &take, next))])
    }

    fn nothing_better_than(&self, name: &Name, candidate: &Candidate) -> Option<Compare> {
        let priority = layout::priority_of(name, candidate.key.as_bytes())?;
        if priority == 0 || !self.looks {
            return None;
        }
        let first = layout::bookkeeping_key(name, 0);
        let own = layout::bookkeeping_key(name, priority);
        let unchanged = Compare::mod_revision(first, CompareOp::Less, self.revision + 1);
        Some(unchanged.with_range(own))
    }

    /// What the answer says that etcd gave at `revision`. `None` if it does not have
    /// the shape of one.
    pub(super) fn outcome(
        &self,
        name: &Name,
        answer: TxnResponse,
        revision: i64,
    ) -> Option<Outcome> {
        let mut level = answer;
        let mut before = 0;
        for (number, group) in self.groups.iter().enumerate() {
            if !level.succeeded() {
                return Some(Outcome::SomethingBetter);
            }
            let TxnOpResponse::Txn(first) = level.op_responses().pop()? else {
                return None;
            };
            let next = match first_present::read_answer(first, group.len())? {
                Found::First(index, answers) => {
                    let value = first_present::deleted_value(answers)?;
                    let index = before + index;
                    return Some(Outcome::Taken { index, value });
                }
                Found::None(next) => next,
            };
            let is_last = number + 1 == self.groups.len();
            match next {
                TxnOpResponse::Get(read) if is_last => {
                    return Some(Outcome::AllGone(heads::page(name, &read, revision)));
                }
                TxnOpResponse::Txn(inner) if !is_last => level = inner,
                _ => return None,
            }
            before += group.len();
        }
        None
    }
}
