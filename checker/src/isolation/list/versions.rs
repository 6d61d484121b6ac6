//! The versions of each list, from the longest read of it.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use super::super::micro;
use super::super::txns::{NONE, Txns, What};

/// A read that is not the beginning of the longest one.
pub(in super::super) const INCOMPATIBLE: u32 = NONE;

/// The order in which each list grew, as far as somebody has seen it.
///
/// Version `p` of a key is the list of its first `p` elements; version 0 is empty.
pub(in super::super) struct Versions {
    /// The elements of all longest reads, key by key.
    elements: Vec<u32>,
    /// Where the elements of each key begin, and the end.
    starts: Vec<u32>,
    /// The transaction whose read is the longest, or [`NONE`].
    pub(in super::super) longest_reader: Vec<u32>,
    /// By value: how many elements were before it; [`NONE`] when nobody has seen it.
    pub(in super::super) place: Vec<u32>,
    /// By what was seen: the version, or [`INCOMPATIBLE`].
    pub(in super::super) version: Vec<u32>,
    /// The elements of the incompatible ones.
    pub(in super::super) incompatible: FxHashMap<u32, Vec<u32>>,
}

impl Versions {
    pub(super) fn of(txns: &mut Txns<'_>) -> Self {
        let longest = longest_reads(txns);
        let mut versions = Self {
            elements: Vec::with_capacity(txns.values.len()),
            starts: Vec::with_capacity(txns.keys.len() + 1),
            longest_reader: longest.iter().map(|(_, reader)| *reader).collect(),
            place: Vec::new(),
            version: Vec::new(),
            incompatible: FxHashMap::default(),
        };
        // Where in its text each element of a longest read ends.
        let mut ends: Vec<u32> = Vec::with_capacity(txns.values.len());
        for (key, (seen, _)) in (0..).zip(&longest) {
            versions.starts.push(length(&versions.elements));
            if *seen == NONE {
                continue;
            }
            for (value, end) in split(txns, key, *seen) {
                versions.elements.push(value);
                ends.push(end);
            }
        }
        versions.starts.push(length(&versions.elements));
        versions.place = vec![NONE; txns.values.len()];
        for bounds in versions.starts.windows(2) {
            let list = &versions.elements[bounds[0] as usize..bounds[1] as usize];
            for (place, value) in (0..).zip(list) {
                let known = &mut versions.place[*value as usize];
                if *known == NONE {
                    *known = place;
                }
            }
        }
        versions.compare(txns, &longest, &ends);
        versions
    }

    /// The elements of the longest read of the key.
    pub(in super::super) fn elements(&self, key: u32) -> &[u32] {
        let key = key as usize;
        &self.elements[self.starts[key] as usize..self.starts[key + 1] as usize]
    }

    /// The elements of a read.
    pub(in super::super) fn list(&self, key: u32, seen: u32) -> &[u32] {
        match self.version[seen as usize] {
            INCOMPATIBLE => &self.incompatible[&seen],
            version => &self.elements(key)[..version as usize],
        }
    }

    /// A number that no other version of any key has.
    pub(in super::super) fn number(&self, key: u32, version: u32) -> usize {
        (self.starts[key as usize] + key + version) as usize
    }

    /// How many numbers there are.
    pub(in super::super) fn numbers(&self) -> usize {
        self.elements.len() + self.starts.len()
    }

