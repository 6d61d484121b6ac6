//! Standing in line: a key waits until no key that stands in its way is left.
//!
//! Who came first is decided by the create revisions that etcd gave to the keys,
//! and nobody asks etcd while they wait: the lasting local copy of the line
//! ([`Mirror`]) says when it is their turn.

use super::Hold;
use crate::error::Error;
use crate::watch::{Entry, Mirror};

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
