//! How much memory reading may take.

use std::fmt;

use crate::history::{Event, History, memory_of};
use crate::{Model, mutex};

/// What is left for a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The most that may be taken, in bytes; none for as much as there is.
    limit: Option<u64>,
    /// What is held only until all events are there, in bytes: the text of the file, and what
    /// its reader has beside it.
    aside: Aside,
    /// How much of the file was read, if that is known: so many bytes of so many.
    reached: Option<(u64, u64)>,
    /// What the check will take, as a multiple of the events.
    checking: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Aside {
    text: u64,
    reader: u64,
    /// What the events will take that are made of that when all of it is there.
    to_come: u64,
}

/// A history needs more memory than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the history is larger than memory: {} about {}, but only {} may be used{}; allow more (`--memory`) \
     if the machine has it, check it on a larger one, or record a shorter run",
    Takes(*.line), Size(*.needed), Size(*.limit), Whole(*.whole)
)]
pub struct TooLarge {
    /// The line up to which it was read; 0 when its text alone was too large.
    pub line: usize,
    /// What it takes, in bytes, with what the checker adds.
    pub needed: u64,
    /// What it may take, in bytes.
    pub limit: u64,
    /// What the whole file would take, going by the part that was read, in bytes; none where
    /// that part was the whole, or nobody knows which part it was.
    pub whole: Option<u64>,
}

impl TooLarge {
    /// The text alone, of about so many bytes.
    pub(super) fn text(needed: u64, limit: u64) -> Self {
        Self {
            line: 0,
            needed,
            limit,
            whole: None,
        }
    }
}

/// What takes that memory.
struct Takes(usize);

impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("its text alone takes"),
            line => write!(f, "up to line {line} it takes"),
        }
    }
}

/// What the whole would take.
struct Whole(Option<u64>);

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(bytes) => write!(f, "; the whole file would take about {}", Size(bytes)),
        }
    }
}

/// What a history takes with its checker at least, as a multiple of the events.
const CHECKING: u64 = 2;

/// What it takes with the checker of this model, as measured: a search keeps each operation
/// in several lists, transactions and requests are taken apart and linked.
fn checking(model: Model, has_tokens: bool) -> u64 {
    match model {
        Model::Etcd => 6,
        Model::Register
        | Model::CasRegister
        | Model::Kv
        | Model::Semaphore
        | Model::Counter
        | Model::Set
        | Model::Membership
        | Model::MultiRegister => 5,
        Model::Mutex | Model::RwLock if !has_tokens => 4,
        Model::Transactions | Model::Bank | Model::Stm | Model::ListAppend | Model::RwRegister => 4,
        _ => CHECKING,
    }
}

impl Budget {
    /// At most so many bytes, for reading and checking together.
    pub fn bytes(limit: u64) -> Self {
        Self {
            limit: Some(limit),
            ..Self::unlimited()
        }
    }

    /// As much as is wanted.
    pub fn unlimited() -> Self {
        Self {
            limit: None,
            aside: Aside::default(),
            reached: None,
            checking: CHECKING,
        }
    }

    /// What this machine, or the container that the program runs in, has left; no
    /// limit where that is not known.
    pub fn available() -> Self {
        Self {
            limit: available(),
            ..Self::unlimited()
        }
    }

    /// The text itself is held too, so many bytes of it.
    pub(super) fn hold(&mut self, text: usize) -> Result<(), TooLarge> {
        self.aside.text = text as u64;
        self.allow(0, 0)
    }

    /// It is about this model, as far as is known.
    pub(super) fn about(&mut self, model: Model) {
        self.checking = checking(model, true);
    }

    /// So much of the file was read, of so much.
    pub(super) fn reached(&mut self, done: u64, all: u64) {
        self.reached = Some((done, all)).filter(|(done, all)| *done > 0 && done < all);
    }

    /// The reader has so many bytes more, up to this line, beside the events that will be made
    /// of them, and take so much then.
    pub(super) fn set_aside(
        &mut self,
        line: usize,
        bytes: usize,
        events: usize,
    ) -> Result<(), TooLarge> {
        (self.aside.reader, self.aside.to_come) = (bytes as u64, events as u64);
        self.allow(line, 0)
    }

    /// How many bytes of text can be held at all.
    pub(super) fn text_max(&self) -> u64 {
        self.limit.unwrap_or(u64::MAX)
    }

    /// Whether the events up to this line, which take so many bytes, may be held, and then
    /// checked, when what is set aside is gone.
    pub(super) fn allow(&self, line: usize, events: usize) -> Result<(), TooLarge> {
        let events = events as u64;
        let reading = self.aside.text + self.aside.reader + events;
        let needed = reading.max(CHECKING * events);
        let refused = self.keep_to(line, needed);
        refused.map_err(|refused| TooLarge {
            whole: self.of_whole(events),
            ..refused
        })
    }

    /// What the whole takes, if these events are those of the part that was read.
    fn of_whole(&self, events: u64) -> Option<u64> {
        let (done, all) = self.reached?;
        let whole = |part: u64| (part as f64 * (all as f64 / done as f64)) as u64;
        let events = whole(events.max(self.aside.to_come));
        let reading = self.aside.text + whole(self.aside.reader) + events;
        Some(reading.max(self.checking * events))
    }

