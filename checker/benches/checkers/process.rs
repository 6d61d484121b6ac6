//! One measurement in a process of its own, so that its memory is its own.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, exit};
use std::time::{Duration, Instant};

use etcd_checker::{Check, Verdict};

/// The argument that asks for a measurement.
pub(crate) const FLAG: &str = "--measure";

/// What it takes to check a history.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cost {
    pub(crate) check: Duration,
    pub(crate) read: Duration,
    /// The most memory that the process ever had, in bytes; 0 where that is not known.
    pub(crate) memory: u64,
}

impl Cost {
    pub(crate) fn in_all(&self) -> Duration {
        self.read + self.check
    }
}

/// Checks the history in a file and prints what it took.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub(crate) fn measure(file: &Path) {
    let start = Instant::now();
    let check = Check::new();
    let file = File::open(file).expect("it was written before");
    let length = file.metadata().ok().map(|metadata| metadata.len());
    let read = check.read_sized(file, length);
    let (format, history) = read.expect("it was written by us");
    let read = start.elapsed();
    let checked = check.imported(format, history).expect("it is well-formed");
    let in_all = start.elapsed();
    let undecided = match &checked.verdict {
        Verdict::Valid(_) => "",
        Verdict::Unknown { reason } => reason,
        verdict => panic!("it is a valid history: {verdict}"),
    };
    let check = in_all - read;
    println!("{} {} {}", read.as_nanos(), check.as_nanos(), peak_memory());
    println!("{undecided}");
    // The memory of a process that ends needs not be given back piece by piece.
    exit(0);
}

/// Measures in a process of its own. Returns also why there was no verdict, if there was none.
pub(crate) fn cost_of(file: &Path) -> (Cost, Option<String>) {
    let program = std::env::current_exe().expect("this program is a file");
    let output = Command::new(program).arg(FLAG).arg(file).output();
    let output = output.expect("this program can be run");
    let (text, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let (numbers, undecided) = text.split_once('\n').unwrap_or_default();
    let numbers: Vec<u64> = numbers.split_whitespace().flat_map(str::parse).collect();
    let [read, check, memory] = numbers[..] else {
        panic!("the measurement failed: {errors}");
    };
    let cost = Cost {
        read: Duration::from_nanos(read),
        check: Duration::from_nanos(check),
        memory,
    };
    let undecided = undecided.trim();
    (cost, (!undecided.is_empty()).then(|| undecided.to_owned()))
}

fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.unwrap_or(0_u64) << 10
}
