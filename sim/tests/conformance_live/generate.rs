//! Makes up requests: most of them meaningful, some hostile.

use std::time::Duration;

use etcd_client::proto::{
    PbCompactionRequest, PbCompare, PbDeleteRequest, PbPutRequest, PbRangeRequest, PbTargetUnion,
    PbTxnOpRequest, PbTxnRequest, PbTxnRequestOp, PbWatchRequest, PbWatchRequestUnion,
};
use etcd_sim::store::Store;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Few keys, so that requests meet.
const KEYS: [&[u8]; 10] = [
    b"a",
    b"a\0",
    b"a/1",
    b"a/2",
    b"a/3",
    b"b",
    b"b/1",
    b"c",
    b"\xff",
    b"\xff\xff",
];

/// A range of five keys: up to six, every release of etcd keeps equals in order
/// when it sorts (the `sort` of the Go releases that they are built with).
const SORTABLE: (&[u8], &[u8]) = (b"a", b"b");

/// The leases that requests name.
const LEASES: std::ops::Range<i64> = 1..8;

/// One request, or a series of requests around watches.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Range(PbRangeRequest),
    Put(PbPutRequest),
    Delete(PbDeleteRequest),
    Txn(PbTxnRequest),
    Compact(PbCompactionRequest),
    Grant { id: i64, ttl: i64 },
    Revoke { id: i64 },
    TimeToLive { id: i64, keys: bool },
    Leases,
    KeepAlive { id: i64 },
    Watch(WatchScript),
    Wait(Duration),
}

/// Watches are created on one stream, heard out, some mutations follow, some
/// watches are cancelled, the client closes its half, the mutations come again.
#[derive(Clone, Debug)]
pub(crate) struct WatchScript {
    pub(crate) creates: Vec<PbWatchRequest>,
    pub(crate) mutations: Vec<Step>,
    pub(crate) cancels: Vec<PbWatchRequest>,
}

/// How far the store of the simulated member has come.
#[derive(Clone, Copy)]
struct Horizon {
    current: i64,
    compacted: i64,
}

