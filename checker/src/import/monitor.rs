//! The text of the linearizability monitors fastlin, PolyLin and fptlin.
//!
//! ```text
//! # queue
//! enq 2 0 1
//! deq 2 3 5
//! deq -1 4 6
//! ```
//!
//! The first line names the object; each further line is an operation: method, value,
//! start and end, perhaps with the number of a process in front, and for sets what was
//! answered (0 or 1) behind the value. Lines of fptlin begin with process, start and end,
//! which tells them apart. The value -1 means that nothing was there. A read-modify-write
//! (`# rmw`) has the value that it read and the one that it wrote; the register holds 0 at
//! first. Every operation has ended. **At equal times a return comes before a call**, so
//! the two operations do not overlap. Times are taken for nanoseconds.
//!
//! Both events of an operation have its line. Priority queues give out the largest
//! value first, so the priority of a value is its negative.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::FxHashSet;

use super::collect::{Collector, EventPlace, Found};
use super::memory::{Budget, Held};
use super::text::{Fault, Place, utf8};
use super::{ImportError, models};
use crate::history::{Event, EventKind, History, Json, Problem, Process};

/// What the history is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Object {
    Queue,
    PriorityQueue,
    Stack,
    Set,
    ReadModifyWrite,
}

impl Object {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "queue" => Self::Queue,
            "pqueue" | "priorityqueue" | "priority-queue" => Self::PriorityQueue,
            "stack" => Self::Stack,
            "set" => Self::Set,
            "rmw" => Self::ReadModifyWrite,
            _ => return None,
        })
    }

    fn model(self) -> &'static str {
        match self {
            Self::Queue => "fifo-queue",
            Self::PriorityQueue => "priority-queue",
            Self::Stack => "stack",
            Self::Set => "set",
            Self::ReadModifyWrite => "cas-register",
        }
    }

    /// Whether two numbers belong to an operation besides its times, and not one.
    fn has_second(self) -> bool {
        matches!(self, Self::Set | Self::ReadModifyWrite)
    }

    /// Whether no value is put in twice, as its checker needs it.
    fn is_distinct(self) -> bool {
        matches!(self, Self::Queue | Self::PriorityQueue)
    }
}

/// One line.
struct Line {
    operation: Operation,
    /// What a set answered, or a read-modify-write wrote.
    second: i64,
    start: u64,
    end: u64,
    /// Who did it, where the lines say.
    process: Option<u64>,
}

/// What is kept of each.
struct Operation {
    value: i64,
    line: u32,
    column: u32,
    value_column: u32,
    method: Method,
}

/// All lines of a file.
struct Lines {
    object: Object,
    operations: Vec<Operation>,
    /// Of each operation, where there is any.
    seconds: Vec<i64>,
    /// Of each operation: as the lines say, or as they are given out in the end.
    processes: Vec<u64>,
    are_named: bool,
    moments: Vec<Moment>,
}

impl Lines {
    /// With room for so many.
    fn of(object: Object, lines: usize) -> Self {
        let mut all = Self {
            object,
            operations: Vec::new(),
            seconds: Vec::new(),
            processes: Vec::new(),
            are_named: false,
            moments: Vec::new(),
        };
        // Lists that grow are copied. What is reserved and not used is no memory yet.
        all.operations.try_reserve_exact(lines).ok();
        all.processes.try_reserve_exact(lines).ok();
        all.moments.try_reserve_exact(2 * lines).ok();
        if object.has_second() {
            all.seconds.try_reserve_exact(lines).ok();
        }
        all
    }

    fn push(&mut self, line: Line) -> Result<(), Fault> {
        let is_named = line.process.is_some();
        if self.operations.is_empty() {
            self.are_named = is_named;
        } else if self.are_named != is_named {
            return Err(line.operation.names_a_process(is_named));
        }
        let index = self.operations.len() as u64;
        if line.start == line.end {
            self.moments.push((line.start, BOTH | index));
        } else {
            self.moments.push((line.start, CALL | index));
            self.moments.push((line.end, RETURN | index));
        }
        self.operations.push(line.operation);
        self.processes.push(line.process.unwrap_or(0));
        if self.object.has_second() {
            self.seconds.push(line.second);
        }
        Ok(())
    }

