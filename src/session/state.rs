//! Whether a session can be relied on, and the signal that this changed.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::runtime::{self, Either};

/// Why a session was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// No keep-alive was answered for the time to live.
    Expired,
    /// etcd no longer knows the lease: it expired there, or was revoked.
    Gone,
    /// The session was closed by [`Session::close`](super::Session::close).
    Closed,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "no keep-alive was answered in time",
            Self::Gone => "etcd no longer knows the lease",
            Self::Closed => "the session was closed",
        })
    }
}

/// Whether a session can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionState {
    /// The last keep-alive was answered.
    Healthy,
    /// A keep-alive was not answered, or its stream broke: the lease can still be
    /// relied on for as long as remains, and is lost then unless etcd answers.
    Suspended {
        /// What remained when the state was asked for.
        remaining: Duration,
    },
    /// The lease can no longer be relied on. This is final.
    Lost(Loss),
}

impl SessionState {
    /// Whether it is another state, whatever remains.
    fn differs_from(self, other: Self) -> bool {
        std::mem::discriminant(&self) != std::mem::discriminant(&other)
    }
}

/// What the handles share with the task.
#[derive(Debug)]
pub(crate) struct Shared {
    lease: i64,
    ttl: Duration,
    state: Mutex<State>,
    changed: Notify,
}

/// Invariant: once there is a loss, nothing changes any more.
#[derive(Debug)]
struct State {
    deadline: Instant,
    suspended: bool,
    loss: Option<Loss>,
}

impl State {
    /// The loss, noticing that the deadline has passed.
    fn loss_at(&mut self, now: Instant) -> Option<Loss> {
        if self.loss.is_none() && now >= self.deadline {
            self.loss = Some(Loss::Expired);
        }
        self.loss
    }

    /// Moves the deadline, unless that comes too late.
    fn extend(&mut self, now: Instant, deadline: Instant) -> bool {
        if self.loss_at(now).is_some() {
            return false;
        }
        self.deadline = self.deadline.max(deadline);
        self.suspended = false;
        true
    }
}

impl Shared {
    pub(super) fn new(lease: i64, ttl: Duration, deadline: Instant) -> Self {
        Self {
            lease,
            ttl,
            state: Mutex::new(State {
                deadline,
                suspended: false,
                loss: None,
            }),
            changed: Notify::new(),
        }
    }

    pub(crate) fn lease(&self) -> i64 {
        self.lease
    }

    pub(super) fn ttl(&self) -> Duration {
        self.ttl
    }

    pub(super) fn deadline(&self) -> Instant {
        self.lock().deadline
    }

    /// A keep-alive that was sent at the right time was answered: the lease lives
    /// until `deadline`. False if that comes too late.
    pub(super) fn extend(&self, deadline: Instant) -> bool {
        let (extended, was_suspended) = {
            let mut state = self.lock();
            let was_suspended = state.suspended;
            (state.extend(runtime::now(), deadline), was_suspended)
        };
        if was_suspended {
            self.changed.notify_waiters();
        }
        extended
    }

    /// A keep-alive was not answered.
    pub(super) fn suspend(&self) {
        self.lock().suspended = true;
        self.changed.notify_waiters();
    }

    pub(super) fn session_state(&self, now: Instant) -> SessionState {
        let mut state = self.lock();
        match state.loss_at(now) {
            Some(loss) => SessionState::Lost(loss),
            None if state.suspended => SessionState::Suspended {
                remaining: state.deadline.saturating_duration_since(now),
            },
            None => SessionState::Healthy,
        }
    }

    /// The next state that is another one than `before`; none after a loss.
    pub(super) async fn state_other_than(
        &self,
        before: Option<SessionState>,
    ) -> Option<SessionState> {
        if matches!(before, Some(SessionState::Lost(_))) {
            return None;
        }
        loop {
            // Made before the state is looked at: it sees every change since.
            let changed = self.changed.notified();
            let state = self.session_state(runtime::now());
            if before.is_none_or(|before| state.differs_from(before)) {
                return Some(state);
            }
            if let Either::Left(loss) = runtime::race(self.lost(), changed).await {
                return Some(SessionState::Lost(loss));
            }
        }
    }

    pub(super) fn wake_all(&self) {
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn loss(&self) -> Option<Loss> {
        self.lock().loss_at(runtime::now())
    }

    pub(crate) fn lose(&self, loss: Loss) {
        let first = {
            let now = runtime::now();
            let mut state = self.lock();
            let first = state.loss_at(now).is_none();
            if first {
                state.loss = Some(loss);
                state.deadline = state.deadline.min(now);
            }
            first
        };
        if first {
            tracing::debug!(lease = format!("{:x}", self.lease), %loss, "session ended");
        }
        self.changed.notify_waiters();
    }

    pub(crate) async fn lost(&self) -> Loss {
        loop {
            let changed = self.changed.notified();
            if let Some(loss) = self.loss() {
                return loss;
            }
            let left = self
                .lock()
                .deadline
                .saturating_duration_since(runtime::now());
            runtime::race(changed, runtime::sleep(left)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_session_stays_lost() {
        let start = runtime::now();
        let second = Duration::from_secs(1);
        let mut state = State {
            deadline: start + second,
            suspended: true,
            loss: None,
        };
        assert!(state.extend(start, start + 2 * second));
        assert!(!state.suspended);
        // An older answer does not shorten it.
        assert!(state.extend(start, start + second));
        assert_eq!(state.deadline, start + 2 * second);
        assert_eq!(state.loss_at(start + 2 * second), Some(Loss::Expired));
        assert!(!state.extend(start, start + 9 * second));
    }
}
