//! Which few operations on a set may prove that there is no order, and which cannot matter
//! to them. Shared by all objects whose state is a set.
//!
//! What somebody saw of one element proves it, if at all, together with what certainly
//! happened before and says otherwise, and all that could have brought the element in, or
//! taken it out, since. Two who saw the whole prove it if each saw what the other one did not.
//!
//! ```text
//! add a  |-----|                              read -> a      |-----|
//! read ->         |-----|    a is lost        read -> b    |-----|       whose was first?
//! ```

use rustc_hash::FxHashMap;

use super::Elements;
use crate::search::{Call, Others, nearest};

/// An operation, as far as it is known.
#[derive(Clone, Copy)]
pub(crate) enum Act<'a> {
    /// It brings an element in, and had this to do or not, if anybody knows.
    Add(u32, Option<bool>),
    /// The same for one that takes it out.
    Remove(u32, Option<bool>),
    Contains(u32, Option<bool>),
    Whole(Option<&'a Elements>),
    /// What cannot be seen of any set.
    Never,
}

/// An operation with its times.
#[derive(Clone, Copy)]
pub(crate) struct Timed<'a> {
    act: Act<'a>,
    invoked: u64,
    returned: Option<u64>,
}

impl<'a> Timed<'a> {
    pub(crate) fn of<I, O>(call: &Call<I, O>, act: Act<'a>) -> Self {
        Self {
            act,
            invoked: call.invoked,
            returned: call.returned,
        }
    }

    fn returned_before(&self, time: u64) -> bool {
        self.returned.is_some_and(|returned| returned < time)
    }
}

impl Act<'_> {
    /// The element that was inside, or was not, right before.
    fn saw(&self) -> Option<(u32, bool)> {
        match *self {
            Self::Add(element, Some(changed)) => Some((element, !changed)),
            Self::Remove(element, Some(changed)) => Some((element, changed)),
            Self::Contains(element, Some(is_inside)) => Some((element, is_inside)),
            _ => None,
        }
    }

    /// The element that is inside, or is not, right after.
    fn leaves(&self) -> Option<(u32, bool)> {
        match *self {
            Self::Add(element, _) => Some((element, true)),
            Self::Remove(element, _) => Some((element, false)),
            _ => self.saw(),
        }
    }

    fn element(&self) -> Option<u32> {
        match *self {
            Self::Add(element, _) | Self::Remove(element, _) | Self::Contains(element, _) => {
                Some(element)
            }
            Self::Whole(_) | Self::Never => None,
        }
    }

    fn looks(&self) -> bool {
        matches!(self, Self::Never | Self::Whole(Some(_))) || self.saw().is_some()
    }
}

/// How many answers are suspected, those next to where the search was stuck.
const LOOKS_MAX: usize = 32;

/// With how many others that saw the whole each is compared.
const OTHERS_MAX: usize = 64;

/// How many guesses are worth a try.
const GUESSES_MAX: usize = 256;

