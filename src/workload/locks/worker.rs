//! One task of a client: locks, writes, unlocks, and records it.

use std::time::Duration;

use etcd_checker::history::Evidence;
use etcd_client::TxnOp;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::super::{Actor, OpenOperation};
use super::{REQUEST_DEADLINE, Run, UNFENCED};
use crate::hold::Hold;
use crate::mutex::{Mutex, MutexFault, MutexGuard};
use crate::request::revision_of;
use crate::runtime::Either;
use crate::rw_lock::{RwLock, RwLockFault, RwLockReadGuard, RwLockWriteGuard};
use crate::{Error, Session, runtime};

/// The recipe that the clients lock with.
pub(in super::super) enum Locks {
    Mutex(Option<MutexFault>),
    RwLock(Option<RwLockFault>),
}

/// One lock of the recipe, opened for a session.
enum Lock {
    Mutex(Mutex),
    RwLock(RwLock),
}

/// A lock that is held.
enum Guard {
    Mutex(MutexGuard),
    Read(RwLockReadGuard),
    Write(RwLockWriteGuard),
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Read,
    Write,
}

/// How to ask for a lock.
#[derive(Clone, Copy)]
enum Patience {
    Endless,
    None,
    Limited(Duration),
}

#[derive(Serialize)]
struct Asked<'a> {
    lock: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<Mode>,
}

#[derive(Serialize)]
struct Held<'a> {
    lock: &'a str,
    token: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    guarded: Option<bool>,
}

const NAMES: [&str; 3] = ["lock", "lock2", "lock/nested"];

/// A task of a client.
pub(super) struct Worker<'r> {
    run: &'r Run,
    actor: &'r Actor,
    session: &'r Session,
    locks: Vec<Lock>,
    rng: ChaCha8Rng,
    /// The lock whose unlock failed, to be taken up again: what comes late meets it.
    interrupted: Option<usize>,
}

impl<'r> Worker<'r> {
    /// # Errors
    ///
    /// When the name of a lock is wrong.
    pub(super) fn new(
        run: &'r Run,
        actor: &'r Actor,
        session: &'r Session,
        rng: ChaCha8Rng,
    ) -> Result<Self, Error> {
        let names = NAMES.iter().zip(0..run.names);
        let open = |name: &str| {
            let name = format!("{}{name}", run.prefix());
            match *run.locks {
                Locks::Mutex(fault) => Mutex::with_fault(session, name, fault).map(Lock::Mutex),
                Locks::RwLock(fault) => RwLock::with_fault(session, name, fault).map(Lock::RwLock),
            }
        };
        Ok(Self {
            locks: names
                .map(|(name, _)| open(name))
                .collect::<Result<_, _>>()?,
            run,
            actor,
            session,
            rng,
            interrupted: None,
        })
    }

    pub(super) fn session(&self) -> &Session {
        self.session
    }

    /// Locks, works, unlocks.
    pub(super) async fn round(&mut self) {
        let any = self.rng.random_range(0..self.locks.len());
        let lock = self.interrupted.take().unwrap_or(any);
        if let Some(guard) = self.lock(lock).await {
            // Always the nested one first, so that nobody waits in a circle.
            if NAMES[lock] == "lock/nested"
                && self.rng.random_bool(0.5)
                && let Some(outer) = self.lock(0).await
            {
                self.section(0, &outer).await;
                self.unlock(0, outer).await;
            }
            self.section(lock, &guard).await;
            self.unlock(lock, guard).await;
        } else {
            let millis = self.rng.random_range(20..=200);
            runtime::sleep(Duration::from_millis(millis)).await;
        }
        self.pause(self.run.think_ms).await;
    }

    /// Locks and unlocks each lock, for as long as it takes.
    pub(super) async fn lock_each_once(&mut self) {
        for lock in 0..self.locks.len() {
            if let Some(guard) = self.record_lock(lock, Mode::Write, Patience::Endless).await {
                self.unlock(lock, guard).await;
            }
        }
    }

    async fn lock(&mut self, lock: usize) -> Option<Guard> {
        let mode = if self.rng.random_bool(0.5) {
            Mode::Read
        } else {
            Mode::Write
        };
        let patience = match self.rng.random_range(0..20) {
            0..=1 => Patience::None,
            2 => Patience::Limited(Duration::from_millis(self.rng.random_range(1..=400))),
            _ => Patience::Endless,
        };
        self.record_lock(lock, mode, patience).await
    }

    async fn record_lock(&self, lock: usize, mode: Mode, patience: Patience) -> Option<Guard> {
        let asked = Asked {
            lock: NAMES[lock],
            mode: matches!(self.locks[lock], Lock::RwLock(_)).then_some(mode),
        };
        let f = match patience {
            Patience::None => "try-lock",
            Patience::Endless | Patience::Limited(_) => "lock",
        };
        let operation = self.actor.invoke(f, asked);
        match self.locks[lock].lock(mode, patience).await {
            Ok(Some(guard)) => {
                let evidence = Evidence::revision(guard.revision());
                operation.ok(guard.hold().fencing_token(), evidence);
                Some(guard)
            }
            Ok(None) => {
                operation.ok((), Evidence::NONE);
                None
            }
            Err(error) => {
                operation.failed(&error, ());
                None
            }
        }
    }

