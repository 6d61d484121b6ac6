//! Taking the first of several keys that is still there, in one transaction.
//!
//! The transaction is a search: the compares of a level ask whether the whole
//! first half of the candidates is gone, and nested transactions search the one
//! half or the other.
//!
//! ```text
//! If gone(1) and gone(2) Then Txn(If gone(3) Then Txn(If here(4) Then Take(4) Else Next) Else Take(3))
//!                        Else Txn(If gone(1) Then Take(2) Else Take(1))
//! ```
//!
//! So a claim over 64 candidates is 7 levels deep. That matters: both sides
//! work out the size of every level anew at every level above, and the client
//! cannot decode an answer of 50 levels (prost's recursion limit), in which case
//! an item would be taken without anybody learning which.

use std::sync::atomic::{AtomicUsize, Ordering};

use etcd_client::{Compare, CompareOp, DeleteOptions, Txn, TxnOp, TxnOpResponse, TxnResponse};

use crate::watch::Put;

/// How many candidates a claim has at most. Each level of a transaction counts
/// with its compares towards etcd's limit of 128 operations (`--max-txn-ops`), so
/// a claim comes to as many as it has candidates.
pub(crate) const CANDIDATES_MAX: usize = 64;

/// A key that was there, as of some revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) key: String,
    pub(crate) mod_revision: i64,
    /// Only where the claim has to write it somewhere else.
    pub(crate) value: Option<Vec<u8>>,
}

impl Candidate {
    fn here(&self) -> Compare {
        Compare::mod_revision(self.key.as_str(), CompareOp::Equal, self.mod_revision)
    }

    fn gone(&self) -> Compare {
        Compare::mod_revision(self.key.as_str(), CompareOp::NotEqual, self.mod_revision)
    }

    /// Deletes it; the answer has what it was.
    pub(crate) fn delete(&self) -> TxnOp {
        let options = DeleteOptions::new().with_prev_key();
        TxnOp::delete(self.key.as_str(), Some(options))
    }
}

impl From<Put> for Candidate {
    fn from(put: Put) -> Self {
        Self {
            key: String::from_utf8_lossy(&put.key).into_owned(),
            mod_revision: put.mod_revision,
            value: None,
        }
    }
}

/// How many candidates a claim should try: about twice as many as others got
/// ahead of this one. More than the contention asks for are a waste of etcd's
/// time, and with too few the claim is repeated.
#[derive(Debug)]
pub(crate) struct Tries(AtomicUsize);

/// How many candidates a claim tries when nobody else seems to claim.
const TRIES_MIN: usize = 2;

impl Default for Tries {
    fn default() -> Self {
        Self(AtomicUsize::new(TRIES_MIN))
    }
}

impl Tries {
    /// How many to try now.
    pub(crate) fn number(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// The candidate with this number was there.
    pub(crate) fn took(&self, index: usize) {
        let number = self.number();
        self.set((number - number / 4).max(2 * (index + 1)));
    }

    /// None was there.
    pub(crate) fn missed(&self) {
        self.set(self.number() * 2);
    }

    fn set(&self, number: usize) {
        let number = number.clamp(TRIES_MIN, CANDIDATES_MAX);
        self.0.store(number, Ordering::Relaxed);
    }
}

/// What a claim came to.
#[derive(Debug)]
pub(crate) enum Found {
    /// This candidate, by number, was the first; the answers to what was done
    /// with it.
    First(usize, Vec<TxnOpResponse>),
    /// None was left; the answer to what is done then.
    None(TxnOpResponse),
}

/// Does `take` with the first of the candidates that is there, or `next` if none
/// is. There must be between 1 and [`CANDIDATES_MAX`] of them.
pub(crate) fn claim(
    candidates: &[Candidate],
    take: &impl Fn(&Candidate) -> Vec<TxnOp>,
    next: TxnOp,
) -> Txn {
    assert!(
        (1..=CANDIDATES_MAX).contains(&candidates.len()),
        "a claim of {} candidates",
        candidates.len()
    );
    if let [only] = candidates {
        return Txn::new()
            .when([only.here()])
            .and_then(take(only))
            .or_else([next]);
    }
    let (first, second) = candidates.split_at(first_half(candidates.len()));
    Txn::new()
        .when(all_gone(first))
        .and_then([TxnOp::txn(claim(second, take, next))])
        .or_else(one_of(first, take))
}

/// Takes the first of candidates of which at least one is there.
fn one_of(candidates: &[Candidate], take: &impl Fn(&Candidate) -> Vec<TxnOp>) -> Vec<TxnOp> {
    if let [only] = candidates {
        return take(only);
    }
    let (first, second) = candidates.split_at(first_half(candidates.len()));
    let search = Txn::new()
        .when(all_gone(first))
        .and_then(one_of(second, take))
        .or_else(one_of(first, take));
    vec![TxnOp::txn(search)]
}

fn all_gone(candidates: &[Candidate]) -> Vec<Compare> {
    candidates.iter().map(Candidate::gone).collect()
}

/// The first half is the smaller one: claims mostly take the first.
fn first_half(count: usize) -> usize {
    count / 2
}

/// Reads the answer to a [`claim`] of so many candidates. `None` if it does not
/// have the shape of one.
pub(crate) fn read_answer(answer: TxnResponse, candidates: usize) -> Option<Found> {
    let (mut first, mut count) = (0, candidates);
    let mut one_is_there = false;
    let mut level = answer;
    loop {
        let succeeded = level.succeeded();
        let mut answers = level.op_responses();
        if count == 1 {
            return match succeeded {
                true => Some(Found::First(first, answers)),
                false => Some(Found::None(answers.pop()?)),
            };
        }
        let half = first_half(count);
        if succeeded {
            first += half;
            count -= half;
        } else {
            count = half;
            one_is_there = true;
        }
        if one_is_there && count == 1 {
            return Some(Found::First(first, answers));
        }
        let Some(TxnOpResponse::Txn(inner)) = answers.pop() else {
            return None;
        };
        level = inner;
    }
}

/// The value of the key that was deleted by the first of these answers.
pub(crate) fn deleted_value(answers: Vec<TxnOpResponse>) -> Option<Vec<u8>> {
    match answers.into_iter().next()? {
        TxnOpResponse::Delete(mut deleted) => {
            let (_, value) = deleted.take_prev_kvs().pop()?.into_key_value();
            Some(value)
        }
        _ => None,
    }
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

    fn take(candidate: &Candidate) -> Vec<TxnOp> {
        vec![candidate.delete(), TxnOp::put("slot", "", None)]
    }

    #[test]
    fn every_candidate_is_taken_in_one_place() {
        for count in [1, 2, 3, 31, 64] {
            let txn = claim(&candidates(count), &take, TxnOp::get("next", None));
            let text = format!("{txn:?}");
            assert_eq!(text.matches("RequestPut").count() as i64, count);
            assert_eq!(text.matches("RequestRange").count(), 1);
        }
    }

    #[test]
    fn a_claim_tries_as_many_as_others_make_it() {
        let tries = Tries::default();
        tries.missed();
        assert_eq!(tries.number(), 4);
        tries.took(3);
        assert_eq!(tries.number(), 8);
        (0..20).for_each(|_| tries.missed());
        assert_eq!(tries.number(), CANDIDATES_MAX);
        (0..20).for_each(|_| tries.took(0));
        assert!(tries.number() <= 4);
    }

    #[test]
    #[should_panic(expected = "a claim of 65 candidates")]
    fn a_claim_stays_below_the_limits() {
        let _ = claim(&candidates(65), &take, TxnOp::get("next", None));
    }
}
