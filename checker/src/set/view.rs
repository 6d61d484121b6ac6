//! What a view of a set that cannot be is called.

use std::collections::BTreeSet;

use crate::search::{Call, NON_LINEARIZABLE};
use crate::set_full::{LOST, PHANTOM, TWICE};
use crate::verdict::Kind;

use super::Elements;

/// What somebody saw of a set.
pub(crate) enum View<'v> {
    Whole(&'v Elements),
    /// Whether one element was inside.
    Of(u32, bool),
    /// An element twice.
    Twice,
}

/// A change of a set, as far as it may have happened.
pub(crate) struct Change {
    element: u32,
    adds: bool,
    /// Whether it had certainly happened before somebody looked.
    is_before: bool,
}

impl Change {
    /// What a call changes, for the call that looked.
    pub(crate) fn of<I, O>(call: &Call<I, O>, element: u32, adds: bool, look: &Call<I, O>) -> Self {
        Self {
            element,
            adds,
            is_before: call.returned.is_some_and(|end| end < look.invoked),
        }
    }
}

/// What was seen although nobody added it, or was not seen although it was added before and
/// nobody ever removed it, has a name. The rest is a matter of order.
pub(crate) fn wrong_view(view: &View<'_>, changes: impl Iterator<Item = Change>) -> Kind {
    let (mut added, mut before, mut removed) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for change in changes {
        if !change.adds {
            removed.insert(change.element);
            continue;
        }
        added.insert(change.element);
        if change.is_before {
            before.insert(change.element);
        }
    }
    let is_lost = |element: &u32| before.contains(element) && !removed.contains(element);
    let (is_phantom, is_lost) = match view {
        View::Twice => return TWICE,
        View::Whole(whole) => (
            whole.iter().any(|element| !added.contains(&element)),
            before
                .iter()
                .any(|element| !whole.contains(*element) && is_lost(element)),
        ),
        View::Of(element, true) => (!added.contains(element), false),
        View::Of(element, false) => (false, is_lost(element)),
    };
    match (is_phantom, is_lost) {
        (true, _) => PHANTOM,
        (false, true) => LOST,
        (false, false) => NON_LINEARIZABLE,
    }
}