    async fn unlock(&mut self, lock: usize, guard: Guard) {
        let held = Held {
            lock: NAMES[lock],
            token: guard.hold().fencing_token(),
            guarded: None,
        };
        let operation = self.actor.invoke("unlock", held);
        match guard.unlock().await {
            Ok(()) => operation.ok((), Evidence::NONE),
            Err(error) => {
                operation.failed(&error, ());
                self.interrupted = Some(lock);
            }
        }
    }

    /// What the lock is there for. Every other holder looks out for the loss of
    /// its session; the others rely on the fence alone.
    async fn section(&mut self, lock: usize, guard: &Guard) {
        let is_careful = self.rng.random_bool(0.5) && !self.is_unfenced();
        let lost = guard.hold().session().clone();
        let work = self.work(lock, guard);
        if is_careful {
            if let Either::Left(loss) = runtime::race(lost.lost(), work).await {
                tracing::debug!(%loss, "the critical section was left");
            }
        } else {
            work.await;
        }
    }

    async fn work(&mut self, lock: usize, guard: &Guard) {
        for _ in 0..self.rng.random_range(1..=3) {
            self.pause(self.run.hold_ms).await;
            if !matches!(guard, Guard::Read(_)) {
                self.write(lock, guard.hold()).await;
            }
        }
        self.pause(self.run.hold_ms).await;
    }

    /// Writes to what the lock protects.
    async fn write(&mut self, lock: usize, hold: &Hold) {
        let is_guarded = !self.is_unfenced();
        let held = Held {
            lock: NAMES[lock],
            token: hold.fencing_token(),
            guarded: Some(is_guarded),
        };
        let key = format!("{}data/{}", self.run.stage.prefix(), NAMES[lock]);
        let value = hold.fencing_token().to_string();
        let operation = self.actor.invoke("write", held);
        if is_guarded {
            let put = TxnOp::put(key, value, None);
            let written = hold.txn().and_then([put]).commit().await;
            let revision = written.map(|answer| revision_of(answer.header()));
            record_write(operation, revision);
        } else {
            let mut kv = self.actor.etcd().kv_client();
            let put = runtime::timeout(REQUEST_DEADLINE, kv.put(key.as_str(), value, None));
            let revision = match put.await {
                Ok(Ok(answer)) => Ok(revision_of(answer.header())),
                Ok(Err(error)) => Err(Error::mutation("put", &key, error)),
                Err(runtime::Elapsed) => {
                    Err(Error::mutation_deadline("put", &key, REQUEST_DEADLINE))
                }
            };
            record_write(operation, revision);
        }
    }

    fn is_unfenced(&self) -> bool {
        self.run.stage.has_bug(UNFENCED.name)
    }

    async fn pause(&mut self, max_ms: u64) {
        let micros = self.rng.random_range(0..=max_ms * 1_000);
        if micros >= 1_000 {
            runtime::sleep(Duration::from_micros(micros)).await;
        }
    }
}

fn record_write(operation: OpenOperation, revision: Result<i64, Error>) {
    match revision {
        Ok(revision) => operation.ok(true, Evidence::revision(revision)),
        Err(error) => operation.failed(&error, ()),
    }
}

impl Lock {
    async fn lock(&self, mode: Mode, patience: Patience) -> Result<Option<Guard>, Error> {
        match self {
            Self::Mutex(mutex) => match patience {
                Patience::Endless => mutex.lock().await.map(Some),
                Patience::Limited(patience) => mutex.lock_timeout(patience).await.map(Some),
                Patience::None => mutex.try_lock().await,
            }
            .map(|guard| guard.map(Guard::Mutex)),
            Self::RwLock(lock) if mode == Mode::Read => match patience {
                Patience::Endless => lock.read().await.map(Some),
                Patience::Limited(patience) => lock.read_timeout(patience).await.map(Some),
                Patience::None => lock.try_read().await,
            }
            .map(|guard| guard.map(Guard::Read)),
            Self::RwLock(lock) => match patience {
                Patience::Endless => lock.write().await.map(Some),
                Patience::Limited(patience) => lock.write_timeout(patience).await.map(Some),
                Patience::None => lock.try_write().await,
            }
            .map(|guard| guard.map(Guard::Write)),
        }
    }
}

impl Guard {
    fn hold(&self) -> &Hold {
        match self {
            Self::Mutex(guard) => guard,
            Self::Read(guard) => guard,
            Self::Write(guard) => guard,
        }
    }

    fn revision(&self) -> i64 {
        match self {
            Self::Mutex(guard) => guard.revision(),
            Self::Read(guard) => guard.revision(),
            Self::Write(guard) => guard.revision(),
        }
    }

    async fn unlock(self) -> Result<(), Error> {
        match self {
            Self::Mutex(guard) => guard.unlock().await,
            Self::Read(guard) => guard.unlock().await,
            Self::Write(guard) => guard.unlock().await,
        }
    }
}
