//! Lines of Jepsen's log, as those that Knossos and Porcupine are tested with.
//!
//! ```text
//! INFO  jepsen.util - 3  :invoke  :cas    [1 2]
//! INFO  jepsen.util - 3  :fail    :cas    [1 2]
//! INFO  jepsen.util - 4  :info    :write  :timed-out
//! INFO  jepsen.util - :nemesis  :info  :start  nil
//! ```
//!
//! Process, type, operation, value; and behind it, perhaps, an error. Later versions
//! write `jepsen.util: 3  :invoke  ..` behind date and thread, and their `history.txt`
//! has nothing in front; Knossos' data of 2014 has brackets around: `[3 :invoke :read nil]`.
//! Other lines of a log are skipped. There are no times: the order of the lines is all there is.

use std::io::{self, BufRead, Read as _};

use super::collect::{Collector, EventPlace, Found};
use super::edn::{Edn, Next};
use super::jepsen::{json, json_text};
use super::memory::Budget;
use super::open::BEGINNING;
use super::text::{Fault, Place, utf8};
use super::{ImportError, models};
use crate::history::{EventKind, History, Json, Process};

/// Reads such a file.
pub(super) fn read(bytes: &[u8], budget: &mut Budget) -> Result<History, ImportError> {
    let text = utf8(bytes)?;
    let mut collector = Collector::new(budget);
    let mut read = 0;
    for (index, line) in text.lines().enumerate() {
        read += line.len() + 1;
        let Some(start) = event_start(line) else {
            continue;
        };
        let place = Place {
            line: index + 1,
            column: start + 1,
        };
        collector.reached(read, text.len());
        event(&mut collector, in_brackets(line, start, place)?, place)?;
    }
    if collector.events().is_empty() {
        let detail =
            "no line of this log tells of an operation, as `jepsen.util: 0 :invoke :read nil` does";
        return Err(Fault::malformed(Place::FIRST, detail).into());
    }
    models::finish(collector, "Jepsen's log")
}

/// An event that begins there, without the brackets that it may stand in.
fn in_brackets(line: &str, start: usize, place: Place) -> Result<&str, Fault> {
    if !line[..start].ends_with('[') {
        return Ok(&line[start..]);
    }
    line[start..].trim_end().strip_suffix(']').ok_or_else(|| {
        let end = Place {
            column: line.len() + 1,
            ..place
        };
        Fault::malformed(end, "the bracket that the line begins with is not closed")
    })
}

/// Whether a text begins as a log of Jepsen's, which may tell of much before the first operation.
pub(super) fn is_beginning(text: &str) -> bool {
    text.lines()
        .any(|line| event_start(line).is_some() || is_by_jepsen(line))
}

/// Whether a line is one of a logger or a thread of Jepsen's, such as
/// `2022-07-28 07:52:55,480{GMT} INFO [jepsen test runner] jepsen.core: Test version ..` or
/// `INFO  jepsen.core - Setting up`: a time stamp or none, a level, and one of them.
fn is_by_jepsen(line: &str) -> bool {
    const LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    let mut words = line.split_whitespace();
    let is_stamp = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    let level = words.by_ref().take(4).find(|word| !is_stamp(word));
    if !level.is_some_and(|level| LEVELS.contains(&level)) {
        return false;
    }
    // Threads have names of several words.
    words.take(8).any(|word| {
        let name = word.trim_start_matches('[');
        name == "jepsen" || name.starts_with("jepsen.")
    })
}

/// Whether any line of the text is one of an event. Long lines are looked at in pieces.
pub(super) fn has_event(mut text: impl BufRead) -> io::Result<bool> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut piece = (&mut text).take(BEGINNING as u64);
        if piece.read_until(b'\n', &mut line)? == 0 {
            return Ok(false);
        }
        if event_start(&String::from_utf8_lossy(&line)).is_some() {
            return Ok(true);
        }
    }
}

/// Where the process of an event begins, if the line is one of an event.
pub(super) fn event_start(line: &str) -> Option<usize> {
    const LOGGER: &str = "jepsen.util";
    let mut start = match line.find(LOGGER) {
        Some(at) => at + LOGGER.len(),
        None => 0,
    };
    let skipped = line[start..].find(|c: char| !c.is_whitespace() && c != '-')?;
    start += skipped;
    if line[start..].starts_with(": ") || line[start..].starts_with(":\t") {
        start += 2;
    }
    start += usize::from(line[start..].starts_with('['));
    let mut words = line[start..].split_whitespace();
    let process = words.next()?;
    let kind = words.next()?;
    let is_process = process == ":nemesis" || process.parse::<u64>().is_ok();
    let is_kind = matches!(kind, ":invoke" | ":ok" | ":fail" | ":info");
    (is_process && is_kind).then_some(start)
}

fn event(collector: &mut Collector<'_>, text: &str, start: Place) -> Result<(), ImportError> {
    let mut edn = Edn::at(text, start);
    let mut scratch = String::new();
    edn.next()?;
    edn.value(&mut scratch)?;
    let process = match scratch.parse() {
        Ok(number) => Process::Number(number),
        Err(_) => Process::Nemesis,
    };
    edn.next()?;
    let kind = match edn.name() {
        _ if process == Process::Nemesis => EventKind::Info,
        Some("invoke") => EventKind::Invoke,
        Some("ok") => EventKind::Ok,
        Some("fail") => EventKind::Fail,
        _ => EventKind::Info,
    };
    let mut place = EventPlace::all(start);
    if edn.next()? == Next::End {
        return Err(edn
            .wrong("the line ends before it names an operation")
            .into());
    }
    place.f = edn.place();
    let f = match edn.name() {
        Some(name) => name.to_owned(),
        None => {
            return Err(edn
                .wrong("an operation such as `:read` must stand here")
                .into());
        }
    };
    let mut found = Found {
        process,
        client: None,
        kind,
        f,
        value: Json::NULL,
        time: None,
        revision: None,
        error: None,
    };
    // What a fault did is told in prose.
    if process == Process::Nemesis {
        found.value = json_text(text[edn.offset()..].trim());
        return collector.push(place, found);
    }
    if edn.next()? == Next::End {
        return Err(edn.wrong("the line ends before the value").into());
    }
    place.value = edn.place();
    let is_keyword = text[edn.offset()..].starts_with(':');
    scratch.clear();
    edn.value(&mut scratch)?;
    if is_keyword && matches!(kind, EventKind::Fail | EventKind::Info) {
        found.error = Some(scratch.trim_matches('"').to_owned());
    } else {
        found.value = json(&scratch);
    }
    let rest = text[edn.offset()..].trim();
    if !rest.is_empty() {
        if kind == EventKind::Invoke || kind == EventKind::Ok {
            edn.next()?;
            let detail = "something stands behind the value";
            return Err(Fault::malformed(edn.place(), detail).into());
        }
        found.error = Some(rest.to_owned());
    }
    collector.push(place, found)
}
