//! Orders are found, those that are found replay, and the search for them keeps to its
//! budget.

mod budgets;
mod in_time;
mod linearizations;
#[path = "../support/mod.rs"]
mod support;
mod without_a_search;
