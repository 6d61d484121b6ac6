//! What is asked for must mean something: an option that nothing reads is a mistake.

use crate::history::{History, HistoryError, Problem};
use crate::isolation::Options;
use crate::model::Model;

use super::Format;

/// Something was asked for that has no effect on the check of this model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoEffect {
    /// An option of other models.
    #[error("`--{option}` says nothing of the model {model}; it is for {}", listed(.models))]
    Option {
        /// Its name on the command line.
        option: &'static str,
        /// The model that the history is checked against.
        model: Model,
        /// The models that it is for.
        models: &'static [Model],
    },
    /// A parameter that the model does not have.
    #[error("the model {model} has no parameter {name:?}; {}", known(*.model))]
    Parameter {
        /// What was given.
        name: String,
        /// The model that the history is checked against.
        model: Model,
    },
}

fn listed(models: &[Model]) -> String {
    let names: Vec<&str> = models.iter().map(|model| model.name()).collect();
    names.join(", ")
}

fn known(model: Model) -> String {
    match model.parameters() {
        [] => "it has none".to_owned(),
        names => format!("known are {}", names.join(", ")),
    }
}

/// The models that `consistency` is for.
const OF_TRANSACTIONS: &[Model] = &[
    Model::Transactions,
    Model::Bank,
    Model::ListAppend,
    Model::RwRegister,
];

/// Whether all that is asked for has an effect on this model.
pub(super) fn has_effect<'p>(
    model: Model,
    options: &Options,
    mut parameters: impl Iterator<Item = &'p String>,
) -> Result<(), NoEffect> {
    let keys = options.keys;
    for (is_given, option, models) in [
        (
            !options.consistency.is_empty(),
            "consistency",
            OF_TRANSACTIONS,
        ),
        (keys.linearizable, "linearizable-keys", &[Model::RwRegister]),
        (keys.sequential, "sequential-keys", &[Model::RwRegister]),
        (keys.writes_follow_reads, "wfr-keys", &[Model::RwRegister]),
    ] {
        if is_given && !models.contains(&model) {
            return Err(NoEffect::Option {
                option,
                model,
                models,
            });
        }
    }
    match parameters.find(|name| !model.parameters().contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(NoEffect::Parameter {
            name: name.clone(),
            model,
        }),
    }
}

/// Whether a history of a format that says what it is about can be one of this model.
pub(super) fn is_of(format: Format, history: &History, model: Model) -> Result<(), HistoryError> {
    let says = history.header().model.as_str();
    let is_same = match (says, model) {
        ("cas-register", Model::Register) => true,
        _ => says == model.name(),
    };
    if is_same || !matches!(format, Format::Monitor | Format::Robustness) {
        return Ok(());
    }
    let problem = Problem::OtherModel {
        format: format.name(),
        says: says.to_owned(),
        model: model.name(),
    };
    Err(history.with_column(HistoryError::at(1, problem)))
}
