//! How consumers wait for an item: in line within a process, staggered between
//! processes.
//!
//! Every process that waits hears of every item, but only one can have it. If
//! all of them tried at once, etcd would be busy with claims that come to
//! nothing. So
//!
//! - of the waiting consumers of one handle only a few look out for an item at
//!   a time; the others stand in line;
//! - a handle that came too late waits a moment before it looks again, a random
//!   one, twice as long on average each time in a row; one success ends that, and
//!   quiet times do. The unit is the time that a claim takes at present: two
//!   claims that are farther apart do not get in each other's way;
//! - a handle whose last claim found that many others claim too stands back a
//!   moment before the next one.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::Error;
use crate::runtime;
use crate::watch::{PrefixWatch, Wake};

/// How many of a handle's waiting consumers an item wakes. More than one, so that
/// several items are taken side by side.
const AT_A_TIME: usize = 2;

/// How many puts the watch of a line remembers: as many as one claim can try,
/// several times over.
pub(crate) const RECENT_PUTS: usize = 256;

/// The longest pause of a handle that is late, in claims that could be made in
/// that time. It doubles each time up to here.
const LATE_MAX: u32 = 511;

/// How many claims at a time keep etcd busy.
const CLAIMS: u32 = 3;

/// No pause is longer.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Items that are this far apart cannot keep etcd busy, however many try.
const QUIET: Duration = Duration::from_millis(100);

/// A consumer's turn to look out for an item. It keeps it until it has one or
/// gives up; the next in line then looks for itself, so no item is missed.
pub(crate) type Turn<'a> = Option<SemaphorePermit<'a>>;

/// What to do after a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Try what is known, and what the watch has seen.
    Again,
    /// Read: the watch may have missed something.
    Anew,
}

/// The waiting consumers of one handle.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) watch: PrefixWatch,
    turns: Semaphore,
    /// How long to stay away, in claims: 0, 1, 3, 7 ...
    late: AtomicU32,
    /// How long claims take at present, in microseconds.
    claim_us: AtomicU64,
    /// How many items others took between the last look and the last claim: about
    /// as many as there are others that claim.
    others: AtomicU32,
}

impl Line {
    pub(crate) fn new(watch: PrefixWatch) -> Self {
        Self {
            watch,
            turns: Semaphore::new(AT_A_TIME),
            late: AtomicU32::new(0),
            claim_us: AtomicU64::new(1_000),
            others: AtomicU32::new(0),
        }
    }

    /// A claim took so long.
    pub(crate) fn note_duration(&self, duration: Duration) {
        let new = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let old = self.claim_us.load(Ordering::Relaxed);
        let mean = old - old / 4 + new.min(1_000_000) / 4;
        self.claim_us.store(mean, Ordering::Relaxed);
    }

    /// A claim took the item that lay behind so many others.
    pub(crate) fn took(&self, index: usize) {
        self.late.store(0, Ordering::Relaxed);
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        self.others.store(index, Ordering::Relaxed);
    }

    /// Stands back before a claim if many others claim too, so that about
    /// [`CLAIMS`] are under way at a time: more do not make etcd quicker, and
    /// get in each other's way.
    pub(crate) async fn let_others_go_first(&self) {
        let others = self.others.load(Ordering::Relaxed);
        let claim = Duration::from_micros(self.claim_us.load(Ordering::Relaxed));
        let pause = longest_pause_for(others, claim);
        if !pause.is_zero() {
            runtime::sleep(random_below(pause)).await;
        }
    }

    /// An item was there, and others took it first.
    pub(crate) fn came_late(&self) {
        let late = self.late.load(Ordering::Relaxed);
        self.late
            .store((late * 2 + 1).min(LATE_MAX), Ordering::Relaxed);
    }

    /// Whether others were faster the last time.
    pub(crate) fn is_late(&self) -> bool {
        self.late.load(Ordering::Relaxed) > 0
    }

    /// Waits until it makes sense to look again, after the queue was empty at
    /// `revision`: without a turn, until it is this one's turn; with one, until
    /// something was put, or may have been.
    pub(crate) async fn wait<'a>(
        &'a self,
        turn: &mut Turn<'a>,
        revision: i64,
    ) -> Result<Look, Error> {
        if turn.is_none() {
            *turn = self.turns.try_acquire().ok();
            if turn.is_none() {
                // Items may have come and gone before it is this one's turn.
                *turn = self.turns.acquire().await.ok();
                return Ok(Look::Again);
            }
        }
        let start = runtime::now();
        let wake = self.watch.wait_for_put_after(revision).await?;
        let mut late = self.late.load(Ordering::Relaxed);
        if late > 0 && runtime::now().saturating_duration_since(start) >= QUIET {
            late /= 2;
            self.late.store(late, Ordering::Relaxed);
        }
        if wake == Wake::Reread {
            return Ok(Look::Anew);
        }
        if late > 0 {
            let claim = Duration::from_micros(self.claim_us.load(Ordering::Relaxed));
            runtime::sleep(random_below((claim * 2 * late).min(PAUSE_MAX))).await;
        }
        Ok(Look::Again)
    }
}

/// For how long to stand back at most where so many others claim: on average for as
/// many claims as there are too many, shared by those that may be under way.
fn longest_pause_for(others: u32, claim: Duration) -> Duration {
    let excess = others.min(LATE_MAX).saturating_sub(CLAIMS);
    (claim * 2 * excess / CLAIMS).min(PAUSE_MAX)
}

fn random_below(limit: Duration) -> Duration {
    let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX).max(1);
    Duration::from_nanos(runtime::random_u64() % nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_do_not_stand_back_and_many_do_for_longer() {
        let claim = Duration::from_millis(1);
        assert_eq!(longest_pause_for(0, claim), Duration::ZERO);
        assert_eq!(longest_pause_for(CLAIMS, claim), Duration::ZERO);
        assert_eq!(longest_pause_for(4 * CLAIMS, claim), claim * 6);
        let slow = Duration::from_secs(1);
        assert_eq!(longest_pause_for(u32::MAX, slow), PAUSE_MAX);
    }

    #[test]
    fn a_pause_stays_below_its_limit() {
        for _ in 0..1000 {
            assert!(random_below(PAUSE_MAX) < PAUSE_MAX);
        }
        assert_eq!(random_below(Duration::ZERO), Duration::ZERO);
    }
}
