//! Jepsen's `history.edn`: operations as maps, in the order in which they happened; and
//! the same in JSON, as elle-cli has it.
//!
//! ```text
//! {:type :invoke, :f :cas, :value [1 2], :process 3, :time 99286665244, :index 7}
//! {:type :ok,     :f :cas, :value [1 2], :process 3, :time 99291886853, :index 8}
//! {:type :info, :f :start-partition, :value nil, :process :nemesis, :time 99300000000}
//! ```
//!
//! ```text
//! [{"type":"invoke","f":"read","process":0,"value":null}, ..]
//! ```
//!
//! The maps stand one after the other, or in one vector or list. The fields are those
//! of [Jepsen's histories](https://github.com/jepsen-io/history). What they lack is
//! filled in: without `:process` all operations are of one process, without `:f` a
//! list of micro-operations is a `txn`, without `:time`, or where that is -1, the order alone
//! counts. Who is no whole number is no client, and taken for the nemesis. The
//! clocks that time the events of several threads may be read in another order than the
//! events are written in, as older versions of Jepsen do; Jepsen orders by `:index`, so a time
//! that goes back from one process to another is taken for none. One process reads its clock
//! in order: where its own time goes back, the history contradicts itself. A history without any
//! invocation, as Elle takes them, gets them from `begun`.
//!
//! [Porcupine](https://github.com/anishathalye/porcupine)'s files of key-value events
//! are such maps too, with a `:key` beside the `:value`; the value becomes the object
//! `{"key": .., "value": ..}`. There, what is absent reads as the empty string.

use super::begun::Begun;
use super::collect::{Collector, EventPlace, Found};
use super::edn::{Edn, Next, Notation, push_text};
use super::memory::Budget;
use super::text::{Fault, Place};
use super::{ImportError, models};
use crate::history::{Event, EventKind, History, Json, Process};

/// Reads such a file.
pub(super) fn read(bytes: &[u8], budget: &mut Budget) -> Result<History, ImportError> {
    let notation = notation(bytes);
    let mut edn = Edn::new(bytes, notation)?;
    let mut collector = Collector::new(budget);
    let mut begun = Begun::new();
    let mut scratch = String::new();
    let is_one_list = edn.next()? == Next::List;
    if is_one_list {
        edn.bracket();
    }
    let mut is_closed = false;
    let mut stranger = None;
    loop {
        match edn.next()? {
            Next::Map => {
                collector.reached(edn.offset(), bytes.len());
                let by_stranger = operation(&mut edn, &mut collector, &mut begun, &mut scratch)?;
                stranger = stranger.or(by_stranger);
            }
            Next::Close if is_one_list && !is_closed => {
                edn.bracket();
                is_closed = true;
            }
            Next::End if is_one_list && !is_closed => {
                return Err(edn.fault(edn.cut_off()).into());
            }
            Next::End => break,
            Next::List | Next::Other | Next::Close => {
                let detail = "a history is maps, one for each event, alone or in one vector";
                return Err(edn.wrong(detail).into());
            }
        }
    }
    begun.finish(&mut collector)?;
    let is_client = |event: &Event| event.process() != Process::Nemesis;
    if let Some(place) = stranger.filter(|_| !collector.events().iter().any(is_client)) {
        let detail = "this process invokes an operation but is no whole number, and so no client; \
                      nor is any other one";
        return Err(Fault::malformed(place, detail).into());
    }
    let origin = match notation {
        Notation::Edn => "Jepsen's history.edn",
        Notation::Json => "a history of Jepsen's in JSON",
    };
    models::finish(collector, origin)
}

/// Whether the first key of the first map is one of JSON.
fn notation(bytes: &[u8]) -> Notation {
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'[';
    let mut rest = bytes.iter().skip_while(|byte| blank(byte));
    let is_json = rest.next() == Some(&b'{')
        && rest.find(|byte| !byte.is_ascii_whitespace()) == Some(&b'"')
        && rest.find(|byte| **byte == b'"').is_some()
        && rest.find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
    if is_json {
        Notation::Json
    } else {
        Notation::Edn
    }
}

