//! Entering: come, wait for the others, begin together.

use std::time::Duration;

use super::txns::{Coming, Scene};
use super::{Inner, Inside};
use crate::error::{self, Error};
use crate::hold::{Claim, Hold};
use crate::request::revision_of;
use crate::runtime;
use crate::telemetry;
use crate::watch::Reading;

/// For how long a round that is complete may go without saying so before any
/// participant says it: the one whose turn it is may have died.
const GRACE: Duration = Duration::from_millis(100);

/// A short pause before a step is taken again.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits for the round and enters with it.
pub(super) async fn enter(inner: &Inner) -> Result<Inside, Error> {
    // The watch opens beside the transaction, which reads the keys for it.
    let reading = inner.mirror.open_for();
    let arrival = come(inner, reading).await?;
    #[cfg(feature = "harness")]
    if inner.is_as_go() {
        return inner.wait_as_go(arrival).await;
    }
    let session = inner.session.clone();
    let inside = session.while_alive(wait(inner, arrival)).await?;
    // What was read may be older than the loss.
    session.check()?;
    tracing::debug!(key = inside.hold.key(), revision = inside.began, "entered");
    telemetry::held(inside.hold.fencing_token(), inside.began);
    Ok(inside)
}

/// A participant that has come.
pub(super) struct Arrival {
    pub(super) hold: Hold,
    pub(super) scene: Scene,
    /// Whether it certainly is among the first, as many as a round has: once that
    /// is so it remains so, because the others only become fewer.
    pub(super) is_early: bool,
}

/// Creates the participant's key.
async fn come(inner: &Inner, reading: Reading) -> Result<Arrival, Error> {
    let mut stale = None;
    loop {
        let key = inner.waiters.new_item_key();
        let mut claim = Claim::new(&inner.session, key.as_str()).with_void(inner.void(&key));
        let scene = loop {
            let txn = inner.come(claim.key(), stale);
            let answer = claim.send(inner.why("enter"), txn).await?;
            let scene = match inner.coming(claim.key(), &answer)? {
                Coming::Came { created, scene } => {
                    if let Some(read) = Inner::all_keys_of(&answer) {
                        reading.done(created, &read);
                    }
                    return Ok(inner.arrival(claim, created, scene));
                }
                Coming::HadCome { created, scene } => {
                    return Ok(inner.arrival(claim, created, scene));
                }
                Coming::NotNow { scene } => scene,
            };
            // An earlier request may still be on its way: who is told that it does not
            // take part must not be counted later.
            if !claim.is_unsettled() || prevent(inner, &key).await? {
                break scene;
            }
        };
        claim.abandon();
        if scene.ready.is_some() && !scene.waiters.is_empty() {
            return Err(inner.full("a round is under way"));
        }
        tracing::debug!(ready = scene.ready, "nobody is there; tries again");
        stale = scene.ready;
    }
}

/// Sees to it that no request that was sent before creates the participant's key
/// later. False if one has done so.
async fn prevent(inner: &Inner, key: &str) -> Result<bool, Error> {
    let session = &inner.session;
    let sent = async {
        loop {
            let requests = session.requests();
            match requests.write(inner.why("enter"), inner.prevent(key)).await {
                Ok(answer) => return Ok(answer.succeeded()),
                Err(error) if error.is_outcome_unknown() || error.is_not_sent() => {
                    runtime::sleep(runtime::jittered(PAUSE)).await;
                }
                Err(error) => return Err(error),
            }
        }
    };
    session.while_alive(sent).await
}

/// What a participant does next.
enum Step {
    /// The round has begun, with it, at this revision.
    Enter(i64),
    /// Its key is gone.
    Gone,
    /// The round began; whether with it is to be found out.
    Began(i64),
    /// Enough others came before.
    GoAway(Scene),
    /// The round is complete, and nobody has said so yet.
    Begin(Scene),
}

impl Inner {
    fn arrival(&self, claim: Claim, created: i64, scene: Scene) -> Arrival {
        let hold = claim.into_hold(created);
        let is_early = self.is_among_first(&scene, hold.key());
        Arrival {
            hold,
            scene,
            is_early,
        }
    }

    fn step(&self, own: &str, is_early: bool, scene: &Scene) -> Option<Step> {
        let Some(rank) = scene.rank(own) else {
            return Some(Step::Gone);
        };
        match scene.ready {
            Some(began) if is_early => Some(Step::Enter(began)),
            Some(began) => Some(Step::Began(began)),
            None if rank >= self.count => Some(Step::GoAway(scene.clone())),
            None if scene.waiters.len() >= self.count => Some(Step::Begin(scene.clone())),
            None => None,
        }
    }

