//! What holds of every input, whatever it is. Used by the fuzz targets and by
//! `checker/tests/reads/anything.rs`.

#![allow(unreachable_pub, reason = "included as a module")]

use std::time::Duration;

use etcd_checker::history::{Event, Problem};
use etcd_checker::import::{self, Format, ImportError};
use etcd_checker::search::Budget;
use etcd_checker::{Check, CheckError, History, HistoryError, Model, Options, ReadError};

/// The most memory that a reader may reckon with. Inputs are small.
const BUDGET: u64 = 256 << 20;

/// Up to how many events a history is also checked.
const CHECKED_MAX: usize = 64;

/// Reads the bytes in this format.
#[allow(dead_code, reason = "not every target reads one format")]
pub fn read_as(format: Format, bytes: &[u8]) {
    read(Check::new().format(format), bytes);
}

/// Reads the bytes in whatever format they seem to have.
#[allow(dead_code, reason = "only one target reads any format")]
pub fn read_any(bytes: &[u8]) {
    read(Check::new(), bytes);
}

fn read(check: Check, bytes: &[u8]) {
    let check = check.budget(import::Budget::bytes(BUDGET));
    match check.read(bytes) {
        Ok((format, history)) => {
            reads_back(&history);
            if history.events().len() <= CHECKED_MAX {
                judge(check, format, &history);
            }
        }
        Err(error) => has_a_place(&error),
    }
}

/// What was read can be written, and read again as the same.
fn reads_back(history: &History) {
    let mut written = Vec::new();
    history
        .write_to(&mut written)
        .expect("memory takes everything");
    let again = History::read_from(written.as_slice()).expect("what was written is well-formed");
    let line = |event: &Event| {
        let mut line = Vec::new();
        event
            .write_line(&mut line)
            .expect("memory takes everything");
        line
    };
    assert_eq!(history.header(), again.header());
    assert_eq!(history.events().len(), again.events().len());
    for (a, b) in history.events().iter().zip(again.events()) {
        assert_eq!(line(a), line(b), "{a:?}\n{b:?}");
    }
}

/// No checker panics on it; its errors have a line. A search may not take much memory, nor
/// long.
fn judge(check: Check, format: Format, history: &History) {
    let budget = Budget {
        time: Some(Duration::from_millis(100)),
        memory_bytes: 1 << 16,
    };
    let check = check.options(Options {
        budget,
        ..Options::default()
    });
    for &model in Model::all() {
        match check.clone().model(model).imported(format, history.clone()) {
            Ok(_) => {}
            Err(CheckError::History(error)) => assert!(error.line >= 1, "{error}"),
            Err(error) => panic!("{model}: {error}"),
        }
    }
}

/// An error says where: line and column.
fn has_a_place(error: &ImportError) {
    match error {
        ImportError::Read(ReadError::History(error)) => {
            let HistoryError {
                line,
                column,
                problem,
            } = error;
            assert!(
                *line >= 1 && column.is_some_and(|column| column >= 1),
                "{error}"
            );
            assert!(error.to_string().len() < 4_000, "{error}");
            assert!(!matches!(problem, Problem::UnknownModel { .. }));
        }
        // A packed input that is damaged.
        ImportError::Read(ReadError::Io { .. }) => {}
        other => assert!(matches!(other, ImportError::TooLarge(_)), "{other}"),
    }
}
