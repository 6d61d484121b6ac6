//! What a reader counts is what it takes, with the check of each model: the process grows by no
//! more than that, and where our own lines are read hardly by less. Only Linux tells how much it was.

mod sequential;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use etcd_checker::import::{Budget, ImportError};
use etcd_checker::{Check, CheckError};

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

/// Each operation by a client of its own: all of them overlap.
fn clients(operations: usize) -> String {
    let line = |index: usize| format!("enq {index} 1{index} 9{index:09}\n");
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

/// Registers that are written and read one after the other, and one read of a value of long ago.
fn stale_read(operations: usize) -> String {
    let event = |kind: &str, value: &str| {
        format!(
            "{{\"time\":9999999999,\"process\":77,\"type\":\"{kind}\",\"f\":\"txn\",\"value\":[[\"r\",\"k0\",{value}]]}}\n"
        )
    };
    sequential::history("rw-register", operations) + &event("invoke", "null") + &event("ok", "1")
}

/// The bytes of a history in this format, or of one of a hundredth of the length.
fn bytes_of(format: &str, is_short: bool) -> Vec<u8> {
    let of = |whole: usize| if is_short { whole / 100 } else { whole };
    let text = match format {
        "edn" => edn(of(300_000)),
        "log" => log(of(300_000)),
        "monitor" => monitor(of(150_000)),
        "clients" => clients(of(150_000)),
        "report" => report(of(60_000)),
        "lines" | "zstd" => lines(of(300_000)),
        stale if stale.starts_with("stale") => stale_read(of(100_000)),
        model => sequential::history(model, of(150_000)),
    };
    match format {
        "zstd" => ruzstd::encoding::compress_to_vec(
            text.as_bytes(),
            ruzstd::encoding::CompressionLevel::Fastest,
        ),
        _ => text.into_bytes(),
    }
}

/// Reads and, in some formats, checks a file within this memory.
fn read_within(format: &str, file: &Path, limit: u64) -> bool {
    let check = Check::new().budget(Budget::bytes(limit));
    if matches!(format, "edn" | "log" | "monitor" | "clients") {
        let length = fs::metadata(file).unwrap().len();
        let opened = fs::File::open(file).unwrap();
        return check.read_sized(opened, Some(length)).is_ok();
    }
    let checked = check.file(file);
    checked.is_ok_and(|checked| checked.verdict.is_valid())
}

/// What reading and, for some, checking takes, in bytes.
fn taken(format: &str, file: &Path) -> Option<u64> {
    // The program itself is there from then on.
    assert!(read_within(format, &short_of(file), u64::MAX));
    growth(|| assert!(read_within(format, file, u64::MAX)))
}

/// The least that must be allowed for it, in bytes.
fn counted(format: &str, file: &Path) -> u64 {
    let (mut too_few, mut enough) = (0, 256);
    while enough - too_few > 1 {
        let middle = (too_few + enough) / 2;
        match read_within(format, file, middle << 20) {
            true => enough = middle,
            false => too_few = middle,
        }
    }
    enough << 20
}

fn short_of(file: &Path) -> PathBuf {
    file.with_extension("short")
}

const FORMAT: &str = "READING_KEEPS_TO_ITS_MEMORY";
const FILE: &str = "READING_KEEPS_TO_ITS_MEMORY_FILE";

/// In a process of its own for each format: what an allocator keeps hides what comes after.
fn in_processes_of_their_own(test: &str, formats: &[&str], look: impl Fn(&str, &Path)) {
    if let Ok(format) = std::env::var(FORMAT) {
        look(&format, Path::new(&std::env::var(FILE).unwrap()));
        return;
    }
    let this = std::env::current_exe().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for format in formats {
        let file = folder.path().join(format);
        fs::write(&file, bytes_of(format, false)).unwrap();
        fs::write(short_of(&file), bytes_of(format, true)).unwrap();
        let mut alone = Command::new(&this);
        alone
            .args(["--nocapture", "--exact", test])
            .env(FORMAT, format)
            .env(FILE, &file);
        if !alone.status().unwrap().success() {
            wrong.push(*format);
        }
        fs::remove_file(file).unwrap();
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn what_is_taken_is_what_is_counted() {
    let formats = [
        "edn", "log", "monitor", "clients", "lines", "zstd", "report",
    ];
    in_processes_of_their_own(
        "what_is_taken_is_what_is_counted",
        &formats,
        |format, file| {
            let Some(grown) = taken(format, file) else {
                return;
            };
            let counted = counted(format, file);
            eprintln!("{format}: {grown} bytes for {counted}");
            // Lists that grew by doubling, and were copied, would take half as much again.
            let most = counted + counted / 8 + (4 << 20);
            assert!(grown > 8 << 20, "{format}: {grown} bytes are too few");
            assert!(grown <= most, "{format}: {grown} bytes for {counted}");
            // What fits is accepted.
            if format == "lines" {
                assert!(counted <= grown + grown / 8, "{grown} bytes for {counted}");
            }
        },
    );
}

/// With much less than a check takes the history is refused, before it takes that.
#[test]
fn no_check_takes_much_more_than_is_counted_for_its_model() {
    let test = "no_check_takes_much_more_than_is_counted_for_its_model";
    in_processes_of_their_own(test, sequential::MODELS, |model, file| {
        let Some(grown) = taken(model, file) else {
            return;
        };
        eprintln!("{model}: {grown} bytes");
        assert!(grown > 20 << 20, "{model}: {grown} bytes are too few");
        // An allocator takes large pieces, and there are not as many figures as ways to check.
        let too_few = (grown - (12 << 20)) * 5 / 6;
        let refused = Check::new().budget(Budget::bytes(too_few)).file(file);
        let Err(CheckError::Import(ImportError::TooLarge(_))) = refused else {
            panic!("{model}: it takes {grown} bytes, but {too_few} are enough to begin");
        };
    });
}

/// What is wrong with registers is explained by all that is inferred of them, and that takes more
/// than to find an order: where it does not fit, it is not inferred.
#[test]
fn a_search_keeps_to_what_is_left_for_it() {
    let test = "a_search_keeps_to_what_is_left_for_it";
    let percents = ["stale-100", "stale-130", "stale-200"];
    in_processes_of_their_own(test, &percents, |percent, file| {
        let check = |file: &Path, limit: u64| Check::new().budget(Budget::bytes(limit)).file(file);
        check(&short_of(file), u64::MAX).unwrap();
        let refused = check(file, 1 << 20).expect_err("a MiB is not enough for its lines");
        let CheckError::Import(ImportError::TooLarge(refused)) = refused else {
            panic!("{refused}");
        };
        let limit = refused.whole.expect("its length is known");
        let times: u64 = percent.trim_start_matches("stale-").parse().unwrap();
        let limit = limit / 100 * times + (2 << 20);
        let mut verdict = None;
        let grown = growth(|| verdict = check(file, limit).ok().map(|checked| checked.verdict));
        let (Some(grown), Some(verdict)) = (grown, verdict) else {
            panic!("{percent}: {limit} bytes are refused");
        };
        // With enough it is told what is wrong.
        let is_known = verdict.violation().is_some();
        assert!(is_known || times < 200, "{verdict}");
        assert!(!is_known || times > 100, "{verdict}");
        eprintln!("{percent}: {grown} bytes of {limit}");
        assert!(
            grown <= limit + limit / 8,
            "{percent}: {grown} bytes of {limit}"
        );
    });
}