    /// The value of the last operation was put in before.
    fn put_in_twice(&self) -> Fault {
        let last = self.operations.last().expect("there is one at least");
        let is_it = |other: &&Operation| other.method == last.method && other.value == last.value;
        let first = self.operations.iter().find(is_it).unwrap_or(last);
        let problem = Problem::EnqueuedTwice {
            value: last.value.to_string(),
            since: first.line as usize,
        };
        Fault::at(last.place(last.value_column), problem)
    }

    /// What is held until all events are there, in bytes.
    fn held(&self) -> usize {
        const NUMBER: usize = size_of::<u64>();
        // Processes that are free are kept in a list, too.
        let numbers = match (self.object.has_second(), self.are_named) {
            (true, false) => 3,
            (false, true) => 1,
            _ => 2,
        };
        self.operations.len() * (size_of::<Operation>() + numbers * NUMBER)
            + self.moments.len() * size_of::<Moment>()
    }
}

/// About what these values take, in bytes: one in eight places is free, and each has a byte more.
fn bytes_of(values: &FxHashSet<i64>) -> usize {
    (size_of::<i64>() + 1) * values.capacity() / 7 * 8
}

/// What so many operations are then: two events each, with their places.
fn events(operations: usize) -> Held {
    let events = 2 * operations;
    Held {
        events,
        bytes: events * (size_of::<Event>() + 8),
    }
}

/// When something happens; what it is, and in the lower bits to which operation.
type Moment = (u64, u64);

const RETURN: u64 = 0;
const BOTH: u64 = 1 << 62;
const CALL: u64 = 2 << 62;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Insert,
    Remove,
    Peek,
    Contains,
    Exchange,
}

/// Whether a line heads a history of this format.
pub(super) fn is_heading(line: &str) -> bool {
    heading(line).is_some()
}

fn heading(line: &str) -> Option<Object> {
    Object::named(line.trim().strip_prefix('#')?.trim())
}

/// Reads such a file.
pub(super) fn read(bytes: &[u8], budget: &mut Budget) -> Result<History, ImportError> {
    let text = utf8(bytes)?;
    let first = Place { line: 1, column: 1 };
    let heads = text.lines().next().and_then(heading);
    let object = heads.ok_or_else(|| {
        let detail =
            "the first line must name the object: `# queue`, `# pqueue`, `# stack`, `# set` or `# rmw`";
        Fault::malformed(first, detail)
    })?;
    let mut lines = Lines::of(object, text.lines().count());
    let mut put_in: FxHashSet<i64> = FxHashSet::default();
    let mut read = 0;
    for (index, line) in text.lines().enumerate() {
        read += line.len() + 1;
        let trimmed = line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let line = operation(object, line, index + 1)?;
        let (method, value) = (line.operation.method, line.operation.value);
        lines.push(line)?;
        if object.is_distinct() && method == Method::Insert && !put_in.insert(value) {
            return Err(lines.put_in_twice().into());
        }
        let so_far = lines.operations.len();
        if so_far.is_multiple_of(1 << 12) {
            budget.reached(read as u64, text.len() as u64);
            let held = lines.held() + bytes_of(&put_in);
            budget.set_aside(index + 1, held, events(so_far))?;
        }
    }
    let operations = lines.operations.len();
    let last = lines.operations.last().map_or(1, |last| last.line as usize);
    budget.reached(text.len() as u64, text.len() as u64);
    // What is given back may not be free at once.
    let held = lines.held() + bytes_of(&put_in);
    budget.set_aside(last, held, events(operations))?;
    drop(put_in);
    let mut collector = Collector::new(budget);
    let name = text.find(|c: char| !c.is_whitespace() && c != '#');
    collector.model_at(name.unwrap_or(0) + 1);
    collector.reserve(2 * operations);
    emit(&mut collector, lines)?;
    let origin = "a linearizability monitor's text";
    let history = models::finish_as(collector, object.model(), origin)?;
    Ok(match object {
        Object::ReadModifyWrite => {
            let parameters = Json::new(&Parameters { initial: 0 });
            history.with_parameters(parameters.expect("an object has a JSON form"))
        }
        _ => history,
    })
}

