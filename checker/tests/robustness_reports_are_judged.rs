//! Report folders of etcd's robustness tests: a store that does what etcd does gives
//! valid ones, whatever the clients were not told; each fault that can be seen in one
//! is seen.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use etcd_checker::import::Format;
use etcd_checker::{Check, Verdict, check_file};
use support::Random;

/// A version of a key: value, mod revision, version.
type Version = (String, i64, i64);

/// A change: key, the new version or none, and whether the key is new.
#[derive(Clone)]
struct Change {
    revision: i64,
    key: String,
    version: Option<Version>,
    is_create: bool,
    previous: Option<Version>,
}

/// A store, the clients' operations as they are written down, and what happened.
#[derive(Default)]
struct Run {
    revision: i64,
    time: i64,
    keys: BTreeMap<String, Version>,
    states: Vec<BTreeMap<String, Version>>,
    changes: Vec<Change>,
    operations: Vec<String>,
    streams: i64,
    values: u64,
}

const KEYS: usize = 10;

impl Run {
    fn new(clients: i64) -> Self {
        let mut run = Run {
            revision: 1,
            streams: clients,
            states: vec![BTreeMap::new(); 2],
            ..Run::default()
        };
        run.read(0, "key0", "", 0);
        run
    }

    fn write_down(&mut self, client: i64, input: &str, output: &str) {
        self.time += 20;
        self.operations.push(format!(
            "{{\n  \"ClientId\": {client},\n  \"Input\": {input},\n  \"Call\": {},\n  \"Output\": {output},\n  \"Return\": {},\n  \"Metadata\": null\n}}",
            self.time - 15,
            self.time
        ));
    }

    fn kv(key: &str, (value, modified, version): &Version) -> String {
        format!(
            r#"{{"Key":"{key}","Value":{{"Value":"{value}"}},"ModRevision":{modified},"Version":{version}}}"#
        )
    }

    /// At a revision, or now.
    fn read(&mut self, client: i64, start: &str, end: &str, revision: i64) {
        let state = match revision {
            0 => &self.keys,
            revision => &self.states[usize::try_from(revision).unwrap()],
        };
        let wanted = |key: &str| match end {
            "" => key == start,
            end => start <= key && key < end,
        };
        let kvs: Vec<String> = state
            .iter()
            .filter(|(key, _)| wanted(key))
            .map(|(key, version)| Self::kv(key, version))
            .collect();
        let input = format!(
            r#"{{"Type":"range","Range":{{"Start":"{start}","End":"{end}","Limit":0,"KeysOnly":false,"Revision":{revision}}}}}"#
        );
        let output = format!(
            r#"{{"Range":{{"KVs":[{}],"Count":{}}},"Revision":{},"Error":""}}"#,
            kvs.join(","),
            kvs.len(),
            self.revision
        );
        self.write_down(client, &input, &output);
    }

    fn put_now(&mut self, key: &str, value: &str) {
        let previous = self.keys.get(key).cloned();
        self.revision += 1;
        let version = previous.as_ref().map_or(1, |(.., version)| version + 1);
        let version = (value.to_owned(), self.revision, version);
        self.keys.insert(key.to_owned(), version.clone());
        self.states.push(self.keys.clone());
        self.changes.push(Change {
            revision: self.revision,
            key: key.to_owned(),
            version: Some(version),
            is_create: previous.is_none(),
            previous,
        });
    }

    fn delete_now(&mut self, key: &str) -> bool {
        let Some(previous) = self.keys.remove(key) else {
            return false;
        };
        self.revision += 1;
        self.states.push(self.keys.clone());
        self.changes.push(Change {
            revision: self.revision,
            key: key.to_owned(),
            version: None,
            is_create: false,
            previous: Some(previous),
        });
        true
    }

