//! The task that does what is due while nobody looks.

use std::task::{Context, Poll, Waker};

use super::consensus::NEVER;
use crate::executor::{Alarm, SimTime};

/// What wakes the task.
#[derive(Default)]
pub(super) struct Pump {
    /// It is started when it is first needed: a cluster of one member does without.
    has_started: bool,
    alarm: Alarm,
    /// None while it is awake.
    waker: Option<Waker>,
}

/// What is to be done for the task to run in time.
pub(super) enum Needed {
    Nothing,
    Start,
    Wake(Waker),
}

impl Pump {
    /// Falls asleep at `now` until `at`, unless that has passed already.
    pub(super) fn sleep(
        &mut self,
        now: SimTime,
        at: SimTime,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        self.alarm.passed(now);
        if at != NEVER && self.alarm.poll(at, context).is_ready() {
            return Poll::Ready(());
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Whether it wakes up at `at` or before.
    pub(super) fn is_up_by(&self, at: SimTime) -> bool {
        at == NEVER || self.alarm.is_set_by(at)
    }

    /// Sees to it that it wakes up at `at` at the latest.
    pub(super) fn be_up_by(&mut self, at: SimTime) -> Needed {
        if at == NEVER {
            return Needed::Nothing;
        }
        if !std::mem::replace(&mut self.has_started, true) {
            return Needed::Start;
        }
        match &self.waker {
            Some(waker) if self.alarm.wakes(waker, at) => {
                self.waker.take().map_or(Needed::Nothing, Needed::Wake)
            }
            _ => Needed::Nothing,
        }
    }
}