#[derive(serde::Serialize)]
struct Parameters {
    initial: i64,
}

fn operation(object: Object, line: &str, number: usize) -> Result<Line, Fault> {
    let mut words = Words {
        line,
        offset: 0,
        number,
    };
    let (mut place, mut word) = words.next("a method")?;
    let (mut times, mut process) = (None, None);
    if is_number(word) {
        process = Some(parse(place, word, "a process")?);
        (place, word) = words.next("a method")?;
        if is_number(word) {
            let start = parse(place, word, "a start time")?;
            times = Some((start, words.number("an end time")?));
            (place, word) = words.next("a method")?;
        }
    }
    let method = method(object, word).ok_or_else(|| {
        let detail = format!("a {} has no method {word:?}", object.model());
        Fault::malformed(place, detail)
    })?;
    let (value_place, value) = words.number("a value")?;
    let second = match object {
        Object::Set => words.answer()?,
        _ if object.has_second() => words.number("a second value")?.1,
        _ => 0,
    };
    let (start, (end_place, end)) = match times {
        Some(times) => times,
        None => (
            words.number("a start time")?.1,
            words.number("an end time")?,
        ),
    };
    if end < start {
        let detail = format!("the operation ends at {end}, before it starts at {start}");
        return Err(Fault::malformed(end_place, detail));
    }
    if let Some(place) = words.more() {
        let detail = "something stands behind the operation";
        return Err(Fault::malformed(place, detail));
    }
    Ok(Line {
        operation: Operation {
            value,
            line: small(number),
            column: small(place.column),
            value_column: small(value_place.column),
            method,
        },
        second,
        start,
        end,
        process,
    })
}

impl Operation {
    fn place(&self, column: u32) -> Place {
        Place {
            line: self.line as usize,
            column: column as usize,
        }
    }

    /// All lines of a file name a process, or none, but this one is not as those before it.
    fn names_a_process(&self, is_named: bool) -> Fault {
        let (this, others) = match is_named {
            true => ("names a process", "do not"),
            false => ("names no process", "do"),
        };
        let detail = format!("this operation {this}, and those before it {others}");
        Fault::malformed(self.place(self.column), detail)
    }
}

/// A line or column, which is only told to people.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

fn method(object: Object, word: &str) -> Option<Method> {
    Some(match (object, word.to_ascii_lowercase().as_str()) {
        (Object::Queue, "enq" | "enqueue")
        | (Object::PriorityQueue, "insert" | "offer" | "enq")
        | (Object::Stack, "push")
        | (Object::Set, "insert" | "add") => Method::Insert,
        (Object::Queue, "deq" | "dequeue")
        | (Object::PriorityQueue, "poll" | "deq")
        | (Object::Stack, "pop")
        | (Object::Set, "remove") => Method::Remove,
        (Object::Queue | Object::PriorityQueue | Object::Stack, "peek") => Method::Peek,
        (Object::Set, "contains") => Method::Contains,
        (Object::ReadModifyWrite, "read_modify_write") => Method::Exchange,
        _ => return None,
    })
}

/// The words of a line.
struct Words<'a> {
    line: &'a str,
    offset: usize,
    number: usize,
}

impl<'a> Words<'a> {
    fn more(&mut self) -> Option<Place> {
        let rest = &self.line[self.offset..];
        let skipped = rest.find(|c: char| !c.is_whitespace())?;
        self.offset += skipped;
        Some(Place {
            line: self.number,
            column: self.offset + 1,
        })
    }

    fn next(&mut self, what: &str) -> Result<(Place, &'a str), Fault> {
        let Some(place) = self.more() else {
            let place = Place {
                line: self.number,
                column: self.line.len() + 1,
            };
            return Err(Fault::malformed(place, format!("the line lacks {what}")));
        };
        let rest = &self.line[self.offset..];
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        self.offset += end;
        Ok((place, &rest[..end]))
    }

