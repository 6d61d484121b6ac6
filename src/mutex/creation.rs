//! The transaction that puts a key into the line, and what its answer says.

use etcd_client::{
    Compare, CompareOp, GetOptions, KeyValue, PutOptions, SortOrder, SortTarget, Txn, TxnOp,
    TxnOpResponse, TxnResponse,
};

use crate::error::Error;
use crate::request::revision_of;

/// Creates the key unless it is there, and asks who is first in the line. To be
/// sent again after an unknown outcome: the key is there once.
pub(super) fn creation(key: &str, line: &str, lease: i64) -> Txn {
    let put = PutOptions::new().with_lease(lease);
    Txn::new()
        .when([Compare::create_revision(key, CompareOp::Equal, 0)])
        .and_then([TxnOp::put(key, "", Some(put)), first(line)])
        .or_else([TxnOp::get(key, None), first(line)])
}

/// Asks for the oldest key that begins with `line`.
fn first(line: &str) -> TxnOp {
    let options = GetOptions::new()
        .with_prefix()
        .with_sort(SortTarget::Create, SortOrder::Ascend)
        .with_limit(1);
    TxnOp::get(line, Some(options))
}

/// Where a key stands.
pub(super) struct Place {
    /// Its create revision.
    pub(super) token: i64,
    /// The revision of the answer.
    pub(super) revision: i64,
    /// Whether no other key of any kind is older.
    pub(super) is_first: bool,
}

impl Place {
    /// What the answer to [`creation`] says.
    pub(super) fn of(answer: &TxnResponse, key: &str, lease: i64) -> Result<Self, Error> {
        let unreadable = || Error::unreadable_answer("lock", key);
        let revision = revision_of(answer.header());
        let mut answers = answer.op_responses().into_iter();
        let (own, first) = (answers.next(), answers.next());
        let Some(TxnOpResponse::Get(first)) = first else {
            return Err(unreadable());
        };
        let token = match own {
            Some(TxnOpResponse::Put(_)) => revision,
            Some(TxnOpResponse::Get(own)) => {
                let own = own.kvs().first().ok_or_else(unreadable)?;
                if own.lease() != lease {
                    let reason = "the key of this session's lease belongs to another one";
                    return Err(Error::foreign_data(key, reason));
                }
                own.create_revision()
            }
            _ => return Err(unreadable()),
        };
        let is_own = |kv: &KeyValue| kv.create_revision() == token;
        let is_first = first.kvs().first().is_none_or(is_own);
        Ok(Self {
            token,
            revision,
            is_first,
        })
    }
}
