//! The report folders of etcd's own robustness tests (`tests/robustness` in etcd's
//! repository): `client-N/operations.json` and `client-N/watch.json`.
//!
//! Both are JSON objects one after the other. They become one history of the model
//! [`etcd`](crate::etcd), which says in linear time what the tests' own validation asks:
//! whether requests are linearizable, whether watches kept their promises, and whether
//! reads of old revisions show those.
//!
//! | report | history |
//! |---|---|
//! | an operation with `Error`, unless it only reads | `info` |
//! | one that only reads, with `Error` | `fail` |
//! | `defragment`, and a lease that was never granted | left out |
//! | a value that is given as a hash | the text `hash N` |
//! | `ClientError` | the answer `compacted` or `future` |
//! | a watch | a `watch` before everything else, a `notice` for each response with events or progress |
//!
//! Reports have neither create revisions nor leases of keys, so the history says that
//! they are unknown. **At equal times calls come before returns**, as Porcupine has it.
//! The line of an event is that of its operation in the file of its client, N.

mod report;
mod requests;
mod watches;

use std::path::{Path, PathBuf};

use super::collect::{Collector, EventPlace, Found};
use super::memory::{Budget, Held};
use super::text::{Fault, Place, place_of, utf8, without_mark};
use super::{ImportError, models};
use crate::Model;
use crate::history::{Event, EventKind, History, Json, Problem, Process, ReadError};
use report::{Operation, Watch};
use requests::{End, Told};

/// The files of one client.
#[derive(Debug, Default)]
pub(super) struct Client {
    number: Option<u64>,
    pub(super) operations: Option<PathBuf>,
    pub(super) watch: Option<PathBuf>,
}

/// The clients of a report, in the order of their numbers; none when the folder is no
/// report.
pub(super) fn clients(folder: &Path) -> Vec<Client> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<(u64, Client)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name();
            let number: u64 = name.to_str()?.strip_prefix("client-")?.parse().ok()?;
            let file = |name: &str| Some(entry.path().join(name)).filter(|path| path.is_file());
            let client = Client {
                number: Some(number),
                operations: file("operations.json"),
                watch: file("watch.json"),
            };
            (client.operations.is_some() || client.watch.is_some()).then_some((number, client))
        })
        .collect();
    found.sort_by_key(|(number, _)| *number);
    found.into_iter().map(|(_, client)| client).collect()
}

/// Reads the folder of a report.
pub(super) fn read_folder(folder: &Path, budget: &mut Budget) -> Result<History, ImportError> {
    let clients = clients(folder);
    let files = clients
        .iter()
        .flat_map(|client| [&client.operations, &client.watch]);
    let lengths = files
        .flatten()
        .filter_map(|path| Some(std::fs::metadata(path).ok()?.len()));
    let mut report = Report::of(budget, lengths.sum());
    for client in &clients {
        report.client = client.number;
        if let Some(path) = &client.operations {
            report.file(path, Report::operations)?;
        }
        if let Some(path) = &client.watch {
            report.file(path, Report::watches)?;
        }
    }
    report.finish()
}

/// Reads one file of a report by itself.
pub(super) fn read(bytes: &[u8], budget: &mut Budget) -> Result<History, ImportError> {
    let mut report = Report::of(budget, bytes.len() as u64);
    if is_watch(bytes) {
        report.watches(bytes)?;
    } else {
        report.operations(bytes)?;
    }
    report.finish()
}

/// Whether the first object has the fields of an operation or of a watch.
pub(super) fn is_report(beginning: &str) -> bool {
    let has = |name: &str| beginning.contains(name);
    has("\"Input\"") && has("\"Call\"") || is_watch(beginning.as_bytes())
}

fn is_watch(bytes: &[u8]) -> bool {
    let beginning = &bytes[..bytes.len().min(1 << 10)];
    let has = |name: &[u8]| beginning.windows(name.len()).any(|window| window == name);
    has(b"\"Request\"") && has(b"\"WithPrefix\"")
}

/// The same error, in this file.
fn in_file(path: &Path, error: ImportError) -> ImportError {
    match error {
        ImportError::Read(ReadError::History(error)) => ReadError::InFile {
            file: path.to_owned(),
            error: Box::new(error),
        }
        .into(),
        ImportError::TooLarge(refused) => refused.in_file(path).into(),
        other => other,
    }
}

/// Events in the making: each with its time, and what decides at equal times.
struct Report<'b> {
    budget: &'b mut Budget,
    /// How many bytes all files have.
    length: u64,
    /// How many bytes those had that were read.
    read: u64,
    events: Vec<Timed>,
    /// What the events have on the heap, in bytes.
    heap: usize,
    watches: u64,
    /// Whose files are read.
    client: Option<u64>,
    /// The process of each client, which changes after an unknown outcome, and the
    /// time of its last return.
    processes: rustc_hash::FxHashMap<i64, (u64, i64)>,
    next_process: u64,
}

