//! One call on the wire: a queue of messages each way, and what broke it.

use std::collections::VecDeque;
use std::mem;
use std::pin::Pin;
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Fate, Network};
use crate::executor::{SimTime, Sleep, now, timer};
use crate::fault::{ClientId, MemberId};

/// Why a call ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The connection was reset, or the member's process died.
    Reset,
}

/// A message to the member.
pub(super) enum Up {
    /// One gRPC message.
    Message(Bytes),
    /// The client has sent everything.
    End,
    /// The client has gone: it dropped the call, or its process died.
    Cancel,
}

/// A message to the client: the head of the response travels with the first
/// one, as in etcd's server, and the trailers with the last one.
#[derive(Default)]
pub(super) struct Down {
    pub(super) head: Option<Box<http::response::Parts>>,
    pub(super) data: Option<Bytes>,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) end: bool,
}

impl Down {
    /// The whole answer of a unary call that went well.
    pub(super) fn message(message: Bytes) -> Self {
        // To copy them takes less time than to put them together.
        static HEADERS: LazyLock<HeaderMap> =
            LazyLock::new(|| one_header(http::header::CONTENT_TYPE, "application/grpc"));
        static TRAILERS: LazyLock<HeaderMap> =
            LazyLock::new(|| one_header(tonic::Status::GRPC_STATUS, "0"));
        let (mut head, ()) = http::Response::new(()).into_parts();
        head.headers = HEADERS.clone();
        Down {
            head: Some(Box::new(head)),
            data: Some(message),
            trailers: Some(TRAILERS.clone()),
            end: true,
        }
    }

    /// The whole answer of a unary call that was refused.
    pub(super) fn refusal(status: tonic::Status) -> Self {
        let (head, ()) = status.into_http::<()>().into_parts();
        Down {
            head: Some(Box::new(head)),
            end: true,
            ..Down::default()
        }
    }
}

fn one_header(name: HeaderName, value: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(1);
    headers.insert(name, HeaderValue::from_static(value));
    headers
}

/// One call on the wire.
pub(super) struct Exchange {
    pub(super) client: ClientId,
    pub(super) member: MemberId,
    pub(super) call: http::Uri,
    network: Network,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// None before the first message: most calls are letters to an inbox.
    up: Option<Box<Upward>>,
    down: Lane<Down>,
    broken: Option<Broken>,
    client_gone: bool,
    /// The member has applied what the call asked for.
    applied: bool,
    answered: bool,
}

impl State {
    fn up(&mut self) -> &mut Upward {
        self.up.get_or_insert_default()
    }
}

/// What a client sends.
#[derive(Default)]
struct Upward {
    messages: Lane<Up>,
    /// The notice that the client has gone, for whoever answers it.
    over: Lane<()>,
}

/// The messages of one direction, in order.
struct Lane<T> {
    /// Most calls have one message each way.
    next: Option<(SimTime, T)>,
    later: VecDeque<(SimTime, T)>,
    last: SimTime,
    /// A message was lost: nothing after it arrives.
    stalled: bool,
    reader: Option<Waker>,
    /// Wakes the reader when the next message is there.
    timer: Option<(SimTime, Sleep)>,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Lane {
            next: None,
            later: VecDeque::new(),
            last: SimTime::ZERO,
            stalled: false,
            reader: None,
            timer: None,
        }
    }
}

impl<T> Lane<T> {
    /// Sends a message. The reader that is to be woken at once, if any.
    fn push(&mut self, fate: Fate, message: T, now: SimTime) -> Option<Waker> {
        let Fate::Arrives(at) = fate else {
            self.stalled = true;
            return None;
        };
        if self.stalled {
            return None;
        }
        self.last = self.last.max(at);
        let at = self.last;
        if self.next.is_some() {
            // The reader waits for an earlier one already.
            self.later.push_back((at, message));
            return None;
        }
        self.next = Some((at, message));
        let reader = self.reader.take()?;
        if at <= now {
            return Some(reader);
        }
        // Woken when the message is there, not before.
        self.timer = Some((at, timer(at)));
        let waits = self
            .poll_timer(&mut Context::from_waker(&reader))
            .is_pending();
        if waits {
            self.reader = Some(reader);
            None
        } else {
            Some(reader)
        }
    }

