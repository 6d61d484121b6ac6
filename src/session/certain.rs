//! Work that has to be over before the lease can end.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::Session;
use crate::runtime;

/// How long before the lease can end the work is dropped.
fn margin(ttl: Duration) -> Duration {
    (ttl / 10).min(Duration::from_secs(1))
}

impl Session {
    /// The result of `work`; none if the lease was about to end, or `over` was done, before
    /// that. The work is dropped then.
    pub(crate) async fn while_certain<T>(
        &self,
        over: impl Future<Output = ()>,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = pin!(work);
        let mut over = pin!(runtime::race(self.until_uncertain(), over));
        poll_fn(|cx| {
            // Before each poll of the work: if this process stood still, the clock knows
            // before any timer.
            if self.is_uncertain() || over.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            work.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Waits until a lease that is about to end has been extended or is lost.
    pub(crate) async fn until_certain(&self) {
        const LOOK: Duration = Duration::from_millis(20);
        while self.is_alive() && self.is_uncertain() {
            runtime::race(self.lost(), runtime::sleep(LOOK)).await;
        }
    }

    async fn until_uncertain(&self) {
        while !self.is_uncertain() {
            let left = self.remaining().saturating_sub(margin(self.ttl()));
            runtime::race(self.lost(), runtime::sleep(left)).await;
        }
    }

    /// Whether the lease is about to end, or has.
    fn is_uncertain(&self) -> bool {
        self.remaining() <= margin(self.ttl())
    }
}
