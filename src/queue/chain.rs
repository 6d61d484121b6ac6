//! Claiming the first item that is still there, in one transaction.
//!
//! ```text
//! If mod(item 1) = r1 Then Delete(item 1) Else Txn(
//!     If mod(item 2) = r2 Then Delete(item 2) Else Txn( .. Else Range(heads)))
//! ```
//!
//! The candidates are the first items of the queue as of some revision, in
//! order of modification revision. New items only ever join at the tail, with a
//! higher revision, so the first candidate that is still present is the head of
//! the queue at the moment of the transaction, however old the list is. If none
//! is, the innermost branch has read the next heads at that same moment.

use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, GetResponse, SortOrder, SortTarget, Txn, TxnOp,
    TxnOpResponse, TxnResponse,
};

use crate::keys::Name;

/// How many candidates a chain has at most.
///
/// etcd applies longer chains too, but from 50 on the client cannot decode the
/// answer (prost's recursion limit), and an item would be taken without anybody
/// learning which.
pub(super) const LONGEST_CHAIN: usize = 32;

/// An item that was in the queue, as of some revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) key: String,
    pub(super) mod_revision: i64,
    /// Only where the claim has to write it somewhere else.
    pub(super) value: Option<Vec<u8>>,
}

impl Candidate {
    /// The order of the queue. Items of one transaction share a revision.
    pub(super) fn order(&self) -> (i64, &str) {
        (self.mod_revision, &self.key)
    }
}

/// The first items of a queue as of `revision`, oldest first. Empty only if the
/// queue was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heads {
    pub(super) revision: i64,
    pub(super) candidates: Vec<Candidate>,
}

/// How a chain ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// This candidate, by number, was deleted at this revision. The value comes
    /// from etcd.
    Taken {
        index: usize,
        value: Vec<u8>,
        revision: i64,
    },
    /// No candidate was left; what the innermost branch has read.
    AllGone(Page),
}

/// A page of heads as etcd answered it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) heads: Heads,
    /// There are keys in the range that the page does not hold.
    pub(super) more: bool,
}

/// The range and options that read the first `limit` keys of a queue.
pub(super) fn page_request(name: &Name, limit: usize, with_values: bool) -> (String, GetOptions) {
    let (start, end) = name.item_range();
    let options = GetOptions::new()
        .with_range(end)
        .with_sort(SortTarget::Mod, SortOrder::Ascend)
        .with_limit(i64::try_from(limit).unwrap_or(0));
    let options = if with_values {
        options
    } else {
        options.with_keys_only()
    };
    (start, options)
}

/// What the answer to a [`page_request`] says; `revision` is the header's.
/// Leaves out keys that are not items of this queue.
pub(super) fn page(name: &Name, answer: &GetResponse, revision: i64, with_values: bool) -> Page {
    let mut candidates: Vec<Candidate> = answer
        .kvs()
        .iter()
        .filter(|kv| name.is_item(kv.key()))
        .map(|kv| Candidate {
            key: String::from_utf8_lossy(kv.key()).into_owned(),
            mod_revision: kv.mod_revision(),
            value: with_values.then(|| kv.value().to_vec()),
        })
        .collect();
    // etcd has sorted them by revision, but not those that share one.
    candidates.sort_by(|a, b| a.order().cmp(&b.order()));
    Page {
        heads: Heads {
            revision,
            candidates,
        },
        more: answer.more(),
    }
}

/// The chain over `candidates`, which must not be empty. `also` says what else
/// is written when a candidate is taken; `next` is read when none is left.
pub(super) fn chain(
    candidates: &[Candidate],
    also: impl Fn(&Candidate) -> Option<TxnOp>,
    next: TxnOp,
) -> Txn {
    assert!(
        (1..=LONGEST_CHAIN).contains(&candidates.len()),
        "a chain of {} candidates",
        candidates.len()
    );
    let link = |candidate: &Candidate, otherwise: TxnOp| {
        let delete = DeleteOptions::new().with_prev_key();
        let mut then = vec![TxnOp::delete(candidate.key.as_str(), Some(delete))];
        then.extend(also(candidate));
        Txn::new()
            .when([Compare::mod_revision(
                candidate.key.as_str(),
                CompareOp::Equal,
                candidate.mod_revision,
            )])
            .and_then(then)
            .or_else([otherwise])
    };
    let (first, rest) = candidates.split_first().expect("checked above");
    let inner = rest
        .iter()
        .rev()
        .fold(next, |otherwise, c| TxnOp::txn(link(c, otherwise)));
    link(first, inner)
}

/// Reads the answer to a [`chain`] of `length` candidates; `revision` is that of
/// the outermost header. `None` if it does not have the shape of one.
///
/// What is read when none is left must be a keys-only [`page_request`].
pub(super) fn read_answer(
    name: &Name,
    answer: TxnResponse,
    length: usize,
    revision: i64,
) -> Option<Claim> {
    let mut level = answer;
    for index in 0..length {
        let first = level.op_responses().into_iter().next()?;
        if level.succeeded() {
            let TxnOpResponse::Delete(mut deleted) = first else {
                return None;
            };
            let (_, value) = deleted.take_prev_kvs().pop()?.into_key_value();
            return Some(Claim::Taken {
                index,
                value,
                revision,
            });
        }
        match first {
            TxnOpResponse::Txn(inner) => level = inner,
            TxnOpResponse::Get(read) if index + 1 == length => {
                return Some(Claim::AllGone(page(name, &read, revision, false)));
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(count: i64) -> Vec<Candidate> {
        (1..=count)
            .map(|n| Candidate {
                key: format!("jobs/{n}"),
                mod_revision: 100 + n,
                value: None,
            })
            .collect()
    }

    /// The depth of nesting and the order of the keys, from the request's text;
    /// the client does not show its parts.
    fn keys_in_order(txn: &Txn) -> Vec<usize> {
        let text = format!("{txn:?}");
        (1..=9)
            .map(|n| {
                let key = format!("{:?}", format!("jobs/{n}").into_bytes());
                text.find(&key).unwrap_or(usize::MAX)
            })
            .collect()
    }

    #[test]
    fn the_first_candidate_is_outermost() {
        let txn = chain(&candidates(9), |_| None, TxnOp::get("next", None));
        let order = keys_in_order(&txn);
        assert!(order.is_sorted(), "{order:?}");
        assert!(!order.contains(&usize::MAX));
    }

    #[test]
    fn what_is_written_with_a_claim_belongs_to_its_candidate() {
        let also = |c: &Candidate| Some(TxnOp::put("slot", c.key.as_str(), None));
        let txn = chain(&candidates(2), also, TxnOp::get("next", None));
        assert_eq!(format!("{txn:?}").matches("RequestPut").count(), 2);
    }

    #[test]
    #[should_panic(expected = "a chain of 33 candidates")]
    fn a_chain_is_never_longer_than_the_client_can_read() {
        let _ = chain(&candidates(33), |_| None, TxnOp::get("next", None));
    }
}
