//! Report folders of etcd's robustness tests: a store that does what etcd does gives
//! valid ones, whatever the clients were not told; each fault that can be seen in one
//! is seen.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use etcd_checker::import::Format;
use etcd_checker::search::Budget;
use etcd_checker::{Check, Options, Verdict, check_file};
use serde_json::Value;

use crate::support::Random;
use crate::support::reports::{Change, Fate, KEYS, Run, run};

fn verdict(run: &Run, watch: &str) -> Verdict {
    let folder = tempfile::tempdir().unwrap();
    run.write(folder.path(), watch);
    let checked = check_file(folder.path()).unwrap();
    assert_eq!(checked.format, Format::Robustness);
    checked.verdict
}

#[test]
fn runs_of_a_right_store_are_valid() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let run = run(&mut random, 150, 4);
        let watches = run.watch("", 2, seed % 2 == 0)
            + &run.watch("key1", 0, true)
            + &run.watch("key", run.revision / 2, false);
        let verdict = verdict(&run, &watches);
        assert!(verdict.is_valid(), "seed {seed}: {verdict}");
    }
}

/// With every twentieth write of unknown outcome nothing is left to search for.
#[test]
fn many_unknown_outcomes_are_resolved() {
    let mut random = Random(7);
    let run = run(&mut random, 4_000, 20);
    let verdict = verdict(&run, &run.watch("", 2, false));
    assert!(verdict.is_valid(), "{verdict}");
}

/// Who deleted what is a question of its own where several keys are deleted at once: a watch of
/// everything says what happened, not who did it.
#[test]
fn deletions_of_several_keys_by_whom_nobody_knows_are_resolved() {
    let no_search = Budget {
        time: Some(Duration::from_secs(1)),
        ..Budget::default()
    };
    let mut random = Random(8);
    let mut all = run(&mut random, 200, 10);
    let mut client = 1;
    for _ in 0..2_000 {
        let fate = match random.below(8) {
            0 => Fate::Unanswered,
            1 => Fate::Lost,
            _ => Fate::Answered,
        };
        let mut key = || format!("key{}", random.below(KEYS));
        let keys = BTreeSet::from([key(), key(), key()]);
        let keys: Vec<String> = keys.into_iter().collect();
        match random.below(4) {
            0 => all.delete_several(&mut client, &keys, fate),
            _ => all.change(&mut client, true, &keys[0], None, Fate::Answered),
        }
    }
    let folder = tempfile::tempdir().unwrap();
    all.write(folder.path(), &all.watch("", 2, true));
    let options = Options {
        budget: no_search,
        ..Options::default()
    };
    let judged = |folder: &Path| Check::new().options(options.clone()).file(folder).unwrap();
    let verdict = judged(folder.path()).verdict;
    assert!(verdict.is_valid(), "{verdict}");

    // More keys are gone at once than anybody deleted.
    all.revision += 1;
    let gone = std::mem::take(&mut all.keys);
    assert!(gone.len() > 3);
    all.changes
        .extend(gone.into_iter().map(|(key, previous)| Change {
            revision: all.revision,
            key,
            version: None,
            is_create: false,
            previous: Some(previous),
        }));
    all.write(folder.path(), &all.watch("", 2, true));
    let verdict = judged(folder.path()).verdict;
    let kind = verdict.violation().map(|violation| violation.kind.name);
    assert_eq!(kind, Some("watch-invented-event"), "{verdict}");
}

