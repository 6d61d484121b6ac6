//! The transactions of a double barrier, and what their answers say.

use etcd_client::{
    Compare, CompareOp, GetOptions, GetResponse, PutOptions, Txn, TxnOp, TxnOpResponse, TxnResponse,
};

use super::Inner;
use crate::error::Error;
use crate::hold::Hold;
use crate::request::revision_of;
use crate::watch::View;

/// More participants than these are not compared one by one: etcd allows 128
/// operations in a transaction (`--max-txn-ops`).
const COMPARED_MAX: usize = 100;

/// A participant: its key and when it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) key: String,
    pub(super) created: i64,
}

/// Who is there, at one revision.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    /// In the order in which they came.
    pub(super) waiters: Vec<Waiter>,
    /// When the key that says that the round has begun was put.
    pub(super) ready: Option<i64>,
}

impl Scene {
    pub(super) fn rank(&self, key: &str) -> Option<usize> {
        self.waiters.iter().position(|waiter| waiter.key == key)
    }

    /// The participants of a round, if enough have come.
    pub(super) fn first(&self, count: usize) -> Option<&[Waiter]> {
        self.waiters.get(..count)
    }

    pub(super) fn of_view(inner: &Inner, view: &View) -> Self {
        let is_waiter = |key: &str| inner.waiters.is_item(key.as_bytes());
        let waiters = view.keys.iter().filter(|(key, _)| is_waiter(key));
        let waiters = waiters.map(|(key, entry)| Waiter {
            key: key.clone(),
            created: entry.create_revision,
        });
        Self {
            waiters: in_order(waiters.collect()),
            ready: view.keys.get(&inner.ready).map(|entry| entry.mod_revision),
        }
    }
}

fn in_order(mut waiters: Vec<Waiter>) -> Vec<Waiter> {
    waiters.sort_by_key(|waiter| waiter.created);
    waiters
}

/// What became of the wish to come.
pub(super) enum Coming {
    /// The participant's key was created at this revision, at which these were
    /// there and no round was under way.
    Came { created: i64, scene: Scene },
    /// It had been created by an earlier request; this is who is there now.
    HadCome { created: i64, scene: Scene },
    /// It was not created.
    NotNow { scene: Scene },
}

impl Inner {
    /// Creates the participant's key unless a round is under way. `stale` is what
    /// was left behind by a round that is over: it is removed if nobody is there.
    pub(super) fn come(&self, key: &str, stale: Option<i64>) -> Txn {
        let leased = PutOptions::new().with_lease(self.session.lease_id());
        let mut compares = vec![
            Compare::version(key, CompareOp::Equal, 0),
            Compare::version(self.void(key), CompareOp::Equal, 0),
        ];
        let mut then = Vec::new();
        match stale {
            Some(revision) => {
                compares.push(Compare::mod_revision(
                    self.ready.as_str(),
                    CompareOp::Equal,
                    revision,
                ));
                compares.push(empty(&self.waiters.children(), &self.end_of_waiters()));
                then.push(TxnOp::delete(self.ready.as_str(), None));
            }
            #[cfg(feature = "harness")]
            None if self.joins_any_time() => {}
            None => compares.push(self.not_ready()),
        }
        then.push(TxnOp::put(key, "", Some(leased)));
        then.push(self.all_keys());
        Txn::new()
            .when(compares)
            .and_then(then)
            .or_else([self.look(), self.list()])
    }

    /// All keys below the barrier's name, if the participant has come.
    pub(super) fn all_keys_of(answer: &TxnResponse) -> Option<GetResponse> {
        match answer.op_responses().into_iter().next_back() {
            Some(TxnOpResponse::Get(read)) if answer.succeeded() => Some(read),
            _ => None,
        }
    }

    pub(super) fn coming(&self, key: &str, answer: &TxnResponse) -> Result<Coming, Error> {
        let created = revision_of(answer.header());
        let scene = self.scene(answer)?;
        if answer.succeeded() {
            return Ok(Coming::Came { created, scene });
        }
        let own = scene.waiters.iter().find(|waiter| waiter.key == key);
        Ok(match own.map(|own| own.created) {
            Some(created) => Coming::HadCome { created, scene },
            None => Coming::NotNow { scene },
        })
    }

    /// Says that the round of these has begun, if all of them are there.
    pub(super) fn begin(&self, own: &Hold, members: &[Waiter]) -> Txn {
        let mut compares = still_there(members);
        compares.extend([self.not_ready(), own.compare()]);
        Txn::new()
            .when(compares)
            .and_then([TxnOp::put(self.ready.as_str(), "", None)])
    }

    /// Goes away again because these came before, if they are still there.
    pub(super) fn go_away(&self, own: &Hold, before: &[Waiter]) -> Txn {
        Txn::new()
            .when(still_there(before))
            .and_then(self.deletion(own))
            .or_else([self.look(), self.list()])
    }

