//! `sim`.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Folder, labelled, text};

#[test]
fn a_valid_sweep_exits_0_with_results_and_table_apart() {
    let ran = Folder::new()
        .run("sim queue bank --seeds 3 --set transfers=5")
        .exits_with(0);
    assert_eq!(
        ran.stdout,
        "queue: valid in all 3 runs\nbank: valid in all 3 runs\n"
    );
    for row in [
        "runs  operations  unknown",
        " queue ",
        " bank ",
        " total ",
        "response lost",
    ] {
        assert!(ran.stderr.contains(row), "no {row:?} in {}", ran.stderr);
    }
    assert!(!ran.stderr.contains('\u{1b}'), "colours are for terminals");
}

#[test]
fn one_run_tells_its_verdict() {
    let ran = Folder::new().run("sim queue --seed 7").exits_with(0);
    assert!(
        ran.stdout.starts_with("queue, seed 7: valid: "),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_history_is_the_same_alone_in_a_sweep_and_with_any_number_of_jobs() {
    let folder = Folder::new();
    let alone = folder.run("sim queue --seed 7 --history -").exits_with(0);
    let again = folder.run("sim queue --seed 7 --history -").exits_with(0);
    assert_eq!(alone.stdout, again.stdout);
    assert!(
        alone
            .stdout
            .starts_with("{\"format\":\"etcd-recipes-history\"")
    );
    for jobs in ["1", "2"] {
        folder
            .run(&format!(
                "sim queue --seeds 5..9 --jobs {jobs} --history jobs{jobs}"
            ))
            .exits_with(0);
        assert_eq!(
            folder.read(&format!("jobs{jobs}/queue-7.jsonl")),
            alone.stdout
        );
    }
    // A folder that exists is a folder for one run too.
    folder
        .run("sim queue --seed 4 --history jobs1")
        .exits_with(0);
    assert!(folder.path("jobs1/queue-4.jsonl").is_file());
    folder
        .run("sim queue --seed 7 --history one.jsonl")
        .exits_with(0);
    assert_eq!(folder.read("one.jsonl"), alone.stdout);
}

/// The documentation shows the simulation's own words.
#[test]
fn what_becomes_of_a_lock_without_a_fence_is_documented_as_it_is_found() {
    let ran = Folder::new().run("sim --bug mutex-unfenced").exits_with(1);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (found, _) = ran.stdout.split_once("  drawn:").expect("it is caught");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for file in ["docs/guarantees.md", "src/mutex/mod.rs"] {
        let text = std::fs::read_to_string(repository.join(file)).unwrap();
        let text = text.replace("\n///", "\n");
        assert!(
            words(&text).contains(&words(found)),
            "not in {file}: {found}"
        );
    }
}

#[test]
fn every_bug_is_caught_and_the_printed_command_reproduces_it() {
    let folder = Folder::new();
    let list = folder.run("sim --list --json").exits_with(0).json();
    let workloads = list["workloads"].as_array().unwrap();
    let bugs = workloads
        .iter()
        .flat_map(|workload| workload["bugs"].as_array().unwrap());
    let mut caught = 0;
    for bug in bugs {
        let bug = bug["name"].as_str().unwrap();
        let ran = folder
            .run(&format!("sim --bug {bug}"))
            .says(&format!("caught {bug}"));
        assert!([1, 3].contains(&ran.code), "{bug}: {}", ran.stdout);
        // Runs before it may be undecided: of those nothing is said.
        let violation = ran.stdout.split("\n\n").next().unwrap_or_default();
        let headline = |told: &str| told.lines().next().unwrap_or_default().to_owned();
        assert!(
            headline(violation).contains(" violation: "),
            "{bug}: {}",
            ran.stdout
        );

        let again = folder.shell(labelled(violation, "reproduce:"));
        again.exits_with(ran.code).says(&headline(violation));
        assert!(folder.path(labelled(violation, "plan:")).is_file());
        caught += 1;
    }
    assert!(caught >= 4);
}

#[test]
fn when_no_plan_can_be_saved_the_command_by_seed_reproduces() {
    let folder = Folder::new();
    folder.write("file", "in the way");
    let ran = folder
        .run("sim --bug stm-read-committed --set transfers=30 --executor tokio --out file")
        .exits_with(1)
        .notes("choose a folder with --out");
    let headline = ran.stdout.lines().next().unwrap();
    let reproduce = ran.labelled("reproduce:");
    assert!(reproduce.contains("--set transfers=30"), "{reproduce}");
    folder.shell(reproduce).exits_with(1).says(headline);
}

#[test]
fn json_tells_what_was_found_and_people_read_the_rest_elsewhere() {
    let folder = Folder::new();
    let ran = folder
        .run("sim --bug stm-read-committed --seeds 5 --json")
        .exits_with(1);
    let json = ran.json();
    assert_eq!(json["bug"], "stm-read-committed");
    assert_eq!(json["exit_code"], 1);
    let failure = &json["failures"][0];
    assert_eq!(failure["verdict"]["verdict"], "violation");
    assert!(!failure["verdict"]["witness"].as_array().unwrap().is_empty());
    assert_eq!(json["total"]["runs"], json["workloads"][0]["runs"]);
    assert!(ran.stderr.contains("reproduce:"), "{}", ran.stderr);
    folder
        .shell(failure["reproduce"].as_str().unwrap())
        .exits_with(1);
}

#[test]
fn a_sweep_says_which_faults_never_occurred() {
    let folder = Folder::new();
    folder
        .run("sim queue --seeds 2")
        .exits_with(0)
        .notes("never occurred in 2 runs: ");
    let ran = folder.run("sim queue --seeds 200").exits_with(0);
    assert!(!ran.stderr.contains("never occurred"), "{}", ran.stderr);
}

#[test]
fn a_sweep_says_nothing_of_faults_that_could_not_occur() {
    let folder = Folder::new();
    // Clients that open no watches have none that could break.
    for workload in ["kv", "stm", "bank"] {
        let sweep = format!("sim {workload} --seeds 2 --json");
        let ran = folder.run(&sweep).exits_with(0);
        let missing = ran.json()["faults_that_never_occurred"].clone();
        let missing = missing.as_array().expect("it is a list");
        assert!(!missing.is_empty());
        assert!(!missing.contains(&"watches broken".into()), "{missing:?}");
    }
    let ran = folder.run("sim watch --seeds 1..3 --json").exits_with(0);
    let known = ran.json()["total"]["faults"].to_string();
    assert!(known.contains("watches broken"), "{known}");
}

#[test]
fn a_random_start_is_printed_and_can_be_run_again() {
    let folder = Folder::new();
    let ran = folder
        .run("sim queue --seeds random:2 --history first")
        .exits_with(0);
    let options = ran.stderr.split("; ").nth(1).unwrap();
    let options = options.split(" runs them again").next().unwrap();
    folder
        .run(&format!("sim queue {options} --history second"))
        .exits_with(0);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder.path("first")).unwrap() {
        names.push(entry.unwrap().file_name().into_string().unwrap());
    }
    assert_eq!(names.len(), 2);
    for name in names {
        assert_eq!(
            folder.read(&format!("first/{name}")),
            folder.read(&format!("second/{name}"))
        );
    }
}

#[test]
fn one_seed_says_what_it_has_drawn() {
    let folder = Folder::new();
    let ran = folder.run("sim queue --seed 1 --json").exits_with(0);
    let drawn = &ran.json()["workloads"][0]["drawn"];
    let drawn = drawn.as_str().expect("it is a sentence");
    assert!(drawn.contains("faults by weight: "), "{drawn}");
    let told = folder.run("sim queue --seed 1").exits_with(0).stdout;
    assert!(
        told.contains(&format!("\n  drawn:     {drawn}\n")),
        "{told}"
    );
    let many = folder.run("sim queue --seeds 2 --json").exits_with(0);
    assert!(many.json()["workloads"][0].get("drawn").is_none());
}

#[test]
fn one_seed_of_several_workloads_says_what_it_has_drawn_for_each() {
    let folder = Folder::new();
    let ran = folder.run("sim kv bank --seed 3").exits_with(0);
    let json = folder
        .run("sim kv bank --seed 3 --json")
        .exits_with(0)
        .json();
    for (at, name) in ["bank", "kv"].into_iter().enumerate() {
        let runs = &json["workloads"][at];
        assert_eq!(runs["workload"], name);
        let drawn = runs["drawn"].as_str().expect("it is a sentence");
        let told = format!("{name}: valid in all 1 run\n  drawn:     {drawn}\n");
        assert!(ran.stdout.contains(&told), "no {told} in {}", ran.stdout);
    }
}

#[test]
fn a_trace_tells_operations_and_faults_in_the_order_of_time() {
    let folder = Folder::new();
    let ran = folder.run("sim queue --seed 1 --trace").exits_with(0);
    let (trace, verdict) = ran.stdout.split_once("\n\n").unwrap();
    assert!(verdict.starts_with("queue, seed 1: valid"));
    let times: Vec<&str> = trace
        .lines()
        .map(|line| line.split(" s ").next().unwrap())
        .collect();
    let times: Vec<f64> = times
        .iter()
        .map(|time| time.trim().parse().unwrap())
        .collect();
    assert!(times.is_sorted());
    assert!(trace.contains("  enqueue ") && trace.contains("  ok    dequeue "));
    let history = folder
        .run("sim queue --seed 1 --history -")
        .exits_with(0)
        .stdout;
    assert_eq!(trace.lines().count(), history.lines().count() - 1);
    assert_eq!(
        trace
            .lines()
            .filter(|line| line.contains(" s  fault "))
            .count(),
        history
            .lines()
            .filter(|line| line.contains("\"nemesis\""))
            .count(),
    );
}

#[test]
fn the_tokio_executor_is_another_run_and_just_as_repeatable() {
    let folder = Folder::new();
    let line = "sim queue --seed 7 --executor tokio --history -";
    let first = folder.run(line).exits_with(0).stdout;
    assert_eq!(first, folder.run(line).exits_with(0).stdout);
}

#[test]
fn the_list_names_what_the_options_take() {
    Folder::new()
        .run("sim --list")
        .exits_with(0)
        .says("queue-lost-wake-up")
        .says("transfers")
        .says("possible: 1 to 1000");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let folder = Folder::new();
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("etcd-recipes"))
        .args([
            "sim",
            "bank",
            "--seed",
            "1",
            "--trace",
            "--out",
            text(&folder.path("out")),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{stderr}");
    assert!(
        !stderr.contains("error") && !stderr.contains("panicked"),
        "{stderr}"
    );
}
