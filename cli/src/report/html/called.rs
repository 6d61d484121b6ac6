//! What the operations that prove a violation are called.

use etcd_checker::Violation;

/// `T1`, `T2`, .. where the sentence calls all of them so; otherwise their numbers.
pub(super) fn called(violation: &Violation) -> Vec<String> {
    let prefix = if speaks_of_all(violation) { "T" } else { "" };
    let numbers = 1..=violation.witness.len();
    numbers.map(|number| format!("{prefix}{number}")).collect()
}

/// Whether the sentence introduces each of them by this name, as in `T1 by process 0, line 2`.
fn speaks_of_all(violation: &Violation) -> bool {
    violation.witness.iter().zip(1..).all(|(told, number)| {
        let (process, line) = (told.process, told.invoked.line);
        let introduction = format!("T{number} by process {process}, line {line}");
        let mut rest = violation.sentence.split(&introduction).skip(1);
        rest.any(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
    })
}
