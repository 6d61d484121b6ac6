//! Unary calls that are on their way to a member, and the task of the member
//! that works them off.
//!
//! One task for all of them instead of one each: a call that has to wait for the
//! cluster waits at the same desk.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tonic::Status;

use super::exchange::{Down, Exchange};
use crate::cluster::Router;
use crate::executor::{Alarm, SimTime, now};
use crate::service::unary::{Answer, Call, Method, Waits};

/// What is on its way to a member.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By arrival, and in the order of sending where that is the same.
    letters: BinaryHeap<Reverse<Arriving>>,
    sent: u64,
    reader: Option<Waker>,
    /// Wakes the reader when the next letter is there.
    alarm: Alarm,
    /// Nothing is handled before.
    stalled_until: SimTime,
}

impl State {
    /// When the next letter is there.
    fn next_at(&self) -> Option<SimTime> {
        let Reverse(next) = self.letters.peek()?;
        Some(next.arrival.max(self.stalled_until))
    }

    /// Sees to it that the reader is woken in time for a new letter. It is to be woken
    /// at once if that is returned.
    fn reader_to_wake(&mut self, new: u64) -> Option<Waker> {
        let Reverse(next) = self.letters.peek()?;
        if next.number != new {
            return None;
        }
        let at = self.next_at()?;
        let reader = self.reader.as_ref()?;
        if at <= now() || self.alarm.wakes(reader, at) {
            self.reader.take()
        } else {
            None
        }
    }
}

/// A call on its way that is one message.
pub(super) struct Letter {
    method: Method,
    exchange: Arc<Exchange>,
    parts: Box<http::request::Parts>,
    message: Bytes,
}

impl Letter {
    pub(super) fn new(
        method: Method,
        exchange: Arc<Exchange>,
        parts: Box<http::request::Parts>,
        message: Bytes,
    ) -> Self {
        Letter {
            method,
            exchange,
            parts,
            message,
        }
    }
}

/// A letter and its place in the order of arrival.
struct Arriving {
    arrival: SimTime,
    number: u64,
    letter: Letter,
}

impl Arriving {
    fn order(&self) -> (SimTime, u64) {
        (self.arrival, self.number)
    }
}

impl PartialEq for Arriving {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Arriving {}

impl PartialOrd for Arriving {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Arriving {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

impl Inbox {
    /// A letter arrives at `arrival`.
    pub(super) fn put(&self, arrival: SimTime, letter: Letter) {
        let reader = {
            let mut state = self.lock();
            let number = state.sent;
            state.sent += 1;
            state.letters.push(Reverse(Arriving {
                arrival,
                number,
                letter,
            }));
            state.reader_to_wake(number)
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Nothing is handled before `until`.
    pub(super) fn stall(&self, until: SimTime) {
        let mut state = self.lock();
        state.stalled_until = state.stalled_until.max(until);
    }

    /// Before when nothing is handled.
    pub(super) fn stalled_until(&self) -> SimTime {
        self.lock().stalled_until
    }

    /// Ends a [`stall`](Inbox::stall).
    pub(super) fn go_on(&self) {
        let reader = {
            let mut state = self.lock();
            let was_stalled = std::mem::take(&mut state.stalled_until) > SimTime::ZERO;
            if was_stalled {
                state.reader.take()
            } else {
                None
            }
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// The next letter, when it is there.
    fn poll(&self, context: &mut Context<'_>) -> Poll<Letter> {
        let now = now();
        let mut state = self.lock();
        state.alarm.passed(now);
        while let Some(at) = state.next_at() {
            if at <= now
                && let Some(Reverse(next)) = state.letters.pop()
            {
                return Poll::Ready(next.letter);
            }
            if state.alarm.poll(at, context).is_pending() {
                break;
            }
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds an inbox")
    }
}

/// Answers what arrives, for as long as the member's process lives.
pub(super) async fn work_off(inbox: Arc<Inbox>, router: Router) {
    let mut desk = Desk {
        router,
        waiting: FuturesUnordered::new(),
    };
    std::future::poll_fn(move |context| -> Poll<()> {
        while let Poll::Ready(letter) = inbox.poll(context) {
            desk.open(letter);
        }
        desk.go_on(context);
        Poll::Pending
    })
    .await;
}

/// Where calls are handled.
struct Desk {
    router: Router,
    waiting: FuturesUnordered<Answering>,
}

impl Desk {
    /// Begins with a call that has arrived.
    fn open(&self, letter: Letter) {
        let Letter {
            method,
            exchange,
            parts,
            message,
        } = letter;
        // Else it was reset on its way.
        if exchange.broken().is_none() {
            match self.router.call_unary(method, parts.headers, message) {
                Call::Answered(answer) => reply(&exchange, answer),
                Call::Waits(call) => self.waiting.push(Answering { call, exchange }),
            }
        }
    }

    /// Goes on with the calls that need wait no longer.
    fn go_on(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some(())) = self.waiting.poll_next_unpin(context) {}
    }
}

/// A call whose answer is on its way to the client when it is done.
struct Answering {
    call: Waits,
    exchange: Arc<Exchange>,
}

impl Future for Answering {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let answer = ready!(self.call.as_mut().poll(context));
        reply(&self.exchange, answer);
        Poll::Ready(())
    }
}

fn reply(exchange: &Exchange, answer: Result<Answer, Status>) {
    exchange.send_down(match answer {
        Ok(answer) => {
            if answer.applied.is_some() {
                exchange.applied();
            }
            Down::message(answer.message)
        }
        Err(status) => Down::refusal(status),
    });
}