    /// How many more events there will be, going by those so far and the part that was read.
    pub(super) fn more(&self, events: usize) -> usize {
        self.reached.map_or(0, |(done, all)| {
            (events as f64 * ((all - done) as f64 / done as f64)) as usize
        })
    }

    /// Whether a history that was read may be checked against this model, and how many bytes
    /// are left then for a search.
    pub(super) fn allow_check(&self, history: &History, model: Model) -> Result<u64, TooLarge> {
        let Some(limit) = self.limit else {
            return Ok(u64::MAX);
        };
        let events = history.events();
        let bytes = events.iter().map(memory_of).sum::<usize>() as u64;
        let needed = checking(model, !mutex::is_of(history)) * bytes;
        self.keep_to(events.last().map_or(1, Event::line), needed)?;
        // Where it just fits, the search may have what the estimate has to spare.
        Ok((limit - needed).max(bytes))
    }

    fn keep_to(&self, line: usize, needed: u64) -> Result<(), TooLarge> {
        match self.limit {
            Some(limit) if needed > limit => Err(TooLarge {
                line,
                needed,
                limit,
                whole: None,
            }),
            _ => Ok(()),
        }
    }
}

/// The memory that is free, in bytes.
fn available() -> Option<u64> {
    let group = group_limit();
    match (machine_available(), group) {
        (Some(machine), Some(group)) => Some(machine.min(group)),
        (machine, group) => machine.or(group),
    }
}

fn machine_available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// What the control group leaves, as containers have it.
fn group_limit() -> Option<u64> {
    let number = |path: &str| -> Option<u64> {
        let text = std::fs::read_to_string(path).ok()?;
        text.trim().parse().ok()
    };
    let (limit, used) = match number("/sys/fs/cgroup/memory.max") {
        Some(limit) => (limit, number("/sys/fs/cgroup/memory.current")),
        None => (
            number("/sys/fs/cgroup/memory/memory.limit_in_bytes")?,
            number("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
        ),
    };
    Some(limit.saturating_sub(used.unwrap_or(0)))
}

/// Bytes for people.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
        let mut hundredths = self.0.saturating_mul(100) / 1024;
        let mut unit = 0;
        while hundredths >= 102_400 && unit + 1 < UNITS.len() {
            hundredths /= 1024;
            unit += 1;
        }
        write!(
            f,
            "{}.{} {}",
            hundredths / 100,
            hundredths % 100 / 10,
            UNITS[unit]
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        assert_eq!(Size(1536).to_string(), "1.5 KiB");
        assert_eq!(Size(3 << 30).to_string(), "3.0 GiB");
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_figure() {
        let refused = Budget::bytes(1 << 20).allow(7, 1 << 20).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("line 7") && text.contains("2.0 MiB") && text.contains("1.0 MiB"));
        assert!(text.contains("--memory"), "{text}");
        assert_eq!(Budget::bytes(1 << 20).allow(7, 1 << 19), Ok(()));
        assert_eq!(Budget::unlimited().allow(7, usize::MAX / 4), Ok(()));
    }

    #[test]
    fn what_is_held_while_reading_counts() {
        let mut budget = Budget::bytes(1 << 20);
        let refused = budget.hold(2 << 20).unwrap_err().to_string();
        assert!(
            refused.contains("its text alone takes about 2.0 MiB"),
            "{refused}"
        );
        budget.hold(1 << 19).unwrap();
        budget.set_aside(3, 1 << 18, 0).unwrap();
        assert_eq!(budget.allow(7, 1 << 18), Ok(()));
        assert!(budget.allow(7, (1 << 18) + 1).is_err());
        assert!(budget.set_aside(3, 1 << 20, 0).is_err());
    }

    #[test]
    fn what_the_whole_would_take_goes_by_the_part_that_was_read() {
        let mut budget = Budget::bytes(1 << 20);
        let whole = |budget: &Budget| budget.allow(7, 1 << 20).unwrap_err().whole;
        assert_eq!(whole(&budget), None);
        budget.reached(100, 1_000);
        assert_eq!(whole(&budget), Some(20 << 20));
        let told = budget.allow(7, 1 << 20).unwrap_err().to_string();
        assert!(
            told.contains("the whole file would take about 20.0 MiB; allow more"),
            "{told}"
        );
        // The text is there at once, whatever was read of it.
        budget.hold(1 << 19).unwrap();
        budget.set_aside(7, 1 << 19, 1 << 18).unwrap();
        let refused = budget.set_aside(7, 1 << 20, 1 << 18).unwrap_err();
        assert_eq!(refused.whole, Some((1 << 19) + (10 << 20) + (10 << 18)));
        budget.reached(1_000, 1_000);
        assert_eq!(whole(&budget), None);
        // What the check takes is more than what is read.
        let mut budget = Budget::bytes(1 << 20);
        budget.reached(100, 1_000);
        budget.about(Model::Register);
        assert_eq!(whole(&budget), Some(50 << 20));
        assert_eq!(budget.more(7), 63);
    }
}
