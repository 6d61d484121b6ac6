//! What the store alone does in a second, on one core, as the number of keys grows.
//!
//! Rates are per second of processor time, where the system tells it, so that a busy
//! machine does not blur them: the best of three rounds.

use std::time::SystemTime;

use etcd_client::proto::{
    PbCompactionRequest, PbCompare, PbDeleteRequest, PbPutRequest, PbRangeRequest, PbTargetUnion,
    PbTxnOpRequest, PbTxnRequest, PbTxnRequestOp,
};
use etcd_sim::store::Store;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [u64; 3] = [1_000, 100_000, 1_000_000];
const OPERATIONS: u64 = 300_000;
const ROUNDS: usize = 3;

/// One row of the table.
struct Row {
    name: &'static str,
    /// Operations per second, for each size.
    rates: Vec<f64>,
}

fn main() {
    // Cargo hands over `--bench`; a filter selects rows by their names.
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let mut rows: Vec<Row> = Vec::new();
    for size in SIZES {
        for (name, rate) in measure_all(size, filter.as_deref()) {
            match rows.iter_mut().find(|row| row.name == name) {
                Some(row) => row.rates.push(rate),
                None => rows.push(Row {
                    name,
                    rates: vec![rate],
                }),
            }
        }
    }
    print!("{:<38}", "per second, with keys:");
    SIZES.iter().for_each(|size| print!("{size:>14}"));
    println!();
    for row in rows {
        print!("{:<38}", row.name);
        row.rates.iter().for_each(|rate| print!("{rate:>14.0}"));
        println!();
    }
}

fn measure_all(size: u64, filter: Option<&str>) -> Vec<(&'static str, f64)> {
    let key = |i: u64| key(scatter(i) % size);
    let mut measured = Vec::new();
    let mut measure = |name: &'static str, operations: u64, operation: &mut dyn FnMut(u64)| {
        if filter.is_none_or(|filter| name.contains(filter)) {
            measured.push((name, rate(operations, operation)));
        }
    };
    measure("put, new keys in order", size.max(OPERATIONS), &mut |i| {
        // Once all keys are there, a new store begins.
        STORE.with_borrow_mut(|store| {
            if i % size == 0 {
                *store = Store::default();
            }
            put(store, self::key(i % size));
        });
    });
    let filled = || {
        let mut store = Store::default();
        (0..size).for_each(|i| put(&mut store, self::key(i)));
        store
    };
    let mut store = filled();
    measure("get", OPERATIONS, &mut |i| get(&store, key(i)));
    measure("get, absent", OPERATIONS, &mut |i| {
        let mut absent = key(i);
        absent.push(b'x');
        let read = store.range(&PbRangeRequest {
            key: absent,
            ..Default::default()
        });
        assert_eq!(read.expect("it can be read").count, 0);
    });
    measure("get 10 keys", OPERATIONS / 10, &mut |i| {
        get_ten(&store, key(i));
    });
    measure("get 1000 keys from one on", OPERATIONS / 100, &mut |i| {
        let from = self::key(scatter(i) % size.saturating_sub(999).max(1));
        get_from(&store, from, 1000);
    });
    // What the head of a queue is read with: the answer counts all keys.
    measure("get the first key of all", OPERATIONS / 10, &mut |_| {
        get_from(&store, vec![0], 1);
    });
    measure("count all keys", OPERATIONS, &mut |_| {
        let read = store.range(&PbRangeRequest {
            key: vec![0],
            range_end: vec![0],
            count_only: true,
            ..Default::default()
        });
        assert_eq!(read.expect("it can be read").count, signed(size));
    });
    measure("put, replacing", OPERATIONS, &mut |i| {
        put(&mut store, key(i));
    });
    measure("get, past revision", OPERATIONS, &mut |i| {
        let read = store.range(&PbRangeRequest {
            key: key(i),
            revision: signed(size) + 1,
            ..Default::default()
        });
        assert_eq!(read.expect("it can be read").count, 1);
    });
    measure("txn: compare, put, get", OPERATIONS / 3, &mut |i| {
        txn(&mut store, key(i));
    });
    measure("delete and put", OPERATIONS / 3, &mut |i| {
        let delete = PbDeleteRequest {
            key: key(i),
            ..Default::default()
        };
        store.delete_range(&delete).expect("a delete succeeds");
        put(&mut store, key(i));
    });
    measure("put and compact, each revision", OPERATIONS, &mut |i| {
        put(&mut store, key(i));
        compact(&mut store);
    });
    measure("put, and compact each 10000th", OPERATIONS, &mut |i| {
        put(&mut store, key(i));
        if i % 10_000 == 9_999 {
            compact(&mut store);
        }
    });
    measured
}

