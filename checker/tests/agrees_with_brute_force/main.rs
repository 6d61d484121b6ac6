//! Every checker gives the verdict of a search through all orders, on many small random
//! histories.

mod barriers;
mod consistency_models;
mod elections;
mod etcd;
mod levels;
mod locks;
mod objects;
mod priority_queue;
mod queue;
mod reliable_queue;
#[path = "../support/mod.rs"]
mod support;
mod txns;
mod workloads;
