//! The operations of a history in columns, as the page's scripts read them.
//!
//! A column for each property keeps a page of 100 000 operations small and quick
//! to read; texts that occur again and again are written once.
//! `cli/templates/history/data.js` is the other side.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_checker::history::{Event, Operation, Outcome, Process};
use etcd_checker::search::Budget;
use etcd_checker::{History, Linearization, Model, Verdict};
use rustc_hash::FxHashMap;
use serde::Serialize;

use super::bands::{self, Band, Kind};
use super::called::called;
use super::pieces;
use crate::output::visible;

/// Everything that is drawn.
#[derive(Serialize)]
pub(super) struct Data {
    /// Whether the history says times. If not, they only number its events.
    is_timed: bool,
    /// Whether they are shown to the nanosecond.
    is_fine: bool,
    /// Nanoseconds between each event and the one before it.
    times: Vec<u64>,
    /// Lines of the file between each event and the one before it; empty when
    /// every line is an event.
    /// Less than none where a report has several files, or a file is in another order than time.
    lines: Vec<i64>,
    /// Texts that other columns name by their place here.
    texts: Vec<String>,
    /// Names of the lanes, in the order in which they are drawn.
    pub(super) lanes: Vec<Lane>,
    pub(super) operations: Columns,
    bands: Vec<Band>,
    /// The operations that prove the violation, in the order of their invocations.
    pub(super) witness: Vec<usize>,
    /// What each of these is called.
    pub(super) witness_names: Vec<String>,
    /// The operations that an undecided verdict names.
    pub(super) named: Vec<usize>,
    /// What a violation's sentence names: which keys of a long transaction matter.
    keys: Vec<String>,
    pub(super) order: Option<Order>,
    /// Why a valid history has no linearization to show.
    #[serde(skip)]
    pub(super) no_linearization: Option<String>,
    #[serde(skip)]
    in_lines: InLines,
}

/// Who has bars or bands beside each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Lane {
    pub(super) name: String,
    /// Whether it is a client's, with operations.
    pub(super) is_client: bool,
}

/// The operations, in the order of their invocations; each column has an entry
/// for each of them.
#[derive(Default, Serialize)]
pub(super) struct Columns {
    lane: Vec<usize>,
    process: Vec<u64>,
    /// Places in `texts`, here and in `argument`, `result` and `error`; -1: none.
    f: Vec<i64>,
    argument: Vec<i64>,
    result: Vec<i64>,
    error: Vec<i64>,
    /// Index of the event that began it.
    begin: Vec<usize>,
    /// Index of the event that ended it; -1: it was open at the end.
    end: Vec<i64>,
    /// `ok`, `fail`, `info` and `open` as 0 to 3.
    outcome: Vec<u8>,
    /// -1: none.
    revision: Vec<i64>,
}

/// An order in which the operations took effect.
#[derive(Serialize)]
pub(super) struct Order {
    /// What it is.
    name: &'static str,
    /// Indices of operations.
    operations: Vec<usize>,
}

/// The order that makes a history valid.
const LINEARIZATION: &str = "linearization";

impl Order {
    pub(super) fn is_linearization(&self) -> bool {
        self.name == LINEARIZATION
    }
}

impl Data {
    pub(super) fn of(history: &History, model: Model, verdict: &Verdict) -> Self {
        let operations = history.operations();
        let events = history.events();
        let mut lanes = Lanes::of(&operations);
        let bands = bands::of(history, model, &operations, &mut lanes);
        let linearization = linearization(history, model, verdict);
        let (order, no_linearization) = match linearization {
            Some(Linearization::Order(operations)) => {
                let name = LINEARIZATION;
                (Some(Order { name, operations }), None)
            }
            Some(Linearization::None { reason }) => (None, Some(reason.into_owned())),
            None => (None, None),
        };
        let in_lines = InLines::of(&operations);
        let mut texts = Texts::default();
        let columns = Columns::of(&operations, &lanes, &mut texts);
        let every_line = events
            .iter()
            .enumerate()
            .all(|(index, event)| event.line() == index + 2);
        Data {
            is_timed: history.has_times(),
            is_fine: history.has_fine_times(),
            times: differences(events.iter().map(Event::time)),
            lines: if every_line {
                Vec::new()
            } else {
                differences(events.iter().map(|event| place(event.line())))
            },
            texts: texts.all,
            lanes: lanes.all,
            operations: columns,
            bands,
            witness: witness(&operations, verdict),
            witness_names: verdict.violation().map_or_else(Vec::new, called),
            named: named(verdict, &in_lines),
            keys: keys(verdict),
            order: order.or_else(|| by_revision(&operations)),
            no_linearization,
            in_lines,
        }
    }
}