thread_local! {
    static STORE: std::cell::RefCell<Store> = std::cell::RefCell::new(Store::default());
}

/// The key with a number, as a request brings it: in memory just written.
fn key(number: u64) -> Vec<u8> {
    let mut key = b"bench/key/00000000".to_vec();
    let mut rest = number;
    for digit in key.iter_mut().rev().take(8) {
        *digit += u8::try_from(rest % 10).expect("a digit fits");
        rest /= 10;
    }
    key
}

fn compact(store: &mut Store) {
    let compact = PbCompactionRequest {
        revision: store.revision(),
        physical: false,
    };
    store.compact(&compact).expect("a compaction succeeds");
}

fn get(store: &Store, key: Vec<u8>) {
    let request = PbRangeRequest {
        key,
        ..Default::default()
    };
    let read = store.range(&request);
    assert_eq!(read.expect("a present key can be read").kvs.len(), 1);
}

/// Reads the first keys from one on.
fn get_from(store: &Store, key: Vec<u8>, limit: i64) {
    let read = store.range(&PbRangeRequest {
        key,
        range_end: vec![0],
        limit,
        ..Default::default()
    });
    let found = read.expect("present keys can be read").kvs.len();
    assert_eq!(signed(found as u64), limit);
}

fn get_ten(store: &Store, mut key: Vec<u8>) {
    *key.last_mut().expect("the key is not empty") = b'0';
    let mut range_end = key.clone();
    *range_end.last_mut().expect("the key is not empty") = b':';
    let read = store.range(&PbRangeRequest {
        key,
        range_end,
        ..Default::default()
    });
    assert_eq!(read.expect("present keys can be read").kvs.len(), 10);
}

fn put(store: &mut Store, key: Vec<u8>) {
    store.put(put_request(key)).expect("a put succeeds");
}

fn put_request(key: Vec<u8>) -> PbPutRequest {
    PbPutRequest {
        key,
        value: vec![7; 16],
        ..Default::default()
    }
}

fn txn(store: &mut Store, key: Vec<u8>) {
    let op = |request| PbTxnRequestOp {
        request: Some(request),
    };
    let exists = PbCompare {
        result: 1,
        target: 1,
        key: key.clone(),
        target_union: Some(PbTargetUnion::CreateRevision(0)),
        ..Default::default()
    };
    let get = PbRangeRequest {
        key: key.clone(),
        ..Default::default()
    };
    let done = store.txn(PbTxnRequest {
        compare: vec![exists],
        success: vec![
            op(PbTxnOpRequest::RequestPut(put_request(key))),
            op(PbTxnOpRequest::RequestRange(get)),
        ],
        failure: Vec::new(),
    });
    assert!(done.expect("a transaction succeeds").succeeded);
}

/// Spreads consecutive numbers over all keys.
fn scatter(i: u64) -> u64 {
    i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("it is not that large")
}

/// Operations per second, in the best of the rounds.
#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(operations: u64, operation: &mut dyn FnMut(u64)) -> f64 {
    let round = |_| {
        let start = nanos();
        (0..operations).for_each(&mut *operation);
        (nanos() - start).max(1)
    };
    let best = (0..ROUNDS).map(round).min().expect("there are rounds");
    operations as f64 * 1e9 / best as f64
}

/// The time that this thread has had a processor, by Linux; elsewhere the time
/// of day.
#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
fn nanos() -> u64 {
    let used = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let used = used.and_then(|text| text.split(' ').next()?.parse().ok());
    used.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(0))
    })
}
