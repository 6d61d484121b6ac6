//! The header: where a history comes from and what checks it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Json;
use super::error::Problem;

/// What the field `format` of a header must say.
pub const FORMAT: &str = "etcd-recipes-history";

/// The version of the format that this crate writes, and the only one it reads.
pub const VERSION: u64 = 1;

/// The first line of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The workload that was run, such as `queue`. Free text.
    pub workload: String,
    /// The name of the model that checks the history, such as `fifo-queue`.
    /// See [`Model`](crate::Model).
    pub model: String,
    /// Where the history was recorded, and how to record it again.
    pub source: Source,
    /// What the workload was told, a JSON object. Some models read it.
    pub parameters: Json,
}

/// Where a history was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a simulation, which seed and plan determine in full.
    Simulation {
        /// The seed.
        seed: u64,
        /// The plan, in the simulator's own form; `null` when the seed alone
        /// makes it.
        plan: Json,
    },
    /// On a real cluster.
    Live {
        /// `host:port` of the members that the clients were given.
        endpoints: Vec<String>,
        /// The version that the cluster reported.
        etcd_version: String,
        /// The prefix under which the run kept its keys.
        prefix: String,
    },
    /// By someone else.
    Other {
        /// Free text.
        description: String,
    },
}

impl Header {
    /// A header with empty parameters.
    pub fn new(workload: impl Into<String>, model: impl Into<String>, source: Source) -> Self {
        let parameters = Json::new(&EmptyObject {}).expect("an empty object has a JSON form");
        Self {
            workload: workload.into(),
            model: model.into(),
            source,
            parameters,
        }
    }

    /// The same header with these parameters, a JSON object.
    #[must_use]
    pub fn with_parameters(mut self, parameters: Json) -> Self {
        self.parameters = parameters;
        self
    }

    pub(super) fn parse(line: &str) -> Result<Self, Problem> {
        check_format(line)?;
        let fields: HeaderLine<'_> =
            serde_json::from_str(line).map_err(|error| Problem::json(&error))?;
        let parameters = fields.parameters.map_or(Json::NULL, Json::from_raw);
        if !parameters.as_str().starts_with('{') && !parameters.is_null() {
            return Err(Problem::ParametersNoObject);
        }
        let source = match fields.source {
            Some(source) => Source::from_fields(source)?,
            None => Source::Other {
                description: String::new(),
            },
        };
        let workload = fields.workload.unwrap_or_else(|| fields.model.clone());
        let header = Self::new(workload, fields.model, source);
        Ok(if parameters.is_null() {
            header
        } else {
            header.with_parameters(parameters)
        })
    }

    pub(super) fn to_line(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&HeaderOut {
            format: FORMAT,
            version: VERSION,
            workload: &self.workload,
            model: &self.model,
            source: self.source.to_fields(),
            parameters: &self.parameters,
        })
    }
}

impl Source {
    fn from_fields(fields: SourceLine<'_>) -> Result<Self, Problem> {
        let missing = |field| Problem::SourceField {
            kind: fields.kind.clone(),
            field,
        };
        match fields.kind.as_str() {
            "simulation" => Ok(Self::Simulation {
                seed: fields.seed.ok_or_else(|| missing("seed"))?,
                plan: fields.plan.map_or(Json::NULL, Json::from_raw),
            }),
            "live" => Ok(Self::Live {
                endpoints: fields.endpoints.ok_or_else(|| missing("endpoints"))?,
                etcd_version: fields.etcd_version.unwrap_or_default(),
                prefix: fields.prefix.unwrap_or_default(),
            }),
            "other" => Ok(Self::Other {
                description: fields.description.unwrap_or_default(),
            }),
            _ => Err(Problem::SourceKind { kind: fields.kind }),
        }
    }

    fn to_fields(&self) -> SourceOut<'_> {
        let mut fields = SourceOut::default();
        match self {
            Self::Simulation { seed, plan } => {
                fields.kind = "simulation";
                fields.seed = Some(*seed);
                fields.plan = Some(plan).filter(|plan| !plan.is_null());
            }
            Self::Live {
                endpoints,
                etcd_version,
                prefix,
            } => {
                fields.kind = "live";
                fields.endpoints = Some(endpoints.as_slice());
                fields.etcd_version = Some(etcd_version);
                fields.prefix = Some(prefix);
            }
            Self::Other { description } => {
                fields.kind = "other";
                fields.description = Some(description);
            }
        }
        fields
    }
}

/// Looks at format and version alone, so that a file of another version or kind
/// is refused for that reason and not for a field that it lacks.
fn check_format(line: &str) -> Result<(), Problem> {
    #[derive(Deserialize)]
    struct Probe<'a> {
        format: Option<String>,
        #[serde(borrow)]
        version: Option<&'a RawValue>,
    }
    let probe: Probe<'_> = serde_json::from_str(line).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Problem::NoHeader,
        _ => Problem::json(&error),
    })?;
    if probe.format.as_deref() != Some(FORMAT) {
        return Err(Problem::NoHeader);
    }
    let version = probe.version.map_or("none", RawValue::get);
    if version != "1" {
        return Err(Problem::Version {
            found: version.chars().take(20).collect(),
        });
    }
    Ok(())
}

#[derive(Serialize)]
struct EmptyObject {}

#[derive(Deserialize)]
struct HeaderLine<'a> {
    workload: Option<String>,
    model: String,
    #[serde(borrow)]
    source: Option<SourceLine<'a>>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
}

// A tagged enum would be shorter, but serde buffers those, and raw text does not
// survive the buffer.
#[derive(Deserialize)]
struct SourceLine<'a> {
    kind: String,
    seed: Option<u64>,
    #[serde(borrow)]
    plan: Option<&'a RawValue>,
    endpoints: Option<Vec<String>>,
    etcd_version: Option<String>,
    prefix: Option<String>,
    description: Option<String>,
}

#[derive(Serialize)]
struct HeaderOut<'a> {
    format: &'static str,
    version: u64,
    workload: &'a str,
    model: &'a str,
    source: SourceOut<'a>,
    parameters: &'a Json,
}

#[derive(Default, Serialize)]
struct SourceOut<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoints: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etcd_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
}
