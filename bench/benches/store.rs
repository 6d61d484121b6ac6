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
    let keys: Vec<Vec<u8>> = (0..size)
        .map(|i| format!("bench/key/{i:08}").into_bytes())
        .collect();
    let key = |i: u64| &keys[usize::try_from(scatter(i) % size).expect("a number fits")];
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
            put(
                store,
                &keys[usize::try_from(i % size).expect("a number fits")],
            );
        });
    });
    let filled = || {
        let mut store = Store::default();
        keys.iter().for_each(|key| put(&mut store, key));
        store
    };
    let mut store = filled();
    measure("get", OPERATIONS, &mut |i| get(&store, key(i)));
    measure("get, absent", OPERATIONS, &mut |i| {
        let mut absent = key(i).clone();
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
    // Longer than the clock of the processor time is coarse.
    measure("count all keys", 30_000_000 / size, &mut |_| {
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
            key: key(i).clone(),
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
            key: key(i).clone(),
            ..Default::default()
        };
        store.delete_range(&delete).expect("a delete succeeds");
        put(&mut store, key(i));
    });
    measure("put and compact, each revision", OPERATIONS, &mut |i| {
        put(&mut store, key(i));
        let compact = PbCompactionRequest {
            revision: store.revision(),
            physical: false,
        };
        store.compact(&compact).expect("a compaction succeeds");
    });
    measured
}

thread_local! {
    static STORE: std::cell::RefCell<Store> = std::cell::RefCell::new(Store::default());
}

fn get(store: &Store, key: &[u8]) {
    let request = PbRangeRequest {
        key: key.to_vec(),
        ..Default::default()
    };
    let read = store.range(&request);
    assert_eq!(read.expect("a present key can be read").kvs.len(), 1);
}

fn get_ten(store: &Store, key: &[u8]) {
    let mut key = key.to_vec();
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

fn put(store: &mut Store, key: &[u8]) {
    store.put(put_request(key)).expect("a put succeeds");
}

fn put_request(key: &[u8]) -> PbPutRequest {
    PbPutRequest {
        key: key.to_vec(),
        value: vec![7; 16],
        ..Default::default()
    }
}

fn txn(store: &mut Store, key: &[u8]) {
    let op = |request| PbTxnRequestOp {
        request: Some(request),
    };
    let exists = PbCompare {
        result: 1,
        target: 1,
        key: key.to_vec(),
        target_union: Some(PbTargetUnion::CreateRevision(0)),
        ..Default::default()
    };
    let get = PbRangeRequest {
        key: key.to_vec(),
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
