//! What operations do to a set.

use super::{Act, Elements, Sets, Timed, of_elements, suspects, what_matters};
use crate::search::{Aspect, Call, Kept, Others, Sequential};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    Add(u32),
    Remove(u32),
    Contains(u32),
    Read,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    /// Whether it was inside, of `contains`; whether it changed anything, of changes.
    Was(bool),
    Whole(Elements),
    /// All elements, one of them twice.
    Twice,
}

/// What a change leads to if it is told whether it changed anything.
pub(crate) fn changed(
    state: &Elements,
    element: u32,
    is_inside_after: bool,
    answer: Option<&Answer>,
) -> Option<Elements> {
    let changes = state.contains(element) != is_inside_after;
    if matches!(answer, Some(Answer::Was(told)) if *told != changes) {
        return None;
    }
    let mut next = state.clone();
    if changes {
        next.toggle(element);
    }
    Some(next)
}

/// Whether what is inside and is not seen may be removed, and what is seen and is not inside
/// may be added, by these changes, each of which leaves its element inside or not.
pub(crate) fn can_become(
    state: &Elements,
    seen: &Elements,
    changes: impl Iterator<Item = (u32, bool)>,
) -> bool {
    let mut differ: Vec<u32> = state.differences(seen).collect();
    for (element, is_inside_after) in changes {
        if differ.is_empty() {
            return true;
        }
        if let Ok(found) = differ.binary_search(&element)
            && seen.contains(element) == is_inside_after
        {
            differ.remove(found);
        }
    }
    differ.is_empty()
}

impl Sequential for Sets<'_> {
    type State = Elements;
    type Input = (u32, Ask);
    type Output = Answer;
    /// A set, and an element if nobody reads the whole.
    type Part = (u32, Option<u32>);

    fn part(&self, (name, ask): &Self::Input) -> Self::Part {
        match ask {
            _ if self.read_as_whole.contains(name) => (*name, None),
            Ask::Add(element) | Ask::Remove(element) | Ask::Contains(element) => {
                (*name, Some(*element))
            }
            Ask::Read => (*name, None),
        }
    }

    fn initial(&self, _: &Self::Part) -> Elements {
        Elements::default()
    }

    fn step(
        &self,
        state: &Elements,
        (_, ask): &Self::Input,
        output: Option<&Answer>,
    ) -> impl IntoIterator<Item = Elements> {
        match ask {
            Ask::Add(element) => changed(state, *element, true, output),
            Ask::Remove(element) => changed(state, *element, false, output),
            Ask::Contains(element) => {
                let is_inside = state.contains(*element);
                let fits = output.is_none_or(|output| *output == Answer::Was(is_inside));
                fits.then(|| state.clone())
            }
            Ask::Read => match output {
                Some(Answer::Whole(whole)) => (whole == state).then(|| state.clone()),
                Some(Answer::Twice) => None,
                _ => Some(state.clone()),
            },
        }
    }

    fn only_reads(&self, (_, ask): &Self::Input, output: Option<&Answer>) -> bool {
        matches!(ask, Ask::Contains(_) | Ask::Read) || output == Some(&Answer::Was(false))
    }

    const LOOKS_AHEAD: bool = true;

    fn can_become<'c>(
        &self,
        state: &Elements,
        (_, ask): &Self::Input,
        output: Option<&Answer>,
        changes: impl Iterator<Item = (&'c Self::Input, Option<&'c Answer>)>,
    ) -> bool
    where
        Self: 'c,
    {
        let (Ask::Read, Some(Answer::Whole(seen))) = (ask, output) else {
            return true;
        };
        can_become(
            state,
            seen,
            changes.filter_map(|((_, ask), _)| match ask {
                Ask::Add(element) => Some((*element, true)),
                Ask::Remove(element) => Some((*element, false)),
                Ask::Contains(_) | Ask::Read => None,
            }),
        )
    }

    fn suspects(&self, calls: &[Call<&Self::Input, &Answer>], stuck: usize) -> Vec<Vec<usize>> {
        suspects(&timed(calls), stuck)
    }

    fn what_matters(
        &self,
        calls: &[Call<&Self::Input, &Answer>],
        others: Others,
    ) -> Vec<Kept<Answer>> {
        kept(&timed(calls), others)
    }

    fn aspects(
        &self,
        calls: &[Call<&Self::Input, &Answer>],
        stuck: usize,
    ) -> impl Iterator<Item = Aspect<Self::Input, Answer>> {
        of_elements(calls, stuck, |(_, ask)| match ask {
            Ask::Add(element) | Ask::Remove(element) | Ask::Contains(element) => Some(*element),
            Ask::Read => None,
        })
    }

    fn show_aspect(&self, element: u32, state: &Elements) -> String {
        show_element(state, element, self.elements.text(element))
    }

    fn heap_bytes(&self, state: &Elements) -> usize {
        state.own_bytes()
    }

    fn show(&self, state: &Elements) -> String {
        self.show_elements(state)
    }
}

fn timed<'c>(calls: &[Call<&'c (u32, Ask), &'c Answer>]) -> Vec<Timed<'c>> {
    let timed = |call: &Call<&'c (u32, Ask), &'c Answer>| {
        let was = match call.output {
            Some(Answer::Was(was)) => Some(*was),
            _ => None,
        };
        let act = match call.input.1 {
            Ask::Add(element) => Act::Add(element, was),
            Ask::Remove(element) => Act::Remove(element, was),
            Ask::Contains(element) => Act::Contains(element, was),
            Ask::Read => whole_act(call.output),
        };
        Timed::of(call, act)
    };
    calls.iter().map(timed).collect()
}

/// A set with `d`, or without it.
pub(crate) fn show_element(state: &Elements, element: u32, text: &str) -> String {
    if state.contains(element) {
        format!("a set with `{text}`")
    } else {
        format!("a set without `{text}`")
    }
}

/// What somebody saw of the whole.
pub(crate) fn whole_act(answer: Option<&Answer>) -> Act<'_> {
    match answer {
        Some(Answer::Whole(whole)) => Act::Whole(Some(whole)),
        Some(Answer::Twice) => Act::Never,
        _ => Act::Whole(None),
    }
}

/// The calls that matter.
pub(crate) fn kept(calls: &[Timed<'_>], others: Others) -> Vec<Kept<Answer>> {
    let kept = what_matters(calls, others).into_iter();
    kept.map(|(call, left)| Kept {
        call,
        instead: left.map(Answer::Whole),
    })
    .collect()
}

impl Sets<'_> {
    fn show_elements(&self, state: &Elements) -> String {
        show(state, |element| self.elements.text(element))
    }
}

/// How many elements are named.
const SHOWN_MAX: usize = 8;

/// `the set {b, d, f}`
pub(crate) fn show<'t>(state: &Elements, text: impl Fn(u32) -> &'t str) -> String {
    let shown: Vec<&str> = state.iter().take(SHOWN_MAX).map(text).collect();
    match state.iter().count() {
        0 => "an empty set".to_owned(),
        number if number > SHOWN_MAX => {
            let shown = shown.join(", ");
            format!("a set of {number} elements, such as {shown}")
        }
        _ => format!("the set {{{}}}", shown.join(", ")),
    }
}