    /// Whether this participant is among the first, as many as a round has, and no
    /// round has begun.
    fn is_among_first(&self, scene: &Scene, own: &str) -> bool {
        let is_early = |rank: usize| rank < self.count;
        scene.ready.is_none() && scene.rank(own).is_some_and(is_early)
    }

    pub(super) fn full(&self, reason: &str) -> Error {
        Error::too_many_clients("enter", self.name.as_str(), reason)
    }
}

async fn wait(inner: &Inner, arrival: Arrival) -> Result<Inside, Error> {
    let Arrival {
        hold,
        scene,
        mut is_early,
    } = arrival;
    let own = hold.key().to_owned();
    let created = hold.fencing_token();
    let mut next = inner.step(&own, is_early, &scene);
    loop {
        let step = match next.take() {
            Some(step) => step,
            None => {
                let decide = |view: &crate::watch::View| {
                    inner.step(&own, is_early, &Scene::of_view(inner, view))
                };
                inner.mirror.wait(created, decide).await?
            }
        };
        match step {
            Step::Enter(began) => return Ok(Inside { hold, began }),
            Step::Gone => return Err(Error::not_held("enter", &own)),
            Step::Began(began) => {
                return if was_early(inner, &own, began).await? {
                    Ok(Inside { hold, began })
                } else {
                    Err(inner.full("enough others came before"))
                };
            }
            Step::GoAway(scene) => {
                let scene = match go_away(inner, &hold, &scene).await? {
                    None => {
                        hold.released_elsewhere();
                        return Err(inner.full("enough others came before"));
                    }
                    Some(scene) => scene,
                };
                is_early = inner.is_among_first(&scene, &own);
                next = inner.step(&own, is_early, &scene);
            }
            Step::Begin(scene) => {
                // At that moment no round was under way.
                is_early = true;
                let completes = scene.rank(&own) == Some(inner.count - 1);
                if (completes || nobody_else_begins(inner, &own, created).await?)
                    && let Some(began) = begin(inner, &hold, &scene).await?
                {
                    return Ok(Inside { hold, began });
                }
            }
        }
    }
}

/// Waits whether somebody else says that the round has begun; true if nobody did.
async fn nobody_else_begins(inner: &Inner, own: &str, created: i64) -> Result<bool, Error> {
    let something_else = |view: &crate::watch::View| {
        let step = inner.step(own, true, &Scene::of_view(inner, view));
        (!matches!(step, Some(Step::Begin(_)))).then_some(())
    };
    let waited = inner.mirror.wait(created, something_else);
    match runtime::timeout(runtime::jittered(GRACE * 2), waited).await {
        Ok(changed) => changed.map(|()| false),
        Err(runtime::Elapsed) => Ok(true),
    }
}

/// Says that the round has begun. Returns the revision, or none if that is not
/// certain: then look again.
async fn begin(inner: &Inner, hold: &Hold, scene: &Scene) -> Result<Option<i64>, Error> {
    let Some(members) = scene.first(inner.count) else {
        return Ok(None);
    };
    let txn = inner.begin(hold, members);
    match inner
        .session
        .requests()
        .write(inner.why("enter"), txn)
        .await
    {
        Ok(answer) if answer.succeeded() => return Ok(Some(revision_of(answer.header()))),
        Ok(_) => {}
        // If it was applied, the watch will tell.
        Err(error) if error.is_outcome_unknown() || error.is_not_sent() => {}
        Err(error) => return Err(error),
    }
    runtime::sleep(runtime::jittered(PAUSE)).await;
    Ok(None)
}

/// Goes away because enough others came before. Some if one of those is no longer
/// there: then this is who is.
async fn go_away(inner: &Inner, hold: &Hold, scene: &Scene) -> Result<Option<Scene>, Error> {
    let before = scene.first(inner.count).unwrap_or_default();
    let txn = inner.go_away(hold, before);
    let requests = inner.session.requests();
    let answer = requests.write(inner.why("enter"), txn).await?;
    if answer.succeeded() {
        return Ok(None);
    }
    inner.scene(&answer).map(Some)
}

/// Whether the participant was among the first when the round began.
async fn was_early(inner: &Inner, own: &str, began: i64) -> Result<bool, Error> {
    let options = inner.list_options().with_revision(began);
    let prefix = inner.waiters.children();
    let requests = inner.session.requests();
    let read = requests
        .range(inner.why("enter"), prefix.as_bytes(), options)
        .await;
    match read {
        Ok(read) => {
            let waiters = inner.waiters_of(&read);
            let rank = waiters.iter().position(|waiter| waiter.key == own);
            Ok(rank.is_some_and(|rank| rank < inner.count))
        }
        Err(error) if error.etcd_error().is_some_and(error::is_compacted) => {
            let reason = "the history that tells whether it was counted has been compacted";
            Err(Error::cannot_tell("enter", inner.name.as_str(), reason))
        }
        Err(error) => Err(error),
    }
}
