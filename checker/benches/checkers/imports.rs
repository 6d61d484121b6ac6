//! Histories of other tools: many small ones, and a report folder.

use std::time::{Duration, Instant};

use etcd_checker::{Check, check_file};

use crate::support::register_logs::register_log;
use crate::support::{Random, reports};

/// Logs of Jepsen's size, one after the other.
pub(crate) fn measure_logs(logs: u64) {
    let (mut read, mut checked) = (Duration::ZERO, Duration::ZERO);
    for seed in 0..logs {
        let log = register_log(&mut Random(seed), 85);
        let ((format, history), time) =
            timed(|| Check::new().read(log.as_bytes()).expect("it is a log"));
        read += time;
        let (answer, time) = timed(|| {
            Check::new()
                .imported(format, history)
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
pub(crate) fn measure_report(operations: usize) {
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

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = run();
    (result, start.elapsed())
}
