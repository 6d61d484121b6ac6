//! A double barrier: a number of participants begin something together and end it
//! together.
//!
//! # What it promises
//!
//! - No [`enter`](DoubleBarrier::enter) returns before as many participants have
//!   come as the barrier is for, all with a session that lived at that moment. The
//!   participants of a round are the first that came, by etcd's order; whoever
//!   comes too late is told [so](crate::Error::is_too_many_clients).
//! - No [`leave`](DoubleBarrier::leave) returns before everybody who entered has
//!   left or lost its lease.
//! - A name can be used again, round after round: the key that says "enter" is
//!   deleted together with the key of the last participant that leaves, in one
//!   transaction, and while it exists nobody joins. One that was left behind, because the
//!   last participants died, is removed by the next round.
//! - If the participant that completes a round dies before it has said so, another
//!   one says it.
//! - A participant whose session dies while it waits is told so, and does not
//!   count.
//!
//! # What it does not promise
//!
//! - That everybody is *still* inside: a participant may die right after it entered.
//!   That is not reported to the others; they only do not wait for it when they
//!   leave.
//! - The above among Go participants: those do not look for a round that is
//!   unfinished, so that one that enters while others leave is let in alone, and
//!   they do not look whether their own lease still lives. They can share a barrier
//!   with this recipe, but use a new name for each round then.
//! - With Go participants *and* a count of three or more: that a Go participant
//!   leaves only after all others *if the oldest participant dies, or gives its leave
//!   up*. Go's `Leave` (3.4.23) takes the last key that is left for its own, and
//!   relies on the oldest participant's key being deleted last. It is, among Go
//!   participants and among these: the oldest stays until the others have gone.
//!
//! # Keys
//!
//! As in etcd's Go recipe: a participant is `name/waiters/<nanoseconds since 1970>`,
//! attached to its session's lease; `name/ready`, without a lease, says that the
//! round has begun. All values are empty. In a layout of its own, and only after a
//! request to enter had to be sent again: `name/void/<the same nanoseconds>`, attached
//! to the lease too, keeps a late copy of that request from coming into a later round.
//!
//! # Cost
//!
//! A participant sends one transaction to enter and one to leave, and the one that
//! completes the round sends one more. The first wait of a handle opens a watch and
//! reads the keys below the name, beside the transaction; keep a handle, or share
//! [`Watches`](crate::Watches), to have that once.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use etcd_recipes::{DoubleBarrier, Session, etcd_client::Client};
//!
//! let client = Client::connect(["127.0.0.1:2379"], None).await?;
//! let session = Session::new(&client).await?;
//! let barrier = DoubleBarrier::new(&session, "simulation/step", 3)?;
//! barrier.enter().await?;
//! // Three participants are here.
//! barrier.leave().await?;
//! # Ok(())
//! # }
//! ```

mod enter;
#[cfg(feature = "harness")]
mod fault;
mod leave;
mod txns;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[cfg(feature = "harness")]
#[doc(hidden)]
pub use self::fault::DoubleBarrierFault;
use crate::error::Error;
use crate::hold::Hold;
use crate::keys::Name;
use crate::request::Purpose;
use crate::session::Session;
use crate::telemetry::{Call, observed};
use crate::watch::Mirror;

/// One participant of a double barrier. See the [module](self).
///
/// A handle is one participant: it enters, leaves, and may enter again. Clones are
/// the same participant; make another handle for another one, with the same session
/// if you like.
#[derive(Clone)]
pub struct DoubleBarrier {
    inner: Arc<Inner>,
}

struct Inner {
    session: Session,
    name: Name,
    /// Below it are the participants.
    waiters: Name,
    /// The key that says that a round has begun.
    ready: String,
    count: usize,
    mirror: Mirror,
    place: Mutex<Place>,
    #[cfg(feature = "harness")]
    fault: Option<DoubleBarrierFault>,
}

/// Where the participant is.
#[derive(Debug)]
enum Place {
    Outside,
    /// On its way in or out.
    Moving,
    Inside(Inside),
}

/// A participant that has entered.
#[derive(Debug)]
struct Inside {
    hold: Hold,
    /// The revision at which its round began.
    began: i64,
}

