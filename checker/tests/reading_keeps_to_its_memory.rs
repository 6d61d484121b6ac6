//! What a reader counts is what it takes: the process grows by no more than that. Only Linux
//! tells how much it was.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::process::Command;

use etcd_checker::Check;
use etcd_checker::import::Budget;

/// That of the command. Others move large lists without a copy, and hide what growing costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A field of what the system says of this process, in bytes.
fn status(field: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// By how much the process grows at most while `work` is done.
fn growth(work: impl FnOnce()) -> Option<u64> {
    // What is reached from now on.
    fs::write("/proc/self/clear_refs", "5").ok()?;
    let before = status("VmRSS:")?;
    work();
    Some(status("VmHWM:")?.saturating_sub(before))
}

fn edn(events: usize) -> String {
    let line = |index: usize| {
        let kind = if index.is_multiple_of(2) {
            "invoke"
        } else {
            "ok"
        };
        let (process, value) = (index / 2 % 5, index / 2);
        format!(
            "{{:process {process}, :type :{kind}, :f :write, :value {value}, :time 1{index:06}}}\n"
        )
    };
    (0..events).map(line).collect()
}

fn log(events: usize) -> String {
    let line = |index: usize| {
        let kind = if index.is_multiple_of(2) {
            "invoke"
        } else {
            "ok"
        };
        let (process, value) = (index / 2 % 5, index / 2);
        format!("INFO  jepsen.util - {process}  :{kind}  :write  {value}\n")
    };
    (0..events).map(line).collect()
}

fn monitor(operations: usize) -> String {
    let line = |index: usize| format!("enq {index} {index}000 {index}500\n");
    std::iter::once("# queue\n".to_owned())
        .chain((0..operations).map(line))
        .collect()
}

/// What reading takes, and what it counts, in bytes.
fn measure(format: &str) -> Option<(u64, u64)> {
    let text = match format {
        "edn" => edn(300_000),
        "log" => log(300_000),
        _ => monitor(150_000),
    };
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let length = text.len() as u64;
    drop(text);
    let mut read = |limit: u64| {
        file.seek(SeekFrom::Start(0)).unwrap();
        let check = Check::new().budget(Budget::bytes(limit));
        check.read_sized(&file, Some(length)).is_ok()
    };
    let grown = growth(|| assert!(read(u64::MAX)))?;
    let (mut too_few, mut enough) = (0, 256);
    while enough - too_few > 1 {
        let middle = (too_few + enough) / 2;
        match read(middle << 20) {
            true => enough = middle,
            false => too_few = middle,
        }
    }
    Some((grown, enough << 20))
}

const FORMAT: &str = "READING_KEEPS_TO_ITS_MEMORY";

/// In a process of its own for each format: what an allocator keeps hides what comes after.
#[test]
fn reading_takes_no_more_than_it_counts() {
    if let Ok(format) = std::env::var(FORMAT) {
        if let Some((grown, counted)) = measure(&format) {
            eprintln!("{format}: {grown} bytes for {counted}");
            // What the check will take is counted before: lists that grew by doubling, and were
            // copied, would take most of that.
            let allowed = counted / 5 * 4;
            assert!(grown > 8 << 20, "{format}: {grown} bytes are too few");
            assert!(grown <= allowed, "{format}: {grown} bytes for {counted}");
        }
        return;
    }
    let this = std::env::current_exe().unwrap();
    for format in ["edn", "log", "monitor"] {
        let mut alone = Command::new(&this);
        let alone = alone.arg("--nocapture").env(FORMAT, format).status();
        assert!(alone.unwrap().success(), "{format}");
    }
}
