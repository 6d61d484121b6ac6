//! Keys and values by number.

use std::borrow::Cow;
use std::hash::BuildHasher as _;

use hashbrown::HashTable;
use rustc_hash::{FxBuildHasher, FxHashMap};

/// Texts, each kept once.
#[derive(Default)]
pub(crate) struct Names<'h> {
    texts: Vec<Cow<'h, str>>,
    numbers: FxHashMap<Cow<'h, str>, u32>,
}

impl<'h> Names<'h> {
    /// No text has the number 0.
    pub(crate) fn reserving_zero() -> Self {
        Self {
            texts: vec![Cow::Borrowed("")],
            numbers: FxHashMap::default(),
        }
    }

    /// The number of this text.
    pub(crate) fn number(&mut self, text: Cow<'h, str>) -> u32 {
        if let Some(number) = self.numbers.get(&text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).expect("fewer than 2^32 texts");
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        number
    }

    /// The number of a text that has one.
    pub(crate) fn known(&self, text: &str) -> Option<u32> {
        self.numbers.get(text).copied()
    }

    pub(crate) fn text(&self, number: u32) -> &str {
        &self.texts[number as usize]
    }
}

/// Finds the number of a text, where the one who numbers keeps the texts.
pub(crate) struct Finder {
    numbers: HashTable<u32>,
}

impl Finder {
    /// For about so many texts.
    pub(crate) fn with_capacity(texts: usize) -> Self {
        Self {
            numbers: HashTable::with_capacity(texts),
        }
    }

    /// The number of this text; `is_it` says which one that is.
    pub(crate) fn find(&self, text: &str, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let is_it = |number: &u32| is_it(*number);
        self.numbers.find(hash(text), is_it).copied()
    }

    /// The text has no number any more.
    pub(crate) fn remove(&mut self, text: &str, is_it: impl Fn(u32) -> bool) {
        let found = self.numbers.find_entry(hash(text), |number| is_it(*number));
        if let Ok(entry) = found {
            entry.remove();
        }
    }

    /// Gives a text a number, unless it has one: then that is returned.
    pub(crate) fn insert<T: AsRef<str>>(
        &mut self,
        text: &str,
        number: u32,
        text_of: impl Fn(u32) -> T,
    ) -> Option<u32> {
        let is_it = |number: &u32| text_of(*number).as_ref() == text;
        let hash_of = |number: &u32| hash(text_of(*number).as_ref());
        match self.numbers.entry(hash(text), is_it, hash_of) {
            hashbrown::hash_table::Entry::Occupied(before) => Some(*before.get()),
            hashbrown::hash_table::Entry::Vacant(place) => {
                place.insert(number);
                None
            }
        }
    }
}

fn hash(text: &str) -> u64 {
    FxBuildHasher.hash_one(text)
}
