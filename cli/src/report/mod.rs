//! What the command says about runs.
//!
//! - [`progress`]: that something is going on, on terminals only;
//! - [`table`]: what a sweep amounts to;
//! - [`verdict`]: what a checker found, with the operations that prove it;
//! - [`checked`]: many histories in one table;
//! - [`trace`]: a history, told in the order of time;
//! - [`workloads`]: what there is to choose from;
//! - [`reproduce`]: the command line that does a run again;
//! - [`html`]: a history and its verdict as one page for a browser;
//! - [`json`]: all of that for programs.

pub(crate) mod checked;
pub(crate) mod html;
pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod reproduce;
pub(crate) mod table;
pub(crate) mod trace;
pub(crate) mod verdict;
pub(crate) mod workloads;

/// A number with its noun: `1 run`, `2 runs`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// A number with spaces between its thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1 000");
        assert_eq!(grouped(12_345_678), "12 345 678");
        assert_eq!(count(1, "run"), "1 run");
        assert_eq!(count(2_000, "run"), "2 000 runs");
    }
}
