//! How much memory reading may take.

use std::fmt;
use std::path::{Path, PathBuf};

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
    /// What the check will take.
    checking: Checking,
    /// Whether the model is the one that was asked for, whatever a history says.
    is_asked: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Aside {
    text: u64,
    reader: u64,
    /// What unpacking takes.
    unpacking: u64,
    /// The events that will be made of that when all of it is there.
    to_come: Held,
}

/// A history needs more memory than there is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the history is larger than memory: {}, but only {} may be used{}; allow more (`--memory`) \
     if the machine has it, check it on a larger one, or record a shorter run",
    Takes(*.line, .file, shown(*.needed, *.limit).0), shown(*.needed, *.limit).1, Whole(*.whole)
)]
pub struct TooLarge {
    /// The line up to which it was read; 0 when its text alone was too large.
    pub line: usize,
    /// The file of that line, where a history consists of several.
    pub file: Option<PathBuf>,
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
            file: None,
            needed,
            limit,
            whole: None,
        }
    }

    /// The same in this file of several.
    pub(super) fn in_file(mut self, file: &Path) -> Self {
        self.file = Some(file.to_owned());
        self
    }
}

/// What takes that memory, up to which line of which file, and how much it is.
struct Takes<'f>(usize, &'f Option<PathBuf>, Size);

impl fmt::Display for Takes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(line, file, needed) = self;
        let of_file = file
            .as_ref()
            .map_or_else(String::new, |file| format!(" of {}", file.display()));
        match line {
            0 if file.is_none() => write!(f, "its text alone takes about {needed}"),
            0 => write!(f, "up to the text{of_file} it takes about {needed}"),
            line => write!(
                f,
                "up to line {line}{of_file} it takes about {needed} with its check"
            ),
        }
    }
}

/// What the whole would take.
struct Whole(Option<u64>);

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(bytes) => write!(f, "; the whole file would take about {}", Size::of(bytes)),
        }
    }
}

/// Events that are held: how many, and what they take, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

/// How many bytes a check takes for each event, besides the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Checking(u64);

/// That of what needs little: where each operation is, and a list of them.
const LEAST: Checking = Checking(12);

impl Checking {
    /// What it takes with the checker of this model, as measured: a search keeps each operation
    /// in several lists, transactions and requests are taken apart and linked.
    fn of(model: Model, has_tokens: bool) -> Self {
        let each = match model {
            Model::FifoQueue => 12,
            Model::PriorityQueue => 40,
            Model::Mutex | Model::RwLock if has_tokens => 70,
            Model::Barrier | Model::DoubleBarrier | Model::CyclicBarrier => 100,
            Model::Election => 105,
            Model::LongFork => 180,
            Model::Counter => 205,
            Model::Kv => 210,
            Model::Semaphore | Model::Mutex | Model::RwLock => 225,
            Model::Register | Model::CasRegister => 290,
            Model::SetFull => 310,
            Model::Set | Model::Membership => 340,
            Model::Transactions | Model::Bank => 360,
            Model::ReliableQueue => 380,
            Model::Etcd => 410,
            Model::ListAppend => 430,
            Model::Stm => 450,
            Model::RwRegister => 480,
            Model::MultiRegister => 550,
        };
        Self(each)
    }

    fn whole(self, events: f64, bytes: f64) -> u64 {
        (bytes + events * self.0 as f64) as u64
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
            checking: LEAST,
            is_asked: false,
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
        self.allow(0, Held::default())
    }

    /// It is about this model, as far as is known.
    pub(super) fn about(&mut self, model: Model) {
        if !self.is_asked {
            self.checking = Checking::of(model, true);
        }
    }

    /// It will be checked against this model, whatever it says itself.
    pub(super) fn asked(&mut self, model: Model) {
        self.about(model);
        self.is_asked = true;
    }

    /// Unpacking takes so many bytes besides.
    pub(super) fn unpacking(&mut self, bytes: u64) {
        self.aside.unpacking = bytes;
    }

