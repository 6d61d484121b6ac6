//! How much a search may take, and who watches over it.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How much a search may take in all. Where it does not suffice the answer is
/// [`Found::Unknown`](super::Found::Unknown).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The longest that it may run; none for as long as it takes.
    pub time: Option<Duration>,
    /// The most bytes that it may hold at a time, besides the calls themselves.
    pub memory_bytes: usize,
}

impl Budget {
    /// A clock that runs out when the time is over, counted from now.
    pub(crate) fn clock(&self) -> Clock<'static> {
        Clock::until(self.time.map(|time| now() + time), None)
    }
}

impl Budget {
    /// How many steps there is time for in a search that counts them, if so many go into a
    /// minute: its answers are the same on every machine.
    pub(crate) fn steps(&self, per_minute: u64) -> u64 {
        self.time.map_or(u64::MAX, |time| {
            (per_minute as f64 * time.as_secs_f64() / 60.0) as u64
        })
    }
}

impl Default for Budget {
    /// A minute, and a gibibyte.
    fn default() -> Self {
        Self {
            time: Some(Duration::from_secs(60)),
            memory_bytes: 1 << 30,
        }
    }
}

/// What did not suffice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// The time.
    Time(Duration),
    /// The memory, in bytes.
    Memory(usize),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => write!(f, "the {} s", time.as_secs_f64()),
            Self::Memory(bytes) if *bytes < 1 << 20 => write!(f, "the {bytes} bytes of memory"),
            Self::Memory(bytes) => write!(f, "the {} MiB of memory", bytes >> 20),
        }
    }
}

/// Tells a search when it has to stop.
#[derive(Debug)]
pub struct Clock<'c> {
    end: Option<Instant>,
    is_cancelled: Option<&'c AtomicBool>,
    /// How often it has been asked.
    calls: Cell<u64>,
    /// The next call at which it really looks.
    next_look: Cell<u64>,
    last_look: Cell<Option<Instant>>,
    is_over: Cell<bool>,
}

/// How many calls there may be for each one that really looks, while they are quick.
const CALLS_PER_LOOK: u64 = 16;

/// Calls that are further apart than this each look.
const QUICK: Duration = Duration::from_millis(1);

impl<'c> Clock<'c> {
    /// A clock that runs out at this instant.
    pub(super) fn until(end: Option<Instant>, is_cancelled: Option<&'c AtomicBool>) -> Self {
        Self {
            end,
            is_cancelled,
            calls: Cell::new(0),
            next_look: Cell::new(0),
            last_look: Cell::new(None),
            is_over: Cell::new(false),
        }
    }

    /// How often it has been asked: a measure of work that is the same on every machine.
    pub(super) fn calls(&self) -> u64 {
        self.calls.get()
    }

    /// Whether the time is over. Cheap: most calls do not really look.
    pub fn is_over(&self) -> bool {
        let calls = self.calls.get();
        self.calls.set(calls + 1);
        if calls >= self.next_look.get() && !self.is_over.get() {
            self.look(calls);
        }
        self.is_over.get()
    }

    fn look(&self, calls: u64) {
        let is_cancelled = self
            .is_cancelled
            .is_some_and(|cancelled| cancelled.load(Ordering::Relaxed));
        let mut is_late = false;
        if let Some(end) = self.end {
            let now = now();
            is_late = now >= end;
            let last = self.last_look.replace(Some(now));
            let is_quick = last.is_some_and(|last| now - last < QUICK);
            let skipped = if is_quick { CALLS_PER_LOOK } else { 1 };
            self.next_look.set(calls + skipped);
        } else {
            self.next_look.set(calls + CALLS_PER_LOOK);
        }
        self.is_over.set(is_late || is_cancelled);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a search may run is real time; its answer does not depend on it unless it is that there was not enough"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}
