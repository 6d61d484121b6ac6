//! What people use who test their own service: the builder, faults by hand, the
//! attribute, and an ordinary program on both executors.
#![allow(
    clippy::disallowed_macros,
    reason = "an ordinary program is included, unedited, and selects"
)]

use std::time::Duration;

use etcd_sim::executor::Executor;

mod attribute;
mod builder;
mod by_hand;
mod ordinary;
mod runtime;

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn executors() -> Vec<Executor> {
    let mut executors = vec![Executor::Tokio];
    if Executor::BEST != Executor::Tokio {
        executors.push(Executor::BEST);
    }
    executors
}
