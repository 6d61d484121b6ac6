//! Who leads, as of one revision.

use etcd_client::{GetResponse, KeyValue};

use crate::request::revision_of;
use crate::watch::{Entry, View};

/// The leader of an election, as of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Its key.
    pub key: String,
    /// What it last proclaimed.
    pub value: Vec<u8>,
    /// The term: the revision that created the key, larger than every earlier
    /// leader's.
    pub term: i64,
    /// The revision that gave the key this value.
    pub mod_revision: i64,
    /// The lease that the key is attached to.
    pub lease: i64,
}

/// Who leads at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) leader: Option<Leader>,
    pub(super) revision: i64,
}

impl Standing {
    /// Of an answer that has nothing but the first candidate.
    pub(super) fn of_first(answer: &GetResponse) -> Self {
        Self {
            leader: answer.kvs().first().and_then(Leader::of),
            revision: revision_of(answer.header()),
        }
    }

    /// Of an answer with all keys, some of which are candidates.
    pub(super) fn of_all(answer: &GetResponse, is_candidate: impl Fn(&str) -> bool) -> Self {
        let candidates = answer
            .kvs()
            .iter()
            .filter(|kv| kv.key_str().is_ok_and(&is_candidate));
        let first = candidates.min_by_key(|kv| kv.create_revision());
        Self {
            leader: first.and_then(Leader::of),
            revision: revision_of(answer.header()),
        }
    }

    pub(super) fn of_view(view: &View, is_candidate: impl Fn(&str) -> bool) -> Self {
        let leader = first(view, is_candidate).map(|(key, entry)| Leader {
            key: key.clone(),
            value: entry.value.clone(),
            term: entry.create_revision,
            mod_revision: entry.mod_revision,
            lease: entry.lease,
        });
        Self {
            leader,
            revision: view.revision,
        }
    }
}

impl Leader {
    pub(super) fn of(kv: &KeyValue) -> Option<Self> {
        Some(Self {
            key: kv.key_str().ok()?.to_owned(),
            value: kv.value().to_vec(),
            term: kv.create_revision(),
            mod_revision: kv.mod_revision(),
            lease: kv.lease(),
        })
    }
}

/// The candidate whose key was created first.
pub(super) fn first(view: &View, is_candidate: impl Fn(&str) -> bool) -> Option<(&String, &Entry)> {
    view.keys
        .iter()
        .filter(|(key, _)| is_candidate(key))
        .min_by_key(|(_, entry)| entry.create_revision)
}
