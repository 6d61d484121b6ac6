//! Runs: a plan, the history that it gives, and the verdict on that.
//!
//! - [`plan`]: everything that determines a run, as a file.
//! - [`simulate`]: one run in the simulation.
//! - [`shrink`]: a failing plan made smaller.
//! - [`sweep`]: many seeds, in parallel, with one summary.
//! - [`live`]: one run on a real cluster.

pub mod live;
pub mod plan;
pub mod shrink;
pub mod simulate;
pub mod sweep;

use etcd_checker::history::{Header, Source};

use crate::workload::{Parameters, Workload};

/// The header of a run's history.
fn header(workload: &dyn Workload, parameters: &Parameters, source: Source) -> Header {
    let model = workload.model().to_string();
    Header::new(workload.name(), model, source)
        .with_parameters(workload.header_parameters(parameters))
}