/// That a write was seen which was refused takes two answers to see, however many writes of
/// unknown outcome there are besides.
#[test]
fn a_refused_write_that_was_seen_is_told_before_any_search() {
    let mut random = Random(9);
    let mut all = run(&mut random, 200, 10);
    let mut client = 1;
    for _ in 0..3_000 {
        let fate = match random.below(8) {
            0 => Fate::Unanswered,
            1 => Fate::Lost,
            _ => Fate::Answered,
        };
        let key = format!("key{}", random.below(KEYS));
        let modified = all.keys.get(&key).map_or(0, |(_, revision, _)| *revision);
        match random.below(4) {
            0 => all.delete_several(&mut client, &[key], fate),
            1 => all.change(&mut client, true, &key, Some(modified), Fate::Answered),
            _ => all.read(client, "key", "kez", 0),
        }
    }
    let is_refusable = |text: &String| {
        text.contains("ExpectedRevision")
            && text.contains("put-operation")
            && text.contains(r#""Failure":false"#)
    };
    let half = all.operations.len() / 2;
    let refused = all.operations[half..].iter().position(is_refusable);
    let refused = half + refused.expect("one write compares and is done");
    let told = &mut all.operations[refused];
    let results = told.find(r#""Results":["#).expect("it has results");
    let end = told[results..].find("]}").expect("which end");
    told.replace_range(results..results + end, r#""Results":["#);
    *told = told.replace(r#""Failure":false"#, r#""Failure":true"#);

    let verdict = verdict(&all, &all.watch("", 2, true));
    let violation = verdict.violation().expect("it was seen");
    assert_eq!(violation.kind.name, "refused-write", "{verdict}");
    assert_eq!(violation.witness.len(), 2, "{verdict}");
}

#[test]
fn what_a_store_or_a_watch_does_wrong_is_found() {
    // What was said instead of what is expected.
    let mut others = BTreeSet::new();
    for seed in 0..10 {
        let mut random = Random(100 + seed);
        let right = run(&mut random, 300, 20);
        let watch = right.watch("", 2, true);
        assert!(verdict(&right, &watch).is_valid());
        let mut is = |run: &Run, watch: &str, expected: &'static str| {
            let verdict = verdict(run, watch);
            let kind = verdict.violation().map(|violation| violation.kind.name);
            if kind != Some(expected) {
                others.insert((seed, expected, kind));
            }
        };
        let lines = |watch: &str| watch.lines().map(str::to_owned).collect::<Vec<_>>();
        // Two answers are swapped, one is left out, one comes twice.
        let mut swapped = lines(&watch);
        swapped.swap(4, 6);
        is(&right, &swapped.join("\n"), "watch-unordered");
        let mut lost = lines(&watch);
        lost.remove(5);
        is(&right, &lost.join("\n"), "watch-lost-event");
        let mut doubled = lines(&watch);
        doubled.insert(5, doubled[5].clone());
        is(&right, &doubled.join("\n"), "watch-duplicate");
        let plain = right.watch("", 2, false);
        let created = plain.replacen(r#","IsCreate":true"#, "", 1);
        is(&right, &created, "watch-invented-event");
        let previous = watch.find(r#","PrevValue":{"Value":{"Value":"v"#).unwrap();
        let mut wrong_previous = watch.clone();
        wrong_previous.insert(
            previous + r#","PrevValue":{"Value":{"Value":"#.len() + 1,
            'x',
        );
        is(&right, &wrong_previous, "watch-wrong-previous");
        // An answered write that is not there, and a read that misses the last write.
        // Here all writes are answered, so nothing else explains it.
        let mut stale = run(&mut Random(100 + seed), 300, 1 << 40);
        stale.change(&mut 1, true, "key1", None, Fate::Answered);
        let before = stale.keys["key1"].clone();
        stale.change(&mut 1, true, "key1", None, Fate::Answered);
        let now = stale.keys.insert("key1".to_owned(), before).unwrap();
        stale.read(2, "key1", "", 0);
        stale.keys.insert("key1".to_owned(), now);
        is(&stale, &stale.watch("", 2, true), "lost-write");
        let mut back = run(&mut Random(100 + seed), 300, 20);
        back.change(&mut 1, true, "key1", None, Fate::Answered);
        back.revision -= 1;
        back.read(2, "key1", "", 0);
        back.revision += 1;
        is(&back, &back.watch("", 2, true), "stale-read");
        // A read of an old revision that shows another one.
        let mut old = run(&mut Random(100 + seed), 300, 1 << 40);
        let wrong = old.states.len() / 2;
        let other = (1..wrong)
            .rev()
            .find(|revision| old.states[*revision] != old.states[wrong])
            .unwrap();
        old.states.swap(other, wrong);
        old.read(2, "key", "kez", i64::try_from(wrong).unwrap());
        old.states.swap(other, wrong);
        is(&old, &old.watch("", 2, true), "historic-state");
    }
    assert_eq!(others, BTreeSet::new());
}

fn kind(verdict: &Verdict) -> Option<&'static str> {
    verdict.violation().map(|violation| violation.kind.name)
}

/// A store with this many keys, each written once.
fn run_of_keys(keys: usize) -> Run {
    let mut run = Run::new(4);
    for key in 0..keys {
        run.change(&mut 1, true, &format!("key{key}"), None, Fate::Answered);
    }
    run
}

#[test]
fn a_read_returns_no_more_than_its_limit() {
    for (limit, expected) in [
        (-1, None),
        (0, None),
        (1, Some("malformed-answer")),
        (2, Some("malformed-answer")),
        (3, None),
    ] {
        let mut run = run_of_keys(3);
        run.read(2, "key", "kez", 0);
        let read = run.operations.last_mut().unwrap();
        *read = read.replace("\"Limit\":0", &format!("\"Limit\":{limit}"));
        let judged = verdict(&run, &run.watch("", 2, false));
        assert_eq!(kind(&judged), expected, "limit {limit}: {judged}");
    }
}

#[test]
fn notices_of_progress_do_not_go_back() {
    let run = run_of_keys(3);
    let progress =
        |revision: i64| format!(r#"{{"IsProgressNotify":true,"Revision":{revision},"Time":9}}"#);
    let watch = run.watch("", 2, false);
    let last = progress(run.revision);
    for (told, expected) in [
        (vec![4], None),
        (vec![4, 4], None),
        // Behind an event, and behind another notice.
        (vec![2], Some("watch-progress")),
        (vec![4, 2], Some("watch-progress")),
    ] {
        let told: Vec<String> = told.into_iter().map(progress).collect();
        let judged = verdict(&run, &watch.replace(&last, &told.join(",")));
        assert_eq!(kind(&judged), expected, "{told:?}: {judged}");
    }
    // Before there was anything to hear of.
    let early = watch.replace(
        r#""Responses": ["#,
        &format!(r#""Responses": [{},{},"#, progress(1), progress(0)),
    );
    let judged = verdict(&run, &early);
    assert_eq!(kind(&judged), Some("watch-progress"), "{judged}");
}

/// Reports say nothing of the time that leases live.
#[test]
fn a_lease_that_nobody_revoked_did_not_end() {
    let mut run = run_of_keys(1);
    let grant = r#"{"Type":"leaseGrant","LeaseGrant":{"LeaseID":7}}"#;
    let output = format!(
        r#"{{"LeaseGrant":{{"LeaseID":7}},"Revision":{},"Error":""}}"#,
        run.revision
    );
    run.write_down(1, grant, &output);
    run.change(&mut 1, true, "key1", None, Fate::Answered);
    let put = run.operations.last_mut().unwrap();
    *put = put.replace("\"LeaseID\":0", "\"LeaseID\":7");
    assert!(verdict(&run, &run.watch("", 2, false)).is_valid());
    run.keys.remove("key1");
    run.revision += 1;
    run.read(2, "key1", "", 0);
    let right = run.watch("", 2, false);
    let judged = verdict(&run, &right);
    assert_eq!(kind(&judged), Some("lease-early"), "{judged}");
    let told = judged.to_string();
    assert!(
        told.contains("had not been revoked, and nothing else could end it"),
        "{told}"
    );
    assert!(told.contains(r#"grant {"lease":7,"ttl":-1}"#), "{told}");
}

/// Those of 2023: versions are not counted, watches say neither what was there before nor what
/// is new, and a write that is known to have happened has another name.
#[test]
fn reports_that_say_less_are_judged_by_what_they_say() {
    let with_less = |run: &Run| {
        let mut run = run.clone();
        for operation in &mut run.operations {
            let mut told: Value = serde_json::from_str(operation).unwrap();
            leave_out_versions(&mut told);
            *operation = told.to_string();
        }
        run
    };
    for seed in 0..20 {
        let right = with_less(&run(&mut Random(seed), 300, 20));
        assert!(
            right
                .operations
                .iter()
                .all(|told| !told.contains("\"Version\""))
        );
        let watch = right
            .watch("", 2, false)
            .replace(r#","IsCreate":true"#, "")
            .replace(r#","WithPrevKV":false"#, "");
        let judged = verdict(&right, &watch);
        assert!(judged.is_valid(), "seed {seed}: {judged}");
        let mut lost: Vec<&str> = watch.lines().collect();
        lost.remove(5);
        let judged = verdict(&right, &lost.join("\n"));
        let kind = judged.violation().map(|violation| violation.kind.name);
        assert_eq!(kind, Some("watch-lost-event"), "seed {seed}: {judged}");
        let mut back = run(&mut Random(seed), 300, 20);
        back.change(&mut 1, true, "key1", None, Fate::Answered);
        back.revision -= 1;
        back.read(2, "key1", "", 0);
        back.revision += 1;
        let judged = verdict(&with_less(&back), &watch);
        let kind = judged.violation().map(|violation| violation.kind.name);
        assert_eq!(kind, Some("stale-read"), "seed {seed}: {judged}");
    }
}

fn leave_out_versions(told: &mut Value) {
    match told {
        Value::Object(fields) => {
            fields.remove("Version");
            fields.values_mut().for_each(leave_out_versions);
        }
        Value::Array(elements) => elements.iter_mut().for_each(leave_out_versions),
        _ => {}
    }
}

#[test]
fn a_single_file_and_its_faults() {
    let mut random = Random(3);
    let run = run(&mut random, 20, 20);
    let text = run.operations.join("\n");
    let checked = Check::new().bytes(text.as_bytes()).unwrap();
    assert_eq!(checked.format, Format::Robustness);
    assert!(checked.verdict.is_valid());
    let refused = |text: &str, expected: &str| {
        let error = Check::new().bytes(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    };
    let mut open = run.operations.clone();
    open[2] = open[2].replace("\"Call\": 45", "\"Call\": 1");
    let second = open[1].clone();
    open[1] = second.replace("\"ClientId\": ", "\"ClientId\": 9, \"ClientIdWas\": ");
    open[2] = open[2].replace("\"ClientId\": ", "\"ClientId\": 9, \"ClientIdWas\": ");
    refused(
        &open.join("\n"),
        "line 17, column 1: client 9 begins an operation while",
    );
    refused(&text[..text.len() - 30], "line");
    refused(
        &text.replacen("\"range\"", "\"rang\"", 1),
        "line 1, column 1: unknown type of request",
    );
    let folder = tempfile::tempdir().unwrap();
    run.write(folder.path(), "{\"Request\": {\"WithPrefix\": 7}}");
    let error = check_file(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("client-2") && error.contains("watch.json: line 1, column"),
        "{error}"
    );
}
