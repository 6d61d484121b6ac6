//! Deliberately broken twins of the double barrier. They exist to show that the
//! tests catch them.

use super::enter::Arrival;
use super::{DoubleBarrier, Inner, Inside};
use crate::error::Error;
use crate::session::Session;

/// What is wrong with a double barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoubleBarrierFault {
    /// Who comes while a round is ending counts those who have not left yet, as
    /// etcd's Go recipe.
    Reused,
    /// Who has waited does not look whether its own key is still there, nor whether
    /// its session lives, as etcd's Go recipe.
    ExpiredWaiter,
    /// A leave does not wait for the others.
    LeavesAtOnce,
}

impl DoubleBarrier {
    /// A broken double barrier, or a whole one.
    ///
    /// # Errors
    ///
    /// As [`DoubleBarrier::new`].
    #[doc(hidden)]
    pub fn with_fault(
        session: &Session,
        name: impl Into<String>,
        count: usize,
        fault: Option<DoubleBarrierFault>,
    ) -> Result<Self, Error> {
        let mut barrier = Self::new(session, name, count)?;
        if let Some(inner) = std::sync::Arc::get_mut(&mut barrier.inner) {
            inner.fault = fault;
        }
        Ok(barrier)
    }
}

impl Inner {
    fn has(&self, fault: DoubleBarrierFault) -> bool {
        self.fault == Some(fault)
    }

    pub(super) fn leaves_at_once(&self) -> bool {
        self.has(DoubleBarrierFault::LeavesAtOnce)
    }

    pub(super) fn joins_any_time(&self) -> bool {
        self.has(DoubleBarrierFault::Reused)
    }

    pub(super) fn is_as_go(&self) -> bool {
        self.has(DoubleBarrierFault::Reused) || self.has(DoubleBarrierFault::ExpiredWaiter)
    }

    /// The wait of etcd's Go recipe: the count-th to come says that the round has
    /// begun, and the others wait for that to be said after they came.
    pub(super) async fn wait_as_go(&self, arrival: Arrival) -> Result<Inside, Error> {
        let Arrival { hold, scene, .. } = arrival;
        let rank = scene.rank(hold.key()).unwrap_or(usize::MAX);
        if rank >= self.count {
            drop(hold);
            return Err(self.full("enough others came before"));
        }
        if rank == self.count - 1 {
            let ready = etcd_client::TxnOp::put(self.ready.as_str(), "", None);
            let txn = etcd_client::Txn::new().and_then([ready]);
            let requests = self.session.requests();
            requests.write(self.why("enter"), txn).await?;
            let began = i64::MAX;
            return Ok(Inside { hold, began });
        }
        let created = hold.fencing_token();
        let began = |view: &crate::watch::View| {
            let ready = view.keys.get(&self.ready)?;
            (ready.mod_revision > created).then_some(())
        };
        let waited = self.mirror.wait(created, began);
        if self.has(DoubleBarrierFault::ExpiredWaiter) {
            waited.await?;
        } else {
            self.session.while_alive(waited).await?;
        }
        let began = i64::MAX;
        Ok(Inside { hold, began })
    }
}