impl Data {
    /// The operation of which an event stands in this line.
    pub(super) fn operation_in(&self, line: usize) -> Option<usize> {
        self.in_lines.operation(line)
    }

    /// The kinds of band that there are.
    pub(super) fn kinds(&self) -> std::collections::BTreeSet<Kind> {
        self.bands.iter().map(|band| band.kind).collect()
    }
}

/// The operation of each line; none for a line that several files have.
struct InLines(FxHashMap<usize, Option<usize>>);

impl InLines {
    fn of(operations: &[Operation<'_>]) -> Self {
        let mut all = FxHashMap::default();
        for (index, operation) in operations.iter().enumerate() {
            let events = [Some(operation.invoke), operation.completion];
            for event in events.into_iter().flatten() {
                all.entry(event.line())
                    .and_modify(|known| {
                        if *known != Some(index) {
                            *known = None;
                        }
                    })
                    .or_insert(Some(index));
            }
        }
        Self(all)
    }

    fn operation(&self, line: usize) -> Option<usize> {
        self.0.get(&line).copied().flatten()
    }
}

/// The lanes while they are made: those of the cluster first, then the clients.
pub(super) struct Lanes {
    all: Vec<Lane>,
    clients: BTreeMap<Client, usize>,
}

/// Whose lane an operation is on: its client's, or where that is not known its
/// process's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Client {
    Number(u64),
    Process(u64),
}

impl Client {
    fn of(event: &Event) -> Self {
        match (event.client(), event.process()) {
            (Some(client), _) => Client::Number(client),
            (None, Process::Number(process)) => Client::Process(process),
            (None, Process::Nemesis) => unreachable!("the nemesis has no operations"),
        }
    }
}

impl Lanes {
    fn of(operations: &[Operation<'_>]) -> Self {
        let mut clients: BTreeMap<Client, usize> = BTreeMap::new();
        for operation in operations {
            clients.entry(Client::of(operation.invoke)).or_default();
        }
        let mut all = Vec::with_capacity(clients.len());
        for (client, lane) in &mut clients {
            *lane = all.len();
            all.push(Lane {
                name: match client {
                    Client::Number(client) => format!("client {client}"),
                    Client::Process(process) => format!("process {process}"),
                },
                is_client: true,
            });
        }
        Lanes { all, clients }
    }

    /// The lane of a client, if it did anything.
    pub(super) fn client(&self, client: u64) -> Option<usize> {
        self.clients.get(&Client::Number(client)).copied()
    }

    /// The lane on which an operation is drawn.
    pub(super) fn operation(&self, operation: &Operation<'_>) -> usize {
        self.clients[&Client::of(operation.invoke)]
    }

    /// The lane of this name that is no client's.
    pub(super) fn other(&mut self, name: &str) -> usize {
        let is_it = |lane: &Lane| !lane.is_client && lane.name == name;
        self.all.iter().position(is_it).unwrap_or_else(|| {
            self.all.push(Lane {
                name: name.to_owned(),
                is_client: false,
            });
            self.all.len() - 1
        })
    }
}

impl Columns {
    fn of(operations: &[Operation<'_>], lanes: &Lanes, texts: &mut Texts) -> Self {
        let mut columns = Columns::default();
        for operation in operations {
            columns.lane.push(lanes.operation(operation));
            columns.process.push(operation.process());
            columns.f.push(texts.place(operation.invoke.f()));
            columns.argument.push(texts.value(Some(operation.invoke)));
            columns.result.push(texts.value(operation.completion));
            let completion = operation.completion;
            let error = completion.and_then(Event::error);
            columns
                .error
                .push(error.map_or(-1, |error| texts.place(error)));
            columns.begin.push(operation.invoked);
            columns.end.push(match completion {
                Some(_) => place(operation.completed),
                None => -1,
            });
            columns.outcome.push(match operation.outcome() {
                Outcome::Ok => 0,
                Outcome::Fail => 1,
                Outcome::Info => 2,
                Outcome::Open => 3,
            });
            let revision = completion.and_then(Event::revision);
            columns.revision.push(revision.unwrap_or(-1));
        }
        columns
    }

    /// How many operations there are.
    pub(super) fn len(&self) -> usize {
        self.lane.len()
    }
}

/// Texts, each once.
#[derive(Default)]
struct Texts {
    all: Vec<String>,
    places: FxHashMap<String, i64>,
}

impl Texts {
    fn place(&mut self, text: &str) -> i64 {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let new = place(self.all.len());
        self.all.push(visible(text).into_owned());
        self.places.insert(text.to_owned(), new);
        new
    }

