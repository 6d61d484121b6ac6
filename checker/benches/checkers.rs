//! How long it takes to read and to check a history, from 10^4 to 10^6 operations by
//! ten clients that are never idle.
//!
//! `cargo bench -p etcd-checker`

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use etcd_checker::{Check, History, Model, check, check_file};
use support::register_logs::register_log;
use support::reports;
use support::transactions::{Object, busy_transactions};
use support::{Random, busy_bank, busy_queue};

const CLIENTS: usize = 10;

fn main() {
    // `cargo bench` says `--bench`; `cargo test` only wants to know that it runs.
    let is_test = std::env::args().all(|argument| argument != "--bench");
    let sizes: &[usize] = if is_test {
        &[1_000]
    } else {
        &[10_000, 100_000, 1_000_000]
    };
    println!(
        "{:<14}{:>12}{:>10}{:>10}{:>10}{:>12}",
        "model", "operations", "read", "check", "in all", "file"
    );
    for size in sizes {
        measure(&busy_queue(&mut Random(1), *size, CLIENTS));
    }
    for size in sizes {
        measure(&busy_bank(&mut Random(1), *size, CLIENTS, 0));
    }
    for size in sizes.iter().take(2) {
        measure(&busy_bank(&mut Random(1), *size, CLIENTS, 10));
    }
    for object in [Object::Revisions, Object::List] {
        for size in sizes {
            measure(&busy_transactions(&mut Random(1), object, *size, CLIENTS));
        }
    }
    measure_logs(if is_test { 10 } else { 100 });
    measure_report(if is_test { 1_000 } else { 100_000 });
}

/// Logs of Jepsen's size, one after the other.
fn measure_logs(logs: u64) {
    let (mut read, mut checked) = (Duration::ZERO, Duration::ZERO);
    for seed in 0..logs {
        let log = register_log(&mut Random(seed), 85);
        let ((format, history), time) =
            timed(|| Check::new().read(log.as_bytes()).expect("it is a log"));
        read += time;
        let (answer, time) = timed(|| {
            Check::new()
                .history(format, history)
                .expect("it is well-formed")
        });
        checked += time;
        assert!(answer.verdict.is_valid(), "{}", answer.verdict);
    }
    let each = |time: Duration| time.as_secs_f64() * 1e6 / logs as f64;
    println!(
        "{logs} register logs of 85 operations: {:.0} us to read and {:.0} us to check each",
        each(read),
        each(checked)
    );
}

/// A report of etcd's robustness tests, with one write in twenty of unknown outcome, from the
/// folder to the verdict.
fn measure_report(operations: usize) {
    let run = reports::run(&mut Random(1), operations, 20);
    let folder = tempfile::tempdir().expect("there is room for a folder");
    run.write(folder.path(), &run.watch("", 2, true));
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let (checked, time) = timed(|| check_file(folder.path()).expect("it is a report"));
        assert!(checked.verdict.is_valid(), "{}", checked.verdict);
        best = best.min(time);
    }
    println!(
        "robustness report of {operations} operations: {:.1} ms in all",
        best.as_secs_f64() * 1e3
    );
}

fn measure(history: &History) {
    let mut file = Vec::new();
    history.write_to(&mut file).expect("memory is writable");
    let (mut read, mut checked) = (Duration::MAX, Duration::MAX);
    for _ in 0..3 {
        let (history, time) =
            timed(|| History::read_from(file.as_slice()).expect("it was written by us"));
        read = read.min(time);
        let model = Model::of(&history).expect("the header names a model");
        let (verdict, time) = timed(|| check(&history, model).expect("the history is well-formed"));
        checked = checked.min(time);
        assert!(verdict.is_valid(), "{verdict}");
    }
    let name = &history.header().model;
    let operations = history.operations().len();
    let milliseconds = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    let (all, file) = (
        milliseconds(read + checked),
        format!("{:.1} MB", file.len() as f64 / 1e6),
    );
    println!(
        "{name:<14}{operations:>12}{:>10}{:>10}{all:>10}{file:>12}",
        milliseconds(read),
        milliseconds(checked)
    );
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = run();
    (result, start.elapsed())
}
