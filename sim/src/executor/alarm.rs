//! A timer for whoever waits for one time after another.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::{SimTime, Sleep, timer};

/// A timer that is set again and again.
///
/// One that was set for an earlier time than is asked for stays as it is: whoever is
/// woken by it finds nothing to do and asks once more, which costs less than another
/// timer.
#[derive(Default)]
pub(crate) struct Alarm {
    sleep: Option<Sleep>,
    /// When it fires; none when it is not set.
    set: Option<SimTime>,
}

impl Alarm {
    /// Sees to it that `waker` is woken at `at`, or earlier, for whom it has been set all
    /// the time. True when that is now.
    pub(crate) fn wakes(&mut self, waker: &Waker, at: SimTime) -> bool {
        !self.is_set_by(at) && self.poll(at, &mut Context::from_waker(waker)).is_ready()
    }

    /// To be called when who was woken looks: what it was set for has passed.
    pub(crate) fn passed(&mut self, now: SimTime) {
        self.set = self.set.filter(|set| *set > now);
    }

    /// Whether it is set for `at`, or earlier.
    pub(crate) fn is_set_by(&self, at: SimTime) -> bool {
        self.set.is_some_and(|set| set <= at)
    }

    /// Ready at `at`, or earlier.
    pub(crate) fn poll(&mut self, at: SimTime, context: &mut Context<'_>) -> Poll<()> {
        let is_late = !self.is_set_by(at);
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                if is_late {
                    sleep.reset(at);
                }
                sleep
            }
            none => none.insert(timer(at)),
        };
        if is_late {
            self.set = Some(at);
        }
        let poll = Pin::new(sleep).poll(context);
        if poll.is_ready() {
            self.set = None;
        }
        poll
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;
    use crate::executor::{Executor, block_on, now, sleep};

    async fn wait(alarm: &mut Alarm, at: SimTime) -> SimTime {
        poll_fn(|context| alarm.poll(at, context)).await;
        now()
    }

    async fn set(alarm: &mut Alarm, at: SimTime) {
        poll_fn(|context| {
            assert!(alarm.poll(at, context).is_pending());
            Poll::Ready(())
        })
        .await;
    }

    fn on_each<Fut: Future<Output = ()> + 'static>(body: fn() -> Fut) {
        for executor in [Executor::Tokio, Executor::BEST] {
            block_on(executor, 1, body).unwrap();
        }
    }

    const SOON: Duration = Duration::from_millis(10);
    const LATER: Duration = Duration::from_millis(20);
    /// How late a timer may be.
    const SLACK: Duration = Duration::from_millis(1);

    #[test]
    fn it_fires_at_one_time_after_another() {
        on_each(|| async {
            let mut alarm = Alarm::default();
            for _ in 0..3 {
                let at = now() + SOON;
                let fired = wait(&mut alarm, at).await;
                assert!(at <= fired && fired <= at + SLACK, "{fired}, not {at}");
            }
        });
    }

    #[test]
    fn it_wakes_also_who_did_not_wait_for_it_to_fire() {
        on_each(|| async {
            let mut alarm = Alarm::default();
            set(&mut alarm, now() + SOON).await;
            sleep(LATER).await;
            alarm.passed(now());
            let at = now() + SOON;
            poll_fn(|context| {
                if at <= now() {
                    return Poll::Ready(());
                }
                assert!(!alarm.wakes(context.waker(), at));
                Poll::Pending
            })
            .await;
            assert!(at <= now() && now() <= at + SLACK);
        });
    }

    #[test]
    fn it_is_set_to_an_earlier_time_but_not_to_a_later_one() {
        on_each(|| async {
            let start = now();
            let mut alarm = Alarm::default();
            set(&mut alarm, start + LATER).await;
            let fired = wait(&mut alarm, start + SOON).await;
            assert!(start + SOON <= fired && fired <= start + SOON + SLACK);
            let start = now();
            set(&mut alarm, start + SOON).await;
            let fired = wait(&mut alarm, start + LATER).await;
            assert!(start + SOON <= fired && fired <= start + SOON + SLACK);
            let fired = wait(&mut alarm, start + LATER).await;
            assert!(start + LATER <= fired && fired <= start + LATER + SLACK);
        });
    }
}
