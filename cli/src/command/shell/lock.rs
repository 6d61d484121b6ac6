//! The mutex, by hand.

use etcd_recipes::mutex::{Mutex, MutexGuard};
use etcd_recipes::session::Session;

use super::command::{Command, Line, Problem};
use super::recipe::{Recipe, Running, result};

const COMMANDS: &[Command] = &[
    Command::new("lock", "", "waits for the lock, in order of arrival"),
    Command::new("try", "", "takes the lock if nobody holds it"),
    Command::new("unlock", "", "gives the lock back"),
    Command::new("check", "", "asks etcd whether the lock is still held here"),
];

pub(super) struct Shell {
    mutex: Mutex,
    held: Option<MutexGuard>,
}

impl Shell {
    pub(super) fn new(session: &Session, name: &str) -> Result<Self, etcd_recipes::Error> {
        let mutex = Mutex::new(session, name)?;
        Ok(Shell { mutex, held: None })
    }

    async fn answer(&mut self, line: &Line) -> Result<(), Problem> {
        match line.parts() {
            ("lock", []) => {
                self.is_free()?;
                let guard = self.mutex.lock().await?;
                self.hold(guard)
            }
            ("try", []) => {
                self.is_free()?;
                match self.mutex.try_lock().await? {
                    Some(guard) => self.hold(guard),
                    None => result("not locked, somebody else holds it"),
                }
            }
            ("unlock", []) => match self.held.take() {
                Some(guard) => {
                    guard.unlock().await?;
                    result("unlocked")
                }
                None => Err(not_held()),
            },
            ("check", []) => match &self.held {
                Some(guard) => {
                    guard.confirm().await?;
                    result(format_args!(
                        "still locked, token {}",
                        guard.fencing_token()
                    ))
                }
                None => Err(not_held()),
            },
            _ => Err(Problem::usage(line)),
        }
    }

    fn is_free(&self) -> Result<(), Problem> {
        match &self.held {
            Some(_) => Err(Problem::wrong("it is locked here already; unlock it first")),
            None => Ok(()),
        }
    }

    fn hold(&mut self, guard: MutexGuard) -> Result<(), Problem> {
        let token = guard.fencing_token();
        self.held = Some(guard);
        result(format_args!("locked, token {token}"))
    }
}

fn not_held() -> Problem {
    Problem::wrong("it is not locked here")
}

impl Recipe for Shell {
    fn commands(&self) -> &'static [Command] {
        COMMANDS
    }

    fn run<'a>(&'a mut self, line: &'a Line) -> Running<'a> {
        Box::pin(self.answer(line))
    }
}