    /// So much of the file was read, of so much.
    pub(super) fn reached(&mut self, done: u64, all: u64) {
        self.reached = Some((done, all)).filter(|(done, all)| *done > 0 && done < all);
    }

    /// The reader has so many bytes more, up to this line, and holds them while it makes these
    /// events of them.
    pub(super) fn set_aside(
        &mut self,
        line: usize,
        bytes: usize,
        to_come: Held,
    ) -> Result<(), TooLarge> {
        (self.aside.reader, self.aside.to_come) = (bytes as u64, to_come);
        self.allow(line, Held::default())
    }

    /// How many bytes of text can be held at all.
    pub(super) fn text_max(&self) -> u64 {
        self.limit.unwrap_or(u64::MAX)
    }

    /// Whether the events up to this line may be held, and then checked, when what is set aside
    /// is gone.
    pub(super) fn allow(&self, line: usize, held: Held) -> Result<(), TooLarge> {
        let refused = self.keep_to(line, self.needed(held, 1.0));
        refused.map_err(|refused| TooLarge {
            whole: self.of_whole(held),
            ..refused
        })
    }

    /// What it takes to read these events so many times, and to check them.
    fn needed(&self, held: Held, times: f64) -> u64 {
        let Aside {
            text,
            reader,
            unpacking,
            to_come,
        } = self.aside;
        let of = |number: usize| number as f64 * times;
        let events = of(held.events.max(to_come.events));
        let bytes = of(held.bytes.max(to_come.bytes));
        let reading = text + unpacking + (reader as f64 * times + bytes) as u64;
        reading.max(self.checking.whole(events, bytes))
    }

    /// What the whole takes, if these events are those of the part that was read.
    fn of_whole(&self, held: Held) -> Option<u64> {
        let (done, all) = self.reached?;
        Some(self.needed(held, all as f64 / done as f64))
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
        let bytes: usize = events.iter().map(memory_of).sum();
        let checking = Checking::of(model, !mutex::is_of(history));
        let needed = checking.whole(events.len() as f64, bytes as f64);
        self.keep_to(events.last().map_or(1, Event::line), needed)?;
        // Where it just fits, the search may have what the estimate has to spare.
        Ok((limit - needed).max(bytes as u64))
    }

