//! Leading.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicI64, Ordering};

use etcd_client::{PutOptions, Txn, TxnOp};

use super::Election;
use crate::error::Error;
use crate::hold::Hold;
use crate::request::{Purpose, revision_of};
use crate::telemetry;

/// A leadership: a [`Hold`] of the leader's key.
///
/// It lasts until it is [resigned](Self::resign) or dropped, its session ends, or
/// somebody deletes the key. Dropping it resigns in the background, for as long as
/// the session lives.
#[must_use = "dropping it resigns"]
pub struct Leadership {
    pub(super) hold: Hold,
    pub(super) election: Election,
    pub(super) led_at: i64,
    /// Of the value that was written last.
    pub(super) mod_revision: AtomicI64,
}

impl Leadership {
    /// The term: the create revision of the leader's key, larger than every earlier
    /// leader's. The same as the [`fencing_token`](Hold::fencing_token), and what Go
    /// calls `Rev`.
    pub fn term(&self) -> i64 {
        self.hold.fencing_token()
    }

    /// The revision as of which this candidate knew that it leads. A read at this
    /// revision or a later one sees everything that earlier leaders wrote through
    /// their guards.
    pub fn revision(&self) -> i64 {
        self.led_at
    }

    /// The revision that wrote the value that this handle wrote last, as
    /// observers see it.
    pub fn mod_revision(&self) -> i64 {
        self.mod_revision.load(Ordering::Relaxed)
    }

    /// The election.
    pub fn election(&self) -> &Election {
        &self.election
    }

    /// Changes the leader's value, if this still is the leader.
    ///
    /// It is sent once. Two proclamations at the same time take effect in either
    /// order. Dropping the future leaves the outcome as unknown.
    ///
    /// # Errors
    ///
    /// [Not held](Error::is_not_held): no longer the leader, nothing was changed.
    /// [Session lost](Error::is_session_lost), found without asking. [Refused] or [not
    /// sent](Error::is_not_sent). After an [unknown outcome](Error::is_outcome_unknown)
    /// the value may or may not be the new one, and may become it later, unless the
    /// leadership ends before.
    ///
    /// [Refused]: Error::is_refused
    pub async fn proclaim(&self, value: impl Into<Vec<u8>>) -> Result<(), Error> {
        let value = value.into();
        let inner = &*self.election.inner;
        #[cfg(feature = "harness")]
        if inner.has(super::ElectionFault::ProclaimsUnguarded) {
            let revision = self.proclaim_unguarded(value).await?;
            self.wrote_at(revision);
            return Ok(());
        }
        let work = async {
            self.hold.check()?;
            proclaim(&self.hold, "proclaim in", value).await
        };
        let revision = telemetry::observed(inner.call("proclaim"), work).await?;
        self.wrote_at(revision);
        Ok(())
    }

    fn wrote_at(&self, revision: i64) {
        self.mod_revision.fetch_max(revision, Ordering::Relaxed);
    }

    /// Resigns, and waits until that is certain.
    ///
    /// Only the key of this very term is deleted, so it is sent again as long as the
    /// outcome is unknown, and the background goes on if this fails or is dropped.
    ///
    /// # Errors
    ///
    /// [Not held](Error::is_not_held): the leadership was lost before, and somebody
    /// else may lead since. Otherwise an unknown outcome, or that nothing could be
    /// sent, for twice the session's request deadline; or that the session is lost.
    pub async fn resign(self) -> Result<(), Error> {
        let inner = self.election.inner.clone();
        telemetry::observed(inner.call("resign"), self.hold.release("resign from")).await
    }

    /// Gives up this handle and leaves the session leading: the key and the term,
    /// for [`Election::resume`]. Nobody withdraws the key before the session ends.
    ///
    /// For handing a leadership from one part of a program to another one that knows
    /// nothing but names. Another campaign of this session in the same election goes
    /// on with the same key and term.
    pub fn detach(self) -> (String, i64) {
        let parts = (self.hold.key().to_owned(), self.term());
        self.hold.leave();
        parts
    }
}

/// Puts a value under the leader's key, if it still is that; the revision.
pub(super) async fn proclaim(
    hold: &Hold,
    operation: &'static str,
    value: Vec<u8>,
) -> Result<i64, Error> {
    let leased = PutOptions::new().with_lease(hold.lease_id());
    let txn =
        Txn::new()
            .when([hold.compare()])
            .and_then([TxnOp::put(hold.key(), value, Some(leased))]);
    let why = Purpose {
        operation,
        target: hold.key(),
    };
    let answer = hold.session().requests().write(why, txn).await?;
    if answer.succeeded() {
        Ok(revision_of(answer.header()))
    } else {
        Err(Error::not_held(operation, hold.key()))
    }
}

impl Deref for Leadership {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.hold
    }
}

impl fmt::Debug for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leadership")
            .field("hold", &self.hold)
            .field("term", &self.term())
            .finish_non_exhaustive()
    }
}