    /// Leaves; whoever is the last takes away what says that the round has begun.
    pub(super) fn go(&self, own: &Hold) -> Txn {
        let (start, end) = (self.waiters.children(), self.end_of_waiters());
        let after = format!("{}\0", own.key());
        let is_last = [own.compare(), empty(&start, own.key()), empty(&after, &end)];
        let (mut one, mut last) = (self.deletion(own), self.deletion(own));
        one.push(self.list());
        last.push(TxnOp::delete(self.ready.as_str(), None));
        let not_last = Txn::new()
            .when([own.compare()])
            .and_then(one)
            .or_else([self.list()]);
        Txn::new()
            .when(is_last)
            .and_then(last)
            .or_else([TxnOp::txn(not_last)])
    }

    /// Deletes a participant's key. A request that was sent more than once may have
    /// left one on its way that would create the key anew, and so count among the
    /// participants of a later round: from now on such a request finds a mark that
    /// stops it. The mark lives as long as the lease; afterwards the lease is gone.
    fn deletion(&self, own: &Hold) -> Vec<TxnOp> {
        let mut ops = vec![own.delete_op()];
        if own.is_unsettled() {
            let leased = PutOptions::new().with_lease(own.lease_id());
            ops.push(TxnOp::put(self.void(own.key()), "", Some(leased)));
        }
        ops
    }

    /// Marks that a participant's key must not be created any more, unless it has been.
    pub(super) fn prevent(&self, key: &str) -> Txn {
        let leased = PutOptions::new().with_lease(self.session.lease_id());
        Txn::new()
            .when([Compare::version(key, CompareOp::Equal, 0)])
            .and_then([TxnOp::put(self.void(key), "", Some(leased))])
    }

    /// Where it is marked that a participant's key must not be created any more.
    pub(super) fn void(&self, key: &str) -> String {
        let own = key.rsplit('/').next().unwrap_or(key);
        format!("{}/void/{own}", self.name.as_str())
    }

    fn not_ready(&self) -> Compare {
        Compare::create_revision(self.ready.as_str(), CompareOp::Equal, 0)
    }

    fn look(&self) -> TxnOp {
        TxnOp::get(
            self.ready.as_str(),
            Some(GetOptions::new().with_keys_only()),
        )
    }

    pub(super) fn list(&self) -> TxnOp {
        TxnOp::get(self.waiters.children(), Some(self.list_options()))
    }

    pub(super) fn list_options(&self) -> GetOptions {
        GetOptions::new().with_prefix().with_keys_only()
    }

    /// Everything below the barrier's name: what the local copy begins with.
    fn all_keys(&self) -> TxnOp {
        let options = GetOptions::new().with_prefix();
        TxnOp::get(self.name.children(), Some(options))
    }

    fn end_of_waiters(&self) -> String {
        // '0' comes right after '/'.
        format!("{}0", self.waiters.as_str())
    }

    /// What the reads of an answer say.
    pub(super) fn scene(&self, answer: &TxnResponse) -> Result<Scene, Error> {
        let mut scene = Scene {
            waiters: Vec::new(),
            ready: None,
        };
        let mut has_list = false;
        for response in answer.op_responses() {
            let TxnOpResponse::Get(read) = response else {
                continue;
            };
            let ready = |kv: &&etcd_client::KeyValue| kv.key() == self.ready.as_bytes();
            if let Some(kv) = read.kvs().iter().find(ready) {
                scene.ready = Some(kv.mod_revision());
            }
            // The last read is the list.
            scene.waiters = self.waiters_of(&read);
            has_list = true;
        }
        if has_list {
            return Ok(scene);
        }
        Err(Error::unreadable_answer("enter", self.name.as_str()))
    }

    pub(super) fn waiters_of(&self, read: &GetResponse) -> Vec<Waiter> {
        let is_waiter = |kv: &&etcd_client::KeyValue| self.waiters.is_item(kv.key());
        let waiters = read.kvs().iter().filter(is_waiter).map(|kv| Waiter {
            key: String::from_utf8_lossy(kv.key()).into_owned(),
            created: kv.create_revision(),
        });
        in_order(waiters.collect())
    }
}

/// Holds if there is no key from `start` up to `end`: a compare of a range holds
/// when it does so for each key in it, and for an empty range as for a key that
/// does not exist (`applyCompare` in etcd's `server/etcdserver/txn`).
fn empty(start: &str, end: &str) -> Compare {
    Compare::create_revision(start, CompareOp::Equal, 0).with_range(end)
}

fn still_there(waiters: &[Waiter]) -> Vec<Compare> {
    let compare = |waiter: &Waiter| {
        Compare::create_revision(waiter.key.as_str(), CompareOp::Equal, waiter.created)
    };
    waiters.iter().take(COMPARED_MAX).map(compare).collect()
}
