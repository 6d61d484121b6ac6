//! What a member asks the leader beside the history: leases are in its hands.
//!
//! ```text
//!   a member ── question ──> the leader: has it carried out what is committed?
//!                              yes ── answer ──> the member
//!                              not within 1 s ─> its own client is told so;
//!                                                another member asks again
//! ```

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::consensus::MemberId;
use super::error::ClusterError;
use super::member::Member;
use super::state::age;
use super::waiting::Waiting;
use crate::executor::{self, SimTime};
use crate::store::{LeaseId, Store};
use crate::version::AppliedWait;

/// How long a member waits before it asks the leader about a lease once more
/// (`LeaseRenew` in etcd's `server/etcdserver/v3_server.go`).
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// How long a leader may take to carry out what is committed before it answers
/// (`applyTimeout`, same file and `server/lease/leasehttp/http.go`).
const APPLY_TIMEOUT: Duration = Duration::from_secs(1);

impl Member {
    /// Has the leader renew a lease; its time to live, 0 when it is gone. A
    /// lease that has expired is not saved: the answer waits until it is revoked
    /// (`lessor.Renew` in etcd's `server/lease/lessor.go`).
    ///
    /// # Errors
    ///
    /// When no leader can be asked in time, or it takes too long to apply.
    pub(crate) async fn renew(&self, id: LeaseId) -> Result<i64, ClusterError> {
        let back = self.reach_leader_that_applied(Some(id)).await?;
        loop {
            let revocation = self.cluster.shared.revoked.notified();
            let renewed = {
                let now = age(executor::now());
                let mut state = self.cluster.present();
                let expired = state.store.is_expired(now, id);
                (!expired).then(|| state.store.lease_keep_alive(now, id).unwrap_or(0))
            };
            if let Some(ttl) = renewed {
                executor::sleep_until(back).await;
                return Ok(ttl);
            }
            revocation.await;
        }
    }

    /// Asks the leader for all leases.
    ///
    /// # Errors
    ///
    /// When no leader can be asked in time.
    pub(crate) async fn leases(&self) -> Result<Vec<LeaseId>, ClusterError> {
        let (_, back) = self.reach_leader(executor::now()).await?;
        let leases = self.cluster.present().store.leases();
        executor::sleep_until(back).await;
        Ok(leases)
    }

    /// Asks the leader about a lease.
    ///
    /// # Errors
    ///
    /// When no leader can be asked in time, or it takes too long to apply.
    pub(crate) async fn ask_of_lease<T>(
        &self,
        look: impl FnOnce(&Store, Duration) -> T,
    ) -> Result<T, ClusterError> {
        let back = self.reach_leader_that_applied(None).await?;
        let answer = look(&self.cluster.present().store, age(executor::now()));
        executor::sleep_until(back).await;
        Ok(answer)
    }

    /// The same as [`reach_leader`](Member::reach_leader), for a question that the leader
    /// answers when it has carried out what is committed. `renewed` is the lease that is
    /// to be kept alive.
    async fn reach_leader_that_applied(
        &self,
        renewed: Option<LeaseId>,
    ) -> Result<SimTime, ClusterError> {
        let start = executor::now();
        loop {
            let (leader, back) = self.reach_leader(start).await?;
            let is_own = leader == self.number;
            if is_own && !self.waits_for_applied(renewed) {
                return Ok(back);
            }
            let asked = executor::now();
            if self.cluster.member(leader).applies_in_time().await {
                return Ok(back + executor::now().saturating_sub(asked));
            }
            if is_own {
                return Err(ClusterError::TimeoutAppliedIndex);
            }
            executor::sleep_until(back + APPLY_TIMEOUT + ASK_AGAIN).await;
        }
    }

    /// Whether its own client waits until this leader has carried out what is committed.
    fn waits_for_applied(&self, renewed: Option<LeaseId>) -> bool {
        match self.options().version.profile().applied_wait {
            AppliedWait::Others => false,
            AppliedWait::All => true,
            AppliedWait::UnlessKnown => {
                let now = age(executor::now());
                let state = self.cluster.present();
                let status = renewed.map(|id| state.store.lease_status(now, id));
                !matches!(status, Some(Some(_)))
            }
        }
    }

    /// Whether the member carries out in time what is committed now.
    async fn applies_in_time(&self) -> bool {
        let ticket = {
            let mut state = self.cluster.lock();
            state.advance(executor::now());
            let ticket = state.await_applied(self.number);
            self.cluster.release(state);
            ticket
        };
        let Some(ticket) = ticket else { return true };
        let applied = pin!(Waiting::new(self.clone(), ticket).may_read());
        let late = pin!(executor::sleep(APPLY_TIMEOUT));
        matches!(select(applied, late).await, Either::Left((Ok(()), _)))
    }

    /// Waits until a question has reached the leader: which member that is, and when the
    /// answer will be back (`LeaseRenew` in etcd's `server/etcdserver/v3_server.go`).
    /// `start` is when the client asked.
    pub(super) async fn reach_leader(
        &self,
        start: SimTime,
    ) -> Result<(MemberId, SimTime), ClusterError> {
        loop {
            let now = executor::now();
            let asked = {
                let mut state = self.cluster.lock();
                state.advance(now);
                let asked = state.consensus.ask_leader(self.number, now);
                let leader = state.consensus.leader_of(self.number);
                asked.zip(leader).ok_or(leader)
            };
            match asked {
                Ok(((there, back), leader)) => {
                    executor::sleep_until(there).await;
                    return Ok((leader, back));
                }
                Err(Some(leader)) if leader == self.number => {
                    return Err(ClusterError::NotPrimary);
                }
                Err(leader) if now.saturating_sub(start) >= self.request_timeout() => {
                    return Err(match leader {
                        Some(_) => ClusterError::Timeout,
                        None => ClusterError::NoLeader,
                    });
                }
                Err(Some(_)) => executor::sleep(ASK_AGAIN).await,
                Err(None) => executor::sleep(self.options().election_timeout).await,
            }
        }
    }
}
