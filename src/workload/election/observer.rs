//! Clients that observe.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_checker::history::Evidence;
use etcd_sim::fault::ClientId;
use rand::RngExt as _;

use super::recorded::{self, Told};
use super::{Actor, Arena};
use crate::Error;
use crate::election::{Election, Observation, Observer};
use crate::runtime::{self, Either};

pub(super) fn start(arena: &Arena, client: ClientId) {
    // A restarted observer begins a new stream.
    let streams = Arc::new(AtomicU64::new(0));
    let shared = arena.clone();
    arena.stage.start(client, move |mut actor| {
        let (arena, streams) = (shared.clone(), streams.clone());
        async move {
            let session = arena.session(&mut actor).await;
            let election = arena.election(&session);
            loop {
                let number = streams.fetch_add(1, Ordering::Relaxed);
                let stream = format!("o{client}.{number}");
                if follow(&arena, &mut actor, &election, &stream).await {
                    return;
                }
            }
        }
    });
}

/// Follows one stream of observations; true when there will be nothing more.
async fn follow(arena: &Arena, actor: &mut Actor, election: &Election, stream: &str) -> bool {
    let mut observer = election.observe();
    let mut is_vacant = false;
    loop {
        let operation = actor.invoke("observe", stream);
        let Some(observed) = next(arena, &mut observer, is_vacant).await else {
            // It waits for what will not come, and that is right.
            return true;
        };
        match observed {
            Ok(observation) => {
                let told = match &observation {
                    Observation::Leader(leader) => Some(Told::of(leader)),
                    Observation::Vacant => None,
                };
                is_vacant = told.is_none();
                operation.ok(told, Evidence::revision(observer.revision()));
            }
            Err(error) => {
                operation.failed(&error, ());
                actor.back_off().await;
            }
        }
        if actor.rng().random_bool(0.1) {
            // What it was told is recorded; nothing depends on it.
            recorded::ask(actor, election).await.ok();
        }
        if actor.rng().random_bool(0.05) {
            return false;
        }
        if actor.rng().random_bool(0.2) {
            // Meanwhile much can happen.
            actor.think(arena.think_ms * 10).await;
        }
    }
}

/// What comes next; none when all is over and this observer knows that nobody leads.
async fn next(
    arena: &Arena,
    observer: &mut Observer,
    is_vacant: bool,
) -> Option<Result<Observation, Error>> {
    const LOOK: Duration = Duration::from_millis(50);
    let mut next = std::pin::pin!(observer.next());
    loop {
        match runtime::race(next.as_mut(), runtime::sleep(LOOK)).await {
            Either::Left(observed) => return Some(observed),
            Either::Right(()) if is_vacant && arena.is_over() => return None,
            Either::Right(()) => {}
        }
    }
}
