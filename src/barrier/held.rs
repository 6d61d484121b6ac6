//! A barrier that falls with its holder.

use std::ops::Deref;
use std::time::Duration;

use etcd_client::{Compare, CompareOp, GetOptions, PutOptions, Txn, TxnOp, TxnOpResponse};

use super::Inner;
use crate::error::Error;
#[cfg(feature = "harness")]
use crate::hold::Released;
use crate::hold::{Claim, Hold};
use crate::request::revision_of;
use crate::runtime::{self, Either};
use crate::session::{Session, Turn};

/// A barrier that this session holds up. Dropping it takes the barrier down in the
/// background.
#[derive(Debug)]
#[must_use = "dropping it takes the barrier down"]
pub struct HeldBarrier {
    hold: Hold,
}

impl HeldBarrier {
    /// Takes the barrier down and waits until that is certain. After a lost answer it
    /// is only known to be down: somebody else may have taken it down just before.
    ///
    /// # Errors
    ///
    /// [Not held](Error::is_not_held) if somebody had taken it down, or its lease
    /// had ended. With any other error the background goes on until it is down.
    pub async fn release(self) -> Result<(), Error> {
        self.hold.release("release").await
    }

    /// As [`release`](Self::release), and says how it came down.
    #[cfg(feature = "harness")]
    pub(crate) async fn release_and_tell(self) -> Result<Released, Error> {
        self.hold.release_and_tell("release").await
    }
}

impl Deref for HeldBarrier {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.hold
    }
}

/// What came of raising a barrier with a session's lease.
pub(super) struct Attempt {
    /// None if it stands already.
    pub(super) held: Option<HeldBarrier>,
    /// A request that was not answered may still raise it, until the background finds
    /// that.
    #[cfg(feature = "harness")]
    pub(super) is_unsettled: bool,
}

/// Raises it with the session's lease, unless it stands.
pub(super) async fn hold(inner: &Inner, session: &Session) -> Result<Attempt, Error> {
    let Some(turn) = turn(inner, session).await? else {
        return Ok(Attempt {
            held: None,
            #[cfg(feature = "harness")]
            is_unsettled: false,
        });
    };
    let key = inner.name.as_str();
    let mut claim = Claim::new(session, key).with_turn(turn);
    let answer = claim
        .send(inner.why("hold"), inner.creation(session))
        .await?;
    let created = if answer.succeeded() {
        Some(revision_of(answer.header()))
    } else {
        // Only one task of the session has the turn: a key with its lease is that
        // of a request whose answer was lost.
        match answer.op_responses().first() {
            Some(TxnOpResponse::Get(read)) => {
                let own = |kv: &&etcd_client::KeyValue| kv.lease() == session.lease_id();
                let kv = read.kvs().first().filter(own);
                kv.map(etcd_client::KeyValue::create_revision)
            }
            _ => return Err(Error::unreadable_answer("hold", key)),
        }
    };
    Ok(Attempt {
        #[cfg(feature = "harness")]
        is_unsettled: claim.is_unsettled(),
        held: created.map(|revision| HeldBarrier {
            hold: claim.into_hold(revision),
        }),
    })
}

/// The right to use the key with this session's lease; none if the barrier stands.
async fn turn(inner: &Inner, session: &Session) -> Result<Option<Turn>, Error> {
    const LOOK_AGAIN: Duration = Duration::from_millis(100);
    let key = inner.name.as_str();
    loop {
        if let Some(turn) = session.try_turn(key) {
            return Ok(Some(turn));
        }
        let options = GetOptions::new().with_keys_only();
        let why = inner.why("hold");
        let read = inner.requests.range(why, key.as_bytes(), options).await?;
        if !read.kvs().is_empty() {
            return Ok(None);
        }
        // Another task of this session is about to raise it, or to clean up.
        let pause = runtime::sleep(LOOK_AGAIN);
        if let Either::Left(turn) = runtime::race(session.turn(key), pause).await {
            return Ok(Some(turn));
        }
    }
}

impl Inner {
    fn creation(&self, session: &Session) -> Txn {
        let key = self.name.as_str();
        let lease = session.lease_id();
        #[cfg(feature = "harness")]
        let lease = if self.forgets_the_lease() { 0 } else { lease };
        let leased = PutOptions::new().with_lease(lease);
        Txn::new()
            .when([Compare::create_revision(key, CompareOp::Equal, 0)])
            .and_then([TxnOp::put(key, "", Some(leased))])
            .or_else([TxnOp::get(key, None)])
    }
}
