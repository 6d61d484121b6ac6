//! Values that may say which of several objects they are about.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::compact::compact;
use crate::history::{Event, History, HistoryError, Json, Problem, Text, in_words};

/// A value taken apart.
pub(crate) struct Keyed<'h> {
    /// The object, if it says so: `{"key": .., "value": ..}`.
    pub(crate) key: Option<Cow<'h, str>>,
    /// The value itself, as JSON.
    pub(crate) value: &'h str,
}

const NULL: &str = "null";

impl<'h> Keyed<'h> {
    /// The value of this event.
    pub(crate) fn of(event: &'h Event) -> Result<Self, HistoryError> {
        #[derive(Deserialize)]
        struct Fields<'h> {
            #[serde(borrow)]
            key: Text<'h>,
            #[serde(borrow, default)]
            value: Option<&'h RawValue>,
        }
        let text = event.value().as_str();
        if !text.starts_with('{') {
            let value = text;
            return Ok(Self { key: None, value });
        }
        let fields: Fields<'h> = event.value().parse().map_err(|error| {
            let expected = "a value, or an object with a \"key\" and a \"value\"";
            HistoryError::value(event, expected, &error)
        })?;
        let Text(key) = fields.key;
        Ok(Self {
            key: Some(key),
            value: fields.value.map_or(NULL, RawValue::get),
        })
    }

    /// The value as text: a string without its quotes, anything else as it is written;
    /// none for `null`.
    pub(crate) fn text(&self) -> Option<Cow<'h, str>> {
        text(self.value)
    }

    /// The value as another type.
    pub(crate) fn parse<T: Deserialize<'h>>(
        &self,
        event: &Event,
        expected: &'static str,
    ) -> Result<T, HistoryError> {
        serde_json::from_str(self.value)
            .map_err(|error| HistoryError::value(event, expected, &error))
    }

    /// Whether it is `false`.
    pub(crate) fn is_false(&self) -> bool {
        self.value == "false"
    }
}

/// Whether an operation did what it was to do, as its completion says: none if it says nothing,
/// or repeats what was asked.
///
/// # Errors
/// When it says something else.
pub(crate) fn yes_or_no(
    asked: &str,
    told: &str,
    completion: &Event,
) -> Result<Option<bool>, HistoryError> {
    if told == NULL || told != "true" && told != "false" && text(told) == text(asked) {
        return Ok(None);
    }
    true_or_false(told, completion).map(Some)
}

/// The answer of a completion that must have one.
///
/// # Errors
/// When it is neither.
pub(crate) fn true_or_false(told: &str, completion: &Event) -> Result<bool, HistoryError> {
    serde_json::from_str(told)
        .map_err(|error| HistoryError::value(completion, "true or false", &error))
}

/// Whether one that tries got something, as its completion says, which otherwise repeats what was
/// asked; of any other nothing is told.
///
/// # Errors
/// When it says something else, or that what does not try did nothing.
pub(crate) fn got(
    tries: bool,
    asked: &str,
    told: &str,
    completion: &Event,
) -> Result<Option<bool>, HistoryError> {
    match (tries, told) {
        (true, _) => Ok(Some(yes_or_no(asked, told, completion)?.unwrap_or(true))),
        (false, "false") => {
            let f = completion.f().to_owned();
            Err(HistoryError::at(
                completion.line(),
                Problem::DidNothing { f },
            ))
        }
        (false, _) => Ok(None),
    }
}

/// JSON as text: a string without its quotes, a list or an object without space, anything else as
/// it is written; none for `null`. Values are the same where their texts are.
pub(crate) fn text(json: &str) -> Option<Cow<'_, str>> {
    if json == NULL {
        return None;
    }
    Some(match json.as_bytes().first() {
        Some(b'"') => unquoted(json),
        Some(b'[' | b'{') => compact(json),
        _ => Cow::Borrowed(json),
    })
}

fn unquoted(json: &str) -> Cow<'_, str> {
    match json[1..].strip_suffix('"') {
        Some(plain) if !plain.contains('\\') => Cow::Borrowed(plain),
        _ => serde_json::from_str(json).map_or(Cow::Borrowed(json), Cow::Owned),
    }
}

/// The header's parameters; all are optional.
pub(crate) fn parameters<'h, T: Deserialize<'h> + Default>(
    history: &'h History,
) -> Result<T, HistoryError> {
    let parameters: &'h Json = &history.header().parameters;
    let parsed: Result<Option<T>, _> = parameters.parse();
    parsed.map(Option::unwrap_or_default).map_err(|error| {
        let text = error.to_string();
        let detail = text.split(" at line ").next().unwrap_or(&text);
        let detail = in_words(detail);
        HistoryError::at(1, Problem::Parameters { detail })
    })
}

pub(crate) fn unknown_operation(
    event: &Event,
    model: &'static str,
    known: &'static str,
) -> HistoryError {
    let problem = Problem::UnknownOperation {
        model,
        f: event.f().to_string(),
        known,
    };
    HistoryError::at(event.line(), problem)
}
