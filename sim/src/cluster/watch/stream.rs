//! The stream on which a client receives what its watches find.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use etcd_client::proto::PbWatchResponse;

/// How many answers with events wait for the client at most (`chanBufLen` in
/// etcd's `server/storage/mvcc/watchable_store.go`).
const EVENTS_MAX: usize = 128;
/// How many answers that wait show that a stream starves. The simulated network takes
/// answers at once, whether the client reads them or not.
const STARVED_EVENTS: usize = 2;
/// How many other answers wait before the next request is read
/// (`ctrlStreamBufLen` in etcd's `server/etcdserver/api/v3rpc/watch.go`).
const CONTROLS_MAX: usize = 16;

/// A stream of watches of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamId(pub(super) u64);

/// A watch of one member: its stream and its id there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WatchKey {
    pub(super) stream: StreamId,
    pub(super) watch_id: i64,
}

impl WatchKey {
    /// All watches of a stream.
    pub(super) fn of(stream: StreamId) -> std::ops::RangeInclusive<WatchKey> {
        let key = |watch_id| WatchKey { stream, watch_id };
        key(i64::MIN)..=key(i64::MAX)
    }
}

#[derive(Debug)]
enum Kind {
    Events,
    Control,
    /// A part of an answer with events that is not its last.
    Part,
}

/// Answers on their way to the client, in order.
///
/// # Invariants
/// - `events` and `controls` count the entries of these kinds in `answers`.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    answers: VecDeque<(Kind, PbWatchResponse)>,
    events: usize,
    controls: usize,
    /// The next id that the member chooses.
    pub(super) next_watch_id: i64,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Outbox {
    /// Whether another answer with events may wait.
    pub(super) fn has_room(&self) -> bool {
        self.events < EVENTS_MAX
    }

    /// Whether answers with events already wait that would not if the client, and the
    /// network, kept up.
    pub(super) fn is_starved(&self) -> bool {
        self.events >= STARVED_EVENTS
    }

    /// Adds an answer with events, or a notice of progress, in its parts.
    pub(super) fn events(&mut self, mut parts: Vec<PbWatchResponse>) {
        let Some(last) = parts.pop() else { return };
        self.answers
            .extend(parts.into_iter().map(|part| (Kind::Part, part)));
        self.answers.push_back((Kind::Events, last));
        self.events += 1;
        self.wake_reader();
    }

    /// Adds an answer to a request.
    pub(super) fn control(&mut self, answer: PbWatchResponse) {
        self.answers.push_back((Kind::Control, answer));
        self.controls += 1;
        self.wake_reader();
    }

    /// Takes the next answer.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<PbWatchResponse> {
        let Some((kind, answer)) = self.answers.pop_front() else {
            self.reader = Some(context.waker().clone());
            return Poll::Pending;
        };
        match kind {
            Kind::Events => self.events -= 1,
            Kind::Control => self.controls -= 1,
            Kind::Part => {}
        }
        if self.controls < CONTROLS_MAX
            && let Some(writer) = self.writer.take()
        {
            writer.wake();
        }
        Poll::Ready(answer)
    }

    /// Is ready when there is room for the answer to another request.
    pub(super) fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.controls < CONTROLS_MAX {
            return Poll::Ready(());
        }
        self.writer = Some(context.waker().clone());
        Poll::Pending
    }

    /// Ends the stream; who is to be woken for that, once no lock is held.
    pub(super) fn close(self) -> impl Iterator<Item = Waker> {
        self.reader.into_iter().chain(self.writer)
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