pub(crate) struct Generator {
    rng: ChaCha8Rng,
    made: u64,
    grants: i64,
    to_revoke: Option<i64>,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Generator {
            rng: ChaCha8Rng::seed_from_u64(seed),
            made: 0,
            grants: 0,
            to_revoke: None,
        }
    }

    /// The next step, fit for what `store` holds now.
    pub(crate) fn next(&mut self, store: &Store) -> Step {
        let horizon = Horizon {
            current: store.revision(),
            compacted: store.compacted_revision(),
        };
        self.made += 1;
        if let Some(id) = self.to_revoke.take() {
            return Step::Revoke { id };
        }
        if self.made % 400 == 200 {
            return Step::Watch(self.watch_script(horizon));
        }
        match self.rng.random_range(0..100) {
            0..30 => Step::Range(self.range(horizon, true)),
            30..52 => Step::Put(self.put(true)),
            52..60 => Step::Delete(self.delete(true)),
            60..85 => Step::Txn(self.txn(horizon)),
            85..87 => Step::Compact(self.compact(horizon)),
            87..90 => self.grant(),
            90..92 => Step::Revoke { id: self.lease() },
            92..95 => Step::TimeToLive {
                id: self.lease(),
                keys: self.rng.random(),
            },
            95..97 => Step::Leases,
            97..99 => Step::KeepAlive { id: self.lease() },
            _ => self.huge(),
        }
    }

    fn key(&mut self) -> Vec<u8> {
        if self.chance(1) {
            return Vec::new();
        }
        KEYS[self.rng.random_range(0..KEYS.len())].to_vec()
    }

    fn range_end(&mut self, key: &[u8], from_key: bool) -> Vec<u8> {
        match self.rng.random_range(0..10) {
            0..4 => Vec::new(),
            4..6 if from_key => vec![0],
            6..8 => {
                let mut end = key.to_vec();
                end.push(0xff);
                end
            }
            _ => self.key(),
        }
    }

    fn revision(&mut self, horizon: Horizon) -> i64 {
        match self.rng.random_range(0..20) {
            0..9 => 0,
            9..15 => horizon.current - self.rng.random_range(0..10),
            15 => horizon.current + self.rng.random_range(0..3),
            16..18 => horizon.compacted + self.rng.random_range(-2..3),
            18 => self.rng.random_range(-3..3),
            _ => self.rng.random_range(0..=horizon.current),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        format!("{}", self.rng.random_range(0..5)).into_bytes()
    }

    fn lease(&mut self) -> i64 {
        if self.chance(3) {
            99
        } else {
            self.rng.random_range(LEASES)
        }
    }

    fn range(&mut self, horizon: Horizon, from_key: bool) -> PbRangeRequest {
        let mut key = self.key();
        let mut range_end = self.range_end(&key, from_key);
        let sort_target = if self.chance(40) {
            self.rng.random_range(0..5)
        } else {
            0
        };
        if sort_target != 0 && !range_end.is_empty() {
            key = SORTABLE.0.to_vec();
            range_end = SORTABLE.1.to_vec();
        }
        let mut bound = || match self.rng.random_range(0..12) {
            0 => horizon.current - self.rng.random_range(0..20),
            1 => self.rng.random_range(-2..5),
            _ => 0,
        };
        PbRangeRequest {
            key,
            range_end,
            min_mod_revision: bound(),
            max_mod_revision: bound(),
            min_create_revision: bound(),
            max_create_revision: bound(),
            limit: if self.chance(40) {
                self.rng.random_range(-1..6)
            } else {
                0
            },
            revision: self.revision(horizon),
            sort_order: if self.chance(40) {
                self.rng.random_range(0..3)
            } else {
                0
            },
            sort_target,
            serializable: self.rng.random(),
            keys_only: self.chance(15),
            count_only: self.chance(10),
        }
    }

    fn put(&mut self, may_keep: bool) -> PbPutRequest {
        let ignore_value = may_keep && self.chance(8);
        let ignore_lease = may_keep && self.chance(8);
        PbPutRequest {
            key: self.key(),
            value: if ignore_value && self.chance(90) {
                Vec::new()
            } else {
                self.value()
            },
            lease: if self.chance(if ignore_lease { 5 } else { 25 }) {
                self.lease()
            } else {
                0
            },
            prev_kv: self.chance(30),
            ignore_value,
            ignore_lease,
        }
    }

    fn delete(&mut self, from_key: bool) -> PbDeleteRequest {
        let key = self.key();
        let from_key = from_key && self.chance(20);
        PbDeleteRequest {
            range_end: self.range_end(&key, from_key),
            key,
            prev_kv: self.chance(40),
        }
    }

    /// A delete "from this key on" escapes etcd's check for overlaps, and a put
    /// that keeps the value of a key so deleted makes a real etcd panic: no
    /// transaction has both.
    fn txn(&mut self, horizon: Horizon) -> PbTxnRequest {
        if self.chance(2) {
            return self.wide_txn();
        }
        let from_key = self.chance(15);
        self.nested(horizon, from_key, 0)
    }

    fn nested(&mut self, horizon: Horizon, from_key: bool, depth: u32) -> PbTxnRequest {
        let compares = self.rng.random_range(0..3);
        let compare = (0..compares).map(|_| self.compare(horizon)).collect();
        let mut branch = || {
            let ops = self.rng.random_range(0..4);
            (0..ops)
                .map(|_| self.op(horizon, from_key, depth))
                .collect()
        };
        PbTxnRequest {
            compare,
            success: branch(),
            failure: branch(),
        }
    }

    fn op(&mut self, horizon: Horizon, from_key: bool, depth: u32) -> PbTxnRequestOp {
        let request = match self.rng.random_range(0..100) {
            0 => return PbTxnRequestOp { request: None },
            1..35 => {
                let mut range = self.range(horizon, true);
                if self.chance(70) {
                    range.revision = 0;
                }
                PbTxnOpRequest::RequestRange(range)
            }
            35..65 => PbTxnOpRequest::RequestPut(self.put(!from_key)),
            65..80 => PbTxnOpRequest::RequestDeleteRange(self.delete(from_key)),
            _ if depth < 3 => PbTxnOpRequest::RequestTxn(self.nested(horizon, from_key, depth + 1)),
            _ => PbTxnOpRequest::RequestPut(self.put(!from_key)),
        };
        PbTxnRequestOp {
            request: Some(request),
        }
    }

    /// A transaction around the limit of operations.
    fn wide_txn(&mut self) -> PbTxnRequest {
        let get = |_| PbTxnRequestOp {
            request: Some(PbTxnOpRequest::RequestRange(PbRangeRequest {
                key: b"a".to_vec(),
                count_only: true,
                ..Default::default()
            })),
        };
        let inner: Vec<_> = (0..self.rng.random_range(60..68)).map(get).collect();
        let nested = PbTxnRequest {
            success: inner,
            ..Default::default()
        };
        let mut success: Vec<_> = (0..self.rng.random_range(60..68)).map(get).collect();
        success.push(PbTxnRequestOp {
            request: Some(PbTxnOpRequest::RequestTxn(nested)),
        });
        let failure = (0..self.rng.random_range(0..130)).map(get).collect();
        PbTxnRequest {
            success,
            failure,
            ..Default::default()
        }
    }

    fn compare(&mut self, horizon: Horizon) -> PbCompare {
        let key = self.key();
        let range_end = if self.chance(30) {
            self.range_end(&key, true)
        } else {
            Vec::new()
        };
        let revision = self
            .rng
            .random_range(horizon.current - 20..=horizon.current);
        let revision = if self.chance(40) { 0 } else { revision };
        let union = match self.rng.random_range(0..5) {
            0 => PbTargetUnion::Version(self.rng.random_range(0..4)),
            1 => PbTargetUnion::CreateRevision(revision),
            2 => PbTargetUnion::ModRevision(revision),
            3 => PbTargetUnion::Value(self.value()),
            _ => PbTargetUnion::Lease(self.rng.random_range(0..8)),
        };
        let target = match union {
            _ if self.chance(5) => self.rng.random_range(0..5),
            PbTargetUnion::Version(_) => 0,
            PbTargetUnion::CreateRevision(_) => 1,
            PbTargetUnion::ModRevision(_) => 2,
            PbTargetUnion::Value(_) => 3,
            PbTargetUnion::Lease(_) => 4,
        };
        PbCompare {
            result: self.rng.random_range(0..4),
            target,
            key,
            range_end,
            target_union: if self.chance(3) { None } else { Some(union) },
        }
    }

    fn compact(&mut self, horizon: Horizon) -> PbCompactionRequest {
        let revision = match self.rng.random_range(0..4) {
            0 => horizon.compacted + self.rng.random_range(-1..2),
            1 => horizon.current + self.rng.random_range(0..2),
            _ => horizon.current - self.rng.random_range(0..100),
        };
        PbCompactionRequest {
            revision,
            physical: self.rng.random(),
        }
    }

    /// Times to live lie so far apart that the order in which leases end is
    /// the same whether or not the run takes time. Short ones are revoked at
    /// once.
    fn grant(&mut self) -> Step {
        let id = self.lease();
        self.grants += 1;
        if self.chance(15) {
            self.to_revoke = Some(id);
            let ttl = [-5, 0, 1, 2, 9_000_000_001, i64::MAX][self.rng.random_range(0..6)];
            return Step::Grant { id, ttl };
        }
        let ttl = self.rng.random_range(1..80) * 100_000 + self.grants % 100 * 1000;
        Step::Grant { id, ttl }
    }

    /// A request around one of the two limits of size.
    fn huge(&mut self) -> Step {
        let limit = [3 << 19, 4 << 19][self.rng.random_range(0..2)];
        let size = limit - 100 + [0, 60, 120, 200, 70_000][self.rng.random_range(0..5)];
        let put = PbPutRequest {
            key: b"c".to_vec(),
            value: vec![b'x'; size],
            ..Default::default()
        };
        if self.rng.random() {
            return Step::Put(put);
        }
        let request = Some(PbTxnOpRequest::RequestPut(put));
        Step::Txn(PbTxnRequest {
            success: vec![PbTxnRequestOp { request }],
            ..Default::default()
        })
    }

    fn watch_script(&mut self, horizon: Horizon) -> WatchScript {
        let count = self.rng.random_range(1..6);
        let creates = (0..count).map(|_| self.watch_create(horizon)).collect();
        let count = self.rng.random_range(0..8);
        let mutations = (0..count).map(|_| self.mutation(horizon)).collect();
        let cancels = (0..2).map(|_| self.watch_cancel()).collect();
        WatchScript {
            creates,
            mutations,
            cancels,
        }
    }

    fn mutation(&mut self, horizon: Horizon) -> Step {
        match self.rng.random_range(0..10) {
            0..4 => Step::Put(self.put(true)),
            4..6 => Step::Delete(self.delete(true)),
            6..9 => Step::Txn(self.nested(horizon, false, 1)),
            _ => Step::Revoke { id: self.lease() },
        }
    }

    fn watch_cancel(&mut self) -> PbWatchRequest {
        let mut cancel = PbWatchRequestUnion::CancelRequest(Default::default());
        if let PbWatchRequestUnion::CancelRequest(cancel) = &mut cancel {
            cancel.watch_id = self.rng.random_range(0..5);
        }
        PbWatchRequest {
            request_union: Some(cancel),
        }
    }

    fn watch_create(&mut self, horizon: Horizon) -> PbWatchRequest {
        let mut create = PbWatchRequestUnion::CreateRequest(Default::default());
        if let PbWatchRequestUnion::CreateRequest(create) = &mut create {
            create.key = self.key();
            create.range_end = self.range_end(&create.key, true);
            create.start_revision = match self.rng.random_range(0..8) {
                0..2 => 0,
                2 => horizon.current + self.rng.random_range(1..4),
                3 => horizon.compacted - 1,
                _ => horizon.current - self.rng.random_range(0..200),
            };
            // Releases differ about the compacted revision itself.
            if create.start_revision == horizon.compacted {
                create.start_revision += 1;
            }
            create.start_revision = create.start_revision.max(0);
            create.prev_kv = self.rng.random();
            create.progress_notify = self.chance(30);
            create.fragment = self.chance(20);
            create.watch_id = if self.chance(30) {
                self.rng.random_range(1..4)
            } else {
                0
            };
            if self.chance(30) {
                create.filters = vec![self.rng.random_range(0..2)];
            }
        }
        PbWatchRequest {
            request_union: Some(create),
        }
    }

    /// True in `percent` of the cases.
    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }
}