    /// What a set answered.
    fn answer(&mut self) -> Result<i64, Fault> {
        let (place, answer) = self.number("an answer")?;
        if !matches!(answer, 0 | 1) {
            let detail = format!("the answer of a set must be 0 or 1, not {answer}");
            return Err(Fault::malformed(place, detail));
        }
        Ok(answer)
    }

    fn number<T: std::str::FromStr>(&mut self, what: &str) -> Result<(Place, T), Fault> {
        let (place, word) = self.next(what)?;
        Ok((place, parse(place, word, what)?))
    }
}

fn parse<T: std::str::FromStr>(place: Place, word: &str, what: &str) -> Result<T, Fault> {
    word.parse().map_err(|_| {
        let detail = format!("{what} must be a whole number, not {word:?}");
        Fault::malformed(place, detail)
    })
}

/// The events in the order of time. Where no process is named, an operation takes the free
/// one with the smallest number.
fn emit(collector: &mut Collector<'_>, mut lines: Lines) -> Result<(), ImportError> {
    let mut moments = std::mem::take(&mut lines.moments);
    moments.sort_unstable();
    let mut free: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
    let mut next = 0;
    for (time, moment) in moments {
        let what = moment & (BOTH | CALL);
        let index = (moment & !(BOTH | CALL)) as usize;
        if !lines.are_named && what != RETURN {
            lines.processes[index] = free.pop().map_or_else(
                || {
                    next += 1;
                    next - 1
                },
                |Reverse(process)| process,
            );
        }
        if what != RETURN {
            push(collector, &lines, index, time, EventKind::Invoke)?;
        }
        if what != CALL {
            push(collector, &lines, index, time, EventKind::Ok)?;
            if !lines.are_named {
                free.push(Reverse(lines.processes[index]));
            }
        }
    }
    Ok(())
}

fn push(
    collector: &mut Collector<'_>,
    lines: &Lines,
    index: usize,
    time: u64,
    kind: EventKind,
) -> Result<(), ImportError> {
    let operation = &lines.operations[index];
    let second = lines.seconds.get(index).copied().unwrap_or(0);
    let is_invoke = kind == EventKind::Invoke;
    let (f, value) = event(lines.object, operation, second, is_invoke);
    let place = EventPlace {
        value: operation.place(operation.value_column),
        ..EventPlace::all(operation.place(operation.column))
    };
    let found = Found {
        process: Process::Number(lines.processes[index]),
        client: None,
        kind,
        f: f.to_owned(),
        value,
        time: Some(time),
        revision: None,
        error: None,
    };
    collector.push(place, found)
}

/// The name and value of an event, as the model wants them.
fn event(
    object: Object,
    operation: &Operation,
    second: i64,
    is_invoke: bool,
) -> (&'static str, Json) {
    let value = operation.value;
    let item = || match object {
        Object::PriorityQueue => {
            Json::new(&(value, value.saturating_neg())).expect("numbers have a JSON form")
        }
        _ => Json::from(value),
    };
    let taken = || {
        if is_invoke || value == -1 {
            Json::NULL
        } else {
            item()
        }
    };
    match (object, operation.method) {
        (Object::Set, method) => {
            let f = match method {
                Method::Insert => "add",
                Method::Remove => "remove",
                _ => "contains",
            };
            let is_true = second != 0;
            let answered = || Json::new(&is_true).expect("a boolean has a JSON form");
            (f, if is_invoke { item() } else { answered() })
        }
        (Object::ReadModifyWrite, _) => {
            let pair = (value, second);
            ("cas", Json::new(&pair).expect("numbers have a JSON form"))
        }
        (Object::Stack, Method::Insert) => ("push", item()),
        (Object::Stack, Method::Remove) => ("pop", taken()),
        (_, Method::Insert) => ("enqueue", item()),
        (_, Method::Remove) => ("dequeue", taken()),
        (_, _) => ("peek", taken()),
    }
}
