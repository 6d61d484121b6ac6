//! What somebody sees who has not heard of everything yet.

use etcd_client::proto::{
    PbDeleteRequest, PbPutRequest, PbRangeRequest, PbRangeResponse, PbTxnRequest,
};

use super::index::At;
use super::{Store, StoreError, check};

/// The part of the history that a member has applied: what it can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The newest revision.
    pub revision: i64,
    /// The last compaction, or -1.
    pub compacted: i64,
}

impl Store {
    /// Everything.
    pub fn present(&self) -> View {
        View {
            revision: self.revision,
            compacted: self.compacted,
        }
    }

    /// Reads keys as a view shows them. Its revision must not lie below what has
    /// been discarded.
    ///
    /// # Errors
    ///
    /// As [`Store::range`].
    pub fn range_in(
        &self,
        request: &PbRangeRequest,
        view: View,
    ) -> Result<PbRangeResponse, StoreError> {
        check::check_range(request, self.options.version)?;
        self.read_in(request, view)
    }

    /// Whether a put would be refused unseen, whatever the keys are.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    pub fn precheck_put(&self, request: &PbPutRequest) -> Result<(), StoreError> {
        check::check_put(request)?;
        check::check_size(request, self.options.request_bytes_max)
    }

    /// Whether a read would be refused unseen.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    pub fn precheck_range(&self, request: &PbRangeRequest) -> Result<(), StoreError> {
        check::check_range(request, self.options.version)
    }

    /// Whether a delete would be refused unseen.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    pub fn precheck_delete(&self, request: &PbDeleteRequest) -> Result<(), StoreError> {
        check::check_delete(request)?;
        check::check_size(request, self.options.request_bytes_max)
    }

    /// Whether a transaction that writes would be refused unseen.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    pub fn precheck_txn(&self, request: &PbTxnRequest) -> Result<(), StoreError> {
        check::check_txn(request, self.options.txn_ops_max, self.options.version)?;
        check::check_size(request, self.options.request_bytes_max)
    }

    /// The newest that a view shows.
    pub(super) fn newest(&self, view: View) -> At {
        if view.revision == self.visible_revision() {
            At::Now
        } else {
            At::Revision(view.revision)
        }
    }
}
