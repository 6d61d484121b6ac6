//! Candidates, runners and observers of one election.
//!
//! Candidates campaign, lead for a while (proclaim, act, write under the guard of
//! their key), and resign, or let go without a word, or hand their leadership to
//! another part of the program. Runners do the same through
//! [`Election::run`]. Observers write down what they are
//! told. A client that has done its part keeps its session open until all have: a
//! candidacy that it left behind by mistake is then in everybody's way, and shows.
//!
//! What becomes of the candidates' keys is written down from beginning to end: by a
//! watch of the driver, and in a simulation by the store itself, so that no fault
//! strikes the record. Everything else is held against it.
//!
//! Beside the election there are keys that look like its own: `election2/..`, keys
//! below keys, and keys that are no candidate's.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_checker::Model;
use etcd_sim::fault::ClientId;
use rand::RngExt as _;

use super::{Actor, Bug, Ended, Parameter, Parameters, Running, Stage, Workload};
use crate::Error;
use crate::election::{Election, ElectionFault};
use crate::runtime::{self, Either};
use crate::session::{Session, SessionOptions};

mod candidate;
mod observer;
mod record;
mod runner;

use record::Record;

/// See the [module](self).
pub struct ElectionWorkload;

const GO_CAMPAIGN: Bug = Bug {
    name: "go-campaign",
    about: "a campaign returns when those before it are gone, without looking at its own key (Go)",
};
const GO_CAMPAIGN_LEAKS: Bug = Bug {
    name: "go-campaign-leaks",
    about: "a campaign that fails or is given up leaves its key behind, which wins later (Go)",
};
const GO_OBSERVE: Bug = Bug {
    name: "go-observe",
    about: "an observer follows single keys, never says that nobody leads, ends silently (Go)",
};
const GO_RESUME: Bug = Bug {
    name: "go-resume",
    about: "a resumed leadership looks at all keys that begin with the name, without `/` (Go)",
};
const UNGUARDED_PROCLAIM: Bug = Bug {
    name: "election-unguarded-proclaim",
    about: "a proclamation puts the key without comparing and without the lease",
};
const LATE_CANCEL: Bug = Bug {
    name: "election-late-cancel",
    about: "`run` asks etcd once a second whether the lease lives, and does not look at the clock",
};

impl Workload for ElectionWorkload {
    fn name(&self) -> &'static str {
        "election"
    }

    fn about(&self) -> &'static str {
        "candidates lead in turn, by hand or through `run`, and observers follow"
    }

    fn model(&self) -> Model {
        Model::Election
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[
            Parameter {
                name: "candidates",
                about: "clients that campaign and lead",
                bounds: (1, 100),
                drawn: (1, 3),
                live: 4,
            },
            Parameter {
                name: "runners",
                about: "clients that lead through `run`",
                bounds: (0, 100),
                drawn: (1, 3),
                live: 2,
            },
            Parameter {
                name: "observers",
                about: "clients that observe",
                bounds: (0, 100),
                drawn: (1, 1),
                live: 2,
            },
            Parameter {
                name: "rounds",
                about: "how often each candidate and runner campaigns",
                bounds: (0, 1_000_000),
                drawn: (2, 6),
                live: 20,
            },
            Parameter {
                name: "ttl_s",
                about: "the time to live of the leases, in seconds",
                bounds: (1, 3_600),
                drawn: (2, 3),
                live: 10,
            },
            Parameter {
                name: "think_ms",
                about: "the longest pause of a client between two steps, in milliseconds",
                bounds: (0, 60_000),
                drawn: (5, 200),
                live: 5,
            },
        ]
    }

    fn bugs(&self) -> &'static [Bug] {
        &[
            GO_CAMPAIGN,
            GO_CAMPAIGN_LEAKS,
            GO_OBSERVE,
            GO_RESUME,
            UNGUARDED_PROCLAIM,
            LATE_CANCEL,
        ]
    }

    fn clients(&self, parameters: &Parameters) -> u32 {
        ["candidates", "runners", "observers"]
            .into_iter()
            .map(|role| parameters.count(role))
            .sum()
    }

    fn lasts_ms(&self, parameters: &Parameters) -> u64 {
        let leases = parameters.get("ttl_s") * 1_000;
        500 + leases + parameters.get("rounds") * parameters.get("think_ms") * 4
    }

    fn run(&self, stage: Stage, parameters: Parameters) -> Running {
        Box::pin(async move { run(stage, &parameters).await })
    }
}

