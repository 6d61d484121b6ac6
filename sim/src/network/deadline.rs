//! How long calls may take.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use crate::executor::{SimTime, Sleep, timer};

/// A timer and when it fires.
type Timer = (SimTime, Sleep);

/// The deadlines of calls that all may take equally long.
///
/// Nearly all calls are answered long before. The timer that one of them leaves behind
/// serves the next one, which sets its own only if it is still waiting then: on a busy
/// connection one timer in a timeout, instead of one for each call.
#[derive(Clone, Default)]
pub(super) struct Deadlines {
    left: Arc<Mutex<Option<Timer>>>,
}

/// The deadline of one call.
pub(super) struct Deadline {
    at: SimTime,
    timer: Option<Timer>,
    deadlines: Deadlines,
}

impl Deadlines {
    /// The deadline of a call that may take until `at`.
    pub(super) fn at(&self, at: SimTime) -> Deadline {
        Deadline {
            at,
            timer: None,
            deadlines: self.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Timer>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deadline {
    /// Ready when it has come.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let at = self.at;
            let (fires_at, sleep) = self.timer.get_or_insert_with(|| {
                let left = self.deadlines.lock().take_if(|(left, _)| *left <= at);
                left.unwrap_or_else(|| (at, timer(at)))
            });
            let fires_at = *fires_at;
            ready!(Pin::new(sleep).poll(context));
            self.timer = None;
            if fires_at >= at {
                return Poll::Ready(());
            }
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            let mut left = self.deadlines.lock();
            if left.as_ref().is_none_or(|(at, _)| *at < timer.0) {
                *left = Some(timer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;
    use crate::executor::{Executor, now, sleep};

    async fn come(mut deadline: Deadline) {
        poll_fn(|context| deadline.poll(context)).await;
    }

    fn on_each<Fut: Future<Output = ()> + 'static>(body: fn() -> Fut) {
        for executor in [Executor::Tokio, Executor::BEST] {
            crate::executor::block_on(executor, 1, body).unwrap();
        }
    }

    #[test]
    fn a_deadline_comes_at_its_time_also_with_a_timer_that_another_call_has_left() {
        on_each(|| async {
            let deadlines = Deadlines::default();
            let second = Duration::from_secs(1);
            for _ in 0..3 {
                let mut answered = deadlines.at(now() + second);
                poll_fn(|context| {
                    assert!(answered.poll(context).is_pending());
                    Poll::Ready(())
                })
                .await;
                sleep(second / 4).await;
                drop(answered);
                let late = now() + second;
                come(deadlines.at(late)).await;
                assert!(now() >= late && now() < late + second / 100);
            }
        });
    }

    #[test]
    fn a_timer_that_is_left_by_one_task_wakes_another() {
        on_each(|| async {
            let deadlines = Deadlines::default();
            let at = now() + Duration::from_secs(1);
            let node = crate::executor::Node::new("other");
            let mut answered = deadlines.at(at);
            let left = deadlines.clone();
            node.spawn(async move {
                poll_fn(|context| {
                    assert!(answered.poll(context).is_pending());
                    Poll::Ready(())
                })
                .await;
                drop(answered);
            });
            sleep(Duration::from_millis(1)).await;
            assert!(left.lock().is_some());
            come(left.at(at)).await;
            assert!(now() >= at);
        });
    }
}
