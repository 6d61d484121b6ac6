//! Leases.

use std::time::Duration;

use etcd_sim::store::LeaseId;

use crate::*;

const ONE: LeaseId = LeaseId(1);
const TWO: LeaseId = LeaseId(2);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn put_with(store: &mut Store, key: &str, lease: LeaseId) {
    store
        .put(PbPutRequest {
            lease: lease.0,
            ..put_request(key, "")
        })
        .unwrap();
}

fn keys_of(store: &Store, lease: LeaseId) -> Vec<Vec<u8>> {
    store.lease_status(seconds(0), lease).unwrap().keys
}

#[test]
fn a_short_time_to_live_becomes_the_minimum() {
    let mut store = Store::default();
    assert_eq!(store.lease_grant(seconds(0), ONE, 1), Ok(2));
    assert_eq!(store.lease_grant(seconds(0), TWO, -7), Ok(2));
    assert_eq!(store.lease_grant(seconds(0), LeaseId(3), 3), Ok(3));
    assert_eq!(store.revision(), 1, "leases take no revision");
}

#[test]
fn a_revoked_lease_takes_its_keys_in_order_and_in_one_revision() {
    let mut store = Store::default();
    store.lease_grant(seconds(0), ONE, 10).unwrap();
    for key in ["b", "c", "a"] {
        put_with(&mut store, key, ONE);
    }
    put(&mut store, "d", "");
    store.lease_revoke(ONE).unwrap();
    let events: Vec<_> = store
        .events(6)
        .map(|r| (r.mod_revision(), r.key()[0]))
        .collect();
    assert_eq!(events, [(6, b'a'), (6, b'b'), (6, b'c')]);
    assert_eq!(store.lease_status(seconds(0), ONE), None);
}

#[test]
fn a_lease_without_keys_ends_without_a_revision() {
    let mut store = Store::default();
    store.lease_grant(seconds(0), ONE, 10).unwrap();
    store.lease_revoke(ONE).unwrap();
    assert_eq!(store.revision(), 1);
}

#[test]
fn a_key_belongs_to_the_lease_of_its_last_put() {
    let mut store = Store::default();
    store.lease_grant(seconds(0), ONE, 10).unwrap();
    store.lease_grant(seconds(0), TWO, 10).unwrap();
    put_with(&mut store, "a", ONE);
    put_with(&mut store, "a", TWO);
    assert!(keys_of(&store, ONE).is_empty());
    assert_eq!(keys_of(&store, TWO), [b"a"]);
    put(&mut store, "a", "");
    assert!(keys_of(&store, TWO).is_empty());
    put_with(&mut store, "a", ONE);
    delete(&mut store, "a", "");
    assert!(keys_of(&store, ONE).is_empty());
}

#[test]
fn ignore_lease_keeps_the_lease() {
    let mut store = Store::default();
    store.lease_grant(seconds(0), ONE, 10).unwrap();
    put_with(&mut store, "a", ONE);
    store
        .put(PbPutRequest {
            ignore_lease: true,
            ..put_request("a", "2")
        })
        .unwrap();
    assert_eq!(get(&store, "a").unwrap().lease, 1);
    assert_eq!(keys_of(&store, ONE), [b"a"]);
}

#[test]
fn leases_expire_in_order_and_only_when_their_time_is_over() {
    let mut store = Store::default();
    store.lease_grant(seconds(0), ONE, 10).unwrap();
    store.lease_grant(seconds(1), TWO, 5).unwrap();
    assert_eq!(store.leases(), [TWO, ONE]);
    assert!(store.expired(Duration::from_millis(5_999), 9).is_empty());
    assert_eq!(store.expired(seconds(6), 9), [TWO]);
    assert_eq!(store.expired(seconds(10), 9), [TWO, ONE]);
    assert_eq!(store.expired(seconds(10), 1), [TWO]);
    assert!(store.is_expired(seconds(6), TWO) && !store.is_expired(seconds(6), ONE));
}

#[test]
fn a_renewal_starts_the_time_anew() {
    let mut store = Store::default();
    store.lease_grant(seconds(0), ONE, 10).unwrap();
    assert_eq!(store.lease_keep_alive(seconds(9), ONE), Ok(10));
    let status = store.lease_status(seconds(12), ONE).unwrap();
    assert_eq!((status.remaining, status.granted_ttl), (seconds(7), 10));
}

#[test]
fn a_new_leader_gives_every_lease_its_full_time() {
    let mut store = Store::default();
    store.lease_grant(seconds(0), ONE, 10).unwrap();
    store.demote();
    assert!(store.expired(seconds(1000), 9).is_empty());
    assert_eq!(store.leases(), [ONE]);
    store.promote(seconds(1000), seconds(1));
    assert_eq!(
        store.lease_status(seconds(1000), ONE).unwrap().remaining,
        seconds(11)
    );
}
