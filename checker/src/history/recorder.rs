//! Recording a history while a run goes on.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Event, EventKind, Header, History, Json, LIVENESS_DEADLINE, Process};

/// Builds a history in memory.
///
/// The order of the calls is the order of the events, so a recorder that several
/// threads share stands behind a lock: call [`Recorder::invoke`] before the
/// request can have any effect, and [`Recorder::ok`] after its answer is known.
///
/// Clients are numbers of the caller's choice. The recorder gives them processes:
/// a client keeps its process until an outcome is unknown, and then gets a fresh
/// one. A client that has several operations open at once has as many processes.
///
/// Times are nanoseconds since the start of the run. A time that lies before the
/// last one recorded is recorded as the last one: clocks read outside of the lock
/// may be that much late.
#[derive(Debug)]
pub struct Recorder {
    header: Header,
    events: Vec<Event>,
    /// The operations that are not completed.
    open: BTreeMap<OperationId, Open>,
    /// The id of the next operation.
    operations: usize,
    /// Processes that their client can use for its next operation.
    idle: BTreeMap<u64, Vec<u64>>,
    processes: u64,
    /// Index of the last [`LIVENESS_DEADLINE`].
    deadline: Option<usize>,
}

/// An operation that a [`Recorder`] has seen the beginning of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(usize);

/// What etcd revealed about an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The revision that the operation took, or read at.
    pub revision: Option<i64>,
    /// Queue: the mod revision of the item that was dequeued.
    pub mod_revision: Option<i64>,
}

impl Evidence {
    /// Nothing is known.
    pub const NONE: Self = Self {
        revision: None,
        mod_revision: None,
    };

    /// The operation took, or read at, this revision.
    pub fn revision(revision: i64) -> Self {
        Self {
            revision: Some(revision),
            ..Self::NONE
        }
    }
}

#[derive(Clone, Debug)]
struct Open {
    client: u64,
    process: u64,
    f: Cow<'static, str>,
}

impl Recorder {
    /// A recorder of an empty history.
    pub fn new(header: Header) -> Self {
        Self {
            header,
            events: Vec::new(),
            open: BTreeMap::new(),
            operations: 0,
            idle: BTreeMap::new(),
            processes: 0,
            deadline: None,
        }
    }

    /// A client begins an operation.
    pub fn invoke(
        &mut self,
        time: u64,
        client: u64,
        f: impl Into<Cow<'static, str>>,
        value: impl Into<Json>,
    ) -> OperationId {
        let process = self
            .idle
            .get_mut(&client)
            .and_then(Vec::pop)
            .unwrap_or_else(|| {
                self.processes += 1;
                self.processes - 1
            });
        let open = Open {
            client,
            process,
            f: f.into(),
        };
        self.push(
            time,
            &open,
            EventKind::Invoke,
            value.into(),
            Evidence::NONE,
            None,
        );
        let operation = OperationId(self.operations);
        self.operations += 1;
        self.open.insert(operation, open);
        operation
    }

    /// The operation happened, with this result.
    ///
    /// A completion of an operation that is already completed is ignored, here and
    /// below: once [`Recorder::crash`] has said that nobody knows, a late answer
    /// changes nothing.
    pub fn ok(
        &mut self,
        operation: OperationId,
        time: u64,
        value: impl Into<Json>,
        evidence: Evidence,
    ) {
        if let Some(open) = self.close(operation) {
            self.push(time, &open, EventKind::Ok, value.into(), evidence, None);
            self.idle.entry(open.client).or_default().push(open.process);
        }
    }

    /// The operation certainly did not happen and never will.
    pub fn fail(&mut self, operation: OperationId, time: u64, error: impl Into<String>) {
        if let Some(open) = self.close(operation) {
            self.push(
                time,
                &open,
                EventKind::Fail,
                Json::NULL,
                Evidence::NONE,
                Some(&error.into()),
            );
            self.idle.entry(open.client).or_default().push(open.process);
        }
    }

    /// Nobody knows whether the operation happened or will.
    pub fn info(&mut self, operation: OperationId, time: u64, error: impl Into<String>) {
        self.info_attempted(operation, time, error, Json::NULL, Evidence::NONE);
    }

    /// Nobody knows whether the operation happened or will, but what it attempted
    /// is known. For a transaction: the reads and writes of its last attempt,
    /// which is the one whose answer is missing.
    pub fn info_attempted(
        &mut self,
        operation: OperationId,
        time: u64,
        error: impl Into<String>,
        attempted: impl Into<Json>,
        evidence: Evidence,
    ) {
        if let Some(open) = self.close(operation) {
            self.push(
                time,
                &open,
                EventKind::Info,
                attempted.into(),
                evidence,
                Some(&error.into()),
            );
        }
    }

    /// The client is gone: nobody knows about any of its open operations.
    pub fn crash(&mut self, client: u64, time: u64, reason: &str) {
        let is_lost = |(_, open): &(&OperationId, &Open)| open.client == client;
        let lost: Vec<OperationId> = self
            .open
            .iter()
            .filter(is_lost)
            .map(|(operation, _)| *operation)
            .collect();
        for operation in lost {
            self.info(operation, time, reason);
        }
    }

    /// The environment did something, or a mark such as
    /// [`LIVENESS_DEADLINE`].
    pub fn nemesis(&mut self, time: u64, f: impl Into<Cow<'static, str>>, value: impl Into<Json>) {
        let event = self.event(time, Process::Nemesis, EventKind::Info, &f.into());
        if event.f() == LIVENESS_DEADLINE {
            self.deadline = Some(self.events.len());
        }
        self.events.push(event.with_value(value));
    }

    /// The number of events so far.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether nothing was recorded yet.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The history of all events so far. Operations that are open stay open.
    pub fn finish(self) -> History {
        History {
            header: self.header,
            events: self.events,
            places: super::Places::default(),
            deadline: self.deadline,
            has_times: true,
        }
    }

    fn close(&mut self, operation: OperationId) -> Option<Open> {
        self.open.remove(&operation)
    }

    fn push(
        &mut self,
        time: u64,
        open: &Open,
        kind: EventKind,
        value: Json,
        evidence: Evidence,
        error: Option<&str>,
    ) {
        let event = self.event(time, Process::Number(open.process), kind, &open.f);
        // etcd has no negative revisions, and a history holds none.
        let known = |revision: Option<i64>| revision.filter(|revision| *revision >= 0);
        let (revision, mod_revision) = (known(evidence.revision), known(evidence.mod_revision));
        let event = event.with_client(open.client).with_value(value);
        let event = event
            .with_revision(revision)
            .with_mod_revision(mod_revision);
        self.events.push(event.with_error(error));
    }

    fn event(&self, time: u64, process: Process, kind: EventKind, f: &str) -> Event {
        let last = self.events.last();
        let time = time.max(last.map_or(0, Event::time));
        Event::new(time, process, kind, f).with_line(last.map_or(2, |event| event.line() + 1))
    }
}
