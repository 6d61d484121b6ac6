//! What a checker found, for people.

use std::fmt::Write as _;

use etcd_checker::verdict::{Class, WitnessOperation};
use etcd_checker::{Verdict, Violation};

use crate::exit_code::Status;
use crate::output::{BAD, DOUBT, FAINT, GOOD, plain};

/// What the shell is told about a verdict.
pub(crate) fn status(verdict: &Verdict) -> Status {
    match verdict {
        Verdict::Valid(_) => Status::Valid,
        Verdict::Violation(violation) => match violation.class {
            Class::Safety => Status::Safety,
            Class::Liveness => Status::Liveness,
        },
        // Also what a later checker may answer beside these.
        _ => Status::Undecided,
    }
}

/// The verdict on `subject`, with its evidence.
pub(crate) fn text(subject: &str, verdict: &Verdict) -> String {
    match verdict {
        Verdict::Valid(summary) => {
            let summary = plain(&summary.to_string());
            format!("{subject}: {GOOD}valid{GOOD:#}: {summary}")
        }
        Verdict::Violation(violation) => violated(subject, violation),
        Verdict::Unknown { reason } => {
            format!("{subject}: {DOUBT}undecided{DOUBT:#}: {}", plain(reason))
        }
        other => format!(
            "{subject}: {DOUBT}undecided{DOUBT:#}: {}",
            plain(&other.to_string())
        ),
    }
}

/// The operations in the order in which they took effect, or why there is none to give.
pub(crate) fn linearization(order: &Result<Vec<WitnessOperation>, String>) -> String {
    let order = match order {
        Ok(order) => order,
        Err(reason) => return format!("  linearization: none: {}", plain(reason)),
    };
    let mut text = "  linearization:".to_owned();
    for operation in order {
        let line = plain(&operation.to_string());
        write!(text, "\n    {line}").expect("a string takes everything");
    }
    text
}

/// What replaces the verdict on a run that gave none.
pub(crate) fn broken(subject: &str, error: &str) -> String {
    format!(
        "{subject}: {BAD}safety violation: no verdict{BAD:#}\n  {}",
        plain(error)
    )
}

/// How many operations of a witness are listed. More than this nobody reads.
const SHOWN_MAX: usize = 20;

fn violated(subject: &str, violation: &Violation) -> String {
    let Violation {
        class,
        kind,
        sentence,
        witness,
        also,
        ..
    } = violation;
    let mut text = format!(
        "{subject}: {BAD}{class} violation: {}{BAD:#} {FAINT}({}){FAINT:#}\n  {}",
        kind.name,
        kind.meaning,
        plain(sentence)
    );
    let mut line = |line: &str| {
        write!(text, "\n{}", plain(line)).expect("a string takes everything");
    };
    for sentence in also {
        line(&format!("  also: {sentence}"));
    }
    line("  the operations that prove it:");
    let (shown, left_out) = witness.split_at(witness.len().min(SHOWN_MAX));
    for operation in shown {
        line(&format!("    {operation}"));
    }
    if !left_out.is_empty() {
        let more = left_out.len();
        line(&format!(
            "    and {more} more; `check` shows all with --json or --html"
        ));
    }
    text
}
