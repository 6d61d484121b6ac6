//! A verdict says what is wrong, by its name in the literature, and shows it with few
//! operations.

mod consistency_models;
mod elections;
mod locks;
mod long_histories;
mod simple_objects;
#[path = "../support/mod.rs"]
mod support;
mod verdicts;
mod where_it_is_wrong;
