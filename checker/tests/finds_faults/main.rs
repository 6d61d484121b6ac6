//! One fault in a valid history is found, be it of one operation or of 100 000.

mod etcd;
mod planted_in_elections;
mod planted_in_etcd;
mod planted_in_locks;
mod planted_in_long_histories;
mod planted_in_objects;
#[path = "../support/mod.rs"]
mod support;
