//! What is asked of a history.

use serde::Deserialize;

use super::Consistency;
use crate::history::{History, HistoryError, Problem};
use crate::search::Budget;

/// What the one who checks asks for. What is left out is taken from the header's
/// parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The models that must hold; strict serializability when nobody says.
    pub consistency: Vec<Consistency>,
    /// What a model that needs a search may take.
    pub budget: Budget,
}

/// What the header says.
#[derive(Deserialize)]
struct Parameters {
    consistency: Option<Names>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Several(Vec<String>),
}

impl Options {
    /// The models that must hold.
    pub(super) fn required(&self, history: &History) -> Result<Vec<Consistency>, HistoryError> {
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
}