/// Whether a text begins with a map or a record of EDN that has keywords, perhaps in a list, and
/// whatever is discarded before.
pub(super) fn is_edn_event(beginning: &str) -> bool {
    let mut edn = Edn::at(beginning, Place::FIRST);
    let mut next = edn.next();
    if matches!(next, Ok(Next::List)) {
        edn.bracket();
        next = edn.next();
    }
    if !matches!(next, Ok(Next::Map)) {
        return false;
    }
    edn.bracket();
    edn.next().is_ok() && edn.is_keyword()
}

/// Whether a text in JSON begins with an event.
pub(super) fn is_json_event(beginning: &str) -> bool {
    if notation(beginning.as_bytes()) == Notation::Edn {
        return false;
    }
    let kinds = ["invoke", "ok", "fail", "info"];
    let rest = behind_type(beginning).map(str::trim_start);
    let value = rest.and_then(|rest| rest.strip_prefix(':')?.trim_start().strip_prefix('"'));
    let word = value.and_then(|value| value.split('"').next());
    word.is_some_and(|word| kinds.contains(&word.trim_start_matches(':')))
}

/// What stands behind the key `"type"` of the first object, if it is reached: what the event
/// says before may be long, and cut off. A line that breaks off is no beginning of an event.
fn behind_type(beginning: &str) -> Option<&str> {
    let mut rest = &beginning[beginning.find('{')?..];
    let mut depth = 0;
    loop {
        rest = &rest[rest.find(['{', '}', '[', ']', '"'])?..];
        let length = match rest.as_bytes()[0] {
            b'"' => end_of_string(rest)?,
            _ => 1,
        };
        let (token, behind) = rest.split_at(length);
        match token {
            "{" | "[" => depth += 1,
            "}" | "]" if depth == 1 => return None,
            "}" | "]" => depth -= 1,
            "\"type\"" if depth == 1 => return Some(behind),
            _ => {}
        }
        rest = behind;
    }
}

