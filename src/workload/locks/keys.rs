//! When each key of a run was deleted, asked of etcd at the end.
//!
//! etcd keeps every revision until it is compacted, so a watch that starts where
//! the run began tells all. A key that was deleted at the revision at which its
//! session's own key was deleted too went with the lease: the end of a lease
//! deletes all of its keys at one revision (`Revoke` in etcd's
//! `server/lease/lessor.go`).

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_client::{Client, Event, EventType, GetOptions, WatchOptions};
use serde::Serialize;

use super::super::{LIVENESS_BOUND, Stage};
use crate::Error;
use crate::request::{DEFAULT_REQUEST_DEADLINE, Purpose, Requests, revision_of};
use crate::runtime;

/// The keys of a run, from its beginning on.
pub(super) struct KeyLog {
    client: Client,
    prefix: String,
    /// The revision before the run.
    begin: i64,
}

/// The life of a key.
struct Life {
    key: String,
    lease: i64,
    token: i64,
    deleted: Option<i64>,
}

#[derive(Serialize)]
struct KeyMark<'a> {
    key: &'a str,
    token: i64,
    deleted: Option<i64>,
    with_lease: bool,
}

#[derive(Serialize)]
struct WatchedMark {
    through: i64,
}

impl KeyLog {
    /// # Errors
    ///
    /// When etcd cannot be asked.
    pub(super) async fn begin(client: &Client, prefix: &str) -> Result<Self, Error> {
        let requests = Requests::new(client, DEFAULT_REQUEST_DEADLINE);
        let why = Purpose {
            operation: "read",
            target: prefix,
        };
        let options = GetOptions::new().with_prefix().with_count_only();
        let answer = requests.range(why, prefix.as_bytes(), options).await?;
        Ok(Self {
            client: client.clone(),
            prefix: prefix.to_owned(),
            begin: revision_of(answer.header()),
        })
    }

    /// Records a mark for each key. If etcd does not tell, there is none, and the
    /// checker will say so.
    pub(super) async fn record(&self, stage: &Stage) {
        let read = async {
            loop {
                match self.read().await {
                    Ok(read) => return read,
                    Err(error) => {
                        tracing::debug!(%error, "the keys of the run could not be read");
                        runtime::sleep(Duration::from_millis(200)).await;
                    }
                }
            }
        };
        let Ok((lives, through)) = runtime::timeout(LIVENESS_BOUND, read).await else {
            return;
        };
        let sessions = format!("{}sessions/", self.prefix);
        let is_session = |life: &&Life| life.key.starts_with(&sessions);
        let session_ends: BTreeMap<i64, i64> = lives
            .iter()
            .filter(is_session)
            .filter_map(|life| Some((life.lease, life.deleted?)))
            .collect();
        for life in lives.iter().filter(|life| !is_session(life)) {
            let ended = session_ends.get(&life.lease);
            let mark = KeyMark {
                key: life.key.strip_prefix(&self.prefix).unwrap_or(&life.key),
                token: life.token,
                deleted: life.deleted,
                with_lease: life.deleted.is_some() && life.deleted.as_ref() == ended,
            };
            stage.mark("key", &mark);
        }
        stage.mark("keys-watched", &WatchedMark { through });
    }

    /// All lives of keys with a lease since the beginning, and up to which
    /// revision they are known.
    async fn read(&self) -> Result<(Vec<Life>, i64), etcd_client::Error> {
        // The watch has told everything when it tells of this.
        let end = format!("{}end", self.prefix);
        let put = self.client.kv_client().put(end.as_str(), "", None).await?;
        let through = revision_of(put.header());
        let options = WatchOptions::new()
            .with_prefix()
            .with_start_revision(self.begin + 1);
        let mut watch = self.client.watch_client();
        let mut stream = watch.watch(self.prefix.as_str(), Some(options)).await?;
        let mut lives = Lives::default();
        while let Some(answer) = stream.message().await? {
            if answer.canceled() {
                break;
            }
            answer.events().iter().for_each(|event| lives.take(event));
            if lives.revision >= through {
                return Ok((lives.all, through));
            }
        }
        let reason = "the watch ended early".to_owned();
        Err(etcd_client::Error::WatchError(reason))
    }
}

#[derive(Default)]
struct Lives {
    all: Vec<Life>,
    /// Those that are alive, as indices.
    alive: BTreeMap<Vec<u8>, usize>,
    revision: i64,
}

impl Lives {
    fn take(&mut self, event: &Event) {
        let Some(kv) = event.kv() else { return };
        self.revision = kv.mod_revision();
        match event.event_type() {
            EventType::Put if kv.lease() != 0 && kv.create_revision() == kv.mod_revision() => {
                self.alive.insert(kv.key().to_vec(), self.all.len());
                self.all.push(Life {
                    key: String::from_utf8_lossy(kv.key()).into_owned(),
                    lease: kv.lease(),
                    token: kv.create_revision(),
                    deleted: None,
                });
            }
            EventType::Put => {}
            EventType::Delete => {
                if let Some(life) = self.alive.remove(kv.key()) {
                    self.all[life].deleted = Some(kv.mod_revision());
                }
            }
        }
    }
}