    /// Finds the version that each read saw. Almost all reads are, letter for letter, the
    /// beginning of the longest; the others are compared element by element.
    fn compare(&mut self, txns: &mut Txns<'_>, longest: &[(u32, u32)], ends: &[u32]) {
        self.version = vec![0; txns.seen.len()];
        for index in 0..txns.micro.len() {
            let micro = txns.micro[index];
            let What::Read(seen) = micro.what else {
                continue;
            };
            let key = micro.key as usize;
            let text = txns.seen[seen as usize].as_bytes();
            if is_empty(text) {
                continue;
            }
            let whole = txns.seen[longest[key].0 as usize].as_bytes();
            let ends = &ends[self.starts[key] as usize..self.starts[key + 1] as usize];
            let body = text.len() - 1;
            let is_beginning = text.len() <= whole.len() && text[..body] == whole[..body];
            let end = u32::try_from(body).expect("a line is no longer than 16 MiB");
            self.version[seen as usize] = match ends.binary_search(&end) {
                Ok(place) if is_beginning => u32::try_from(place).expect("elements are few") + 1,
                _ => {
                    let values: Vec<u32> = split(txns, micro.key, seen)
                        .into_iter()
                        .map(|(value, _)| value)
                        .collect();
                    if self.elements(micro.key).starts_with(&values) {
                        length(&values)
                    } else {
                        self.incompatible.insert(seen, values);
                        INCOMPATIBLE
                    }
                }
            };
        }
        // Comparing may have met elements that nobody wrote.
        self.place.resize(txns.values.len(), NONE);
    }
}

/// For each key the longest read, as an index of what was seen, and who read it. White
/// space is taken out of all reads on the way.
fn longest_reads(txns: &mut Txns<'_>) -> Vec<(u32, u32)> {
    let mut longest = vec![(NONE, NONE); txns.keys.len()];
    for txn in 0..txns.len() {
        let txn = u32::try_from(txn).expect("transactions are few");
        for index in 0..txns.micro(txn).len() {
            let micro = txns.micro(txn)[index];
            let What::Read(seen) = micro.what else {
                continue;
            };
            let text = &mut txns.seen[seen as usize];
            if let Some(compact) = without_space(text) {
                *text = Cow::Owned(compact);
            }
            let bytes = text.len();
            if is_empty(text.as_bytes()) {
                continue;
            }
            let (known, reader) = &mut longest[micro.key as usize];
            if *known == NONE || txns.seen[*known as usize].len() < bytes {
                (*known, *reader) = (seen, txn);
            }
        }
    }
    longest
}

fn is_empty(list: &[u8]) -> bool {
    list == b"[]" || list == b"null"
}

fn length(values: &[u32]) -> u32 {
    u32::try_from(values.len()).expect("there are fewer elements than bytes")
}

/// The elements of what was seen, and where in its text each ends. Those that nobody
/// wrote become values.
pub(super) fn split(txns: &mut Txns<'_>, key: u32, seen: u32) -> Vec<(u32, u32)> {
    let text = txns.seen[seen as usize].clone();
    match text {
        Cow::Borrowed(text) => values(txns, key, text),
        // Only lists with white space are owned. Their elements are looked up by a copy
        // that lives as long as the history.
        Cow::Owned(text) => {
            let known = micro::elements(&text).unwrap_or_default();
            let ends = ends(&text, &known);
            let owned: Vec<String> = known.into_iter().map(str::to_owned).collect();
            let value = owned
                .into_iter()
                .map(|element| txns.value_of(key, &element));
            value.zip(ends).collect()
        }
    }
}

fn values<'h>(txns: &mut Txns<'h>, key: u32, text: &'h str) -> Vec<(u32, u32)> {
    let elements = micro::elements(text).unwrap_or_default();
    let ends = ends(text, &elements);
    elements
        .into_iter()
        .map(|element| txns.value(key, element))
        .zip(ends)
        .collect()
}

fn ends(text: &str, elements: &[&str]) -> Vec<u32> {
    let start = text.as_ptr() as usize;
    let end = |element: &&str| element.as_ptr() as usize + element.len() - start;
    elements
        .iter()
        .map(|element| u32::try_from(end(element)).expect("a line is no longer than 16 MiB"))
        .collect()
}

/// The JSON text without white space between its parts; none when there is none.
fn without_space(text: &str) -> Option<String> {
    if !text.as_bytes().contains(&b' ') && !text.as_bytes().contains(&b'\t') {
        return None;
    }
    let (mut compact, mut in_string, mut escaped) = (String::new(), false, false);
    for letter in text.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            ' ' | '\t' if !in_string => continue,
            _ => {}
        }
        compact.push(letter);
    }
    Some(compact)
}