/// Where a string that begins a text has ended; none when that is not in its line.
fn end_of_string(text: &str) -> Option<usize> {
    let mut is_escaped = true;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\n' => return None,
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The fields of a map, as far as they were met.
struct Fields {
    place: EventPlace,
    /// None where it is not said.
    process: Option<Process>,
    /// Whether it is neither a number nor the nemesis.
    is_stranger: bool,
    kind: Option<EventKind>,
    f: Option<String>,
    key: Option<String>,
    value: Option<String>,
    time: Option<u64>,
    error: Option<String>,
}

/// Reads a map; where its process is if it begins an operation and is no client.
fn operation(
    edn: &mut Edn<'_>,
    collector: &mut Collector<'_>,
    begun: &mut Begun,
    scratch: &mut String,
) -> Result<Option<Place>, ImportError> {
    let start = edn.place();
    let mut fields = Fields {
        place: EventPlace::all(start),
        process: None,
        is_stranger: false,
        kind: None,
        f: None,
        key: None,
        value: None,
        time: None,
        error: None,
    };
    edn.bracket();
    while edn.next()? != Next::Close {
        let name = edn.name();
        if name.is_none() {
            // Some other key.
            edn.skip(scratch)?;
        }
        edn.colon()?;
        if edn.next()? == Next::Close {
            return Err(edn.wrong("the last key of the map has no value").into());
        }
        field(edn, collector, scratch, &mut fields, name.unwrap_or(""))?;
    }
    edn.bracket();
    let is_begun = fields.kind == Some(EventKind::Invoke);
    let stranger = (fields.is_stranger && is_begun).then_some(fields.place.process);
    let place = fields.place;
    begun.push(collector, place, event(start, fields)?)?;
    Ok(stranger)
}

fn field(
    edn: &mut Edn<'_>,
    collector: &mut Collector<'_>,
    scratch: &mut String,
    fields: &mut Fields,
    name: &str,
) -> Result<(), ImportError> {
    let place = edn.place();
    scratch.clear();
    match name {
        "type" => {
            fields.kind = Some(match edn.name() {
                Some("invoke") => EventKind::Invoke,
                Some("ok") => EventKind::Ok,
                Some("fail") => EventKind::Fail,
                Some("info") => EventKind::Info,
                _ => {
                    let detail = "`:type` must be `:invoke`, `:ok`, `:fail` or `:info`";
                    return Err(Fault::malformed(place, detail).into());
                }
            });
        }
        "process" => {
            fields.place.process = place;
            edn.value(scratch)?;
            fields.process = process(collector, scratch);
            let is_nemesis = fields.process == Some(Process::Nemesis);
            fields.is_stranger = is_nemesis && scratch != "\"nemesis\"";
        }
        "f" => {
            fields.place.f = place;
            edn.value(scratch)?;
            fields.f = Some(text_of(scratch));
        }
        "key" => {
            edn.value(scratch)?;
            fields.key = Some(scratch.clone());
        }
        "value" => {
            fields.place.value = place;
            edn.value(scratch)?;
            fields.value = Some(scratch.clone());
        }
        "time" => {
            fields.place.time = place;
            edn.value(scratch)?;
            fields.time = time(scratch).map_err(|wrong| Fault::malformed(place, wrong))?;
        }
        "error" => {
            edn.value(scratch)?;
            fields.error = (scratch != "null").then(|| text_of(scratch));
        }
        _ => edn.skip(scratch)?,
    }
    Ok(())
}

/// The time that a JSON text says, if it says one. Jepsen fills in -1 where none was given.
fn time(json: &str) -> Result<Option<u64>, String> {
    if matches!(json, "null" | "-1") {
        return Ok(None);
    }
    json.parse().map(Some).map_err(|_| {
        let digits = json.strip_prefix('-').unwrap_or(json);
        let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
        let why = match (is_whole, digits.len() < json.len()) {
            (true, true) => "which is negative",
            (true, false) => "which is more than 64 bits have room for",
            (false, _) => "which is no whole number",
        };
        let shown: String = json.chars().take(40).collect();
        format!("`:time` must be the nanoseconds since the start of the run, not {shown}, {why}")
    })
}

/// The process that a JSON text names, if it names one. Who is no whole number is no client,
/// whatever it does happens in the background: so Jepsen has it.
fn process(collector: &mut Collector<'_>, json: &str) -> Option<Process> {
    if json == "null" {
        return None;
    }
    let digits = json.strip_prefix('-').unwrap_or(json);
    Some(match json.parse() {
        Ok(number) => Process::Number(number),
        Err(_) if digits.bytes().all(|byte| byte.is_ascii_digit()) => collector.process_named(json),
        Err(_) => Process::Nemesis,
    })
}

/// A JSON string as the text that it stands for, anything else as its JSON.
fn text_of(json: &str) -> String {
    serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned())
}

fn event(start: Place, fields: Fields) -> Result<Found, ImportError> {
    let Some(kind) = fields.kind else {
        let detail = "this map has no `:type`, so it is no event of a history";
        return Err(Fault::malformed(start, detail).into());
    };
    let process = fields.process.unwrap_or(Process::Number(0));
    let mut value = fields.value.unwrap_or_else(|| "null".to_owned());
    if let Some(key) = fields.key {
        if value == "\"\"" {
            value = "null".to_owned();
        }
        value = format!("{{\"key\":{key},\"value\":{value}}}");
    }
    let f = match fields.f {
        Some(f) => f,
        None if value.starts_with("[[") => "txn".to_owned(),
        None => String::new(),
    };
    Ok(Found {
        process,
        client: None,
        kind: if process == Process::Nemesis {
            EventKind::Info
        } else {
            kind
        },
        f,
        value: json(&value),
        time: fields.time,
        revision: None,
        error: fields.error,
    })
}

/// A JSON text as a value.
pub(super) fn json(text: &str) -> Json {
    serde_json::from_str(text).map_or(Json::NULL, Json::from_raw)
}

/// A JSON string.
pub(super) fn json_text(text: &str) -> Json {
    let mut out = String::with_capacity(text.len() + 2);
    push_text(&mut out, text);
    json(&out)
}
