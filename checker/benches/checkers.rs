//! How long it takes to read and to check a history, from 10^4 to 10^6 operations by
//! ten clients that are never idle.
//!
//! `cargo bench -p etcd-checker`

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use etcd_checker::{History, Model, check};
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
