//! What the recipes promise, one by one, on the simulated etcd.

mod cancellation;
mod elections;
mod locks;
mod queues;
mod receipts;
mod recipes;
#[path = "../support/mod.rs"]
mod support;
