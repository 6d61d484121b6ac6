//! Placeholder.
pub mod history;
mod liveness;
pub mod verdict;
