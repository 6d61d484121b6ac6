//! Report folders as etcd's robustness tests write them, of a store that does what etcd does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::Random;

/// A version of a key: value, mod revision, version.
pub type Version = (String, i64, i64);

/// A change: key, the new version or none, and whether the key is new.
#[derive(Clone)]
pub struct Change {
    pub revision: i64,
    pub key: String,
    pub version: Option<Version>,
    pub is_create: bool,
    pub previous: Option<Version>,
}

/// A store, the clients' operations as they are written down, and what happened.
#[derive(Clone, Default)]
pub struct Run {
    pub revision: i64,
    pub time: i64,
    pub keys: BTreeMap<String, Version>,
    pub states: Vec<BTreeMap<String, Version>>,
    pub changes: Vec<Change>,
    pub operations: Vec<String>,
    pub streams: i64,
    pub values: u64,
}

pub const KEYS: usize = 10;

impl Run {
    pub fn new(clients: i64) -> Self {
        let mut run = Run {
            revision: 1,
            streams: clients,
            states: vec![BTreeMap::new(); 2],
            ..Run::default()
        };
        run.read(0, "key0", "", 0);
        run
    }

    pub fn write_down(&mut self, client: i64, input: &str, output: &str) {
        self.time += 20;
        self.operations.push(format!(
            "{{\n  \"ClientId\": {client},\n  \"Input\": {input},\n  \"Call\": {},\n  \"Output\": {output},\n  \"Return\": {},\n  \"Metadata\": null\n}}",
            self.time - 15,
            self.time
        ));
    }

    pub fn kv(key: &str, (value, modified, version): &Version) -> String {
        format!(
            r#"{{"Key":"{key}","Value":{{"Value":"{value}"}},"ModRevision":{modified},"Version":{version}}}"#
        )
    }

    /// At a revision, or now.
    pub fn read(&mut self, client: i64, start: &str, end: &str, revision: i64) {
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

    pub fn put_now(&mut self, key: &str, value: &str) {
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

    pub fn delete_now(&mut self, key: &str) -> bool {
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
    pub fn change(
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
        let results = if holds {
            format!(r#"{{"KVs":null,"Count":0,"Deleted":{deleted}}}"#)
        } else {
            String::new()
        };
        let output = format!(
            r#"{{"Txn":{{"Failure":{},"Results":[{results}]}},"Revision":{},"Error":""}}"#,
            !holds, self.revision
        );
        self.answer(client, &input, &output, fate);
    }

    /// Writes down what a client was told, if it was told anything.
    fn answer(&mut self, client: &mut i64, input: &str, output: &str, fate: Fate) {
        if fate == Fate::Answered {
            return self.write_down(*client, input, output);
        }
        let error = r#"{"Revision":0,"Error":"context deadline exceeded"}"#;
        self.write_down(*client, input, error);
        self.streams += 1;
        *client = self.streams;
    }

    /// Deletes several keys at once.
    pub fn delete_several(&mut self, client: &mut i64, keys: &[String], fate: Fate) {
        let mut deleted = vec![0; keys.len()];
        if fate != Fate::Lost {
            let revision = self.revision + 1;
            for (key, deleted) in keys.iter().zip(&mut deleted) {
                let Some(previous) = self.keys.remove(key) else {
                    continue;
                };
                *deleted = 1;
                self.changes.push(Change {
                    revision,
                    key: key.clone(),
                    version: None,
                    is_create: false,
                    previous: Some(previous),
                });
            }
            if deleted.contains(&1) {
                self.revision = revision;
                self.states.push(self.keys.clone());
            }
        }
        let ops: Vec<String> = (keys.iter())
            .map(|key| {
                format!(
                    r#"{{"Type":"delete-operation","Range":{{"Start":"","End":"","Limit":0}},"Put":{{"Key":"","Value":{{}},"LeaseID":0}},"Delete":{{"Key":"{key}"}}}}"#
                )
            })
            .collect();
        let input = format!(
            r#"{{"Type":"txn","Txn":{{"Conditions":[],"OperationsOnSuccess":[{}],"OperationsOnFailure":[]}}}}"#,
            ops.join(",")
        );
        let results: Vec<String> = (deleted.iter())
            .map(|deleted| format!(r#"{{"KVs":null,"Count":0,"Deleted":{deleted}}}"#))
            .collect();
        let output = format!(
            r#"{{"Txn":{{"Failure":false,"Results":[{}]}},"Revision":{},"Error":""}}"#,
            results.join(","),
            self.revision
        );
        self.answer(client, &input, &output, fate);
    }

    pub fn event(change: &Change, prev_kv: bool) -> String {
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
    pub fn watch(&self, prefix: &str, from: i64, prev_kv: bool) -> String {
        let changes: Vec<&Change> = self
            .changes
            .iter()
            .filter(|change| change.revision >= from && change.key.starts_with(prefix))
            .collect();
        // What happened at one revision is told at once.
        let answer = |change: &Change| (change.revision - from) / 3;
        let mut responses: Vec<String> = changes
            .chunk_by(|one, next| answer(one) == answer(next))
            .map(|changes| {
                let events = changes.iter().map(|change| Self::event(change, prev_kv));
                let events: Vec<String> = events.collect();
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

    pub fn write(&self, folder: &Path, watch: &str) {
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
pub enum Fate {
    Answered,
    /// It was done, but nobody was told.
    Unanswered,
    Lost,
}

/// A run of so many operations, of whose writes one in `lost` is not answered.
pub fn run(random: &mut Random, operations: usize, lost: usize) -> Run {
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
