//! Unary calls that are on their way to a member, and the task of the member
//! that works them off.
//!
//! One task for all of them instead of one each: most calls are answered the
//! moment they arrive. One that has to wait goes on in a task of its own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tonic::Status;

use super::exchange::{Down, Exchange, Up as Message};
use crate::cluster::Router;
use crate::executor::{Node, SimTime, Sleep, now, timer};
use crate::service::unary::{Answer, Call, Method, is_whole};

/// What is on its way to a member.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By arrival, and in the order of sending where that is the same.
    letters: BinaryHeap<Reverse<Letter>>,
    sent: u64,
    reader: Option<Waker>,
    /// Nothing is handled before.
    stalled_until: SimTime,
}

/// One call on its way.
struct Letter {
    arrival: SimTime,
    number: u64,
    method: Method,
    exchange: Arc<Exchange>,
    parts: Box<http::request::Parts>,
}

impl Letter {
    fn order(&self) -> (SimTime, u64) {
        (self.arrival, self.number)
    }
}

impl PartialEq for Letter {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Letter {}

impl PartialOrd for Letter {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Letter {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

impl Inbox {
    pub(super) fn put(
        &self,
        arrival: SimTime,
        method: Method,
        exchange: Arc<Exchange>,
        parts: Box<http::request::Parts>,
    ) {
        let reader = {
            let mut state = self.lock();
            let number = state.sent;
            state.sent += 1;
            state.letters.push(Reverse(Letter {
                arrival,
                number,
                method,
                exchange,
                parts,
            }));
            let is_next = state
                .letters
                .peek()
                .is_some_and(|next| next.0.number == number);
            if is_next { state.reader.take() } else { None }
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

    /// The next letter, or when it will be there.
    fn take(&self, context: &Context<'_>) -> Result<Letter, Option<SimTime>> {
        let mut state = self.lock();
        let next = state.letters.peek();
        let next = next.map(|next| next.0.arrival.max(state.stalled_until));
        if next.is_some_and(|arrival| arrival <= now())
            && let Some(Reverse(letter)) = state.letters.pop()
        {
            return Ok(letter);
        }
        state.reader = Some(context.waker().clone());
        Err(next)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds an inbox")
    }
}

/// Answers what arrives, for as long as the member's process lives.
pub(super) async fn work_off(inbox: Arc<Inbox>, node: Node, router: Router) {
    let mut waiting: Option<(SimTime, Sleep)> = None;
    std::future::poll_fn(move |context| -> Poll<()> {
        loop {
            let next = match inbox.take(context) {
                Ok(letter) => {
                    handle(letter, &node, &router, context);
                    continue;
                }
                Err(next) => next,
            };
            let Some(at) = next else {
                waiting = None;
                return Poll::Pending;
            };
            if waiting.as_ref().is_none_or(|(set, _)| *set != at) {
                waiting = Some((at, timer(at)));
            }
            let Some((_, sleep)) = &mut waiting else {
                unreachable!("the timer was just set")
            };
            if Pin::new(sleep).poll(context).is_pending() {
                return Poll::Pending;
            }
            waiting = None;
        }
    })
    .await;
}

fn handle(letter: Letter, node: &Node, router: &Router, context: &mut Context<'_>) {
    let Letter {
        method,
        exchange,
        parts,
        ..
    } = letter;
    match exchange.poll_up(context) {
        Poll::Ready(Ok(Message::Message(message))) if is_whole(&message) => {
            let mut call = router.call_unary(method, parts.headers, message);
            match call.as_mut().poll(context) {
                Poll::Ready(answer) => reply(&exchange, answer),
                Poll::Pending => node.spawn(async move { reply(&exchange, call.await) }),
            }
        }
        Poll::Ready(Ok(Message::Message(start))) => {
            let router = router.clone();
            node.spawn(async move {
                if let Some(message) = rest_of_message(&exchange, start).await {
                    let call: Call = router.call_unary(method, parts.headers, message);
                    reply(&exchange, call.await);
                }
            });
        }
        // It was reset on its way, or the client left before it began.
        Poll::Ready(Ok(Message::End | Message::Cancel) | Err(_)) | Poll::Pending => {}
    }
}

/// A message that came in parts; none when the call broke before its end.
async fn rest_of_message(exchange: &Exchange, start: Bytes) -> Option<Bytes> {
    let mut whole = start;
    while !is_whole(&whole) {
        let next = std::future::poll_fn(|context| exchange.poll_up(context));
        match next.await {
            Ok(Message::Message(data)) => whole = [whole, data].concat().into(),
            Ok(Message::End) => break,
            Ok(Message::Cancel) | Err(_) => return None,
        }
    }
    Some(whole)
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
