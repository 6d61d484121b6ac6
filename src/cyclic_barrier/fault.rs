//! Deliberately broken twins of the cyclic barrier. They exist to show that the
//! tests catch them.

use super::round::Arrival;
use super::{CyclicBarrier, Inner, Round};
use crate::error::Error;
use crate::session::Session;
use crate::watch::View;

/// What is wrong with a cyclic barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CyclicBarrierFault {
    /// Rounds are not told apart: who comes again counts those who have not gone
    /// yet.
    NoGeneration,
    /// Participants are not attached to their lease: they count when they are dead.
    CountsTheDead,
}

impl CyclicBarrier {
    /// A broken cyclic barrier, or a whole one.
    ///
    /// # Errors
    ///
    /// As [`CyclicBarrier::new`].
    #[doc(hidden)]
    pub fn with_fault(
        session: &Session,
        name: impl Into<String>,
        count: usize,
        fault: Option<CyclicBarrierFault>,
    ) -> Result<Self, Error> {
        let mut barrier = Self::new(session, name, count)?;
        if let Some(inner) = std::sync::Arc::get_mut(&mut barrier.inner) {
            inner.fault = fault;
        }
        Ok(barrier)
    }
}

impl Inner {
    pub(super) fn has_no_generation(&self) -> bool {
        self.fault == Some(CyclicBarrierFault::NoGeneration)
    }

    pub(super) fn counts_the_dead(&self) -> bool {
        self.fault == Some(CyclicBarrierFault::CountsTheDead)
    }

    /// Everybody returns when enough are there, and takes its own key away; rounds
    /// are counted by each for itself.
    pub(super) async fn wait_without_generation(&self, arrival: Arrival) -> Result<Round, Error> {
        let enough = |view: &View| {
            let waiters = self.waiters(&arrival.round, view);
            let own = waiters.iter().position(|one| one.key == arrival.hold.key());
            (waiters.len() >= self.count).then(|| own.unwrap_or(0))
        };
        let created = arrival.hold.fencing_token();
        let index = self.mirror.wait(created, enough).await?;
        arrival.hold.release("wait at").await?;
        let number = {
            let mut known = self.known();
            known.rounds += 1;
            known.rounds
        };
        Ok(Round { number, index })
    }
}