    fn keep_to(&self, line: usize, needed: u64) -> Result<(), TooLarge> {
        match self.limit {
            Some(limit) if needed > limit => Err(TooLarge {
                line,
                file: None,
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

/// Bytes for people, with so many digits behind the point.
struct Size {
    bytes: u64,
    digits: usize,
}

impl Size {
    fn of(bytes: u64) -> Self {
        Self { bytes, digits: 1 }
    }
}

/// What is needed and what is allowed, with as many digits as it takes to tell them apart.
fn shown(needed: u64, limit: u64) -> (Size, Size) {
    // With so many even bytes show.
    const ENOUGH: usize = 13;
    let with = |digits| [needed, limit].map(|bytes| Size { bytes, digits });
    let differ = |digits: &usize| {
        let [needed, limit] = with(*digits).map(|size| size.to_string());
        needed != limit
    };
    let digits = (1..=ENOUGH).find(differ).unwrap_or(1);
    let [needed, limit] = with(digits);
    (needed, limit)
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
        let bytes = u128::from(self.bytes);
        let is_enough = |unit: &usize| bytes >> (10 * (unit + 2)) == 0;
        let unit = (0..UNITS.len()).find(is_enough).unwrap_or(UNITS.len() - 1);
        let (one, digits) = (1_u128 << (10 * (unit + 1)), self.digits);
        let fraction = bytes % one * 10_u128.pow(digits as u32) / one;
        write!(f, "{}.{fraction:0digits$} {}", bytes / one, UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        for (bytes, expected) in [
            (0, "0.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (1 << 20, "1.0 MiB"),
            (3 << 30, "3.0 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(Size::of(bytes).to_string(), expected);
        }
    }

    /// Otherwise a refusal would contradict itself.
    #[test]
    fn what_is_needed_is_told_apart_from_what_is_allowed() {
        for (needed, limit, expected) in [
            (3 << 30, 2 << 30, ["3.0 GiB", "2.0 GiB"]),
            (
                (1200 << 20) + (20 << 20),
                1200 << 20,
                ["1.19 GiB", "1.17 GiB"],
            ),
            (
                (1 << 30) + 1,
                1 << 30,
                ["1.0000000009 GiB", "1.0000000000 GiB"],
            ),
            (
                (1 << 40) + 1,
                1 << 40,
                ["1.0000000000009 TiB", "1.0000000000000 TiB"],
            ),
        ] {
            let (a, b) = shown(needed, limit);
            assert_eq!([a.to_string(), b.to_string()].as_slice(), expected);
        }
        let limit = 1200 << 20;
        let refused = Budget::bytes(limit).allow(7, held((1210 << 20) as usize));
        let told = refused.unwrap_err().to_string();
        assert!(
            told.contains("1.18 GiB") && told.contains("only 1.17 GiB"),
            "{told}"
        );
    }

    fn held(bytes: usize) -> Held {
        Held { events: 0, bytes }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_figure() {
        let refused = Budget::bytes(1 << 20).allow(7, held(2 << 20)).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("line 7") && text.contains("2.0 MiB") && text.contains("1.0 MiB"));
        assert!(text.contains("--memory"), "{text}");
        let text = refused.in_file(Path::new("client-3/x")).to_string();
        assert!(text.contains("line 7 of client-3/x it takes"), "{text}");
        assert_eq!(Budget::bytes(1 << 20).allow(7, held(1 << 20)), Ok(()));
        assert_eq!(Budget::unlimited().allow(7, held(usize::MAX / 4)), Ok(()));
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
        budget.set_aside(3, 1 << 18, held(0)).unwrap();
        assert_eq!(budget.allow(7, held(1 << 18)), Ok(()));
        assert!(budget.allow(7, held((1 << 18) + 1)).is_err());
        budget.unpacking(1);
        assert!(budget.allow(7, held(1 << 18)).is_err());
        assert!(budget.set_aside(3, 1 << 20, held(0)).is_err());
    }

    #[test]
    fn what_the_whole_would_take_goes_by_the_part_that_was_read() {
        let mut budget = Budget::bytes(1 << 20);
        let whole = |budget: &Budget| budget.allow(7, held(2 << 20)).unwrap_err().whole;
        assert_eq!(whole(&budget), None);
        budget.reached(100, 1_000);
        assert_eq!(whole(&budget), Some(20 << 20));
        let told = budget.allow(7, held(2 << 20)).unwrap_err().to_string();
        assert!(
            told.contains("the whole file would take about 20.0 MiB; allow more"),
            "{told}"
        );
        // The text is there at once, whatever was read of it.
        budget.hold(1 << 19).unwrap();
        budget.set_aside(7, 1 << 18, held(1 << 18)).unwrap();
        let refused = budget.set_aside(7, 1 << 20, held(1 << 18)).unwrap_err();
        assert_eq!(refused.whole, Some((1 << 19) + (10 << 20) + (10 << 18)));
        budget.reached(1_000, 1_000);
        assert_eq!(whole(&budget), None);
    }

    #[test]
    fn what_the_check_takes_counts_from_the_beginning() {
        let events = Held {
            events: 1_000,
            bytes: 72_000,
        };
        let needed = |budget: &Budget| budget.allow(7, events).unwrap_err().needed;
        let mut budget = Budget::bytes(1);
        assert_eq!(needed(&budget), 84_000);
        budget.about(Model::Register);
        assert_eq!(needed(&budget), 362_000);
        budget.asked(Model::FifoQueue);
        budget.about(Model::Register);
        assert_eq!(needed(&budget), 84_000);
        budget.reached(100, 1_000);
        assert_eq!(budget.more(7), 63);
    }
}
