//! The record of the candidates' keys: the driver watches them, and writes down what
//! etcd tells it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_checker::history::{Evidence, Json};
use serde::Serialize;

use super::super::LIVENESS_BOUND;
use super::{Actor, Stage};
use crate::Error;
use crate::etcd_client::{EventType, GetOptions, WatchOptions, WatchResponse, WatchStream};
use crate::keys::Name;
use crate::request::revision_of;
use crate::runtime;

/// What has been recorded so far. Clones are the same record.
#[derive(Clone)]
pub(super) struct Record {
    name: Name,
    progress: Arc<Mutex<Progress>>,
}

struct Progress {
    /// Every change up to this revision.
    covered: i64,
    /// The terms of the candidates' keys.
    terms: BTreeMap<String, i64>,
}

/// A change of a candidate's key; without a value it was deleted.
#[derive(Serialize)]
struct Change {
    term: i64,
    revision: i64,
    value: Option<String>,
}

impl Record {
    /// To be called before anybody campaigns.
    pub(super) async fn begin(stage: &Stage, driver: &Actor, name: String) -> Result<Self, Error> {
        let name = Name::new(name)?;
        let read = async {
            loop {
                let options = GetOptions::new().with_prefix().with_count_only();
                let mut kv = driver.etcd().kv_client();
                match kv.get(name.as_str(), Some(options)).await {
                    Ok(answer) => return revision_of(answer.header()),
                    Err(_) => runtime::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        let covered = stage.in_time(read).await;
        let late = || Error::deadline("read", name.as_str(), LIVENESS_BOUND, None);
        let covered = covered.ok_or_else(late)?;
        let terms = BTreeMap::new();
        let progress = Arc::new(Mutex::new(Progress { covered, terms }));
        Ok(Self { name, progress })
    }

    /// In a simulation the store itself tells the changes, at the instant of each.
    /// False on a real cluster: there they must be [watched](Self::watch).
    pub(super) fn is_told_by_the_store(&self, stage: &Stage, driver: &Actor) -> bool {
        let record = self.clone();
        stage.record_changes(driver.client(), move |told| {
            let kv = told.key_value();
            let value = (!told.is_tombstone()).then_some(told.value());
            let change = record.note(told.key(), kv.create_revision, kv.mod_revision, value);
            let is_mark = told.key() == record.mark().as_bytes();
            (is_mark || change.is_some()).then(|| json(change.as_slice()))
        })
    }

    /// Watches, for as long as it can: until history that it has not seen is compacted
    /// away.
    pub(super) async fn watch(&self, driver: &Actor) {
        loop {
            if let Ok(mut stream) = self.open(driver).await {
                while let Ok(Some(answer)) = stream.message().await {
                    if answer.compact_revision() > 0 {
                        return;
                    }
                    if answer.canceled() {
                        break;
                    }
                    self.take(driver, &answer);
                }
            }
            runtime::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Sees to it that everything that has happened is in the record.
    pub(super) async fn complete(&self, driver: &Actor) {
        let marked = loop {
            let operation = driver.invoke("mark", ());
            match driver.etcd().kv_client().put(self.mark(), "", None).await {
                Ok(answer) => {
                    let revision = revision_of(answer.header());
                    operation.ok((), Evidence::revision(revision));
                    break revision;
                }
                Err(error) => {
                    let error = Error::mutation("mark", self.name.as_str(), error);
                    operation.failed(&error, ());
                    runtime::sleep(Duration::from_millis(20)).await;
                }
            }
        };
        while self.progress().covered < marked {
            runtime::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn open(&self, driver: &Actor) -> Result<WatchStream, crate::etcd_client::Error> {
        let since = self.progress().covered + 1;
        let options = WatchOptions::new().with_prefix().with_start_revision(since);
        let mut client = driver.etcd().watch_client();
        client.watch(self.name.as_str(), Some(options)).await
    }

    fn take(&self, driver: &Actor, answer: &WatchResponse) {
        let mut changes = Vec::new();
        for event in answer.events() {
            let Some(kv) = event.kv() else { continue };
            let value = (event.event_type() == EventType::Put).then_some(kv.value());
            let (created, revision) = (kv.create_revision(), kv.mod_revision());
            changes.extend(self.note(kv.key(), created, revision, value));
        }
        if !answer.events().is_empty() {
            let covered = self.progress().covered;
            driver
                .invoke("watch", ())
                .ok(changes, Evidence::revision(covered));
        }
    }

    /// Takes note of a change; something if it is a candidate's.
    fn note(
        &self,
        key: &[u8],
        create_revision: i64,
        revision: i64,
        value: Option<&[u8]>,
    ) -> Option<Change> {
        let mut progress = self.progress();
        progress.covered = progress.covered.max(revision);
        let key = std::str::from_utf8(key).ok()?;
        self.name.lease_of(key)?;
        let term = match value {
            Some(_) => *progress
                .terms
                .entry(key.to_owned())
                .or_insert(create_revision),
            // What is deleted does not say when it was created.
            None => progress.terms.remove(key)?,
        };
        let value = value.map(|value| String::from_utf8_lossy(value).into_owned());
        Some(Change {
            term,
            revision,
            value,
        })
    }

    /// A key that is put at the end.
    fn mark(&self) -> String {
        format!("{}-mark", self.name.as_str())
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // Whole at every moment.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn json(changes: &[Change]) -> Json {
    Json::new(changes).expect("numbers and text have a JSON form")
}
