//! Prints how many operations the store does in a second, on one core.
//!
//! ```text
//! cargo run --release -p etcd-sim --example store_speed
//! ```

use std::time::SystemTime;

use etcd_client::proto::{PbDeleteRequest, PbPutRequest, PbRangeRequest};
use etcd_sim::store::Store;

const KEYS: u64 = 100_000;
const ROUNDS: u64 = 1_000_000;

fn main() {
    let mut store = Store::default();
    let keys: Vec<Vec<u8>> = (0..KEYS)
        .map(|i| format!("bench/key/{i:08}").into_bytes())
        .collect();
    measure("put, 100 000 new keys in order", KEYS, |i| {
        put(&mut store, &keys[index(i)]);
    });
    measure("get, keys at random", ROUNDS, |i| {
        get(&store, &keys[index(scatter(i))]);
    });
    measure("put, keys at random", ROUNDS, |i| {
        put(&mut store, &keys[index(scatter(i))]);
    });
    measure("get, keys at random, 1 million puts later", ROUNDS, |i| {
        get(&store, &keys[index(scatter(i))]);
    });
    measure("get 10 keys in order", ROUNDS / 10, |i| {
        let key = keys[index(scatter(i)) / 10 * 10].clone();
        let mut range_end = key.clone();
        *range_end.last_mut().expect("the key is not empty") = b':';
        let request = PbRangeRequest {
            key,
            range_end,
            ..Default::default()
        };
        let read = store.range(&request);
        assert_eq!(read.expect("present keys can be read").kvs.len(), 10);
    });
    measure("delete and put", ROUNDS / 10, |i| {
        let key = keys[index(scatter(i))].clone();
        let delete = PbDeleteRequest {
            key: key.clone(),
            ..Default::default()
        };
        store.delete_range(&delete).expect("a delete succeeds");
        put(&mut store, &key);
    });
}

fn get(store: &Store, key: &[u8]) {
    let request = PbRangeRequest {
        key: key.to_vec(),
        ..Default::default()
    };
    let read = store.range(&request);
    assert_eq!(read.expect("a present key can be read").kvs.len(), 1);
}

fn put(store: &mut Store, key: &[u8]) {
    let put = PbPutRequest {
        key: key.to_vec(),
        value: vec![7; 16],
        ..Default::default()
    };
    store.put(put).expect("a put succeeds");
}

/// Spreads consecutive numbers over all keys.
fn scatter(i: u64) -> u64 {
    i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}

fn index(i: u64) -> usize {
    usize::try_from(i % KEYS).expect("a key number fits")
}

/// Rates are per second of processor time, where the system tells it, so that
/// a busy machine does not blur them.
fn measure(what: &str, rounds: u64, mut operation: impl FnMut(u64)) {
    let start = nanos();
    (0..rounds).for_each(&mut operation);
    let rate = rounds * 1_000_000_000 / (nanos() - start).max(1);
    println!("{what:40} {rate:>10} per second");
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
