//! Coming into the line of a read-write lock, and waiting in it.

use etcd_client::{
    Compare, CompareOp, GetOptions, GetResponse, KeyValue, PutOptions, SortOrder, SortTarget, Txn,
    TxnOp, TxnOpResponse, TxnResponse,
};

#[cfg(feature = "harness")]
use super::RwLockFault;
use super::{Inner, Mode};
use crate::error::Error;
use crate::hold::{Claim, Hold, wait_in_line};
use crate::request::{Purpose, revision_of};
use crate::runtime;

/// What the creation of a key came to.
enum Created {
    /// The key is ours, with this create revision.
    Own(i64),
    /// Somebody else has a key of this name.
    Taken,
}

impl Inner {
    /// Puts a key into the line; also the revision, if nothing was in its way then.
    pub(super) async fn enter(&self, mode: Mode) -> Result<(Hold, Option<i64>), Error> {
        loop {
            let key = self.new_key(mode);
            let mut claim = Claim::new(&self.session, &key);
            let why = Purpose {
                operation: mode.operation(),
                target: self.name.as_str(),
            };
            let answer = claim.send(why, self.creation(mode, &key)).await?;
            match self.created(&answer, &claim)? {
                Created::Own(token) => {
                    let first_at = is_first(&answer, token).then(|| revision_of(answer.header()));
                    return Ok((claim.into_hold(token), first_at));
                }
                Created::Taken => {
                    tracing::debug!(key, "the key is taken; another one is drawn");
                    claim.abandon();
                }
            }
        }
    }

    fn new_key(&self, mode: Mode) -> String {
        let nanos = runtime::unique_nanos();
        format!("{}{}/{nanos}", self.name.children(), mode.part())
    }

    /// Creates the key unless it is there, and asks for the oldest that could be
    /// in its way. To be sent again after an unknown outcome: the key is there
    /// once.
    fn creation(&self, mode: Mode, key: &str) -> Txn {
        let in_the_way = match mode {
            Mode::Read => format!("{}write/", self.name.children()),
            Mode::Write => self.name.children(),
        };
        let oldest = GetOptions::new()
            .with_prefix()
            .with_sort(SortTarget::Create, SortOrder::Ascend)
            .with_limit(1);
        let oldest = TxnOp::get(in_the_way, Some(oldest));
        let put = PutOptions::new().with_lease(self.session.lease_id());
        Txn::new()
            .when([Compare::version(key, CompareOp::Equal, 0)])
            .and_then([TxnOp::put(key, "", Some(put)), oldest.clone()])
            .or_else([TxnOp::get(key, None), oldest])
    }

    fn created(&self, answer: &TxnResponse, claim: &Claim) -> Result<Created, Error> {
        if answer.succeeded() {
            return Ok(Created::Own(revision_of(answer.header())));
        }
        let own = answer.op_responses().into_iter().next();
        let Some(TxnOpResponse::Get(own)) = own else {
            return Err(Error::unreadable_answer("lock", claim.key()));
        };
        // Only a request of ours that was not answered can have created it.
        let is_own = |kv: &&KeyValue| claim.is_unsettled() && kv.lease() == self.session.lease_id();
        let own = own.kvs().first().filter(is_own);
        Ok(own.map_or(Created::Taken, |kv| Created::Own(kv.create_revision())))
    }

    /// Waits until nothing is in the way; the revision at which that is so.
    pub(super) async fn wait(&self, hold: &Hold, mode: Mode) -> Result<i64, Error> {
        #[cfg(feature = "harness")]
        if self.has(RwLockFault::ExpiredWaiter) {
            return self.wait_for_the_others_only(hold, mode).await;
        }
        wait_in_line(mode.operation(), &self.mirror, hold, |key, entry| {
            self.is_in_the_way_of(mode, key, entry.lease)
        })
        .await
    }

    /// Reads the line; the revision if nothing is in the way.
    pub(super) async fn look(&self, hold: &Hold, mode: Mode) -> Result<Option<i64>, Error> {
        let why = Purpose {
            operation: mode.operation(),
            target: self.name.as_str(),
        };
        let options = GetOptions::new().with_prefix().with_keys_only();
        let line = self.name.children();
        let read = self.session.requests().range(why, line.as_bytes(), options);
        let answer: GetResponse = self.session.while_alive(read).await?;
        let token = hold.fencing_token();
        let is_own = |kv: &KeyValue| kv.create_revision() == token;
        let blocks = |kv: &KeyValue| {
            let key = kv.key_str().unwrap_or_default();
            kv.create_revision() < token && self.is_in_the_way_of(mode, key, kv.lease())
        };
        let is_free = answer.kvs().iter().any(is_own) && !answer.kvs().iter().any(blocks);
        Ok(is_free.then(|| revision_of(answer.header())))
    }

    /// Whether a key, if it is older, keeps somebody out.
    pub(super) fn is_in_the_way_of(&self, mode: Mode, key: &str, lease: i64) -> bool {
        #[cfg(feature = "harness")]
        if mode == Mode::Read && self.has(RwLockFault::ReaderIgnoresWriters) {
            return false;
        }
        if lease == 0 {
            return false;
        }
        match self.mode_of(key) {
            Some(Mode::Write) => true,
            Some(Mode::Read) => mode == Mode::Write,
            None => false,
        }
    }

    /// What a key in the line asks for: `name/read/<decimal>` or
    /// `name/write/<decimal>`.
    fn mode_of(&self, key: &str) -> Option<Mode> {
        let below = key.strip_prefix(self.name.as_str())?.strip_prefix('/')?;
        let (part, id) = below.split_once('/')?;
        let is_decimal = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        let modes = [Mode::Read, Mode::Write];
        let mode = modes.into_iter().find(|mode| mode.part() == part)?;
        is_decimal.then_some(mode)
    }
}

/// Whether the answer to the creation shows that nothing older is in the way.
fn is_first(answer: &TxnResponse, token: i64) -> bool {
    let oldest = answer.op_responses().into_iter().nth(1);
    let Some(TxnOpResponse::Get(oldest)) = oldest else {
        return false;
    };
    let is_older = |kv: &KeyValue| kv.create_revision() < token;
    !oldest.kvs().first().is_some_and(is_older)
}