impl DoubleBarrier {
    /// The barrier called `name`, for rounds of `count` participants. All of them
    /// must say the same count. Nothing is sent.
    ///
    /// # Errors
    ///
    /// [Invalid name](Error::is_invalid_name) if the name is empty, ends with `/`,
    /// has an empty part or a NUL; invalid option if `count` is 0.
    pub fn new(session: &Session, name: impl Into<String>, count: usize) -> Result<Self, Error> {
        let name = Name::new(name)?;
        if count == 0 {
            let reason = "a round needs at least one participant";
            return Err(Error::invalid_option("make", name.as_str(), reason));
        }
        Ok(Self {
            inner: Arc::new(Inner {
                session: session.clone(),
                waiters: Name::new(name.child("waiters"))?,
                ready: name.child("ready"),
                count,
                mirror: session.mirror(&name.children()),
                place: Mutex::new(Place::Outside),
                #[cfg(feature = "harness")]
                fault: None,
                name,
            }),
        })
    }

    /// The barrier's name.
    pub fn name(&self) -> &str {
        self.inner.name.as_str()
    }

    /// How many participants a round has.
    pub fn count(&self) -> usize {
        self.inner.count
    }

    /// Whether this participant has entered and not left, as far as it knows.
    pub fn is_inside(&self) -> bool {
        matches!(&*self.inner.place(), Place::Inside(_))
    }

    /// Waits until the round is complete, and enters with all others.
    ///
    /// Dropping the future takes the participant back, in the background; it may
    /// have been counted all the same, if the round began at that moment.
    ///
    /// # Errors
    ///
    /// - [Too many clients](Error::is_too_many_clients): enough others had come
    ///   before, or a round is under way. Nothing is left behind.
    /// - [Session lost](Error::is_session_lost), as soon as it is, or [not
    ///   held](Error::is_not_held) if somebody deleted the participant's key. It
    ///   may have been counted before.
    /// - Invalid option if this handle has entered already.
    /// - What a write can fail with. After an [unknown
    ///   outcome](Error::is_outcome_unknown) it may have been counted; its key is
    ///   deleted in the background.
    pub async fn enter(&self) -> Result<(), Error> {
        let inner = &*self.inner;
        let moving = inner.moves_from(|place| match place {
            Place::Outside => Ok(()),
            place => Err(place),
        });
        let reason = "this handle has entered already, or is about to";
        let ((), moving) = moving.ok_or_else(|| inner.wrong("enter", reason))?;
        let inside = observed(inner.call("enter"), enter::enter(inner)).await?;
        moving.arrive(Place::Inside(inside));
        Ok(())
    }

    /// Leaves, and waits until everybody of the round has left or lost its lease.
    ///
    /// Whatever happens, this participant is outside afterwards, also if the future
    /// is dropped: its key is deleted, in the background if need be.
    ///
    /// # Errors
    ///
    /// - Invalid option if this handle has not entered.
    /// - [Session lost](Error::is_session_lost), as soon as it is, or [not
    ///   held](Error::is_not_held) if the participant's key was gone: others may
    ///   then be inside.
    /// - [Refused](Error::is_refused) by etcd.
    pub async fn leave(&self) -> Result<(), Error> {
        let inner = &*self.inner;
        let moving = inner.moves_from(|place| match place {
            Place::Inside(inside) => Ok(inside),
            place => Err(place),
        });
        let (inside, _moving) = moving.ok_or_else(|| inner.wrong("leave", "it has not entered"))?;
        observed(inner.call("leave"), leave::leave(inner, inside)).await
    }
}

impl Inner {
    fn place(&self) -> MutexGuard<'_, Place> {
        // Whole at every moment.
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to move, if the place is one to move from.
    fn moves_from<T>(
        &self,
        from: impl FnOnce(Place) -> Result<T, Place>,
    ) -> Option<(T, Moving<'_>)> {
        let mut place = self.place();
        match from(std::mem::replace(&mut *place, Place::Moving)) {
            Ok(what) => Some((what, Moving { inner: self })),
            Err(before) => {
                *place = before;
                None
            }
        }
    }

    fn call(&self, operation: &'static str) -> Call<'_> {
        Call {
            recipe: "double-barrier",
            operation,
            name: self.name.as_str(),
            lease: Some(self.session.lease_id()),
        }
    }

    fn why(&self, operation: &'static str) -> Purpose<'_> {
        Purpose {
            operation,
            target: self.name.as_str(),
        }
    }

    fn wrong(&self, operation: &'static str, reason: &str) -> Error {
        Error::invalid_option(operation, self.name.as_str(), reason)
    }
}

/// On its way; outside again when it is dropped.
struct Moving<'i> {
    inner: &'i Inner,
}

impl Moving<'_> {
    fn arrive(self, place: Place) {
        *self.inner.place() = place;
        std::mem::forget(self);
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        *self.inner.place() = Place::Outside;
    }
}

impl std::fmt::Debug for DoubleBarrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DoubleBarrier")
            .field("name", &self.name())
            .field("count", &self.count())
            .field("place", &*self.inner.place())
            .finish_non_exhaustive()
    }
}
