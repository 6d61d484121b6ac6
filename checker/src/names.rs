//! Keys and values by number.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

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