struct Timed {
    time: i64,
    is_return: bool,
    /// How many were found before it.
    number: u32,
    place: Place,
    client: Option<u64>,
    process: u64,
    kind: EventKind,
    f: &'static str,
    value: Json,
    revision: Option<i64>,
    error: Option<String>,
}

impl<'b> Report<'b> {
    fn of(budget: &'b mut Budget, length: u64) -> Self {
        budget.asked(Model::Etcd);
        Self {
            budget,
            length,
            read: 0,
            events: Vec::new(),
            heap: 0,
            watches: 0,
            client: None,
            processes: rustc_hash::FxHashMap::default(),
            next_process: 0,
        }
    }

    /// Reads a file, which holds its text until it is read.
    fn file(
        &mut self,
        path: &Path,
        take: fn(&mut Self, &[u8]) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        let cannot = |source| ReadError::File {
            file: path.to_owned(),
            source,
        };
        let length = std::fs::metadata(path).map_err(cannot)?.len();
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let held = self.budget.hold(length);
        held.map_err(|refused| refused.in_file(path))?;
        let bytes = std::fs::read(path).map_err(cannot)?;
        take(self, &bytes).map_err(|error| in_file(path, error))?;
        self.read += bytes.len() as u64;
        Ok(())
    }

    /// Adds an event of this line, which ends so many bytes behind the beginning of its file.
    fn push(&mut self, reached: usize, mut event: Timed) -> Result<(), ImportError> {
        event.number = u32::try_from(self.events.len()).unwrap_or(u32::MAX);
        self.heap += event.value.heap_bytes() + event.error.as_ref().map_or(0, String::capacity);
        let is_full = self.events.len() == self.events.capacity();
        if is_full || self.events.len().is_multiple_of(ALLOW_EVERY) {
            self.budget.reached(self.read + reached as u64, self.length);
            // A list that grows is copied.
            let lists = if is_full { 2 } else { 1 };
            self.allow(event.place.line, lists)?;
        }
        if is_full && self.events.len() >= ALLOW_EVERY {
            let more = self.budget.more(self.events.len());
            let room = (more + more / 16).max(self.events.len() / 4);
            self.events.try_reserve_exact(room).ok();
        }
        self.events.push(event);
        Ok(())
    }

    /// Whether what was found up to this line may be held, so many lists of it.
    fn allow(&mut self, line: usize, lists: usize) -> Result<(), ImportError> {
        let events = self.events.len();
        let found = lists * events * size_of::<Timed>();
        let to_come = Held {
            events,
            bytes: events * EVENT + self.heap,
        };
        Ok(self.budget.set_aside(line, found, to_come)?)
    }

