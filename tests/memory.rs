//! A run leaves nothing behind: a sweep takes as much memory after ten thousand seeds as
//! after ten.

use std::alloc::System;

use cap::Cap;
use etcd_recipes::campaign::plan::RunPlan;
use etcd_recipes::campaign::simulate::simulate;
use etcd_recipes::workload::{self, Workload};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// What some tables keep, which grow with the largest run and not with their number.
const KEPT_BYTES: usize = 64 << 10;

const RUNS: u64 = 12;

/// The bytes that runs of these seeds leave behind.
fn left_behind(workload: &'static dyn Workload, seeds: std::ops::Range<u64>) -> usize {
    let before = ALLOCATOR.allocated();
    for seed in seeds {
        simulate(&RunPlan::draw(workload, seed)).unwrap();
    }
    ALLOCATOR.allocated().saturating_sub(before)
}

/// One test, so that nothing else allocates at the same time.
#[test]
fn runs_leave_nothing_behind() {
    for workload in workload::all() {
        left_behind(workload, 0..2);
        let left = left_behind(workload, 2..2 + RUNS);
        let name = workload.name();
        assert!(left < KEPT_BYTES, "{name}: {left} bytes after {RUNS} runs");
    }
}
