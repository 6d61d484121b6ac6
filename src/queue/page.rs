//! The first items of a queue, and the claim that takes the head.
//!
//! The candidates are the first items of the queue as of some revision, in
//! order of modification revision. New items only ever join at the tail, with a
//! higher revision, so the first candidate that is still present is the head of
//! the queue at the moment of the transaction, however old the list is. If none
//! is, the transaction has read the next heads at that same moment.

use etcd_client::{GetOptions, GetResponse, SortOrder, SortTarget, TxnOpResponse, TxnResponse};

use crate::dequeue::first_present::{Candidate, Found, deleted_value, read_answer};
use crate::keys::Name;

/// The order of the queue. Items of one transaction share a revision.
pub(super) fn order(candidate: &Candidate) -> (i64, &str) {
    (candidate.mod_revision, &candidate.key)
}

/// The first items of a queue as of `revision`, oldest first. Empty only if the
/// queue was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heads {
    pub(super) revision: i64,
    pub(super) candidates: Vec<Candidate>,
    /// These are all items that there were.
    pub(super) is_all: bool,
}

/// How a claim ended.
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
pub(super) fn request(name: &Name, limit: usize, with_values: bool) -> (String, GetOptions) {
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

/// What the answer to a [`request`] says; `revision` is the header's.
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
    candidates.sort_by(|a, b| order(a).cmp(&order(b)));
    Page {
        heads: Heads {
            revision,
            candidates,
            is_all: !answer.more(),
        },
        more: answer.more(),
    }
}

/// Reads the answer to a claim of so many candidates; `revision` is that of
/// the outermost header. `None` if it does not have the shape of one.
///
/// What is read when none is left must be a keys-only [`request`].
pub(super) fn outcome(
    name: &Name,
    answer: TxnResponse,
    candidates: usize,
    revision: i64,
) -> Option<Claim> {
    match read_answer(answer, candidates)? {
        Found::First(index, answers) => Some(Claim::Taken {
            index,
            value: deleted_value(answers)?,
            revision,
        }),
        Found::None(TxnOpResponse::Get(read)) => {
            Some(Claim::AllGone(page(name, &read, revision, false)))
        }
        Found::None(_) => None,
    }
}
