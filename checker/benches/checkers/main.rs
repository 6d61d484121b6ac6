//! How long it takes from a file to the verdict, and how much memory, for histories of
//! 10^4 to 10^6 operations by ten and by a hundred clients that are never idle.
//!
//! `cargo bench -p etcd-checker` measures all objects,
//! `cargo bench -p etcd-checker -- queue mutex` those whose name has one of these in it.
//! Each row is the best of some processes that do nothing else, on one core.
//! `--keep FOLDER` leaves the files there, to check them with the command.

#[path = "../../tests/support/mod.rs"]
mod support;

mod imports;
mod objects;
mod process;

use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use etcd_checker::History;

use objects::OBJECTS;
use process::Cost;

/// The command's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CLIENTS: [usize; 2] = [10, 100];

/// How often each row is measured.
const TIMES: usize = 3;

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, file] = arguments.as_slice()
        && flag == process::FLAG
    {
        return process::measure(Path::new(file));
    }
    // `cargo bench` says `--bench`; `cargo test` only wants to know that it runs.
    let is_test = !arguments.iter().any(|argument| argument == "--bench");
    let keep = arguments.iter().position(|argument| argument == "--keep");
    let keep = keep.map(|at| arguments.drain(at..at + 2).nth(1).expect("--keep FOLDER"));
    arguments.retain(|argument| !argument.starts_with("--"));
    let sizes: &[usize] = if is_test {
        &[1_000]
    } else {
        &[10_000, 100_000, 1_000_000]
    };
    let is_wanted =
        |name: &str| arguments.is_empty() || arguments.iter().any(|one| name.contains(one));
    println!(
        "{:<16}{:>8}{:>12}{:>10}{:>8}{:>11}{:>11}{:>11}{:>8}{:>10}",
        "object",
        "clients",
        "operations",
        "file",
        "line",
        "read",
        "check",
        "in all",
        "growth",
        "memory"
    );
    let temporary = tempfile::tempdir().expect("files can be made");
    let folder = keep.as_deref().map_or(temporary.path(), Path::new);
    for object in OBJECTS.iter().filter(|object| is_wanted(object.name)) {
        for clients in CLIENTS {
            let mut before = None;
            for size in sizes {
                let name = match keep {
                    Some(_) => format!("{}-{clients}-{size}.jsonl", object.name),
                    None => "history.jsonl".to_owned(),
                };
                let file = folder.join(name);
                let history = (object.history)(*size, clients);
                let written = write(&history, &file);
                drop(history);
                let cost = (0..TIMES).map(|_| process::cost_of(&file)).min();
                let (cost, undecided) = cost.expect("it is measured at least once");
                let growth = before.map(|before| cost.in_all().as_secs_f64() / before);
                before = Some(cost.in_all().as_secs_f64());
                row(object.name, clients, *size, &written, &cost, growth);
                if let Some(reason) = undecided {
                    println!("{:<16}no verdict: {reason}", "");
                }
            }
        }
    }
    if is_wanted("logs") {
        imports::measure_logs(if is_test { 10 } else { 100 });
    }
    if is_wanted("report") {
        imports::measure_report(if is_test { 1_000 } else { 100_000 });
    }
}

/// What was written.
struct Written {
    bytes: u64,
    lines: usize,
}

fn write(history: &History, file: &Path) -> Written {
    let mut writer = BufWriter::new(fs::File::create(file).expect("the file can be made"));
    history.write_to(&mut writer).expect("the disk is not full");
    writer.flush().expect("the disk is not full");
    Written {
        bytes: fs::metadata(file).expect("the file is there").len(),
        lines: history.events().len() + 1,
    }
}

fn row(
    name: &str,
    clients: usize,
    operations: usize,
    written: &Written,
    cost: &Cost,
    growth: Option<f64>,
) {
    let milliseconds = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    let growth = growth.map_or_else(String::new, |growth| format!("x {growth:.1}"));
    println!(
        "{name:<16}{clients:>8}{operations:>12}{:>10}{:>8}{:>11}{:>11}{:>11}{growth:>8}{:>10}",
        format!("{:.1} MB", written.bytes as f64 / 1e6),
        format!("{} B", written.bytes as usize / written.lines),
        milliseconds(cost.read),
        milliseconds(cost.check),
        milliseconds(cost.in_all()),
        format!("{} MiB", cost.memory >> 20),
    );
}
