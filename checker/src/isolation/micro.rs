//! Reading micro-operations fast: keys and values stay slices of the history.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::history::{Event, HistoryError};
use crate::keyed;

/// `[f, key, value]`. What follows is skipped.
pub(super) struct Micro<'h> {
    pub(super) f: Cow<'h, str>,
    pub(super) key: Cow<'h, str>,
    /// JSON text.
    pub(super) value: &'h str,
}

/// Replaces what is in `into` by the micro-operations of an event.
pub(super) fn parse<'h>(
    event: &'h Event,
    expected: &'static str,
    into: &mut Vec<Micro<'h>>,
) -> Result<(), HistoryError> {
    into.clear();
    let mut json = serde_json::Deserializer::from_str(event.value().as_str());
    let parsed = List(into).deserialize(&mut json);
    parsed.map_err(|error| HistoryError::value(event, expected, &error))
}

/// The text of a JSON value; see [`keyed::text`].
pub(super) fn text(json: &str) -> Cow<'_, str> {
    keyed::text(json).unwrap_or(Cow::Borrowed("null"))
}

struct List<'m, 'h>(&'m mut Vec<Micro<'h>>);

impl<'h> DeserializeSeed<'h> for List<'_, 'h> {
    type Value = ();

    fn deserialize<D: Deserializer<'h>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'h> Visitor<'h> for List<'_, 'h> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of micro-operations")
    }

    fn visit_seq<A: SeqAccess<'h>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(micro) = list.next_element_seed(One)? {
            self.0.push(micro);
        }
        Ok(())
    }
}

struct One;

impl<'h> DeserializeSeed<'h> for One {
    type Value = Micro<'h>;

    fn deserialize<D: Deserializer<'h>>(self, deserializer: D) -> Result<Micro<'h>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'h> Visitor<'h> for One {
    type Value = Micro<'h>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a micro-operation [f, key, value]")
    }

    fn visit_seq<A: SeqAccess<'h>>(self, mut list: A) -> Result<Micro<'h>, A::Error> {
        let mut next = |place| -> Result<&'h RawValue, A::Error> {
            list.next_element()?
                .ok_or_else(|| de::Error::invalid_length(place, &self))
        };
        let (f, key, value) = (text(next(0)?.get()), text(next(1)?.get()), next(2)?.get());
        // What later versions append is skipped.
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Micro { f, key, value })
    }
}

/// The elements of a JSON list, as text.
pub(super) fn elements(list: &str) -> Option<Vec<&str>> {
    let raw: Vec<&RawValue> = serde_json::from_str(list).ok()?;
    Some(raw.into_iter().map(RawValue::get).collect())
}
