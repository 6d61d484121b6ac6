//! What is asked of a history.

use serde::Deserialize;

use super::{Consistency, Order};
use crate::history::{History, HistoryError, Problem};
use crate::search::Budget;

/// What the one who checks asks for. What is left out is taken from the header's
/// parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The models that must hold; strict serializability when nobody says.
    pub consistency: Vec<Consistency>,
    /// Which orders of the values of a key are taken for granted, for registers. What the
    /// header says is added.
    pub keys: KeyOrders,
    /// What a model that needs a search may take.
    pub budget: Budget,
}

/// What is taken for granted of the order in which a register had its values.
///
/// Nothing of this is needed to find what strict serializability forbids. It tells more of
/// weaker models, if the system is known to keep it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyOrders {
    /// Each key by itself respects real time.
    pub linearizable: bool,
    /// Each key by itself respects the order of each process.
    pub sequential: bool,
    /// Who reads a key and writes it, writes over what was read.
    pub writes_follow_reads: bool,
}

impl KeyOrders {
    /// The orders of transactions that each key respects.
    pub(crate) fn orders(self) -> impl Iterator<Item = Order> {
        let process = self.sequential.then_some(Order::Process);
        let real_time = self.linearizable.then_some(Order::RealTime);
        process.into_iter().chain(real_time)
    }
}

/// What the header says.
#[derive(Deserialize)]
struct Parameters {
    consistency: Option<Names>,
}

#[derive(Deserialize)]
struct KeyParameters {
    #[serde(default)]
    linearizable_keys: bool,
    #[serde(default)]
    sequential_keys: bool,
    #[serde(default)]
    wfr_keys: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Several(Vec<String>),
}

impl Options {
    /// The models that must hold.
    pub(crate) fn required(&self, history: &History) -> Result<Vec<Consistency>, HistoryError> {
        if !self.consistency.is_empty() {
            return Ok(self.consistency.clone());
        }
        let refused = |detail| HistoryError::at(1, Problem::Parameters { detail });
        let parameters: Parameters = history.header().parameters.parse().map_err(|_| {
            refused(
                "\"consistency\" must be the name of a consistency model, or a list of names"
                    .to_owned(),
            )
        })?;
        let names = match parameters.consistency {
            None => return Ok(vec![Consistency::StrictSerializable]),
            Some(Names::One(name)) => vec![name],
            Some(Names::Several(names)) => names,
        };
        let models = names.iter().map(|name| name.parse());
        models
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| refused(format!("\"consistency\": {error}")))
    }

    /// What is taken for granted of the values of a key.
    pub(crate) fn key_orders(&self, history: &History) -> Result<KeyOrders, HistoryError> {
        let parameters: KeyParameters = history.header().parameters.parse().map_err(|_| {
            let detail =
                "\"linearizable_keys\", \"sequential_keys\" and \"wfr_keys\" must be true or false";
            HistoryError::at(
                1,
                Problem::Parameters {
                    detail: detail.to_owned(),
                },
            )
        })?;
        Ok(KeyOrders {
            linearizable: self.keys.linearizable || parameters.linearizable_keys,
            sequential: self.keys.sequential || parameters.sequential_keys,
            writes_follow_reads: self.keys.writes_follow_reads || parameters.wfr_keys,
        })
    }
}
