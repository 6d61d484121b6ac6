//! What a view of a set that cannot be is called.

use std::collections::{BTreeMap, BTreeSet};

use crate::anomaly::{self, FUTURE_READ, STALE_READ};
use crate::search::{Budget, Call, Failure, Found, NON_LINEARIZABLE, Others, Sequential, search};
use crate::set_full::{LOST, PHANTOM, TWICE};
use crate::verdict::Kind;

use super::Elements;

/// What an operation says of a set.
pub(crate) enum Said<'v> {
    /// Adds an element, or takes it out; and whether that changed something, if that is known.
    Change(u32, bool, Option<bool>),
    /// Whether one element was inside.
    Of(u32, bool),
    Whole(&'v Elements),
    /// An element twice.
    Twice,
    Nothing,
}

/// An operation that somebody asked for.
struct Told<'v> {
    said: Said<'v>,
    invoked: u64,
    returned: Option<u64>,
    /// Whether its answer is known.
    counts: bool,
    /// Whether it had certainly happened before the refuted one began.
    is_before: bool,
    /// Whether it can only have happened after that one.
    is_after: bool,
}

impl Told<'_> {
    /// Of the element that is changed, whether it is added; unless it was so already.
    fn change(&self) -> Option<(u32, bool)> {
        match self.said {
            Said::Change(_, _, Some(false)) if self.counts => None,
            Said::Change(element, adds, _) => Some((element, adds)),
            _ => None,
        }
    }

    /// Whether this element was inside, if it says so; and after it, if it changes that.
    fn was(&self, element: u32) -> Option<bool> {
        match &self.said {
            Said::Change(of, adds, Some(changed)) if *of == element => Some(adds != changed),
            Said::Of(of, is_inside) if *of == element => Some(*is_inside),
            Said::Whole(whole) => Some(whole.contains(element)),
            _ => None,
        }
    }

    /// The elements that it is about, as far as the whole is not what another one saw.
    fn elements(&self, seen: Option<&Elements>) -> Vec<u32> {
        match (&self.said, seen) {
            (Said::Change(element, ..) | Said::Of(element, _), _) => vec![*element],
            (Said::Whole(whole), Some(seen)) => whole.differences(seen).collect(),
            _ => Vec::new(),
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

/// What is wrong with an element, if the changes of it tell, or if something `is_known` to be.
fn wrong_element(is_inside: bool, changes: &[&Told<'_>], is_known: bool) -> Option<Wrong> {
    let adds = |told: &Told<'_>| told.change().map(|(_, adds)| adds);
    let as_seen = || {
        let changes = changes.iter();
        changes.filter(|change| adds(change) == Some(is_inside))
    };
    let mut otherwise = changes.iter().filter(|one| adds(one) == Some(!is_inside));
    // Nothing made it as it was seen between this one and the look.
    let is_last = |change: &Told<'_>| {
        let is_out = |other: &&&Told<'_>| {
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
    if !is_known && !otherwise.any(|change| is_last(change)) {
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

/// What is wrong with one element has a name. The rest is a matter of order. `said` tells what
/// a call says; none of those of other sets.
pub(crate) fn wrong_view<'c, I, O>(
    calls: &'c [Call<I, O>],
    failure: &Failure,
    said: impl Fn(&'c Call<I, O>) -> Option<Said<'c>>,
) -> Option<WrongView> {
    let refuted = &calls[failure.refuted];
    let (seen, of) = match said(refuted)? {
        Said::Twice => return Some(WrongView::of(TWICE)),
        Said::Whole(whole) => (Some(whole), None),
        Said::Of(element, is_inside) => (None, Some((element, is_inside))),
        // Who changed nothing found it so.
        Said::Change(element, adds, changed) => (None, Some((element, adds != changed?))),
        Said::Nothing => return None,
    };
    let others = calls.iter().enumerate();
    let others = others.filter(|(index, _)| *index != failure.refuted);
    let told = others.filter_map(|(index, call)| {
        Some(Told {
            said: said(call)?,
            invoked: call.invoked,
            returned: call.returned,
            counts: anomaly::is_known(failure, index, call),
            is_before: call.returned.is_some_and(|end| end < refuted.invoked),
            is_after: refuted.returned.is_some_and(|end| end < call.invoked),
        })
    });
    let told: Vec<Told<'_>> = told.collect();
    let mut by_element: BTreeMap<u32, Vec<&Told<'_>>> = BTreeMap::new();
    for told in &told {
        if let Said::Change(element, ..) = told.said {
            by_element.entry(element).or_default().push(told);
        }
    }
    let changes = |element: u32| by_element.get(&element).map_or(&[][..], Vec::as_slice);
    let wrong = |element: u32, is_inside: bool, is_known: bool| {
        let wrong = wrong_element(is_inside, changes(element), is_known)?;
        Some((wrong, element, is_inside))
    };
    let plain = match (of, seen) {
        (Some((element, is_inside)), _) => wrong(element, is_inside, false),
        (None, Some(whole)) => {
            let known = by_element.keys().copied();
            let inside = whole.iter().map(|element| wrong(element, true, false));
            let others = known.filter(|element| !whole.contains(*element));
            inside
                .chain(others.map(|element| wrong(element, false, false)))
                .flatten()
                .min()
        }
        (None, None) => None,
    };
    let look = |element: u32| match of {
        Some((of, is_inside)) => (of == element).then_some(is_inside),
        None => seen.map(|seen| seen.contains(element)),
    };
    // What others who looked have seen tells, too.
    let worst = plain.or_else(|| {
        let known = told.iter().filter(|told| told.counts);
        let suspects = known.flat_map(|told| told.elements(seen));
        let own = of.map(|(element, _)| element);
        let suspects: BTreeSet<u32> = suspects.chain(own).collect();
        let suspects = suspects.into_iter().take(SUSPECTS_MAX);
        suspects
            .filter_map(|element| {
                let is_inside = look(element)?;
                let is_wrong = is_alone_wrong(refuted, element, is_inside, &told, failure.others);
                is_wrong.then(|| wrong(element, is_inside, true)).flatten()
            })
            .min()
    });
    let Some((wrong, element, is_inside)) = worst else {
        return Some(WrongView::of(NON_LINEARIZABLE));
    };
    let kind = match wrong {
        Wrong::Phantom => PHANTOM,
        Wrong::Future => FUTURE_READ,
        Wrong::Lost => LOST,
        Wrong::Stale => STALE_READ,
    };
    Some(WrongView {
        kind,
        element: Some((element, is_inside, wrong)),
    })
}

/// Of how many elements it is asked whether they tell.
const SUSPECTS_MAX: usize = 32;

/// How many bytes that may take.
const BYTES_MAX: usize = 1 << 20;

/// Whether nothing explains this look at an element, as far as what others said of it is known.
fn is_alone_wrong<I, O>(
    look: &Call<I, O>,
    element: u32,
    is_inside: bool,
    told: &[Told<'_>],
    others: Others,
) -> bool {
    let asked = told.iter().filter(|told| !told.is_after);
    let mut calls: Vec<Call<Does, bool>> = asked
        .filter_map(|told| {
            let does = match told.said {
                Said::Change(of, adds, _) if of == element => Does::Change(adds),
                _ => Does::Look,
            };
            let output = told.was(element).filter(|_| told.counts);
            let says = output.is_some() || matches!(does, Does::Change(_));
            let is_over = told.counts || !others.is_at_any_time();
            says.then(|| Call {
                input: does,
                output,
                invoked: told.invoked,
                returned: told.returned.filter(|_| is_over),
            })
        })
        .collect();
    calls.push(Call {
        input: Does::Look,
        output: Some(is_inside),
        invoked: look.invoked,
        returned: look.returned,
    });
    calls.sort_by_key(|call| call.invoked);
    let budget = Budget {
        time: None,
        memory_bytes: BYTES_MAX,
    };
    matches!(search(&Element, &calls, &budget), Found::NotLinearizable(_))
}

/// What is done to one element.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Does {
    /// Adds it, or takes it out.
    Change(bool),
    Look,
}

/// Whether it is inside.
struct Element;

impl Sequential for Element {
    type State = bool;
    type Input = Does;
    /// Whether it was inside before.
    type Output = bool;
    type Part = ();

    fn part(&self, _: &Does) {}

    fn initial(&self, (): &()) -> bool {
        false
    }

    fn step(
        &self,
        is_inside: &bool,
        does: &Does,
        was: Option<&bool>,
    ) -> impl IntoIterator<Item = bool> {
        let after = match does {
            Does::Change(adds) => *adds,
            Does::Look => *is_inside,
        };
        was.is_none_or(|was| was == is_inside).then_some(after)
    }

    fn only_reads(&self, does: &Does, was: Option<&bool>) -> bool {
        match does {
            Does::Look => true,
            Does::Change(adds) => was == Some(adds),
        }
    }
}