    /// A put, a deletion, or one of them if the key has this mod revision.
    fn change(
        &mut self,
        client: &mut i64,
        put: bool,
        key: &str,
        condition: Option<i64>,
        fate: Fate,
    ) {
        self.values += 1;
        let value = format!("v{}", self.values);
        let holds = condition.is_none_or(|modified| {
            self.keys.get(key).map_or(0, |(_, revision, _)| *revision) == modified
        });
        let mut deleted = 0;
        if fate != Fate::Lost && holds {
            if put {
                self.put_now(key, &value);
            } else {
                deleted = i64::from(self.delete_now(key));
            }
        }
        let op = if put {
            format!(
                r#"{{"Type":"put-operation","Range":{{"Start":"","End":"","Limit":0}},"Put":{{"Key":"{key}","Value":{{"Value":"{value}"}},"LeaseID":0}},"Delete":{{"Key":""}}}}"#
            )
        } else {
            format!(
                r#"{{"Type":"delete-operation","Range":{{"Start":"","End":"","Limit":0}},"Put":{{"Key":"","Value":{{}},"LeaseID":0}},"Delete":{{"Key":"{key}"}}}}"#
            )
        };
        let conditions = condition.map_or_else(String::new, |modified| {
            format!(r#"{{"Key":"{key}","ExpectedRevision":{modified},"ExpectedVersion":0}}"#)
        });
        let input = format!(
            r#"{{"Type":"txn","Txn":{{"Conditions":[{conditions}],"OperationsOnSuccess":[{op}],"OperationsOnFailure":[]}}}}"#
        );
        if fate == Fate::Answered {
            let results = if holds {
                format!(r#"{{"KVs":null,"Count":0,"Deleted":{deleted}}}"#)
            } else {
                String::new()
            };
            let output = format!(
                r#"{{"Txn":{{"Failure":{},"Results":[{results}]}},"Revision":{},"Error":""}}"#,
                !holds, self.revision
            );
            self.write_down(*client, &input, &output);
        } else {
            self.write_down(
                *client,
                &input,
                r#"{"Revision":0,"Error":"context deadline exceeded"}"#,
            );
            self.streams += 1;
            *client = self.streams;
        }
    }

    fn event(change: &Change, prev_kv: bool) -> String {
        let mut text = String::new();
        let Change {
            revision,
            key,
            version,
            is_create,
            previous,
        } = change;
        match version {
            Some((value, ..)) => write!(text, r#"{{"Type":"put-operation","Key":"{key}","Value":{{"Value":"{value}"}},"Revision":{revision}"#),
            None => write!(text, r#"{{"Type":"delete-operation","Key":"{key}","Value":{{}},"Revision":{revision}"#),
        }
        .unwrap();
        if *is_create {
            text += r#","IsCreate":true"#;
        }
        if let Some((value, modified, version)) = previous.as_ref().filter(|_| prev_kv) {
            write!(text, r#","PrevValue":{{"Value":{{"Value":"{value}"}},"ModRevision":{modified},"Version":{version}}}"#).unwrap();
        }
        text + "}"
    }

    /// A watch of everything that begins so, from a revision on.
    fn watch(&self, prefix: &str, from: i64, prev_kv: bool) -> String {
        let events: Vec<String> = self
            .changes
            .iter()
            .filter(|change| change.revision >= from && change.key.starts_with(prefix))
            .map(|change| Self::event(change, prev_kv))
            .collect();
        let mut responses: Vec<String> = events
            .chunks(3)
            .map(|events| {
                format!(
                    r#"{{"Events":[{}],"Revision":{},"Time":7}}"#,
                    events.join(","),
                    self.revision
                )
            })
            .collect();
        responses.push(format!(
            r#"{{"IsProgressNotify":true,"Revision":{},"Time":9}}"#,
            self.revision
        ));
        format!(
            "{{\n  \"Request\": {{\"Key\":\"{prefix}\",\"Revision\":{from},\"WithPrefix\":true,\"WithProgressNotify\":true,\"WithPrevKV\":{prev_kv}}},\n  \"Responses\": [{}]\n}}\n",
            responses.join(",\n")
        )
    }

    fn write(&self, folder: &Path, watch: &str) {
        let client = folder.join("client-1");
        fs::create_dir_all(&client).unwrap();
        fs::write(
            client.join("operations.json"),
            self.operations.join("\n") + "\n",
        )
        .unwrap();
        let watcher = folder.join("client-2");
        fs::create_dir_all(&watcher).unwrap();
        fs::write(watcher.join("watch.json"), watch).unwrap();
    }
}

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    /// It was done, but nobody was told.
    Unanswered,
    Lost,
}

/// A run of so many operations, of whose writes one in `lost` is not answered.
fn run(random: &mut Random, operations: usize, lost: usize) -> Run {
    let mut run = Run::new(4);
    let mut clients: Vec<i64> = (1..=4).collect();
    for _ in 0..operations {
        let client = random.below(4);
        let key = format!("key{}", random.below(KEYS));
        let fate = match random.below(2 * lost) {
            0 => Fate::Unanswered,
            1 => Fate::Lost,
            _ => Fate::Answered,
        };
        let modified = run.keys.get(&key).map_or(0, |(_, revision, _)| *revision);
        let stream = &mut clients[client];
        match random.below(10) {
            0..3 => run.read(*stream, &key, "", 0),
            3 => run.read(*stream, "key", "kez", 0),
            4 => {
                let revision = 1 + random.below(usize::try_from(run.revision).unwrap());
                run.read(*stream, "key", "kez", i64::try_from(revision).unwrap());
            }
            5..8 => run.change(stream, true, &key, None, fate),
            8 => run.change(stream, false, &key, None, fate),
            _ => {
                let expected = if random.one_in(4) {
                    modified + 1
                } else {
                    modified
                };
                run.change(stream, random.one_in(2), &key, Some(expected), fate);
            }
        }
    }
    run
}

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

#[test]
fn what_a_store_or_a_watch_does_wrong_is_found() {
    for seed in 0..10 {
        let mut random = Random(100 + seed);
        let right = run(&mut random, 300, 20);
        let watch = right.watch("", 2, true);
        assert!(verdict(&right, &watch).is_valid());
        let kind = |run: &Run, watch: &str| {
            let verdict = verdict(run, watch);
            let kind = verdict.violation().map(|violation| violation.kind.name);
            kind.unwrap_or_else(|| panic!("seed {seed}: {verdict}"))
        };
        let lines = |watch: &str| watch.lines().map(str::to_owned).collect::<Vec<_>>();
        // Two answers are swapped, one is left out, one comes twice.
        let mut swapped = lines(&watch);
        swapped.swap(4, 6);
        assert_eq!(kind(&right, &swapped.join("\n")), "watch-unordered");
        let mut lost = lines(&watch);
        lost.remove(5);
        assert_eq!(kind(&right, &lost.join("\n")), "watch-lost-event");
        let mut doubled = lines(&watch);
        doubled.insert(5, doubled[5].clone());
        assert_eq!(kind(&right, &doubled.join("\n")), "watch-duplicate");
        let plain = right.watch("", 2, false);
        let created = plain.replacen(r#","IsCreate":true"#, "", 1);
        assert!(kind(&right, &created).starts_with("watch-"));
        let previous = watch.find(r#","PrevValue":{"Value":{"Value":"v"#).unwrap();
        let mut wrong_previous = watch.clone();
        wrong_previous.insert(
            previous + r#","PrevValue":{"Value":{"Value":"#.len() + 1,
            'x',
        );
        assert!(kind(&right, &wrong_previous).starts_with("watch-"));
        // An answered write that is not there, and a read that misses the last write.
        let mut stale = run(&mut Random(100 + seed), 300, 20);
        stale.change(&mut 1, true, "key1", None, Fate::Answered);
        let now = stale.keys.clone();
        stale
            .keys
            .insert("key1".to_owned(), ("v0".to_owned(), 3, 1));
        stale.read(2, "key1", "", 0);
        stale.keys = now;
        kind(&stale, &stale.watch("", 2, true));
        let mut back = run(&mut Random(100 + seed), 300, 20);
        back.change(&mut 1, true, "key1", None, Fate::Answered);
        back.revision -= 1;
        back.read(2, "key1", "", 0);
        back.revision += 1;
        assert_eq!(kind(&back, &back.watch("", 2, true)), "stale-read");
        // A read of an old revision that shows another one.
        let mut old = run(&mut Random(100 + seed), 300, 20);
        let wrong = old.states.len() / 2;
        let other = (1..wrong)
            .rev()
            .find(|revision| old.states[*revision] != old.states[wrong])
            .unwrap();
        old.states.swap(other, wrong);
        old.read(2, "key", "kez", i64::try_from(wrong).unwrap());
        old.states.swap(other, wrong);
        // A violation; of which kind depends on what the other state has and lacks.
        kind(&old, &old.watch("", 2, true));
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
