//! Prints how many operations the store does in a second, on one core.
//!
//! ```text
//! cargo run --release -p etcd-sim --example store_speed
//! ```

use std::time::Instant;

use etcd_client::proto::{PbDeleteRequest, PbPutRequest, PbRangeRequest};
use etcd_sim::store::Store;

const KEYS: u64 = 100_000;
const ROUNDS: u64 = 1_000_000;

fn main() {
    let mut store = Store::default();
    let keys: Vec<Vec<u8>> = (0..KEYS)
        .map(|i| format!("bench/key/{i:08}").into_bytes())
        .collect();
    measure("put, new keys in order", KEYS, |i| {
        put(&mut store, &keys[index(i)]);
    });
    measure("put, keys at random", ROUNDS, |i| {
        put(&mut store, &keys[index(scatter(i))]);
    });
    measure("get, keys at random", ROUNDS, |i| {
        let key = keys[index(scatter(i))].clone();
        let read = store.range(&PbRangeRequest {
            key,
            ..Default::default()
        });
        assert_eq!(read.expect("a present key can be read").kvs.len(), 1);
    });
    measure("get 10 keys in order", ROUNDS / 10, |i| {
        let key = keys[index(scatter(i)) / 10 * 10].clone();
        let mut range_end = key.clone();
        *range_end.last_mut().expect("the key is not empty") = b':';
        let read = store.range(&PbRangeRequest {
            key,
            range_end,
            ..Default::default()
        });
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

#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
fn measure(what: &str, rounds: u64, mut operation: impl FnMut(u64)) {
    let start = Instant::now();
    (0..rounds).for_each(&mut operation);
    let seconds = start.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rounded figure is printed")]
    let rate = rounds as f64 / seconds;
    println!("{what:24} {rate:>12.0} per second");
}
