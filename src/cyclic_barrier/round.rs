//! A participant's way through a round.

use std::time::Duration;

use super::txns::{Coming, Generation, Waiter};
use super::{Inner, Round};
use crate::error::Error;
use crate::hold::{Claim, Hold};
use crate::keys::Name;
use crate::request::revision_of;
use crate::runtime;
use crate::watch::View;

/// For how long a round that is complete may go without being ended before any
/// participant ends it: the one whose turn it is may have died.
const GRACE: Duration = Duration::from_millis(100);

/// A short pause before a step is taken again.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until a round is over that this participant is of.
pub(super) async fn wait(inner: &Inner) -> Result<Round, Error> {
    // The watch opens beside the transaction.
    inner.mirror.open();
    loop {
        let arrival = come(inner).await?;
        #[cfg(feature = "harness")]
        if inner.has_no_generation() {
            return inner.wait_without_generation(arrival).await;
        }
        if let Some(round) = arrival.wait(inner).await? {
            inner.session.check()?;
            tracing::debug!(
                round = round.number,
                index = round.index,
                "the round is over"
            );
            return Ok(round);
        }
        tracing::debug!("the round was full; joins the next one");
    }
}

/// A participant that has come to a round.
pub(super) struct Arrival {
    /// Dropping it deletes the participant's key.
    pub(super) hold: Hold,
    pub(super) generation: Generation,
    pub(super) round: Name,
}

/// Joins the round that is gathering.
async fn come(inner: &Inner) -> Result<Arrival, Error> {
    let mut generation = *inner.known();
    loop {
        let round = inner.round(generation.gathering())?;
        let mut claim = Claim::new(&inner.session, round.new_item_key());
        let txn = inner.come(claim.key(), generation);
        let answer = claim.send(inner.why(), txn).await?;
        let created = match inner.coming(&answer)? {
            Coming::Came => revision_of(answer.header()),
            Coming::HadCome { created } => created,
            Coming::Passed(now) => {
                claim.came_to_nothing();
                inner.learn(now);
                generation = now;
                continue;
            }
        };
        return Ok(Arrival {
            hold: claim.into_hold(created),
            generation,
            round,
        });
    }
}

/// What a participant does next.
enum Step {
    /// The round is over, and this is its place.
    Return(usize),
    /// The round is over without it.
    Passed,
    /// The round is complete, and nobody has ended it yet.
    End(Vec<Waiter>),
    Fail(Error),
}

impl Arrival {
    /// None if the round was over without this participant.
    async fn wait(self, inner: &Inner) -> Result<Option<Round>, Error> {
        let number = self.generation.gathering();
        let place = |index| Some(Round { number, index });
        let created = self.hold.fencing_token();
        loop {
            let decide = |view: &View| self.step(inner, view);
            match inner.mirror.wait(created, decide).await? {
                Step::Return(index) => return Ok(place(index)),
                Step::Passed => return Ok(None),
                Step::Fail(error) => return Err(error),
                Step::End(members) => {
                    let own = members.iter().position(|one| one.key == self.hold.key());
                    let completes = own == Some(inner.count - 1);
                    if (completes || self.nobody_else_ends(inner).await?)
                        && self.end(inner, &members).await?
                        && let Some(index) = own
                    {
                        return Ok(place(index));
                    }
                }
            }
        }
    }

    fn step(&self, inner: &Inner, view: &View) -> Option<Step> {
        let key = self.hold.key();
        if !view.holds(key, self.hold.fencing_token()) {
            return Some(Step::Fail(Error::not_held("wait at", key)));
        }
        let generation = match inner.generation(view) {
            Ok(generation) => generation,
            Err(error) => return Some(Step::Fail(error)),
        };
        inner.learn(generation);
        let value = view.keys.get(key).map_or(&[][..], |entry| &entry.value);
        if !value.is_empty() {
            let place = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
            let foreign = || Step::Fail(Error::foreign_data(key, "it is not a place in a round"));
            return Some(place.map_or_else(foreign, Step::Return));
        }
        if generation != self.generation {
            return Some(Step::Passed);
        }
        let mut waiters = inner.waiters(&self.round, view);
        let is_complete = waiters.len() >= inner.count;
        waiters.truncate(inner.count);
        is_complete.then_some(Step::End(waiters))
    }

    /// Waits whether somebody else ends the round; true if nobody did.
    async fn nobody_else_ends(&self, inner: &Inner) -> Result<bool, Error> {
        let something_else = |view: &View| {
            let step = self.step(inner, view);
            (!matches!(step, Some(Step::End(_)))).then_some(())
        };
        let waited = inner.mirror.wait(self.hold.fencing_token(), something_else);
        match runtime::timeout(runtime::jittered(GRACE * 2), waited).await {
            Ok(changed) => changed.map(|()| false),
            Err(runtime::Elapsed) => Ok(true),
        }
    }

    /// Ends the round. False if that is not certain: then look again.
    async fn end(&self, inner: &Inner, members: &[Waiter]) -> Result<bool, Error> {
        let txn = inner.end(self.generation, members);
        match inner.session.requests().write(inner.why(), txn).await {
            Ok(answer) if answer.succeeded() => {
                inner.learn(Generation {
                    rounds: self.generation.gathering(),
                    mod_revision: revision_of(answer.header()),
                });
                return Ok(true);
            }
            Ok(_) => {}
            // If it was applied, the watch will tell.
            Err(error) if error.is_outcome_unknown() || error.is_not_sent() => {}
            Err(error) => return Err(error),
        }
        runtime::sleep(runtime::jittered(PAUSE)).await;
        Ok(false)
    }
}