    /// Waits for the next message.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<T> {
        while let Some((at, _)) = self.next {
            if at <= now()
                && let Some((_, message)) = mem::replace(&mut self.next, self.later.pop_front())
            {
                self.timer = None;
                return Poll::Ready(message);
            }
            if self.timer.as_ref().is_none_or(|(set, _)| *set != at) {
                self.timer = Some((at, timer(at)));
            }
            if self.poll_timer(context).is_pending() {
                break;
            }
        }
        self.reader = Some(context.waker().clone());
        Poll::Pending
    }

    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some((_, sleep)) = &mut self.timer else {
            return Poll::Ready(());
        };
        let poll = Pin::new(sleep).poll(context);
        if poll.is_ready() {
            self.timer = None;
        }
        poll
    }
}

impl Exchange {
    pub(super) fn new(
        network: Network,
        (client, member): (ClientId, MemberId),
        call: http::Uri,
    ) -> Self {
        Exchange {
            client,
            member,
            call,
            network,
            state: Mutex::default(),
        }
    }

    /// Sends a message to the member.
    pub(super) fn send_up(&self, message: Up) {
        let now = now();
        let fate = self.fate(super::Direction::Request, now);
        self.push_up(fate, message, now);
    }

    /// Sends a message to the member whose fate is known.
    pub(super) fn push_up(&self, fate: Fate, message: Up, now: SimTime) {
        wake(self.lock().up().messages.push(fate, message, now));
    }

    /// Tells the member that the client has gone.
    pub(super) fn cancel_up(&self) {
        let now = now();
        let fate = self.network.fate_of_cancellation(self.link(), now);
        let (reader, answerer) = {
            let mut state = self.lock();
            let up = state.up();
            let reader = up.messages.push(fate, Up::Cancel, now);
            // Behind everything that was sent before.
            let fate = match fate {
                Fate::Arrives(_) if up.messages.stalled => Fate::Lost,
                Fate::Arrives(_) => Fate::Arrives(up.messages.last),
                Fate::Lost => Fate::Lost,
            };
            (reader, up.over.push(fate, (), now))
        };
        wake(reader);
        wake(answerer);
    }

    /// Sends a message to the client; false when nobody is there to read it.
    pub(super) fn send_down(&self, message: Down) -> bool {
        if self.is_over() {
            return false;
        }
        let now = now();
        let fate = self.fate(super::Direction::Response, now);
        wake(self.lock().down.push(fate, message, now));
        true
    }

    pub(super) fn fate(&self, direction: super::Direction, now: SimTime) -> Fate {
        self.network
            .fate(self.link(), direction, now, self.call.path())
    }

    fn link(&self) -> (ClientId, MemberId) {
        (self.client, self.member)
    }

    pub(super) fn poll_up(&self, context: &mut Context<'_>) -> Poll<Result<Up, Broken>> {
        let mut state = self.lock();
        match state.broken {
            Some(broken) => Poll::Ready(Err(broken)),
            None => state.up().messages.poll(context).map(Ok),
        }
    }

    pub(super) fn poll_down(&self, context: &mut Context<'_>) -> Poll<Result<Down, Broken>> {
        let mut state = self.lock();
        if let Some(broken) = state.broken {
            return Poll::Ready(Err(broken));
        }
        let poll = state.down.poll(context);
        state.answered |= poll.is_ready();
        poll.map(Ok)
    }

    /// Ready when the member knows that its answers reach nobody.
    pub(super) fn poll_over(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        match state.broken {
            Some(_) => Poll::Ready(()),
            None => state.up().over.poll(context),
        }
    }

    /// The member applied what was asked for; from now on a missing answer
    /// means an outcome that the client does not know.
    pub(super) fn applied(&self) {
        self.lock().applied = true;
    }

    /// The client reads no more.
    pub(super) fn client_left(&self) {
        self.lock().client_gone = true;
    }

    /// Whether an answer would reach nobody.
    pub(super) fn is_over(&self) -> bool {
        let state = self.lock();
        state.client_gone || state.broken.is_some()
    }

    pub(super) fn broken(&self) -> Option<Broken> {
        self.lock().broken
    }

    /// Ends the call at both ends at once; true when it was still open.
    pub(super) fn break_off(&self, broken: Broken) -> bool {
        let (readers, was_open) = {
            let mut state = self.lock();
            let was_open = state.broken.is_none() && !state.client_gone;
            state.broken = Some(broken);
            let up = state.up.as_deref_mut();
            let up = up.map(|up| [up.messages.reader.take(), up.over.reader.take()]);
            let [messages, over] = up.unwrap_or_default();
            ([messages, state.down.reader.take(), over], was_open)
        };
        readers.into_iter().for_each(wake);
        was_open
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds a call's state")
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let unanswered = {
            let state = self.lock();
            state.applied && !state.answered
        };
        if unanswered {
            self.network.lock().report.applied_unanswered += 1;
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
