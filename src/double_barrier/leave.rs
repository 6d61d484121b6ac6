//! Leaving: go, and wait until the others have gone.

use std::time::Duration;

use etcd_client::{TxnOpResponse, TxnResponse};

use super::txns::{Scene, Waiter};
use super::{Inner, Inside};
use crate::error::Error;
use crate::request::revision_of;
use crate::runtime;
use crate::telemetry;
use crate::watch::View;

const PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn leave(inner: &Inner, inside: Inside) -> Result<(), Error> {
    let session = inner.session.clone();
    session.while_alive(go_and_wait(inner, inside)).await
}

async fn go_and_wait(inner: &Inner, inside: Inside) -> Result<(), Error> {
    stay_while_oldest(inner, &inside).await?;
    let (revision, others) = go(inner, inside).await?;
    tracing::debug!(revision, others = others.len(), "left");
    telemetry::done_at(revision);
    #[cfg(feature = "harness")]
    if inner.leaves_at_once() {
        return Ok(());
    }
    if others.is_empty() {
        return Ok(());
    }
    let all_gone = |view: &View| {
        let is_there = |waiter: &Waiter| view.holds(&waiter.key, waiter.created);
        (!others.iter().any(is_there)).then_some(())
    };
    inner.mirror.wait(revision, all_gone).await
}

/// From as many participants on, etcd's Go recipe relies on the oldest one.
const OLDEST_GOES_LAST_FROM: usize = 3;

/// Waits until the others of the round have gone, if this participant is the oldest
/// that is there.
///
/// That is for Go participants: one that has left waits for the deletion of the
/// oldest key, and then takes a single key that is left for its own (`Leave` in
/// etcd's `contrib/recipes/double_barrier.go`, 3.4.23). The oldest that has gone
/// last leaves no key behind to mistake.
async fn stay_while_oldest(inner: &Inner, inside: &Inside) -> Result<(), Error> {
    #[cfg(feature = "harness")]
    if inner.leaves_at_once() || inner.is_as_go() {
        return Ok(());
    }
    if inner.count < OLDEST_GOES_LAST_FROM {
        return Ok(());
    }
    let (own, began) = (inside.hold.key(), inside.began);
    let may_go = |view: &View| {
        let waiters = Scene::of_view(inner, view).waiters;
        let is_oldest = waiters.first().is_some_and(|oldest| oldest.key == own);
        let of_the_round = waiters.iter().filter(|waiter| waiter.created < began);
        let is_alone = view.revision >= began && of_the_round.count() == 1;
        (!is_oldest || is_alone).then_some(())
    };
    // Once its own key is in the copy of the keys, every older one that lives is.
    let came = inside.hold.fencing_token();
    inner.mirror.wait(came, may_go).await
}

/// Deletes the participant's key. Returns a revision at which its round had begun,
/// or later, and who of that round was still there.
///
/// Sent again while the outcome is unknown: it deletes this very key only, and what
/// says that the round has begun only together with it.
async fn go(inner: &Inner, inside: Inside) -> Result<(i64, Vec<Waiter>), Error> {
    let Inside { hold, began } = inside;
    let mut unanswered = false;
    loop {
        let txn = inner.go(&hold);
        let requests = inner.session.requests();
        match requests.write(inner.why("leave"), txn).await {
            Ok(answer) => {
                let mut gone = of_answer(inner, &answer)?;
                if !gone.was_there && !unanswered {
                    return Err(Error::not_held("leave", hold.key()));
                }
                // After a lost answer the next round may be gathering already.
                gone.others.retain(|waiter| waiter.created < began);
                hold.released_elsewhere();
                let revision = if gone.was_there { gone.revision } else { began };
                return Ok((revision, gone.others));
            }
            Err(error) if error.is_outcome_unknown() || error.is_not_sent() => {
                unanswered |= error.is_outcome_unknown();
                runtime::sleep(runtime::jittered(PAUSE)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

struct Gone {
    was_there: bool,
    revision: i64,
    others: Vec<Waiter>,
}

fn of_answer(inner: &Inner, answer: &TxnResponse) -> Result<Gone, Error> {
    let revision = revision_of(answer.header());
    if answer.succeeded() {
        return Ok(Gone {
            was_there: true,
            revision,
            others: Vec::new(),
        });
    }
    match answer.op_responses().into_iter().next() {
        Some(TxnOpResponse::Txn(nested)) => Ok(Gone {
            was_there: nested.succeeded(),
            revision,
            others: inner.scene(&nested)?.waiters,
        }),
        _ => Err(Error::unreadable_answer("leave", inner.name.as_str())),
    }
}
