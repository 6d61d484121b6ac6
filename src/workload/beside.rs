//! What the workloads of the barriers and of the queues have in common.

use std::time::Duration;

use etcd_sim::fault::ClientId;
use serde::Serialize;

use super::{Actor, Ended, Parameter, Stage};
use crate::runtime;
use crate::session::{Session, SessionOptions};

pub(super) const THINK_MS: Parameter = Parameter {
    name: "think_ms",
    about: "the longest pause of a client between two operations, in milliseconds",
    bounds: (0, 60_000),
    drawn: (0, 60),
    live: 5,
};

pub(super) const COUNT: Parameter = Parameter {
    name: "count",
    about: "participants of a round",
    bounds: (1, 1_000),
    drawn: (2, 4),
    live: 5,
};
pub(super) const EXTRA: Parameter = Parameter {
    name: "extra",
    about: "how many clients there are more than that",
    bounds: (0, 1_000),
    drawn: (0, 2),
    live: 0,
};
pub(super) const ROUNDS: Parameter = Parameter {
    name: "rounds",
    about: "rounds of each client",
    bounds: (0, 1_000_000),
    drawn: (3, 12),
    live: 100,
};

/// The value of an operation that is done with a session.
#[derive(Serialize)]
pub(super) struct With {
    lease: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    alive: bool,
}

impl With {
    /// The session's lease alone.
    pub(super) fn lease(session: &Session) -> Self {
        Self {
            lease: session.lease_id(),
            alive: false,
        }
    }

    /// The session's lease, and whether it can be relied on right now.
    pub(super) fn certainty(session: &Session) -> Self {
        Self {
            lease: session.lease_id(),
            alive: session.is_alive(),
        }
    }
}

/// A session that begins whenever the cluster lets it.
pub(super) async fn open_session(actor: &mut Actor, ttl: Duration) -> Session {
    loop {
        let options = SessionOptions::new()
            .ttl(ttl)
            .request_deadline(Duration::from_secs(2));
        match Session::with_options(actor.etcd(), options).await {
            Ok(session) => return session,
            Err(_) => actor.back_off().await,
        }
    }
}

/// Waits for all clients, with `side_work` going on beside it.
pub(super) async fn settle_beside(stage: &Stage, side_work: impl Future<Output = ()>) -> Ended {
    let settle = std::pin::pin!(stage.settle());
    let side_work = std::pin::pin!(side_work);
    match futures_util::future::select(settle, side_work).await {
        futures_util::future::Either::Left((ended, _)) => ended,
        futures_util::future::Either::Right(((), settle)) => settle.await,
    }
}

/// Waits for all clients. From when one of them has finished, or died, the others may be too
/// few, and somebody has to `help` them fill their rounds.
pub(super) async fn settle_with_help(
    stage: &Stage,
    clients: ClientId,
    help: impl Future<Output: Send> + Send + 'static,
) -> Ended {
    let stage_of_help = stage.clone();
    let _helpers = stage.run_apart(async move {
        while stage_of_help.running().len() == clients as usize {
            runtime::sleep(Duration::from_millis(20)).await;
        }
        help.await;
    });
    stage.settle().await
}