pub(crate) fn suspects(acts: &[Timed<'_>], stuck: usize) -> Vec<Vec<usize>> {
    let mut looks: Vec<usize> = (0..acts.len())
        .filter(|index| acts[*index].act.looks() && acts[*index].returned.is_some())
        .collect();
    looks.sort_unstable_by_key(|index| std::cmp::Reverse(acts[*index].invoked));
    let mut guesses = Vec::new();
    for look in nearest(&looks, stuck, LOOKS_MAX, |index| acts[index].returned) {
        let look = &look;
        let mut of_look = vec![vec![*look]];
        of_look.extend(contradicted(acts, &looks, *look));
        of_look.extend(incomparable(acts, &looks, *look));
        // Of those of one size the one that tells of the last thing that happened.
        of_look.sort_by_key(|guess| (guess.len(), std::cmp::Reverse(acts[guess[0]].invoked)));
        guesses.extend(of_look);
        if guesses.len() > GUESSES_MAX {
            break;
        }
    }
    guesses
}

/// What certainly was otherwise before somebody looked, and nothing can have changed since.
fn contradicted(acts: &[Timed<'_>], looks: &[usize], look: usize) -> Vec<Vec<usize>> {
    let Timed {
        act,
        invoked,
        returned,
    } = acts[look];
    let until = returned.unwrap_or(u64::MAX);
    let saw = |element: u32| match act {
        Act::Whole(Some(whole)) => Some(whole.contains(element)),
        _ => act
            .saw()
            .filter(|(of, _)| *of == element)
            .map(|(_, saw)| saw),
    };
    // By element the last to begin that says otherwise.
    let mut others: FxHashMap<u32, (u64, usize)> = FxHashMap::default();
    let mut note = |element: u32, of: usize| {
        let other = others.entry(element).or_default();
        *other = (*other).max((acts[of].invoked, of));
    };
    for (index, other) in acts.iter().enumerate() {
        if let Some((element, is_inside)) = other.act.leaves()
            && other.returned_before(invoked)
            && saw(element).is_some_and(|saw| saw != is_inside)
        {
            note(element, index);
        }
    }
    let wholes = looks
        .iter()
        .filter(|index| acts[**index].returned_before(invoked));
    for index in wholes.take(OTHERS_MAX) {
        match (acts[*index].act, act) {
            (Act::Whole(Some(other)), Act::Whole(Some(whole))) => {
                for element in other.iter().filter(|element| !whole.contains(*element)) {
                    note(element, *index);
                }
                for element in whole.iter().filter(|element| !other.contains(*element)) {
                    note(element, *index);
                }
            }
            (Act::Whole(Some(other)), _) => {
                if let Some((element, is_inside)) = act.saw()
                    && other.contains(element) != is_inside
                {
                    note(element, *index);
                }
            }
            _ => {}
        }
    }
    // What can have changed it since must all have been before.
    let mut guesses: FxHashMap<u32, Option<Vec<usize>>> = others
        .iter()
        .map(|(element, (_, other))| (*element, Some(vec![*other, look])))
        .collect();
    for (index, change) in acts.iter().enumerate() {
        let (element, brings_in) = match change.act {
            Act::Add(element, _) => (element, true),
            Act::Remove(element, _) => (element, false),
            _ => continue,
        };
        let is_it = index != look && change.invoked <= until && saw(element) == Some(brings_in);
        let Some(guess) = guesses.get_mut(&element).filter(|_| is_it) else {
            continue;
        };
        let (since, other) = others[&element];
        if index == other {
            continue;
        }
        match guess {
            Some(guess) if change.returned_before(since) => guess.push(index),
            _ => *guess = None,
        }
    }
    guesses.into_values().flatten().collect()
}

/// Others that saw what this one did not, and did not see what this one did, where nothing
/// was ever taken out.
fn incomparable(acts: &[Timed<'_>], looks: &[usize], look: usize) -> Vec<Vec<usize>> {
    let Act::Whole(Some(whole)) = acts[look].act else {
        return Vec::new();
    };
    let mut guesses = Vec::new();
    for index in looks
        .iter()
        .filter(|index| **index != look)
        .take(OTHERS_MAX)
    {
        if let Act::Whole(Some(other)) = acts[*index].act
            && !whole.is_within(other)
            && !other.is_within(whole)
        {
            guesses.push(vec![*index, look]);
        }
    }
    guesses
}

/// A call that matters, and what is left of the whole that it saw.
pub(crate) type Left = (usize, Option<Elements>);

/// What is known of an element.
#[derive(Default)]
struct Element {
    /// Whether an operation on it alone is known.
    is_known: bool,
    /// Whether something known says that it was inside, or that it was not.
    must_be: [bool; 2],
    /// The first that may bring it in, and the first that may take it out.
    changes: [Option<u64>; 2],
    /// Of those that did not see it, and of those that did, the first to begin and the last
    /// to return.
    looks: [Option<(u64, u64)>; 2],
    /// Whether it was seen, and later was not, and nothing can have taken it out; or whether
    /// it was seen and nothing can have brought it in.
    never_fits: bool,
}

/// What somebody saw of the whole, and from when to when.
type Seen<'a> = (&'a Elements, u64, u64);

/// Whether a change may have happened by then.
fn begins_by(change: Option<u64>, time: u64) -> bool {
    change.is_some_and(|change| change <= time)
}

const OUT: usize = 0;
const IN: usize = 1;

impl Element {
    /// Notes who saw it, and who did not.
    fn look(&mut self, element: u32, wholes: &[Seen<'_>]) {
        let mut seen_by = u64::MAX;
        for (whole, invoked, returned) in wholes {
            let is_inside = whole.contains(element);
            self.must_be[usize::from(is_inside)] = true;
            let look = &mut self.looks[usize::from(is_inside)];
            let (first, last) = look.unwrap_or((*invoked, *returned));
            *look = Some((first.min(*invoked), last.max(*returned)));
            if is_inside {
                seen_by = seen_by.min(*returned);
                self.never_fits |= !begins_by(self.changes[IN], *returned);
            }
        }
        for (whole, invoked, returned) in wholes {
            let is_later = seen_by < *invoked && !whole.contains(element);
            self.never_fits |= is_later && !begins_by(self.changes[OUT], *returned);
        }
        // What is known to have changed it is not among the changes.
        self.never_fits &= !self.is_known;
    }

    /// Whether it fits whatever else happens: nobody knows of any operation on it alone, and it
    /// can come in, or go, between those who saw the whole without it, and those who saw it.
    fn always_fits(&self, others: Others) -> bool {
        if self.is_known {
            return false;
        }
        let [out, inside] = self.looks;
        let Some((first, last)) = inside else {
            return true;
        };
        let is_before = |time: Option<u64>, other: u64| time.is_some_and(|time| time < other);
        let can_come = is_before(self.changes[IN], first);
        match out {
            None => can_come,
            // Nobody looked here until when it may come in.
            Some(_) if others != Others::AtAnyTime => false,
            Some((_, out_last)) if out_last < first => can_come,
            Some((out_first, _)) => {
                can_come && last < out_first && is_before(self.changes[OUT], out_first)
            }
        }
    }
}

/// How many may have seen the whole for elements to be left out.
const WHOLES_MAX: usize = 256;

/// All but what cannot matter: elements that always fit, and changes of unknown outcome that
/// make nothing so as somebody saw it.
pub(crate) fn what_matters(acts: &[Timed<'_>], others: Others) -> Vec<Left> {
    let wholes: Vec<Seen<'_>> = (acts.iter())
        .filter_map(|act| match (act.act, act.returned) {
            (Act::Whole(Some(whole)), Some(returned)) => Some((whole, act.invoked, returned)),
            _ => None,
        })
        .collect();
    if wholes.len() > WHOLES_MAX {
        return (0..acts.len()).map(|index| (index, None)).collect();
    }
    let mut elements: FxHashMap<u32, Element> = FxHashMap::default();
    for act in acts {
        let Some(element) = act.act.element() else {
            continue;
        };
        let element = elements.entry(element).or_default();
        if act.returned.is_some() {
            element.is_known = true;
            if let Some((_, is_inside)) = act.act.saw() {
                element.must_be[usize::from(is_inside)] = true;
            }
            continue;
        }
        let change = match act.act {
            Act::Add(..) => IN,
            Act::Remove(..) => OUT,
            _ => continue,
        };
        let first = &mut element.changes[change];
        *first = Some(first.map_or(act.invoked, |first| first.min(act.invoked)));
    }
    for (whole, ..) in &wholes {
        for element in whole.iter() {
            elements.entry(element).or_default();
        }
    }
    for (element, known) in &mut elements {
        known.look(*element, &wholes);
    }
    // One that never fits is enough.
    let never = elements.iter().filter(|(_, known)| known.never_fits);
    let never = never.map(|(element, _)| *element).min();
    let fits = |element: u32| match never {
        Some(never) => element != never,
        None => elements
            .get(&element)
            .is_some_and(|known| known.always_fits(others)),
    };
    let matters = |act: &Timed<'_>| match act.act {
        _ if act.returned.is_some() => true,
        Act::Add(element, _) => !fits(element) && elements[&element].must_be[IN],
        Act::Remove(element, _) => !fits(element) && elements[&element].must_be[OUT],
        Act::Contains(..) | Act::Whole(_) | Act::Never => false,
    };
    let left = acts.iter().enumerate().filter(|(_, act)| matters(act));
    left.map(|(index, act)| match act.act {
        Act::Whole(Some(whole)) => {
            let mut left = whole.clone();
            for element in whole.iter().filter(|element| fits(*element)) {
                left.toggle(element);
            }
            (index, Some(left))
        }
        _ => (index, None),
    })
    .collect()
}
