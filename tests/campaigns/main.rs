//! Many runs of the workloads, and what holds in all of them.

mod barriers;
mod broken_twins;
mod long_faults;
mod properties;
mod requests_per_operation;
mod stm_ahead;
mod stm_faults;
mod stm_levels;
#[path = "../support/mod.rs"]
mod support;
