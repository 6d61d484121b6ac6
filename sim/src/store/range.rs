//! Reads.
//!
//! Follows `executeRange` in etcd's `server/etcdserver/txn/range.go` and
//! `rangeKeys` in `server/storage/mvcc/kvstore_txn.go`.

use etcd_client::proto::{PbKeyValue, PbRangeRequest, PbRangeResponse};

use super::index::At;
use super::key_range::KeyRange;
use super::record::Record;
use super::{Store, StoreError, View, header};

const ORDER_NONE: i32 = 0;
const ORDER_ASCEND: i32 = 1;
const ORDER_DESCEND: i32 = 2;
const TARGET_KEY: i32 = 0;
const TARGET_VERSION: i32 = 1;
const TARGET_CREATE: i32 = 2;
const TARGET_MOD: i32 = 3;

impl Store {
    /// A checked read. Within a transaction it sees what the transaction has
    /// written so far.
    pub(super) fn read(&self, request: &PbRangeRequest) -> Result<PbRangeResponse, StoreError> {
        let present = View {
            revision: self.visible_revision(),
            compacted: self.compacted,
        };
        self.read_in(request, present)
    }

    /// A checked read of what a view shows.
    pub(super) fn read_in(
        &self,
        request: &PbRangeRequest,
        view: View,
    ) -> Result<PbRangeResponse, StoreError> {
        let at = self.at(request.revision, view)?;
        let range = KeyRange::new(&request.key, &request.range_end);
        let mut response = PbRangeResponse {
            header: header(view.revision),
            ..Default::default()
        };
        if request.count_only {
            response.count = signed(self.index.count(range, at));
            return Ok(response);
        }
        if let KeyRange::One(key) = range {
            if let Some(record) = self.index.get(key, at) {
                response.count = 1;
                if passes(record, request) {
                    response.kvs = vec![copy(record, request.keys_only)];
                }
            }
            return Ok(response);
        }
        let (mut records, count) = self.index.first(range, at, fetch_limit(request));
        records.retain(|record| passes(record, request));
        sort(&mut records, request);
        if let Some(limit) = positive(request.limit)
            && records.len() > limit
        {
            records.truncate(limit);
            response.more = true;
        }
        response.count = signed(count);
        response.kvs = records
            .into_iter()
            .map(|r| copy(r, request.keys_only))
            .collect();
        Ok(response)
    }

    /// The revision that the running transaction shows: the next one as soon as
    /// it has written.
    pub(super) fn visible_revision(&self) -> i64 {
        self.revision + i64::from(self.changes > 0)
    }

    /// Zero and less stand for "now".
    fn at(&self, revision: i64, view: View) -> Result<At, StoreError> {
        if revision > view.revision {
            return Err(StoreError::FutureRevision);
        }
        if revision <= 0 || revision == view.revision {
            return Ok(self.newest(view));
        }
        if revision < view.compacted {
            return Err(StoreError::Compacted);
        }
        Ok(At::Revision(revision))
    }
}

/// How many keys, in order of keys, a read looks at: one more than its limit,
/// or all when it sorts or filters. A sort target without an order sorts only
/// what the limit let through (`rangeLimit`).
fn fetch_limit(request: &PbRangeRequest) -> Option<usize> {
    let filters = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    if request.sort_order != ORDER_NONE || filters.iter().any(|&bound| bound != 0) {
        return None;
    }
    positive(request.limit).map(|limit| limit.saturating_add(1))
}

/// Whether a record lies within the revisions that the request asks for; a
/// bound of zero is none.
fn passes(record: &Record, request: &PbRangeRequest) -> bool {
    let within =
        |revision, min, max| (max == 0 || revision <= max) && (min == 0 || revision >= min);
    within(
        record.mod_revision(),
        request.min_mod_revision,
        request.max_mod_revision,
    ) && within(
        record.create_revision(),
        request.min_create_revision,
        request.max_create_revision,
    )
}

/// Sorts what a read has found, which is in order of keys. Equals stay in
/// order of keys; etcd leaves their order open.
fn sort(records: &mut [&Record], request: &PbRangeRequest) {
    let descend = match request.sort_order {
        ORDER_NONE | ORDER_ASCEND => false,
        ORDER_DESCEND => true,
        // Where it is not refused, an unknown order is none.
        _ => return,
    };
    if request.sort_target == TARGET_KEY {
        if descend {
            records.reverse();
        }
        return;
    }
    records.sort_by(|a, b| {
        let (a, b) = if descend { (b, a) } else { (a, b) };
        match request.sort_target {
            TARGET_VERSION => a.version().cmp(&b.version()),
            TARGET_CREATE => a.create_revision().cmp(&b.create_revision()),
            TARGET_MOD => a.mod_revision().cmp(&b.mod_revision()),
            _ => a.value().cmp(b.value()),
        }
    });
}

/// A record as an answer.
fn copy(record: &Record, keys_only: bool) -> PbKeyValue {
    let value = if keys_only { &[] } else { record.value() };
    record.with_value(value)
}

fn positive(limit: i64) -> Option<usize> {
    usize::try_from(limit).ok().filter(|&limit| limit > 0)
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).expect("a count of keys fits into 63 bits")
}