/// What the clients of a run share.
#[derive(Clone)]
struct Arena {
    stage: Stage,
    rounds: u64,
    think_ms: u64,
    ttl: Duration,
    /// Clients from this number on only observe.
    observers_from: ClientId,
    /// Clients that have done their part.
    done: Arc<Mutex<BTreeSet<ClientId>>>,
}

async fn run(stage: Stage, parameters: &Parameters) -> Result<Ended, Error> {
    let candidates = 0..parameters.count("candidates");
    let runners = candidates.end..candidates.end + parameters.count("runners");
    let observers = runners.end..runners.end + parameters.count("observers");
    let arena = Arena {
        rounds: parameters.get("rounds"),
        think_ms: parameters.get("think_ms"),
        ttl: Duration::from_secs(parameters.get("ttl_s")),
        observers_from: observers.start,
        done: Arc::default(),
        stage: stage.clone(),
    };
    let mut driver = stage.actor(observers.end).await?;
    let record = Record::begin(&stage, &driver, arena.name()).await?;
    let strangers = arena.put_strangers(&mut driver);
    if stage.in_time(strangers).await.is_none() {
        return Ok(Ended::Stuck);
    }
    let is_told = record.is_told_by_the_store(&stage, &driver);
    let recording = async {
        if is_told {
            std::future::pending::<()>().await;
        }
        record.watch(&driver).await;
    };
    let mut recording = std::pin::pin!(recording);
    candidates.for_each(|client| candidate::start(&arena, client));
    runners.for_each(|client| runner::start(&arena, client));
    observers.for_each(|client| observer::start(&arena, client));
    let ended = match runtime::race(stage.settle(), recording.as_mut()).await {
        Either::Left(ended) => ended,
        // The record is cut off, and the checker will say so.
        Either::Right(()) => return Ok(stage.settle().await),
    };
    let completed = runtime::race(record.complete(&driver), recording);
    let completed = stage.in_time(completed).await;
    match ended {
        Ended::Finished if completed.is_none() => Ok(Ended::Stuck),
        ended => Ok(ended),
    }
}

impl Arena {
    /// The name of the election.
    fn name(&self) -> String {
        format!("{}election", self.stage.prefix())
    }

    fn election(&self, session: &Session) -> Election {
        let election = Election::new(session, self.name()).expect("the name is a good one");
        let faults = [
            (GO_CAMPAIGN, ElectionFault::TrustsThePredecessor),
            (GO_CAMPAIGN_LEAKS, ElectionFault::LeaksCandidates),
            (GO_OBSERVE, ElectionFault::ObservesKeys),
            (UNGUARDED_PROCLAIM, ElectionFault::ProclaimsUnguarded),
            (LATE_CANCEL, ElectionFault::CancelsLate),
        ];
        let put_in = faults.iter().find(|(bug, _)| self.stage.has_bug(bug.name));
        match put_in {
            Some((_, fault)) => election.fault(*fault),
            None => election,
        }
    }

    /// A session; tries until it has one.
    async fn session(&self, actor: &mut Actor) -> Session {
        // Shorter than a lease, so that requests end before their session does.
        let options = SessionOptions::new()
            .ttl(self.ttl)
            .request_deadline(self.ttl / 2);
        loop {
            match Session::with_options(actor.etcd(), options.clone()).await {
                Ok(session) => return session,
                Err(_) => actor.back_off().await,
            }
        }
    }

    /// Keys that are none of this election, although they look a little so.
    async fn put_strangers(&self, driver: &mut Actor) {
        let name = self.name();
        let mut strangers = vec![format!("{name}2/abc"), format!("{name}X")];
        if driver.rng().random_bool(0.3) {
            strangers.extend([format!("{name}/x/abc"), format!("{name}/ABC")]);
        }
        for stranger in strangers {
            let mut kv = driver.etcd().kv_client();
            while kv.put(stranger.as_str(), "stranger", None).await.is_err() {
                driver.back_off().await;
            }
        }
    }

