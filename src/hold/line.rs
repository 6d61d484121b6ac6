//! Standing in line: a key waits until no key that stands in its way is left.
//!
//! Who came first is decided by the create revisions that etcd gave to the keys,
//! and nobody asks etcd while they wait: the lasting local copy of the line
//! ([`Mirror`]) says when it is their turn.
//!
//! Who comes to a line that is long and moves fast stands back for a moment. etcd
//! writes to its log what has arrived since it last did so; the request that lets the
//! next one in is on its own there, since nobody sends it before the last one is
//! done, unless newcomers keep the log busy: then each hand-over waits for one of
//! theirs, and takes twice as long. If all newcomers come when the line has become
//! short, which all hear of at the same time, they share a write.

use std::time::Duration;

use super::Hold;
use crate::error::Error;
use crate::runtime;
use crate::session::Session;
use crate::watch::{Entry, Mirror, View};

/// A line of so many keys is long: the last but one can leave before the next
/// newcomer has to be there.
const LONG: usize = 3;

/// A line that did not move for so long is slow. Who has to wait there loses nothing
/// that could be noticed.
const SLOW: Duration = Duration::from_millis(20);

/// Nobody stands back for longer.
const LONGEST: Duration = Duration::from_millis(100);

/// Stands back while the line is long and moves fast, as far as the local copy knows;
/// not at all if there is none yet.
///
/// # Errors
///
/// Session lost, as soon as it is; and what the mirror fails with.
pub(crate) async fn stand_back(
    session: &Session,
    mirror: &Mirror,
    stands: impl Fn(&str, &Entry) -> bool,
) -> Result<(), Error> {
    let is_long = |view: &View| {
        let standing = view.keys.iter().filter(|(key, entry)| stands(key, entry));
        standing.take(LONG).count() == LONG
    };
    let moved_on = async {
        let mut known = mirror.peek(|view| is_long(view).then_some(view.revision));
        while let Some(revision) = known.flatten() {
            let changed = |view: &View| {
                (view.revision != revision).then(|| is_long(view).then_some(view.revision))
            };
            match runtime::timeout(SLOW, mirror.wait(0, changed)).await {
                Ok(view) => known = Some(view?),
                Err(runtime::Elapsed) => break,
            }
        }
        Ok(())
    };
    match runtime::timeout(LONGEST, session.while_alive(moved_on)).await {
        Ok(moved_on) => moved_on,
        Err(runtime::Elapsed) => Ok(()),
    }
}

/// Waits until no earlier key is in the way of `hold`; the revision at which
/// that was so, and the hold's own key was there.
///
/// # Errors
///
/// Session lost, as soon as it is; not held when the key is gone although the
/// session is not; and what the mirror fails with.
pub(crate) async fn wait_in_line(
    operation: &'static str,
    mirror: &Mirror,
    hold: &Hold,
    in_the_way: impl Fn(&str, &Entry) -> bool,
) -> Result<i64, Error> {
    let (key, token) = (hold.key(), hold.fencing_token());
    tracing::debug!(key, token, "waits in line");
    let in_turn = mirror.wait(token, |view| {
        if !view.holds(key, token) {
            return Some(None);
        }
        let earlier = |(key, entry): (&String, &Entry)| {
            entry.create_revision < token && in_the_way(key, entry)
        };
        (!view.keys.iter().any(earlier)).then_some(Some(view.revision))
    });
    let owned_at = hold.session().while_alive(in_turn).await?;
    let owned_at = owned_at.ok_or_else(|| Error::not_held(operation, key))?;
    tracing::debug!(key, token, revision = owned_at, "is first in line");
    Ok(owned_at)
}