    /// The JSON text of an event's value; -1 for `null`.
    fn value(&mut self, event: Option<&Event>) -> i64 {
        match event {
            Some(event) if !event.value().is_null() => self.place(event.value().as_str()),
            _ => -1,
        }
    }
}

/// As a number that may also be -1.
fn place(index: usize) -> i64 {
    i64::try_from(index).expect("fewer than 2^63 things fit into memory")
}

/// The first, then what each is more than the one before it.
fn differences<T>(values: impl Iterator<Item = T>) -> Vec<T>
where
    T: Copy + Default + std::ops::Sub<Output = T>,
{
    let mut before = T::default();
    values
        .map(|value| {
            let difference = value - before;
            before = value;
            difference
        })
        .collect()
}

/// Where the operations of the witness are among all, one for each.
fn witness(operations: &[Operation<'_>], verdict: &Verdict) -> Vec<usize> {
    let violation = verdict.violation().into_iter();
    let told = violation.flat_map(|violation| &violation.witness);
    told.map(|told| {
        let found = operations.binary_search_by_key(&told.event, |operation| operation.invoked);
        found.expect("a witness is an operation of the history")
    })
    .collect()
}

/// The operations whose lines an undecided verdict names.
fn named(verdict: &Verdict, in_lines: &InLines) -> Vec<usize> {
    let Verdict::Unknown { reason } = verdict else {
        return Vec::new();
    };
    let pieces = pieces::linked(reason, |line| in_lines.operation(line));
    let mut named: Vec<usize> = pieces.iter().filter_map(|piece| piece.operation).collect();
    named.sort_unstable();
    named.dedup();
    named
}

/// What stands between backquotes in the sentence about a violation.
fn keys(verdict: &Verdict) -> Vec<String> {
    let sentence = verdict
        .violation()
        .map(|violation| pieces::of(&violation.sentence));
    let pieces = sentence.into_iter().flatten();
    pieces
        .filter(|piece| piece.is_code)
        .map(|piece| piece.text)
        .collect()
}

/// How long a page may take to find an order.
const SEARCH_MAX: Duration = Duration::from_secs(10);

/// The order that makes a valid history valid, or why there is none to show.
fn linearization(history: &History, model: Model, verdict: &Verdict) -> Option<Linearization> {
    let budget = Budget {
        time: Some(SEARCH_MAX),
        ..Budget::default()
    };
    // What cannot be read was told with the verdict.
    let asked = || etcd_checker::linearization(history, model, &budget).ok();
    verdict.is_valid().then(asked).flatten()
}

/// The order of etcd's revisions, where the history has any.
fn by_revision(operations: &[Operation<'_>]) -> Option<Order> {
    let revision = |operation: &Operation<'_>| operation.ok().and_then(Event::revision);
    let mut known: Vec<(i64, usize)> = operations
        .iter()
        .enumerate()
        .filter_map(|(index, operation)| Some((revision(operation)?, index)))
        .collect();
    if known.is_empty() {
        return None;
    }
    known.sort_unstable();
    Some(Order {
        name: "order of etcd's revisions",
        operations: known.into_iter().map(|(_, index)| index).collect(),
    })
}