    /// The client has done its part.
    fn finish(&self, client: ClientId) {
        self.done().insert(client);
    }

    /// Whether all who campaign have done their part.
    fn is_over(&self) -> bool {
        let done = self.done();
        let at_work = self.stage.running().into_iter();
        let mut at_work = at_work.filter(|client| *client < self.observers_from);
        !self.stage.awaits_restart() && at_work.all(|client| done.contains(&client))
    }

    async fn over(&self) {
        while !self.is_over() {
            runtime::sleep(Duration::from_millis(20)).await;
        }
    }

    fn done(&self) -> std::sync::MutexGuard<'_, BTreeSet<ClientId>> {
        // Whole at every moment.
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the clients record.
mod recorded {
    use etcd_checker::history::Evidence;
    use serde::Serialize;

    use super::super::{Actor, OpenOperation};
    use crate::Error;
    use crate::election::{Leader, Leadership};

    #[derive(Serialize)]
    pub(super) struct Term {
        pub(super) term: i64,
    }

    #[derive(Serialize)]
    pub(super) struct Proposal<'a> {
        pub(super) term: i64,
        pub(super) value: &'a str,
    }

    #[derive(Serialize)]
    pub(super) struct Told<'a> {
        term: i64,
        value: std::borrow::Cow<'a, str>,
        mod_revision: i64,
    }

    impl<'a> Told<'a> {
        pub(super) fn of(leader: &'a Leader) -> Self {
            Self {
                term: leader.term,
                value: String::from_utf8_lossy(&leader.value),
                mod_revision: leader.mod_revision,
            }
        }
    }

    /// An operation whose future may be dropped: then nobody knows.
    pub(super) struct Attempt(Option<OpenOperation>);

    impl Attempt {
        pub(super) fn new(operation: OpenOperation) -> Self {
            Self(Some(operation))
        }

        pub(super) fn ended<T>(
            mut self,
            result: Result<T, Error>,
            evidence: impl FnOnce(T) -> Evidence,
        ) -> Result<(), Error> {
            let operation = self.0.take().expect("it ends once");
            match result {
                Ok(done) => operation.ok((), evidence(done)),
                Err(error) => {
                    operation.failed(&error, ());
                    return Err(error);
                }
            }
            Ok(())
        }
    }

    impl Drop for Attempt {
        fn drop(&mut self) {
            if let Some(operation) = self.0.take() {
                operation.unknown("it was given up");
            }
        }
    }

    /// Proclaims; the error is that of the recipe.
    pub(super) async fn proclaim(
        actor: &Actor,
        leadership: &Leadership,
        value: &str,
    ) -> Result<(), Error> {
        let term = leadership.term();
        let attempt = Attempt::new(actor.invoke("proclaim", Proposal { term, value }));
        let result = leadership.proclaim(value).await;
        attempt.ended(result, |()| Evidence::revision(leadership.mod_revision()))
    }

    /// A write that only the leader can do.
    pub(super) async fn write(
        actor: &Actor,
        leadership: &Leadership,
        key: &str,
    ) -> Result<(), Error> {
        let term = leadership.term();
        let attempt = Attempt::new(actor.invoke("write", Term { term }));
        let put = crate::etcd_client::TxnOp::put(key, term.to_string(), None);
        let result = leadership.txn().and_then([put]).commit().await;
        attempt.ended(result, |answer| {
            Evidence::revision(crate::request::revision_of(answer.header()))
        })
    }

    /// Acts as the leader: an instant, at which nothing is asked.
    pub(super) fn act(actor: &Actor, term: i64) {
        let operation = actor.invoke("act", Term { term });
        operation.ok((), Evidence::NONE);
    }

    /// Asks who leads.
    pub(super) async fn ask(actor: &Actor, election: &crate::Election) -> Result<(), Error> {
        let operation = actor.invoke("leader", ());
        match election.leader_as_of().await {
            Ok((leader, revision)) => {
                let told = leader.as_ref().map(Told::of);
                operation.ok(told, Evidence::revision(revision));
                Ok(())
            }
            Err(error) => {
                operation.failed(&error, ());
                Err(error)
            }
        }
    }
}
