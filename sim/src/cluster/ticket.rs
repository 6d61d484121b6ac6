//! Who waits for what.

use std::task::{Context, Poll, Waker};

use rustc_hash::FxHashMap;

use super::command::Executed;
use super::error::ClusterError;

/// What somebody waited for.
#[derive(Debug)]
pub(super) enum Answer {
    /// A proposal was carried out, and the member has heard of it.
    Executed(Executed),
    /// A member may read.
    MayRead,
}

#[derive(Debug, Default)]
struct Waiter {
    /// The proposal was carried out; the member has not heard of it yet.
    executed: Option<Executed>,
    answer: Option<Result<Answer, ClusterError>>,
    waker: Option<Waker>,
}

/// Everybody who waits for the cluster.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    waiters: FxHashMap<u64, Waiter>,
    issued: u64,
}

impl Tickets {
    /// A ticket for somebody who is going to wait.
    pub(super) fn issue(&mut self) -> u64 {
        self.issued += 1;
        self.waiters.insert(self.issued, Waiter::default());
        self.issued
    }

    /// Whether somebody still waits.
    pub(super) fn is_open(&self, ticket: u64) -> bool {
        let waiter = self.waiters.get(&ticket);
        waiter.is_some_and(|waiter| waiter.answer.is_none())
    }

    /// Nobody waits any more.
    pub(super) fn forget(&mut self, ticket: u64) {
        self.waiters.remove(&ticket);
    }

    /// A proposal was carried out.
    pub(super) fn executed(&mut self, ticket: u64, executed: Executed) {
        if let Some(waiter) = self.waiters.get_mut(&ticket) {
            waiter.executed = Some(executed);
        }
    }

    /// The member has heard of the proposal.
    pub(super) fn heard(&mut self, ticket: u64) {
        if let Some(waiter) = self.waiters.get_mut(&ticket)
            && let Some(executed) = waiter.executed.take()
        {
            finish(waiter, Ok(Answer::Executed(executed)));
        }
    }

    /// Whoever waits need not wait longer.
    pub(super) fn finish(&mut self, ticket: u64, answer: Result<Answer, ClusterError>) {
        if let Some(waiter) = self.waiters.get_mut(&ticket) {
            finish(waiter, answer);
        }
    }

    /// Waits for the answer.
    pub(super) fn poll(
        &mut self,
        ticket: u64,
        context: &Context<'_>,
    ) -> Poll<Result<Answer, ClusterError>> {
        let Some(waiter) = self.waiters.get_mut(&ticket) else {
            return Poll::Pending;
        };
        match waiter.answer.take() {
            Some(answer) => {
                self.waiters.remove(&ticket);
                Poll::Ready(answer)
            }
            None => {
                waiter.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

fn finish(waiter: &mut Waiter, answer: Result<Answer, ClusterError>) {
    if waiter.answer.is_none() {
        waiter.answer = Some(answer);
        if let Some(waker) = waiter.waker.take() {
            waker.wake();
        }
    }
}
