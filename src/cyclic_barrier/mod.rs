//! A cyclic barrier: a number of participants wait for each other, round after
//! round.
//!
//! # What it promises
//!
//! - No [`wait`](CyclicBarrier::wait) returns from a round before as many
//!   participants have come to it as the barrier is for, all of them with a session
//!   that lived when the round was over.
//! - Rounds are numbered from 1, and each participant of a round has a place of its
//!   own in it, from 0, in the order in which they came. A participant's numbers
//!   rise; they rise by one when there are no more participants than places. With
//!   more, those who come first make the round, and the others the next one.
//! - **A round never breaks.** A participant that dies, or that gives up because the
//!   future of its wait is dropped or timed out, takes its arrival back, and the others
//!   go on waiting until somebody comes in its place. (Java's `CyclicBarrier` wakes
//!   them all with an error instead. Who wants that puts a limit on the time that
//!   it waits.)
//! - If the participant that completes a round dies before it has said so, another
//!   one says it.
//!
//! # What it does not promise
//!
//! A participant that gives up at the very moment at which its round is completed
//! may have been counted.
//!
//! # When answers are lost
//!
//! No outcome stays unknown: a participant's key tells whether it has come, and the
//! generation which rounds are over, so a wait looks and goes on for as long as its session
//! lives. Dropping its future at any time takes the arrival back, in the background.
//!
//! # Keys
//!
//! A layout of our own; etcd's Go recipes have no such thing.
//!
//! | key | value | lease |
//! |---|---|---|
//! | `name/generation` | how many rounds are over; absent: none | none, stays for ever |
//! | `name/round/<round, 16 digits>/<nanoseconds since 1970>` | empty while it waits, then its place in the round | the session's |
//!
//! A participant joins a round only while the generation is the one before it, in
//! one transaction. A round is over when one transaction finds the generation and
//! all participants unchanged, counts the generation up and writes their places.
//!
//! # Cost
//!
//! One transaction per participant and round to come, one to clean up, in the
//! background, and one per round. All waits of a session share one watch.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use etcd_recipes::{CyclicBarrier, Session, etcd_client::Client};
//!
//! let client = Client::connect(["127.0.0.1:2379"], None).await?;
//! let session = Session::new(&client).await?;
//! let barrier = CyclicBarrier::new(&session, "simulation/step", 3)?;
//! loop {
//!     // Work on this participant's part of the step.
//!     let round = barrier.wait().await?;
//!     if round.index == 0 {
//!         println!("step {} is done", round.number);
//!     }
//! }
//! # }
//! ```

#[cfg(feature = "harness")]
mod fault;
mod round;
mod txns;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[cfg(feature = "harness")]
#[doc(hidden)]
pub use self::fault::CyclicBarrierFault;
use self::txns::Generation;
use crate::error::Error;
use crate::keys::Name;
use crate::request::Purpose;
use crate::session::Session;
use crate::telemetry::{Call, observed};
use crate::watch::Mirror;

/// The largest number of participants: etcd allows 128 operations in a transaction
/// (`--max-txn-ops`), and a round is ended by one.
pub const PARTICIPANTS_MAX: usize = 100;

/// A barrier for participants that wait for each other, round after round. See the
/// [module](self).
///
/// Each call of [`wait`](Self::wait) is a participant; any number of tasks may use
/// clones of a handle, or handles with the same session.
#[derive(Clone)]
pub struct CyclicBarrier {
    inner: Arc<Inner>,
}

/// A round that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// Its number, counted from 1.
    pub number: u64,
    /// The participant's place in it, from 0, in the order in which they came.
    pub index: usize,
}

struct Inner {
    session: Session,
    name: Name,
    /// The key that counts the rounds.
    generation: String,
    count: usize,
    mirror: Mirror,
    /// What is known of the generation, perhaps out of date.
    known: Mutex<Generation>,
    #[cfg(feature = "harness")]
    fault: Option<CyclicBarrierFault>,
}

impl CyclicBarrier {
    /// The barrier called `name`, for rounds of `count` participants. All of them
    /// must say the same count. Nothing is sent.
    ///
    /// # Errors
    ///
    /// [Invalid name](Error::is_invalid_name) if the name is empty, ends with `/`,
    /// has an empty part or a NUL; invalid option if `count` is 0 or above
    /// [`PARTICIPANTS_MAX`].
    pub fn new(session: &Session, name: impl Into<String>, count: usize) -> Result<Self, Error> {
        let name = Name::new(name)?;
        if count == 0 || count > PARTICIPANTS_MAX {
            let reason = "a round has at least 1 and at most 100 participants";
            return Err(Error::invalid_option("make", name.as_str(), reason));
        }
        Ok(Self {
            inner: Arc::new(Inner {
                session: session.clone(),
                generation: name.child("generation"),
                count,
                mirror: session.mirror(&name.children()),
                known: Mutex::default(),
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

    /// Waits until a round is over that this call takes part in.
    ///
    /// Dropping the future takes the arrival back, in the background; it may have
    /// been counted all the same, if the round was over at that moment.
    ///
    /// # Errors
    ///
    /// - [Session lost](Error::is_session_lost), as soon as it is, or [not
    ///   held](Error::is_not_held) if somebody deleted the participant's key. It
    ///   may have been counted before.
    /// - [Refused](Error::is_refused) by etcd or [not sent](Error::is_not_sent).
    /// - Foreign data, if `name/generation` holds something else than a number.
    pub async fn wait(&self) -> Result<Round, Error> {
        let inner = &*self.inner;
        let call = Call {
            recipe: "cyclic-barrier",
            operation: "wait",
            name: inner.name.as_str(),
            lease: Some(inner.session.lease_id()),
        };
        let session = inner.session.clone();
        // On the heap, so that the future that callers nest stays small.
        let waiting = Box::pin(round::wait(inner));
        observed(call, session.while_alive(waiting)).await
    }
}

impl Inner {
    fn known(&self) -> MutexGuard<'_, Generation> {
        // Whole at every moment.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of the generation. Never goes back.
    fn learn(&self, generation: Generation) {
        let mut known = self.known();
        if generation.mod_revision > known.mod_revision {
            *known = generation;
        }
    }

    fn why(&self) -> Purpose<'_> {
        Purpose {
            operation: "wait at",
            target: self.name.as_str(),
        }
    }
}

impl std::fmt::Debug for CyclicBarrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CyclicBarrier")
            .field("name", &self.name())
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}
