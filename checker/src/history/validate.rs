//! The rules that the events of every history keep, whatever its model.

use super::error::Problem;
use super::name::Name;
use super::{Event, EventKind, LIVENESS_DEADLINE, PerProcess, Process};

/// Takes the events one by one and refuses the first that breaks a rule.
#[derive(Default)]
pub(crate) struct Validator {
    /// Time of the event before.
    time: u64,
    /// How many events there were.
    accepted: usize,
    /// Index of the last [`LIVENESS_DEADLINE`].
    deadline: Option<usize>,
    processes: PerProcess<State>,
}

/// What a process was last seen doing.
#[derive(Default)]
enum State {
    #[default]
    Idle,
    Open {
        f: Name,
        line: usize,
    },
    Ended {
        line: usize,
    },
}

impl Validator {
    /// About how many bytes it takes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.processes.heap_bytes()
    }

    pub(crate) fn accept(&mut self, event: &Event) -> Result<(), Problem> {
        if event.time() < self.time {
            return Err(Problem::TimeGoesBack {
                time: event.time(),
                before: self.time,
            });
        }
        self.time = event.time();
        for revision in [event.revision(), event.mod_revision()]
            .into_iter()
            .flatten()
        {
            if revision < 0 {
                return Err(Problem::NegativeRevision { revision });
            }
        }
        match event.process() {
            Process::Nemesis if event.kind() == EventKind::Info => {
                if event.f() == LIVENESS_DEADLINE {
                    self.deadline = Some(self.accepted);
                }
            }
            Process::Nemesis => return Err(Problem::NemesisKind { kind: event.kind() }),
            Process::Number(process) => self.step(process, event)?,
        }
        self.accepted += 1;
        Ok(())
    }

    /// Index of the last [`LIVENESS_DEADLINE`] among the events.
    pub(crate) fn deadline(&self) -> Option<usize> {
        self.deadline
    }

    fn step(&mut self, process: u64, event: &Event) -> Result<(), Problem> {
        let state = self.processes.of(process);
        *state = match (&*state, event.kind()) {
            (State::Ended { line }, _) => {
                return Err(Problem::ProcessReused {
                    process,
                    since: *line,
                });
            }
            (State::Idle, EventKind::Invoke) => State::Open {
                f: event.name(),
                line: event.line(),
            },
            (State::Idle, kind) => return Err(Problem::NothingOpen { process, kind }),
            (State::Open { line, .. }, EventKind::Invoke) => {
                return Err(Problem::AlreadyOpen {
                    process,
                    since: *line,
                });
            }
            (State::Open { f, line }, _) if f.as_str() != event.f() => {
                let (found, open) = (event.f().to_owned(), f.as_str().to_owned());
                return Err(Problem::OtherOperation {
                    process,
                    found,
                    open,
                    since: *line,
                });
            }
            (State::Open { .. }, EventKind::Info) => State::Ended { line: event.line() },
            (State::Open { .. }, EventKind::Ok | EventKind::Fail) => State::Idle,
        };
        Ok(())
    }
}
