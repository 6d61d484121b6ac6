//! The election, by hand.

use etcd_recipes::election::{Election, Leader, Leadership, Observation};
use etcd_recipes::session::Session;

use super::command::{Command, Line, Problem, number};
use super::recipe::{Recipe, Running, result};
use super::text;

const COMMANDS: &[Command] = &[
    Command::new(
        "campaign",
        "VALUE",
        "stands for election and waits until it is won",
    ),
    Command::new("proclaim", "VALUE", "tells another value as the leader"),
    Command::new("resign", "", "gives the leadership up"),
    Command::new("leader", "", "who leads: the term and the value"),
    Command::new(
        "rev",
        "",
        "the revision that one's own leadership began with: its term",
    ),
    Command::new(
        "observe",
        "[TIMES]",
        "says who leads, and again with every change",
    ),
];

pub(super) struct Shell {
    election: Election,
    leadership: Option<Leadership>,
}

impl Shell {
    pub(super) fn new(session: &Session, name: &str) -> Result<Self, etcd_recipes::Error> {
        let election = Election::new(session, name)?;
        Ok(Shell {
            election,
            leadership: None,
        })
    }

    async fn answer(&mut self, line: &Line) -> Result<(), Problem> {
        match line.parts() {
            ("campaign", [value]) => {
                if self.leadership.is_some() {
                    return Err(Problem::wrong("it is won here already; resign first"));
                }
                let leadership = self.election.campaign(value.as_bytes()).await?;
                let term = leadership.term();
                self.leadership = Some(leadership);
                result(format_args!("elected, term {term}"))
            }
            ("proclaim", [value]) => {
                self.leadership()?.proclaim(value.as_bytes()).await?;
                result("proclaimed")
            }
            ("resign", []) => {
                self.leadership()?;
                if let Some(leadership) = self.leadership.take() {
                    leadership.resign().await?;
                }
                result("resigned")
            }
            ("rev", []) => result(self.leadership()?.term()),
            ("leader", []) => match self.election.leader().await? {
                Some(leader) => result(of(&leader)),
                None => result("nobody leads"),
            },
            ("observe", []) => self.observe(u64::MAX).await,
            ("observe", [times]) => self.observe(number(times, "a number of times")?).await,
            _ => Err(Problem::usage(line)),
        }
    }

    fn leadership(&self) -> Result<&Leadership, Problem> {
        let none = || Problem::wrong("it is not won here; campaign first");
        self.leadership.as_ref().ok_or_else(none)
    }

    async fn observe(&self, times: u64) -> Result<(), Problem> {
        let mut observer = self.election.observe();
        for _ in 0..times {
            match observer.next().await? {
                Observation::Leader(leader) => result(of(&leader))?,
                Observation::Vacant => result("nobody leads")?,
            }
        }
        Ok(())
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

/// The value at the end: it may hold anything.
fn of(leader: &Leader) -> String {
    format!("term {}: {}", leader.term, text::of(&leader.value))
}
