//! Workers that want the same thing all the time, one after the other: locks and
//! elections.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::latency::Latency;
use super::place::{Place, Share, each, since};
use super::{BenchError, Measured};
use crate::election::{Election, Leadership};
use crate::mutex::{Mutex, MutexGuard};
use crate::rw_lock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::session::{Session, SessionOptions};
use crate::{Error, runtime};

/// As in the Go program.
const TTL: Duration = Duration::from_secs(30);

/// How many of a hundred acquisitions of a read-write lock are for reading.
const READERS_PERCENT: u32 = 90;

/// One who wants it.
trait Contender: Send + 'static {
    /// Whether he has it for himself alone.
    fn acquire(&mut self) -> impl Future<Output = Result<bool, Error>> + Send;
    fn release(&mut self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The mutex.
pub(super) async fn mutex(place: Place) -> Result<Measured, BenchError> {
    let name = place.name("mutex");
    let open = |session: &Session, _| {
        Ok(OnMutex {
            mutex: Mutex::new(session, name.as_str())?,
            held: None,
        })
    };
    measure(place, open).await
}

struct OnMutex {
    mutex: Mutex,
    held: Option<MutexGuard>,
}

impl Contender for OnMutex {
    async fn acquire(&mut self) -> Result<bool, Error> {
        self.held = Some(self.mutex.lock().await?);
        Ok(true)
    }

    async fn release(&mut self) -> Result<(), Error> {
        match self.held.take() {
            Some(guard) => guard.unlock().await,
            None => Ok(()),
        }
    }
}

/// The read-write lock, mostly for reading.
pub(super) async fn rw_lock(place: Place) -> Result<Measured, BenchError> {
    let (name, seed) = (place.name("rwlock"), place.seed);
    let open = |session: &Session, worker| {
        let random = ChaCha8Rng::seed_from_u64(seed ^ worker);
        Ok(OnRwLock {
            lock: RwLock::new(session, name.as_str())?,
            random,
            held: Held::Nothing,
        })
    };
    measure(place, open).await
}

struct OnRwLock {
    lock: RwLock,
    random: ChaCha8Rng,
    held: Held,
}

enum Held {
    Nothing,
    Read(RwLockReadGuard),
    Write(RwLockWriteGuard),
}

impl Contender for OnRwLock {
    async fn acquire(&mut self) -> Result<bool, Error> {
        let writes = self.random.random_range(0..100) >= READERS_PERCENT;
        self.held = match writes {
            true => Held::Write(self.lock.write().await?),
            false => Held::Read(self.lock.read().await?),
        };
        Ok(writes)
    }

    async fn release(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Nothing => Ok(()),
            Held::Read(guard) => guard.unlock().await,
            Held::Write(guard) => guard.unlock().await,
        }
    }
}

/// The election: who wins it resigns at once.
pub(super) async fn election(place: Place) -> Result<Measured, BenchError> {
    let name = place.name("election");
    let open = |session: &Session, _| {
        let election = Election::new(session, name.as_str())?;
        Ok(OnElection {
            election,
            won: None,
        })
    };
    measure(place, open).await
}

struct OnElection {
    election: Election,
    won: Option<Leadership>,
}

impl Contender for OnElection {
    async fn acquire(&mut self) -> Result<bool, Error> {
        self.won = Some(self.election.campaign("me").await?);
        Ok(true)
    }

    async fn release(&mut self) -> Result<(), Error> {
        match self.won.take() {
            Some(leadership) => leadership.resign().await,
            None => Ok(()),
        }
    }
}

/// Who is inside, and when the last one left.
#[derive(Default)]
struct Door {
    inside: AtomicI64,
    freed: StdMutex<Option<Instant>>,
    wait: Latency,
    handover: Latency,
}

/// One who must be alone counts as this many.
const ALONE: i64 = 1_000_000;

impl Door {
    fn enter(&self, called: Instant, is_alone: bool) -> Result<i64, BenchError> {
        self.wait.add(since(called));
        let freed = *self.freed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(freed) = freed {
            self.handover.add(since(freed));
        }
        let weight = if is_alone { ALONE } else { 1 };
        let before = self.inside.fetch_add(weight, Ordering::SeqCst);
        if before >= ALONE || (is_alone && before > 0) {
            return Err(BenchError::Broken(
                "two were inside who must not be".to_owned(),
            ));
        }
        Ok(weight)
    }

    fn leave(&self, weight: i64) {
        *self.freed.lock().unwrap_or_else(PoisonError::into_inner) = Some(runtime::now());
        self.inside.fetch_sub(weight, Ordering::SeqCst);
    }
}

/// Each worker has a connection and a session of its own.
async fn measure<C: Contender>(
    place: Place,
    open: impl Fn(&Session, u64) -> Result<C, BenchError>,
) -> Result<Measured, BenchError> {
    let sessions = sessions(&place).await?;
    let (door, share) = (Arc::new(Door::default()), Share::of(place.load.count));
    let mut workers = Vec::new();
    for (number, session) in (0..).zip(&sessions) {
        let mut contender = open(session, number)?;
        let (door, share) = (Arc::clone(&door), share.clone());
        workers.push(async move {
            while share.take().is_some() {
                let called = runtime::now();
                let is_alone = contender.acquire().await?;
                let weight = door.enter(called, is_alone)?;
                door.leave(weight);
                contender.release().await?;
            }
            Ok(())
        });
    }
    let measured = place.timed(place.load.count, each(workers)).await?;
    close(sessions).await?;
    Ok(measured
        .with("acquire", &door.wait)
        .with("release to next", &door.handover))
}

/// A session for each worker.
pub(super) async fn sessions(place: &Place) -> Result<Vec<Session>, BenchError> {
    some_sessions(place, place.load.workers).await
}

/// So many sessions, each on a connection of its own.
pub(super) async fn some_sessions(place: &Place, n: u32) -> Result<Vec<Session>, BenchError> {
    let mut sessions = Vec::new();
    for client in place.clients(n).await? {
        let options = SessionOptions::new().ttl(TTL);
        sessions.push(Session::with_options(&client, options).await?);
    }
    Ok(sessions)
}

pub(super) async fn close(sessions: Vec<Session>) -> Result<(), BenchError> {
    for session in sessions {
        session.close().await?;
    }
    Ok(())
}
