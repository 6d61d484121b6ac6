//! What is asked of a lock: which, by whom, how.

use std::borrow::Cow;

use serde::Deserialize;

use crate::history::{Event, HistoryError, Operation, Text};
use crate::keyed::text;

/// What an operation on a lock says.
pub(crate) struct Asked<'h> {
    /// The lock's name; empty if there is only one.
    pub(crate) lock: Cow<'h, str>,
    /// Who asks: as the value says, or else the client, or else the process.
    pub(crate) owner: Cow<'h, str>,
    /// `read` or `write`, if it says so.
    pub(crate) mode: Option<Mode>,
}

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// With other readers.
    Read,
    /// Alone.
    Write,
}

#[derive(Deserialize, Default)]
struct Fields<'h> {
    #[serde(borrow, default)]
    lock: Option<Text<'h>>,
    #[serde(borrow, default)]
    owner: Option<Text<'h>>,
    #[serde(default)]
    mode: Option<Mode>,
}

impl<'h> Asked<'h> {
    pub(crate) fn of(operation: &Operation<'h>) -> Result<Self, HistoryError> {
        let event: &'h Event = operation.invoke;
        let value = event.value().as_str();
        let fields: Fields<'h> = if value.starts_with('{') {
            event.value().parse().map_err(|error| {
                let expected = "null, or an object that may have \"lock\", \"owner\" and \"mode\"";
                HistoryError::value(event, expected, &error)
            })?
        } else {
            Fields {
                lock: text(value).map(Text),
                ..Fields::default()
            }
        };
        let asks = || match event.client() {
            Some(client) => Cow::Owned(format!("client {client}")),
            None => Cow::Owned(format!("process {}", operation.process())),
        };
        Ok(Self {
            lock: fields.lock.map_or(Cow::Borrowed(""), |Text(lock)| lock),
            owner: fields.owner.map_or_else(asks, |Text(owner)| owner),
            mode: fields.mode,
        })
    }
}

/// Whether the result of an operation is `false`.
pub(crate) fn is_false(event: &Event) -> bool {
    event.value().as_str() == "false"
}
