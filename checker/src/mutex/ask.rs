//! What is asked of a lock: which, by whom, how.

use std::borrow::Cow;

use serde::Deserialize;

use crate::history::{Event, HistoryError, Operation, Text, plain_object, put};
use crate::keyed::{got, text};

/// What an operation on a lock says.
pub(crate) struct Asked<'h> {
    /// The lock's name; empty if there is only one.
    pub(crate) lock: Cow<'h, str>,
    /// Who asks, if it says so.
    owner: Option<Cow<'h, str>>,
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
        let fields = match Fields::plain(event) {
            Some(fields) => fields,
            None => event.value().parse().map_err(|error| {
                let expected = "null, or an object that may have \"lock\", \"owner\" and \"mode\"";
                HistoryError::value(event, expected, &error)
            })?,
        };
        Ok(Self {
            lock: fields.lock.map_or(Cow::Borrowed(""), |Text(lock)| lock),
            owner: fields.owner.map(|Text(owner)| owner),
            mode: fields.mode,
        })
    }

    /// Who asks: as the value says, or else the client, or else the process.
    pub(crate) fn owner(self, operation: &Operation<'_>) -> Cow<'h, str> {
        let asks = || match operation.invoke.client() {
            Some(client) => Cow::Owned(format!("client {client}")),
            None => Cow::Owned(format!("process {}", operation.process())),
        };
        self.owner.unwrap_or_else(asks)
    }
}

impl<'h> Fields<'h> {
    /// What is no object, or one as almost every program writes it. Of anything else nothing is
    /// said here.
    fn plain(event: &'h Event) -> Option<Self> {
        let value = event.value().as_str();
        let mut fields = Self::default();
        if !value.starts_with('{') {
            fields.lock = text(value).map(Text);
            return Some(fields);
        }
        let borrowed = |text: &'h str| Text(Cow::Borrowed(text));
        plain_object(event.value(), |name, scanner| match name {
            "lock" => put(&mut fields.lock, borrowed(scanner.text()?)),
            "owner" => put(&mut fields.owner, borrowed(scanner.text()?)),
            "mode" => match scanner.string()? {
                "read" => put(&mut fields.mode, Mode::Read),
                "write" => put(&mut fields.mode, Mode::Write),
                _ => None,
            },
            _ => None,
        })?;
        Some(fields)
    }
}

/// Whether one that tries got the lock, if the operation returned; of any other nothing is told.
///
/// # Errors
/// When the completion says something else, or that what does not try did nothing.
pub(crate) fn answer(operation: &Operation<'_>, tries: bool) -> Result<Option<bool>, HistoryError> {
    let Some(ok) = operation.ok() else {
        return Ok(None);
    };
    // An object repeats what was asked.
    let told = match ok.value().as_str() {
        object if object.starts_with('{') => "null",
        told => told,
    };
    got(tries, operation.invoke.value().as_str(), told, ok)
}