    fn operations(&mut self, bytes: &[u8]) -> Result<(), ImportError> {
        each(bytes, |reached, place, operation: Operation<'_>| {
            let wrong = |detail: String| Fault::malformed(place, detail);
            let (call, returned) = (operation.call, operation.returned);
            if returned < call {
                let detail = "the operation ends before it begins".to_owned();
                return Err(wrong(detail).into());
            }
            let client = operation.client_id;
            let process = self.process(client, place, call)?;
            let entry = self.processes.entry(client).or_insert((process, 0));
            entry.1 = returned;
            let Some(Told { f, invoke, end }) = requests::told(&operation).map_err(wrong)? else {
                return Ok(());
            };
            let number = self.client;
            let event = |time: i64, kind: EventKind, value: Json| Timed {
                time,
                is_return: kind != EventKind::Invoke,
                number: 0,
                place,
                client: number,
                process,
                kind,
                f,
                value,
                revision: None,
                error: None,
            };
            self.push(reached, event(call, EventKind::Invoke, invoke))?;
            let end = match end {
                End::Ok { value, revision } => {
                    if revision < 0 {
                        let problem = Problem::NegativeRevision { revision };
                        return Err(Fault::at(place, problem).into());
                    }
                    Timed {
                        revision: Some(revision),
                        ..event(returned, EventKind::Ok, value)
                    }
                }
                End::Fail(error) => Timed {
                    error: Some(error),
                    ..event(returned, EventKind::Fail, Json::NULL)
                },
                End::Info(error) => {
                    self.processes.remove(&client);
                    Timed {
                        error: Some(error),
                        ..event(returned, EventKind::Info, Json::NULL)
                    }
                }
            };
            self.push(reached, end)
        })
    }

    /// The process of a client, which does one thing at a time.
    fn process(&mut self, client: i64, place: Place, call: i64) -> Result<u64, Fault> {
        match self.processes.get(&client) {
            Some((_, last)) if call <= *last => {
                let detail = format!(
                    "client {client} begins an operation while its last one is still open; one \
                     client does one after the other"
                );
                Err(Fault::malformed(place, detail))
            }
            Some((process, _)) => Ok(*process),
            None => {
                self.next_process += 1;
                Ok(self.next_process - 1)
            }
        }
    }

    fn watches(&mut self, bytes: &[u8]) -> Result<(), ImportError> {
        each(bytes, |reached, place, watch: Watch<'_>| {
            self.watches += 1;
            let name = self.watches;
            let process = self.next_process;
            self.next_process += 1;
            let number = self.client;
            let event = |time: i64, kind: EventKind, f: &'static str, value: Json| Timed {
                time,
                is_return: kind != EventKind::Invoke,
                number: 0,
                place,
                client: number,
                process,
                kind,
                f,
                value,
                revision: None,
                error: None,
            };
            let request = watches::request(name, &watch);
            let request = event(i64::MIN, EventKind::Invoke, "watch", request);
            self.push(reached, request)?;
            // From which revision a watch begins that asks for none is not recorded.
            if watch.request.revision > 0 {
                let created = Timed {
                    revision: Some(1),
                    ..event(i64::MIN, EventKind::Ok, "watch", Json::NULL)
                };
                self.push(reached, created)?;
            } else {
                let unknown = event(i64::MIN, EventKind::Info, "watch", Json::NULL);
                self.push(reached, unknown)?;
                self.next_process += 1;
            }
            let hears = self.next_process - 1;
            let tells_creations = watches::tells_creations(&watch);
            let mut last = i64::MIN + 1;
            for response in watch.responses.iter().flatten() {
                let heard = watches::notice(name, response, tells_creations)
                    .map_err(|detail| Fault::malformed(place, detail))?;
                let Some((value, revision)) = heard else {
                    continue;
                };
                if revision < 0 {
                    return Err(Fault::at(place, Problem::NegativeRevision { revision }).into());
                }
                // What a watch hears is in order; its clock need not tell.
                last = response.time.max(last);
                for kind in [EventKind::Invoke, EventKind::Ok] {
                    let is_ok = kind == EventKind::Ok;
                    let value = if is_ok { value.clone() } else { Json::NULL };
                    let heard = Timed {
                        process: hears,
                        is_return: false,
                        revision: is_ok.then_some(revision),
                        ..event(last, kind, "notice", value)
                    };
                    self.push(reached, heard)?;
                }
            }
            Ok(())
        })
    }

    fn finish(mut self) -> Result<History, ImportError> {
        let last = self.events.last().map_or(1, |last| last.place.line);
        self.budget.reached(self.length, self.length);
        self.budget.hold(0)?;
        self.allow(last, 1)?;
        self.events
            .sort_unstable_by_key(|event| (event.time, event.is_return, event.number));
        let mut collector = Collector::new(self.budget);
        collector.reserve(self.events.len());
        for event in self.events {
            let found = Found {
                process: Process::Number(event.process),
                client: event.client,
                kind: event.kind,
                f: event.f.to_owned(),
                value: event.value,
                time: Some(u64::try_from(event.time).unwrap_or(0)),
                revision: event.revision,
                error: event.error,
            };
            collector.push(EventPlace::all(event.place), found)?;
        }
        let history = models::finish_as(collector, "etcd", "a report of etcd's robustness tests")?;
        // Values are unique there in nearly all runs, but nobody promises it.
        let parameters = Json::new(&Parameters {
            values_repeat: true,
        });
        Ok(history.with_parameters(parameters.expect("an object has a JSON form")))
    }
}

#[derive(serde::Serialize)]
struct Parameters {
    values_repeat: bool,
}

/// After how many events it is asked whether they may be held.
const ALLOW_EVERY: usize = 1 << 12;

/// What an event takes besides what it has on the heap.
const EVENT: usize = size_of::<Event>() + 8;

/// Parses JSON values one after the other. Each is given with how many bytes there are up to
/// its end.
fn each<'a, T: serde::Deserialize<'a>>(
    bytes: &'a [u8],
    mut take: impl FnMut(usize, Place, T) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let bytes = without_mark(bytes);
    let text = utf8(bytes)?;
    if text.trim_ascii().is_empty() {
        let detail = "this file holds no operation; it was probably cut off, or never written";
        return Err(Fault::malformed(Place::FIRST, detail).into());
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<T>();
    let (mut line, mut counted) = (1, 0);
    loop {
        let start = values.byte_offset();
        let start = start + text[start..].len() - text[start..].trim_start().len();
        line += bytes[counted..start]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        counted = start;
        let place = Place {
            line,
            column: place_of(&bytes[start.saturating_sub(256)..], start.min(256)).column,
        };
        match values.next() {
            None => return Ok(()),
            Some(Ok(value)) => take(values.byte_offset(), place, value)?,
            Some(Err(error)) => {
                let problem = Problem::json(&error);
                let place = Place {
                    line: error.line().max(1),
                    column: error.column().max(1),
                };
                return Err(Fault::at(place, problem).into());
            }
        }
    }
}
