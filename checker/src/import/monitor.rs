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

use super::collect::{Collector, EventPlace, Found};
use super::memory::{Budget, Held};
use super::text::{Fault, Place, utf8};
use super::{ImportError, models};
use crate::history::{Event, EventKind, History, Json, Process};

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

    /// How many numbers belong to an operation besides its times.
    fn values(self) -> usize {
        match self {
            Self::Set | Self::ReadModifyWrite => 2,
            _ => 1,
        }
    }
}

/// One line.
struct Operation {
    line: usize,
    column: u32,
    value_column: u32,
    method: Method,
    value: i64,
    /// What a set answered, or a read-modify-write wrote.
    second: i64,
    start: u64,
    end: u64,
    /// Who did it, where the lines say.
    process: Option<u64>,
}

/// What is held of an operation until all events are there: itself, its moments, its process.
const HELD: usize = size_of::<Operation>() + 2 * size_of::<Moment>() + size_of::<u64>();

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
    let mut operations: Vec<Operation> = Vec::new();
    // Lists that grow are copied. What is reserved and not used is no memory yet.
    operations.try_reserve_exact(text.lines().count()).ok();
    let mut read = 0;
    for (index, line) in text.lines().enumerate() {
        read += line.len() + 1;
        let trimmed = line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let operation = operation(object, line, index + 1)?;
        if let Some(first) = operations.first() {
            operation.names_a_process_as(first)?;
        }
        operations.push(operation);
        if operations.len().is_multiple_of(1 << 12) {
            budget.reached(read as u64, text.len() as u64);
            budget.set_aside(index + 1, operations.len() * HELD, events(operations.len()))?;
        }
    }
    let last = operations.last().map_or(1, |last| last.line);
    budget.reached(text.len() as u64, text.len() as u64);
    budget.set_aside(last, operations.len() * HELD, events(operations.len()))?;
    let mut collector = Collector::new(budget);
    let name = text.find(|c: char| !c.is_whitespace() && c != '#');
    collector.model_at(name.unwrap_or(0) + 1);
    collector.reserve(2 * operations.len());
    emit(&mut collector, object, &operations)?;
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

fn operation(object: Object, line: &str, number: usize) -> Result<Operation, Fault> {
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
        _ if object.values() > 1 => words.number("a second value")?.1,
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
    Ok(Operation {
        line: number,
        column: small(place.column),
        value_column: small(value_place.column),
        method,
        value,
        second,
        start,
        end,
        process,
    })
}

impl Operation {
    /// All lines of a file name a process, or none.
    fn names_a_process_as(&self, first: &Self) -> Result<(), Fault> {
        if self.process.is_some() == first.process.is_some() {
            return Ok(());
        }
        let place = Place {
            line: self.line,
            column: self.column as usize,
        };
        let (this, others) = match self.process {
            Some(_) => ("names a process", "do not"),
            None => ("names no process", "do"),
        };
        let detail = format!("this operation {this}, and those before it {others}");
        Err(Fault::malformed(place, detail))
    }
}

/// A column, which is only told to people.
fn small(column: usize) -> u32 {
    u32::try_from(column).unwrap_or(u32::MAX)
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
fn emit(
    collector: &mut Collector<'_>,
    object: Object,
    operations: &[Operation],
) -> Result<(), ImportError> {
    const RETURN: u64 = 0;
    const BOTH: u64 = 1 << 62;
    const CALL: u64 = 2 << 62;
    let mut moments: Vec<Moment> = Vec::with_capacity(operations.len() * 2);
    for (index, operation) in (0..).zip(operations) {
        if operation.start == operation.end {
            moments.push((operation.start, BOTH | index));
        } else {
            moments.push((operation.start, CALL | index));
            moments.push((operation.end, RETURN | index));
        }
    }
    moments.sort_unstable();
    let mut free: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
    let mut processes: Vec<u64> = vec![0; operations.len()];
    let mut next = 0;
    for (time, moment) in moments {
        let what = moment & (BOTH | CALL);
        let index = (moment & !(BOTH | CALL)) as usize;
        if let Some(process) = operations[index].process {
            processes[index] = process;
        } else if what != RETURN {
            processes[index] = free.pop().map_or_else(
                || {
                    next += 1;
                    next - 1
                },
                |Reverse(process)| process,
            );
        }
        let process = processes[index];
        let operation = &operations[index];
        if what != RETURN {
            push(
                collector,
                object,
                operation,
                process,
                time,
                EventKind::Invoke,
            )?;
        }
        if what != CALL {
            push(collector, object, operation, process, time, EventKind::Ok)?;
            if operation.process.is_none() {
                free.push(Reverse(process));
            }
        }
    }
    Ok(())
}

fn push(
    collector: &mut Collector<'_>,
    object: Object,
    operation: &Operation,
    process: u64,
    time: u64,
    kind: EventKind,
) -> Result<(), ImportError> {
    let is_invoke = kind == EventKind::Invoke;
    let (f, value) = event(object, operation, is_invoke);
    let at = |column: u32| Place {
        line: operation.line,
        column: column as usize,
    };
    let place = EventPlace {
        value: at(operation.value_column),
        ..EventPlace::all(at(operation.column))
    };
    let found = Found {
        process: Process::Number(process),
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
fn event(object: Object, operation: &Operation, is_invoke: bool) -> (&'static str, Json) {
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
            let is_true = operation.second != 0;
            let answered = || Json::new(&is_true).expect("a boolean has a JSON form");
            (f, if is_invoke { item() } else { answered() })
        }
        (Object::ReadModifyWrite, _) => {
            let pair = (value, operation.second);
            ("cas", Json::new(&pair).expect("numbers have a JSON form"))
        }
        (Object::Stack, Method::Insert) => ("push", item()),
        (Object::Stack, Method::Remove) => ("pop", taken()),
        (_, Method::Insert) => ("enqueue", item()),
        (_, Method::Remove) => ("dequeue", taken()),
        (_, _) => ("peek", taken()),
    }
}
