//! The lists of reads and writes that transactions consist of, in the form in which other
//! tools write them: `["r", key, value]` and `["w", key, value]`.

use serde::Deserialize;

use crate::history::{Event, HistoryError, Text};

/// What is done to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Action {
    #[serde(rename = "r", alias = "read")]
    Read,
    #[serde(rename = "w", alias = "write")]
    Write,
}

/// One of the reads or writes of a transaction: what is done, the key, and the value.
#[derive(Deserialize)]
#[serde(bound(deserialize = "V: Deserialize<'de>"))]
pub(crate) struct Listed<'h, V>(
    pub(crate) Action,
    #[serde(borrow)] pub(crate) Text<'h>,
    pub(crate) V,
);

/// The reads and writes that an event lists; none where it has no value.
///
/// # Errors
/// When the value is something else than what is `expected`.
pub(crate) fn listed<'h, V: Deserialize<'h>>(
    event: &'h Event,
    expected: &'static str,
) -> Result<Vec<Listed<'h, V>>, HistoryError> {
    let list: Option<Vec<Listed<'h, V>>> = event
        .value()
        .parse()
        .map_err(|error| HistoryError::value(event, expected, &error))?;
    Ok(list.unwrap_or_default())
}
