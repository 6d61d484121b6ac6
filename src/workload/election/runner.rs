//! Clients that lead through `run`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_checker::history::Evidence;
use etcd_sim::fault::ClientId;
use rand::RngExt as _;

use super::recorded;
use super::{Actor, Arena};
use crate::election::Leadership;
use crate::runtime;

/// What the closure does, one after another.
#[derive(Clone, Copy)]
enum Step {
    Act,
    Proclaim,
    Write,
}

pub(super) fn start(arena: &Arena, client: ClientId) {
    let rounds = Arc::new(AtomicU64::new(0));
    let values = Arc::new(AtomicU64::new(0));
    let shared = arena.clone();
    arena.stage.start(client, move |mut actor| {
        let (arena, rounds, values) = (shared.clone(), rounds.clone(), values.clone());
        async move {
            let mut session = arena.session(&mut actor).await;
            loop {
                let round = rounds.fetch_add(1, Ordering::Relaxed);
                if round >= arena.rounds {
                    break;
                }
                if !session.is_alive() {
                    session = arena.session(&mut actor).await;
                }
                let work = Work::draw(&arena, &mut actor, &values, round == 0);
                run(&arena, &actor, &session, &work).await;
                actor.think(arena.think_ms).await;
            }
            arena.finish(actor.client());
            arena.over().await;
            // A lease that is not revoked ends by itself.
            session.close().await.ok();
        }
    });
}

/// What one round does.
struct Work {
    value: String,
    /// Each with the pause before it.
    steps: Vec<(Duration, Step)>,
    values: Arc<AtomicU64>,
    state_key: String,
}

impl Work {
    fn draw(arena: &Arena, actor: &mut Actor, values: &Arc<AtomicU64>, is_early: bool) -> Self {
        let number = values.fetch_add(1, Ordering::Relaxed);
        // Some lead on for longer than a lease, asking nobody: early, while faults
        // strike, and rarely, because others wait.
        let is_long = is_early && actor.rng().random_bool(0.7);
        let steps = actor
            .rng()
            .random_range(if is_long { 50..=100 } else { 1..=8 });
        let longest = if is_long {
            arena.ttl / 12
        } else {
            Duration::from_millis(arena.think_ms)
        };
        let longest = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        let mut step = |number| {
            let pause = Duration::from_micros(actor.rng().random_range(0..=longest));
            let step = match actor.rng().random_range(0..8) {
                // Who asks nothing later is not told by an error that it lost.
                _ if is_long && number > 0 => Step::Act,
                0 | 1 => Step::Proclaim,
                2 => Step::Write,
                _ => Step::Act,
            };
            (pause, step)
        };
        let steps = (0..steps).map(&mut step).collect();
        Self {
            value: format!("r{}-{number}", actor.client()),
            steps,
            values: values.clone(),
            state_key: format!("{}state", arena.stage.prefix()),
        }
    }

    /// Acts without asking whether it still leads: not to be run any more then is
    /// what `run` promises.
    async fn lead(&self, actor: &Actor, leadership: &Leadership) {
        for (pause, step) in &self.steps {
            runtime::sleep(*pause).await;
            let done = match step {
                Step::Act => {
                    recorded::act(actor, leadership.term());
                    Ok(())
                }
                Step::Proclaim => {
                    let number = self.values.fetch_add(1, Ordering::Relaxed);
                    let value = format!("r{}-{number}", actor.client());
                    recorded::proclaim(actor, leadership, &value).await
                }
                Step::Write => recorded::write(actor, leadership, &self.state_key).await,
            };
            if done.is_err() {
                return;
            }
        }
    }
}

async fn run(arena: &Arena, actor: &Actor, session: &crate::Session, work: &Work) {
    let election = arena.election(session);
    let operation = actor.invoke("run", &work.value);
    let lead = |leadership: Arc<Leadership>| async move { work.lead(actor, &leadership).await };
    match election.run(work.value.as_str(), lead).await {
        Ok(()) => operation.ok((), Evidence::NONE),
        Err(error) => operation.failed(&error, ()),
    }
}
