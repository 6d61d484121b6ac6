//! The numbers that size a run: named, bounded, saved with the plan.

use std::collections::BTreeMap;
use std::fmt;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// A number that sizes a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in plans and histories.
    pub name: &'static str,
    /// What it counts, with its unit.
    pub about: &'static str,
    /// The smallest and the largest value that makes sense.
    pub bounds: (u64, u64),
    /// The smallest and the largest value that a seed draws.
    pub drawn: (u64, u64),
    /// The value on a real cluster.
    pub live: u64,
}

/// The values of a workload's parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Parameters(BTreeMap<String, u64>);

/// A plan has a parameter that the workload cannot run with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongParameter {
    /// The workload has no such parameter.
    #[error("there is no parameter `{name}`; there are: {known}")]
    Unknown {
        /// What was given.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// The value makes no sense.
    #[error("parameter `{name}` is {value}, but must lie between {min} and {max}")]
    OutOfBounds {
        /// The parameter.
        name: &'static str,
        /// What was given.
        value: u64,
        /// The smallest possible value.
        min: u64,
        /// The largest possible value.
        max: u64,
    },
    /// The value is none of the names that there are.
    #[error("parameter `{name}` is `{value}`, but must be one of: {known}")]
    UnknownName {
        /// The parameter.
        name: String,
        /// What was given.
        value: String,
        /// The names that exist.
        known: String,
    },
    /// The value is a name, but must be a number.
    #[error("parameter `{name}` is `{value}`, which is not a whole number")]
    NoNumber {
        /// The parameter.
        name: String,
        /// What was given.
        value: String,
    },
    /// A value is not given.
    #[error("parameter `{name}` is missing")]
    Missing {
        /// The parameter.
        name: &'static str,
    },
}

impl Parameters {
    pub(crate) fn from_values(values: BTreeMap<String, u64>) -> Self {
        Parameters(values)
    }

    /// Draws a value for each.
    pub fn draw(parameters: &[Parameter], rng: &mut ChaCha8Rng) -> Self {
        let draw = |parameter: &Parameter| {
            let (min, max) = parameter.drawn;
            (parameter.name.to_owned(), rng.random_range(min..=max))
        };
        Parameters(parameters.iter().map(draw).collect())
    }

    /// The value of a parameter.
    ///
    /// # Panics
    ///
    /// When there is none: plans are checked when they are loaded.
    pub fn get(&self, name: &str) -> u64 {
        match self.0.get(name) {
            Some(value) => *value,
            None => panic!("the plan was checked to have a parameter `{name}`"),
        }
    }

    /// The value of a parameter that counts clients or items.
    ///
    /// # Panics
    ///
    /// As [`get`](Parameters::get).
    pub fn count(&self, name: &str) -> u32 {
        u32::try_from(self.get(name)).expect("every parameter's bounds fit into 32 bits")
    }

    /// Gives a parameter another value.
    #[must_use]
    pub fn with(mut self, name: &str, value: u64) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    /// Whether a workload with these parameters can run with these values.
    ///
    /// # Errors
    ///
    /// The first value that is unknown, missing or out of bounds.
    pub fn check(&self, parameters: &[Parameter]) -> Result<(), WrongParameter> {
        let is_known = |name: &str| parameters.iter().any(|known| known.name == name);
        if let Some(name) = self.0.keys().find(|name| !is_known(name)) {
            let known: Vec<_> = parameters.iter().map(|parameter| parameter.name).collect();
            return Err(WrongParameter::Unknown {
                name: name.clone(),
                known: known.join(", "),
            });
        }
        for &Parameter { name, bounds, .. } in parameters {
            let (min, max) = bounds;
            let value = *self.0.get(name).ok_or(WrongParameter::Missing { name })?;
            if value < min || max < value {
                return Err(WrongParameter::OutOfBounds {
                    name,
                    value,
                    min,
                    max,
                });
            }
        }
        Ok(())
    }
}

/// The value of a parameter as people read and write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A number.
    Number(u64),
    /// The name of what the number stands for; see
    /// [`choices`](super::Workload::choices).
    Name(String),
}

impl Value {
    /// The number behind the value, given the names that it may have.
    ///
    /// # Errors
    ///
    /// When it is none of the names.
    pub fn number(&self, name: &str, choices: &[&str]) -> Result<u64, WrongParameter> {
        let value = match self {
            Self::Number(number) => return Ok(*number),
            Self::Name(value) => value,
        };
        if choices.is_empty() {
            return Err(WrongParameter::NoNumber {
                name: name.to_owned(),
                value: value.clone(),
            });
        }
        let found = (0..).zip(choices).find(|(_, choice)| *choice == value);
        let number = found.map(|(number, _)| number);
        number.ok_or_else(|| WrongParameter::UnknownName {
            name: name.to_owned(),
            value: value.clone(),
            known: choices.join(", "),
        })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl std::str::FromStr for Value {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text
            .parse()
            .map_or_else(|_| Self::Name(text.to_owned()), Self::Number))
    }
}

impl Parameters {
    /// The values, with names where the workload gives names.
    pub fn named(&self, workload: &dyn super::Workload) -> BTreeMap<String, Value> {
        let value = |(name, number): (&String, &u64)| {
            let choices = workload
                .choices(name)
                .iter()
                .map(|choice| (*choice).to_owned());
            let index = usize::try_from(*number).unwrap_or(usize::MAX);
            let named = choices.map(Value::Name).nth(index);
            (name.clone(), named.unwrap_or(Value::Number(*number)))
        };
        self.0.iter().map(value).collect()
    }

    /// Takes values back that [`named`](Self::named) has given.
    ///
    /// # Errors
    ///
    /// The first name that does not exist.
    pub fn from_named(
        values: &BTreeMap<String, Value>,
        workload: &dyn super::Workload,
    ) -> Result<Self, WrongParameter> {
        let number = |(name, value): (&String, &Value)| {
            let number = value.number(name, workload.choices(name))?;
            Ok((name.clone(), number))
        };
        let numbers: Result<_, WrongParameter> = values.iter().map(number).collect();
        Ok(Self(numbers?))
    }

    /// `items=5, level=serializable`.
    pub fn shown(&self, workload: &dyn super::Workload) -> String {
        let named = self.named(workload);
        let each = named.iter().map(|(name, value)| format!("{name}={value}"));
        each.collect::<Vec<_>>().join(", ")
    }
}

/// `items=5, producers=2`.
impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name}={value}")?;
        }
        Ok(())
    }
}
