//! The read-write lock, by hand.

use etcd_recipes::rw_lock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use etcd_recipes::session::Session;

use super::command::{Command, Line, Problem};
use super::recipe::{Recipe, Running, result};

const COMMANDS: &[Command] = &[
    Command::new("rlock", "", "waits for the lock, to share it with readers"),
    Command::new("wlock", "", "waits for the lock, to have it alone"),
    Command::new(
        "try-rlock",
        "",
        "takes the lock for reading if that needs no wait",
    ),
    Command::new(
        "try-wlock",
        "",
        "takes the lock for writing if that needs no wait",
    ),
    Command::new("unlock", "", "gives the lock back"),
];

pub(super) struct Shell {
    lock: RwLock,
    held: Option<Held>,
}

enum Held {
    Read(RwLockReadGuard),
    Write(RwLockWriteGuard),
}

impl Shell {
    pub(super) fn new(session: &Session, name: &str) -> Result<Self, etcd_recipes::Error> {
        let lock = RwLock::new(session, name)?;
        Ok(Shell { lock, held: None })
    }

    async fn answer(&mut self, line: &Line) -> Result<(), Problem> {
        match line.parts() {
            ("rlock", []) => {
                self.is_free()?;
                let guard = self.lock.read().await?;
                self.hold(Some(Held::Read(guard)))
            }
            ("wlock", []) => {
                self.is_free()?;
                let guard = self.lock.write().await?;
                self.hold(Some(Held::Write(guard)))
            }
            ("try-rlock", []) => {
                self.is_free()?;
                let guard = self.lock.try_read().await?;
                self.hold(guard.map(Held::Read))
            }
            ("try-wlock", []) => {
                self.is_free()?;
                let guard = self.lock.try_write().await?;
                self.hold(guard.map(Held::Write))
            }
            ("unlock", []) => {
                match self.held.take() {
                    Some(Held::Read(guard)) => guard.unlock().await?,
                    Some(Held::Write(guard)) => guard.unlock().await?,
                    None => return Err(Problem::wrong("it is not locked here")),
                }
                result("unlocked")
            }
            _ => Err(Problem::usage(line)),
        }
    }

    fn is_free(&self) -> Result<(), Problem> {
        match &self.held {
            Some(_) => Err(Problem::wrong("it is locked here already; unlock it first")),
            None => Ok(()),
        }
    }

    fn hold(&mut self, held: Option<Held>) -> Result<(), Problem> {
        self.held = held;
        match &self.held {
            Some(Held::Read(guard)) => result(format_args!(
                "locked for reading, token {}",
                guard.fencing_token()
            )),
            Some(Held::Write(guard)) => result(format_args!(
                "locked for writing, token {}",
                guard.fencing_token()
            )),
            None => result("not locked, somebody else is in the way"),
        }
    }
}

impl Recipe for Shell {
    fn commands(&self) -> &'static [Command] {
        COMMANDS
    }

    fn run<'a>(&'a mut self, line: &'a Line) -> Running<'a> {
        Box::pin(self.answer(line))
    }
}
