//! Sequences that chance would not find, or not soon.

use std::time::Duration;

use etcd_client::proto::{
    PbCompactionRequest, PbDeleteRequest, PbPutRequest, PbTxnOpRequest, PbTxnRequest,
    PbTxnRequestOp, PbWatchRequest, PbWatchRequestUnion,
};

use crate::step::{CURRENT, Step};

/// A sequence with a name.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is about.
    pub name: &'static str,
    /// Its steps.
    pub steps: fn() -> Vec<Step>,
}

/// All of them.
pub const ALL: &[Scenario] = &[
    // The first: before any compaction.
    Scenario {
        name: "a watch from -1 hears nothing of the past, nor does who lags behind beside it",
        steps: before_all,
    },
    // Before all other compactions: there is one at 0 only then.
    Scenario {
        name: "a compaction at 0 overtakes a watch from -1 and is taken for all keys",
        steps: compacted_at_zero,
    },
    Scenario {
        name: "the hash of a key that was deleted and created in one revision",
        steps: created_anew,
    },
    Scenario {
        name: "an expired lease takes its keys in one revision",
        steps: expiry,
    },
    Scenario {
        name: "a watch from long ago hears a thousand revisions at a time",
        steps: long_ago,
    },
    Scenario {
        name: "a large answer is split between events",
        steps: fragments,
    },
];

/// Before there was a compaction, -1 is not compacted.
fn before_all() -> Vec<Step> {
    let put = Step::Put(PbPutRequest {
        key: b"a".to_vec(),
        ..Default::default()
    });
    let mut steps = vec![put.clone(); 3];
    steps.extend([
        watch_all(-1, false),
        put.clone(),
        Step::Listen { stream: 0 },
    ]);
    for beside in [[1, -1], [-1, 1], [3, -1]] {
        // Who lags behind is served every 100 ms: when this one has heard of the past, there
        // is time to ask for two that are served together.
        steps.extend([watch_on(1, &[1], false), watch_on(0, &beside, false)]);
        steps.extend([put.clone(), Step::Listen { stream: 0 }]);
    }
    steps
}

fn compacted_at_zero() -> Vec<Step> {
    let put = Step::Put(PbPutRequest {
        key: b"a".to_vec(),
        ..Default::default()
    });
    let mut steps = vec![
        Step::Compact(PbCompactionRequest::default()),
        watch_all(-1, false),
        Step::Listen { stream: 0 },
        put.clone(),
        Step::Listen { stream: 0 },
    ];
    // The hash of revision 0 is remembered until ten others are.
    for revision in 2..13 {
        let compact = PbCompactionRequest {
            revision,
            physical: true,
        };
        steps.extend([
            Step::Compact(compact),
            Step::Hash { revision: 0 },
            put.clone(),
        ]);
    }
    steps
}

/// A range to the end passes etcd's check for duplicate keys.
fn created_anew() -> Vec<Step> {
    let put = |key: &[u8]| PbPutRequest {
        key: key.to_vec(),
        ..Default::default()
    };
    let delete = |range_end: &[u8]| PbDeleteRequest {
        key: b"a".to_vec(),
        range_end: range_end.to_vec(),
        prev_kv: false,
    };
    let compact = PbCompactionRequest {
        revision: CURRENT,
        physical: true,
    };
    let operations = [
        PbTxnOpRequest::RequestDeleteRange(delete(&[0])),
        PbTxnOpRequest::RequestPut(put(b"b")),
    ];
    let success = operations.map(|operation| PbTxnRequestOp {
        request: Some(operation),
    });
    let anew = PbTxnRequest {
        success: success.to_vec(),
        ..Default::default()
    };
    vec![
        Step::Put(put(b"a")),
        Step::Compact(compact),
        Step::Delete(delete(b"")),
        Step::Put(put(b"b")),
        Step::Txn(anew),
        Step::Hash { revision: 0 },
        Step::Put(put(b"c")),
        Step::Hash { revision: 0 },
    ]
}

fn expiry() -> Vec<Step> {
    let put = |key: &[u8]| {
        Step::Put(PbPutRequest {
            key: key.to_vec(),
            lease: 7,
            ..Default::default()
        })
    };
    vec![
        Step::Grant { id: 7, ttl: 1 },
        put(b"b"),
        put(b"a"),
        put(b"c"),
        Step::TimeToLive { id: 7, keys: true },
        watch_all(0, false),
        Step::Wait(Duration::from_millis(3500)),
        Step::Listen { stream: 0 },
        Step::TimeToLive { id: 7, keys: true },
        Step::KeepAlive { ids: vec![7] },
        put(b"d"),
        Step::Leases,
    ]
}

fn long_ago() -> Vec<Step> {
    let put = Step::Put(PbPutRequest {
        key: b"a".to_vec(),
        ..Default::default()
    });
    let mut steps = vec![put; 2100];
    steps.push(watch_all(crate::step::from_current(-2099), false));
    steps
}

fn fragments() -> Vec<Step> {
    let put = |size: usize| {
        Step::Put(PbPutRequest {
            key: b"a".to_vec(),
            value: vec![0; size],
            ..Default::default()
        })
    };
    let sizes = [900_000, 900_000, 100, 900_000, 100, 100];
    let mut steps: Vec<Step> = sizes.into_iter().map(put).collect();
    steps.push(watch_all(crate::step::from_current(-5), true));
    steps
}

fn watch_all(start_revision: i64, fragment: bool) -> Step {
    watch_on(0, &[start_revision], fragment)
}

/// Watches of all keys on a stream, at once.
fn watch_on(stream: usize, start_revisions: &[i64], fragment: bool) -> Step {
    let request = |&start_revision| {
        let mut create = PbWatchRequestUnion::CreateRequest(Default::default());
        if let PbWatchRequestUnion::CreateRequest(create) = &mut create {
            create.range_end = vec![0];
            create.start_revision = start_revision;
            create.prev_kv = !fragment;
            create.fragment = fragment;
        }
        PbWatchRequest {
            request_union: Some(create),
        }
    };
    Step::Watch {
        stream,
        requests: start_revisions.iter().map(request).collect(),
    }
}
