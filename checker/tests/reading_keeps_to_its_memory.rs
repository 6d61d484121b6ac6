//! What a reader counts is what it takes: the process grows by no more than that, and where our
//! own lines are read hardly by less. Only Linux tells how much it was.

use std::fs;
use std::path::Path;
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

/// Our own lines about a queue.
fn lines(operations: usize) -> String {
    let header = r#"{"format":"etcd-recipes-history","version":1,"workload":"w","model":"fifo-queue","source":{"kind":"other"}}"#;
    let line = |index: usize| {
        let (f, value) = match index.is_multiple_of(2) {
            true => ("enqueue", format!("\"value-{index:07}\"")),
            false => ("dequeue", format!("\"value-{:07}\"", index - 1)),
        };
        let event = |time: usize, kind: &str, value: &str| {
            format!(
                "{{\"time\":{time},\"process\":{},\"type\":\"{kind}\",\"f\":\"{f}\",\"value\":{value}}}\n",
                index % 5
            )
        };
        event(3_000 * index, "invoke", "null")
            .replace("null", if f == "enqueue" { &value } else { "null" })
            + &event(3_000 * index + 1_000, "ok", &value)
    };
    std::iter::once(format!("{header}\n"))
        .chain((0..operations).map(line))
        .collect()
}

/// Puts of one client after the other, as etcd's robustness tests report them.
fn report(operations: usize) -> String {
    let line = |index: usize| {
        let (call, revision) = (index * 10, index + 2);
        format!(
            r#"{{"ClientId":1,"Input":{{"Type":"txn","LeaseID":0,"Txn":{{"Conditions":null,"OperationsOnSuccess":[{{"Type":"put-operation","Range":{{"Start":"","End":"","Limit":0}},"Put":{{"Key":"key{}","Value":{{"Value":"{index}","Hash":0}},"LeaseID":0}},"Delete":{{"Key":""}}}}],"OperationsOnFailure":null}}}},"Call":{call},"Output":{{"Txn":{{"Failure":false,"Results":[{{"KVs":null,"Count":0,"Deleted":0}}]}},"Revision":{revision},"Error":""}},"Return":{}}}"#,
            index % 10,
            call + 5
        ) + "\n"
    };
    (0..operations).map(line).collect()
}

/// The bytes of a history in this format, or of one of a hundredth of the length.
fn bytes_of(format: &str, is_short: bool) -> Vec<u8> {
    let of = |whole: usize| if is_short { whole / 100 } else { whole };
    let text = match format {
        "edn" => edn(of(300_000)),
        "log" => log(of(300_000)),
        "monitor" => monitor(of(150_000)),
        "report" => report(of(60_000)),
        _ => lines(of(300_000)),
    };
    match format {
        "zstd" => ruzstd::encoding::compress_to_vec(
            text.as_bytes(),
            ruzstd::encoding::CompressionLevel::Fastest,
        ),
        _ => text.into_bytes(),
    }
}

/// What reading and, for some, checking takes, and what it counts, in bytes.
fn measure(format: &str, file: &Path, short: &Path) -> Option<(u64, u64)> {
    let is_checked = matches!(format, "lines" | "zstd" | "report");
    let read_file = |file: &Path, limit: u64| {
        let check = Check::new().budget(Budget::bytes(limit));
        match is_checked {
            true => check
                .file(file)
                .is_ok_and(|checked| checked.verdict.is_valid()),
            false => {
                let length = fs::metadata(file).unwrap().len();
                let opened = fs::File::open(file).unwrap();
                check.read_sized(opened, Some(length)).is_ok()
            }
        }
    };
    let read = |limit: u64| read_file(file, limit);
    // The program itself is there from then on.
    assert!(read_file(short, u64::MAX));
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
const FILE: &str = "READING_KEEPS_TO_ITS_MEMORY_FILE";

/// In a process of its own for each format: what an allocator keeps hides what comes after.
#[test]
fn what_is_taken_is_what_is_counted() {
    if let Ok(format) = std::env::var(FORMAT) {
        let file = std::env::var(FILE).unwrap();
        if let Some((grown, counted)) = measure(
            &format,
            Path::new(&file),
            Path::new(&format!("{file}.short")),
        ) {
            eprintln!("{format}: {grown} bytes for {counted}");
            // Lists that grew by doubling, and were copied, would take half as much again.
            let most = counted + counted / 8 + (4 << 20);
            assert!(grown > 8 << 20, "{format}: {grown} bytes are too few");
            assert!(grown <= most, "{format}: {grown} bytes for {counted}");
            // What fits is accepted.
            if format == "lines" {
                assert!(counted <= grown + grown / 8, "{grown} bytes for {counted}");
            }
        }
        return;
    }
    let this = std::env::current_exe().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for format in ["edn", "log", "monitor", "lines", "zstd", "report"] {
        let file = folder.path().join(format);
        fs::write(&file, bytes_of(format, false)).unwrap();
        let short = folder.path().join(format!("{format}.short"));
        fs::write(short, bytes_of(format, true)).unwrap();
        let mut alone = Command::new(&this);
        alone
            .arg("--nocapture")
            .env(FORMAT, format)
            .env(FILE, &file);
        assert!(alone.status().unwrap().success(), "{format}");
    }
}
