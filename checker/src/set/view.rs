//! What a view of a set that cannot be is called.

use std::collections::BTreeMap;

use crate::anomaly::{FUTURE_READ, STALE_READ};
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
    invoked: u64,
    returned: Option<u64>,
    /// Whether it had certainly happened before somebody looked.
    is_before: bool,
    /// Whether it can only have happened afterwards.
    is_after: bool,
}

impl Change {
    /// What a call changes, for the call that looked.
    pub(crate) fn of<I, O>(call: &Call<I, O>, element: u32, adds: bool, look: &Call<I, O>) -> Self {
        Self {
            element,
            adds,
            invoked: call.invoked,
            returned: call.returned,
            is_before: call.returned.is_some_and(|end| end < look.invoked),
            is_after: look.returned.is_some_and(|end| end < call.invoked),
        }
    }
}

/// What is wrong with an element, the worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wrong {
    /// Seen, and nobody ever added it.
    Phantom,
    /// Seen, and added only afterwards.
    Future,
    /// Not seen, and added before, and nobody had removed it.
    Lost,
    /// Seen, or not seen, as it had been before what was certainly done last.
    Stale,
}

/// What is wrong with an element, if the changes of it tell.
fn wrong_element(is_inside: bool, changes: &[&Change]) -> Option<Wrong> {
    let as_seen = || changes.iter().filter(|change| change.adds == is_inside);
    let mut otherwise = changes.iter().filter(|change| change.adds != is_inside);
    // Nothing made it as it was seen between this one and the look.
    let is_last = |change: &Change| {
        let is_out = |other: &&&Change| {
            other.is_after || other.returned < Some(change.invoked) && other.returned.is_some()
        };
        change.is_before && as_seen().all(|other| is_out(&other))
    };
    if is_inside && as_seen().next().is_none() {
        return Some(Wrong::Phantom);
    }
    if is_inside && as_seen().all(|change| change.is_after) {
        return Some(Wrong::Future);
    }
    if !otherwise.any(|change| is_last(change)) {
        return None;
    }
    let was_removed = as_seen().any(|change| !change.is_after);
    Some(if is_inside || was_removed {
        Wrong::Stale
    } else {
        Wrong::Lost
    })
}

/// What a view shows wrongly.
pub(crate) struct WrongView {
    pub(crate) kind: Kind,
    /// The element that it shows wrongly, if one alone is wrong; and why.
    element: Option<(u32, bool, Wrong)>,
}

impl WrongView {
    fn of(kind: Kind) -> Self {
        Self {
            kind,
            element: None,
        }
    }

    /// What is wrong, after the name of who saw it; `text` is that of an element.
    pub(crate) fn clause<'t>(&self, text: impl Fn(u32) -> &'t str) -> Option<String> {
        let (element, is_inside, wrong) = self.element?;
        let saw = if is_inside { "saw" } else { "did not see" };
        let which = match (wrong, is_inside) {
            (Wrong::Phantom, _) => "which nobody added",
            (Wrong::Future, _) => "which was added only afterwards",
            (Wrong::Lost, _) => "which had been added, and nobody removed it",
            (Wrong::Stale, true) => "which had been removed, and not added again since",
            (Wrong::Stale, false) => "which had been added, and not removed again since",
        };
        Some(format!("it {saw} `{}`, {which}", text(element)))
    }
}

/// What is wrong with one element has a name. The rest is a matter of order.
pub(crate) fn wrong_view(view: &View<'_>, changes: impl Iterator<Item = Change>) -> WrongView {
    let changes: Vec<Change> = changes.collect();
    let mut by_element: BTreeMap<u32, Vec<&Change>> = BTreeMap::new();
    for change in &changes {
        by_element.entry(change.element).or_default().push(change);
    }
    let wrong = |element: u32, is_inside: bool| {
        let changes = by_element.get(&element).map_or(&[][..], Vec::as_slice);
        let wrong = wrong_element(is_inside, changes)?;
        Some((wrong, element, is_inside))
    };
    let worst = match view {
        View::Twice => return WrongView::of(TWICE),
        View::Whole(whole) => {
            let known = by_element.keys().copied();
            let seen = whole.iter().map(|element| wrong(element, true));
            let others = known.filter(|element| !whole.contains(*element));
            seen.chain(others.map(|element| wrong(element, false)))
                .flatten()
                .min()
        }
        View::Of(element, is_inside) => wrong(*element, *is_inside),
    };
    let Some((wrong, element, is_inside)) = worst else {
        return WrongView::of(NON_LINEARIZABLE);
    };
    let kind = match wrong {
        Wrong::Phantom => PHANTOM,
        Wrong::Future => FUTURE_READ,
        Wrong::Lost => LOST,
        Wrong::Stale => STALE_READ,
    };
    WrongView {
        kind,
        element: Some((element, is_inside, wrong)),
    }
}
