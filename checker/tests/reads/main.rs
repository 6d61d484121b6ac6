//! Histories of all formats are read, or refused with the place where they are wrong.

mod anything;
mod completions;
mod malformed;
mod other_formats;
mod other_models;
mod robustness_reports;
#[path = "../support/mod.rs"]
mod support;
mod what_is_written;
