//! Candidates that campaign and lead by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_checker::history::Evidence;
use etcd_sim::fault::ClientId;
use rand::RngExt as _;

use super::recorded::{self, Term};
use super::{Actor, Arena, GO_RESUME};
use crate::Error;
use crate::election::{Election, Leadership};
use crate::runtime;
use crate::session::Session;

/// What a candidate remembers when its process is restarted.
#[derive(Clone, Default)]
struct Memory {
    rounds: Arc<AtomicU64>,
    values: Arc<AtomicU64>,
}

pub(super) fn start(arena: &Arena, client: ClientId) {
    let memory = Memory::default();
    let shared = arena.clone();
    arena.stage.start(client, move |actor| {
        let candidate = Candidate {
            arena: shared.clone(),
            actor,
            memory: memory.clone(),
        };
        candidate.live()
    });
}

struct Candidate {
    arena: Arena,
    actor: Actor,
    memory: Memory,
}

impl Candidate {
    async fn live(mut self) {
        let mut session = self.arena.session(&mut self.actor).await;
        // Mostly a runner leads first, and for long: faults strike early.
        self.actor.think(300).await;
        while self.memory.rounds.fetch_add(1, Ordering::Relaxed) < self.arena.rounds {
            if !session.is_alive() {
                session = self.arena.session(&mut self.actor).await;
            }
            let election = self.arena.election(&session);
            match self.campaign(&election).await {
                Some(leadership) => self.reign(&session, leadership).await,
                // Some have had enough, and go on to do other things.
                None if self.actor.rng().random_bool(0.4) => break,
                None => self.actor.back_off().await,
            }
            if self.actor.rng().random_bool(0.2) {
                // What it was told is recorded; nothing depends on it.
                recorded::ask(&self.actor, &election).await.ok();
            }
            self.actor.think(self.arena.think_ms).await;
        }
        self.arena.finish(self.actor.client());
        self.arena.over().await;
        // A lease that is not revoked ends by itself.
        session.close().await.ok();
    }

    async fn campaign(&mut self, election: &Election) -> Option<Leadership> {
        let value = self.new_value();
        let longest_ms = self.actor.rng().random_range(1..=3_000);
        let is_patient = self.actor.rng().random_bool(0.8);
        let operation = self.actor.invoke("campaign", &value);
        let campaign = election.campaign(value);
        let ended = if is_patient {
            Ok(campaign.await)
        } else {
            runtime::timeout(Duration::from_millis(longest_ms), campaign).await
        };
        match ended {
            Ok(Ok(leadership)) => {
                let term = leadership.term();
                operation.ok(Term { term }, Evidence::revision(leadership.revision()));
                Some(leadership)
            }
            Ok(Err(error)) => {
                operation.failed(&error, ());
                None
            }
            Err(runtime::Elapsed) => {
                operation.unknown("it was given up");
                None
            }
        }
    }

    async fn reign(&mut self, session: &Session, leadership: Leadership) {
        let steps = self.actor.rng().random_range(1..=5);
        for _ in 0..steps {
            if self.step(&leadership).await.is_err() || leadership.check().is_err() {
                break;
            }
        }
        match self.actor.rng().random_range(0..20) {
            0..=2 => drop(leadership),
            3..=6 => self.hand_over(session, leadership).await,
            _ => self.resign(leadership).await,
        }
    }

    async fn step(&mut self, leadership: &Leadership) -> Result<(), Error> {
        match self.actor.rng().random_range(0..10) {
            0..=2 => {
                let value = self.new_value();
                recorded::proclaim(&self.actor, leadership, &value).await?;
            }
            3 | 4 => {
                // What is checked and done at one instant is done in time.
                leadership.check()?;
                recorded::act(&self.actor, leadership.term());
            }
            5 | 6 => {
                let key = format!("{}state", self.arena.stage.prefix());
                recorded::write(&self.actor, leadership, &key).await?;
            }
            7 => recorded::ask(&self.actor, leadership.election()).await?,
            // Long enough for others to lose their leases.
            8 if self.actor.rng().random_bool(0.3) => {
                let longest = u64::try_from(self.arena.ttl.as_millis() * 2);
                self.actor.think(longest.unwrap_or(0)).await;
            }
            _ => {}
        }
        self.actor.think(self.arena.think_ms).await;
        Ok(())
    }

    async fn resign(&self, leadership: Leadership) {
        let term = leadership.term();
        let operation = self.actor.invoke("resign", Term { term });
        match leadership.resign().await {
            Ok(()) => operation.ok((), Evidence::NONE),
            Err(error) => operation.failed(&error, ()),
        }
    }

    /// Lets another part of the program, which knows only names, go on.
    async fn hand_over(&mut self, session: &Session, leadership: Leadership) {
        let name = self.arena.name();
        let (key, term) = leadership.detach();
        self.actor.think(self.arena.think_ms).await;
        let resumed = if self.arena.stage.has_bug(GO_RESUME.name) {
            Election::resume_without_separator(session, name, key, term).await
        } else {
            Election::resume(session, name, key, term).await
        };
        // Lost meanwhile, or not to be had: then the key ends with the session.
        let Ok(leadership) = resumed else {
            session.close().await.ok();
            return;
        };
        let asked = recorded::ask(&self.actor, leadership.election()).await;
        if asked.is_ok() {
            // A step that fails ends what the next line ends anyway.
            self.step(&leadership).await.ok();
        }
        self.resign(leadership).await;
    }

    fn new_value(&self) -> String {
        let number = self.memory.values.fetch_add(1, Ordering::Relaxed);
        format!("c{}-{number}", self.actor.client())
    }
}
