//! What is known of one element of a set alone. A set has it or not, whatever else is inside.

use std::collections::BTreeMap;

use rustc_hash::FxHashSet;

use super::{Answer, Elements};
use crate::search::{Aspect, Call, Reduced, nearest};

/// How many of those that saw the whole are compared, to tell which elements come first.
const COMPARED_MAX: usize = 64;

/// For each element what is done to it, and whether those who saw the whole saw it; first for
/// those that came or went next to where the search was `stuck`. `element` says of which one an
/// input is; none of those that look at the whole.
pub(crate) fn of_elements<I: Clone>(
    calls: &[Call<&I, &Answer>],
    stuck: usize,
    element: impl Fn(&I) -> Option<u32>,
) -> impl Iterator<Item = Aspect<I, Answer>> {
    let mut by_element: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    let mut wholes: Vec<usize> = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        match (element(call.input), call.output) {
            (Some(element), _) => by_element.entry(element).or_default().push(index),
            (None, Some(Answer::Whole(_))) => wholes.push(index),
            (None, _) => {}
        }
    }
    let first = changed_near(calls, &wholes, stuck);
    let mut elements: Vec<(u32, Vec<usize>)> = by_element.into_iter().collect();
    elements.sort_by_key(|(element, _)| !first.contains(element));
    let elements = elements.into_iter();
    elements.map(move |(number, own)| Aspect {
        number,
        calls: of_element(calls, number, &own, &wholes),
    })
}

fn whole<'c, I>(call: &Call<&'c I, &'c Answer>) -> Option<&'c Elements> {
    match call.output {
        Some(Answer::Whole(whole)) => Some(whole),
        _ => None,
    }
}

/// The elements by which those differ that saw the whole near that call.
fn changed_near<I>(calls: &[Call<&I, &Answer>], wholes: &[usize], stuck: usize) -> FxHashSet<u32> {
    let mut near = nearest(wholes, stuck, COMPARED_MAX, |index| calls[index].returned);
    near.sort_unstable_by_key(|index| calls[*index].invoked);
    let seen: Vec<&Elements> = near
        .iter()
        .filter_map(|index| whole(&calls[*index]))
        .collect();
    let differences = seen
        .windows(2)
        .flat_map(|pair| pair[0].differences(pair[1]));
    differences.collect()
}

/// What is done to an element, and who saw it, in the order of their invocations.
fn of_element<I: Clone>(
    calls: &[Call<&I, &Answer>],
    element: u32,
    own: &[usize],
    wholes: &[usize],
) -> Vec<Reduced<I, Answer>> {
    let mut indices = [own, wholes].concat();
    indices.sort_unstable();
    let reduced = |index: usize| {
        let call = &calls[index];
        let seen = whole(call).map(|whole| {
            let mut seen = Elements::default();
            if whole.contains(element) {
                seen.toggle(element);
            }
            Answer::Whole(seen)
        });
        Reduced {
            call: index,
            input: call.input.clone(),
            output: seen.or_else(|| call.output.cloned()),
        }
    };
    indices.into_iter().map(reduced).collect()
}
