//! From a file to a verdict.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::Value;

use super::{Budget, Format, ImportError, NoEffect, Opened, asked, read_bytes};
use crate::history::{Header, History, HistoryError, Json, Problem, ReadError};
use crate::isolation::Options;
use crate::linearization::{Linearization, linearization};
use crate::model::{Model, check_with};
use crate::search;
use crate::verdict::Verdict;

/// Checks the history in a file, whose format and model it says itself, within the
/// memory that there is.
///
/// ```no_run
/// let checked = etcd_checker::check_file("history.jsonl")?;
/// assert!(checked.verdict.is_valid(), "{}", checked.verdict);
/// # Ok::<(), etcd_checker::CheckError>(())
/// ```
///
/// # Errors
/// See [`CheckError`]. None of them says anything about the system under test.
pub fn check_file(path: impl AsRef<Path>) -> Result<Checked, CheckError> {
    Check::new().file(path)
}

/// What came of a check.
#[derive(Clone, Debug)]
pub struct Checked {
    /// How the history was written down.
    pub format: Format,
    /// What it was checked against.
    pub model: Model,
    /// The history.
    pub history: History,
    /// Whether it keeps the model's promise.
    pub verdict: Verdict,
    /// What a search may take.
    search: search::Budget,
}

impl Checked {
    /// An order of the operations that explains a valid history, or why there is none to give;
    /// found within the budget that the check had for its searches.
    ///
    /// ```
    /// use etcd_checker::{Check, Linearization};
    ///
    /// let monitored = "# queue\nenq 1 0 3\nenq 2 1 2\ndeq 2 4 5\ndeq 1 6 7\n";
    /// let checked = Check::new().bytes(monitored.as_bytes())?;
    /// // `2` left first, so it was put in first.
    /// let order = checked.linearization()?.order();
    /// assert_eq!(order, Some(vec![1, 0, 2, 3]));
    /// # Ok::<(), etcd_checker::CheckError>(())
    /// ```
    ///
    /// # Errors
    /// As [`check`](crate::check).
    pub fn linearization(&self) -> Result<Linearization, HistoryError> {
        linearization(&self.history, self.model, &self.search)
    }
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The file cannot be opened.
    #[error("cannot open the file: {0}")]
    Open(#[source] io::Error),
    /// It is no history, or none that fits into memory.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The model is unknown, or the history is not one of this model, or it
    /// contradicts itself.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// Something was asked for that has no effect on this model.
    #[error(transparent)]
    NoEffect(#[from] NoEffect),
    /// A parameter that was given in place of the header's is none that the model can have.
    #[error("the parameter {name:?} that was given is wrong: {detail}")]
    Parameter {
        /// Its name.
        name: String,
        /// What is wrong with it.
        detail: String,
    },
}

/// How to check: what is not said is recognized.
///
/// ```
/// use etcd_checker::{Check, Model};
///
/// let monitored = "# queue\nenq 1 0 1\nenq 2 2 3\ndeq 2 4 5\ndeq 1 6 7\n";
/// let checked = Check::new().bytes(monitored.as_bytes())?;
/// assert_eq!(checked.model, Model::FifoQueue);
/// assert_eq!(checked.verdict.violation().expect("2 overtook 1").kind.name, "VOrd");
/// # Ok::<(), etcd_checker::CheckError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Check {
    format: Option<Format>,
    model: Option<Model>,
    options: Options,
    parameters: BTreeMap<String, Value>,
    budget: Budget,
}

impl Default for Check {
    fn default() -> Self {
        Self::new()
    }
}

impl Check {
    /// Within the memory that is free now.
    pub fn new() -> Self {
        Self {
            format: None,
            model: None,
            options: Options::default(),
            parameters: BTreeMap::new(),
            budget: Budget::available(),
        }
    }

    /// In this format, whatever the content looks like.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// Against this model, whatever the history says.
    #[must_use]
    pub fn model(mut self, model: Model) -> Self {
        self.model = Some(model);
        self
    }

    /// With these consistency models, and this budget for models that search. What only
    /// other models read is refused.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// With this parameter of the model, such as `initial` for a register, instead of the
    /// one in the header, which histories of other tools do not have.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: Value) -> Self {
        self.parameters.insert(name.into(), value);
        self
    }

    /// Within this memory, for what is read, for checking it, and for what a search holds.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Checks a file, which may be packed, or the folder of a report of etcd's
    /// robustness tests.
    ///
    /// # Errors
    /// See [`CheckError`].
    pub fn file(&self, path: impl AsRef<Path>) -> Result<Checked, CheckError> {
        let path = path.as_ref();
        if super::is_report_folder(path) {
            let mut budget = self.within();
            let history = super::robustness::read_folder(path, &mut budget)?;
            return self.imported(Format::Robustness, history);
        }
        let file = File::open(path).map_err(CheckError::Open)?;
        let length = file.metadata().ok().map(|metadata| metadata.len());
        let (format, history) = self.read_sized(file, length)?;
        self.imported(format, history)
    }

    /// Checks what a reader gives, which may be packed.
    ///
    /// # Errors
    /// See [`CheckError`].
    pub fn reader(&self, reader: impl Read) -> Result<Checked, CheckError> {
        let (format, history) = self.read(reader)?;
        self.imported(format, history)
    }

    /// Checks bytes in memory, which may be packed.
    ///
    /// # Errors
    /// See [`CheckError`].
    pub fn bytes(&self, bytes: &[u8]) -> Result<Checked, CheckError> {
        let (format, history) = match super::Compression::recognize(bytes) {
            super::Compression::None => read_bytes(bytes, self.format, self.within())?,
            _ => self.read(bytes)?,
        };
        self.imported(format, history)
    }

    /// Only reads what a reader gives, which may be packed.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub fn read(&self, reader: impl Read) -> Result<(Format, History), ImportError> {
        self.read_sized(reader, None)
    }

    /// As [`read`](Self::read), of about so many bytes, as the length of a file says. To
    /// know it makes reading faster.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub fn read_sized(
        &self,
        reader: impl Read,
        bytes: Option<u64>,
    ) -> Result<(Format, History), ImportError> {
        let mut opened = Opened::new(reader)?;
        if let Some(bytes) = bytes {
            opened = opened.with_length(bytes);
        }
        opened.read(self.format, self.within())
    }

    /// Checks a history that was recorded, or made in some other way.
    ///
    /// ```
    /// use etcd_checker::history::{Event, EventKind, Header, History, Process, Source};
    /// use etcd_checker::Check;
    ///
    /// let source = Source::Other { description: "by hand".to_owned() };
    /// let event = |kind| Event::new(0, Process::Number(0), kind, "enqueue").with_value(1_u64);
    /// let events = vec![event(EventKind::Invoke), event(EventKind::Ok)];
    /// let history = History::new(Header::new("example", "fifo-queue", source), events)?;
    /// assert!(Check::new().history(history)?.verdict.is_valid());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When its model is unknown, or it is not one of this model, or checking it needs more
    /// memory than the budget allows, or options or parameters were given that mean nothing
    /// for the model.
    pub fn history(&self, history: History) -> Result<Checked, CheckError> {
        self.imported(Format::Jsonl, history)
    }

    /// Checks a history that [`read`](Self::read) has read in this format.
    ///
    /// # Errors
    /// As [`history`](Self::history), and when the format says what the history is about and
    /// that is not the model that was asked for.
    pub fn imported(&self, format: Format, mut history: History) -> Result<Checked, CheckError> {
        let header = history.header().clone();
        if !self.parameters.is_empty() {
            history = self.with_parameters(history);
        }
        let model = match self.model {
            Some(model) => model,
            None => Model::of(&history)?,
        };
        asked::is_of(format, &history, model)?;
        asked::has_effect(model, &self.options, self.parameters.keys())?;
        let left = self.budget.allow_check(&history, model);
        let left = usize::try_from(left.map_err(ImportError::from)?).unwrap_or(usize::MAX);
        let mut options = self.options.clone();
        options.budget.memory_bytes = options.budget.memory_bytes.min(left);
        let verdict = check_with(&history, model, &options);
        let verdict = verdict.map_err(|error| self.blamed(&header, model, error))?;
        Ok(Checked {
            format,
            model,
            history,
            verdict,
            search: options.budget,
        })
    }

    /// What reading may take, which is for a check against the model that was asked for.
    fn within(&self) -> Budget {
        let mut budget = self.budget;
        if let Some(model) = self.model {
            budget.asked(model);
        }
        budget
    }

    /// Finds out whether a parameter that was given is to blame, and not one of the header's.
    fn blamed(&self, header: &Header, model: Model, error: HistoryError) -> CheckError {
        let Problem::Parameters { detail } = &error.problem else {
            return error.into();
        };
        // What is wrong with parameters is so whatever happened.
        let is_wrong_without = |left_out: &[&String]| {
            let mut check = self.clone();
            check.parameters.retain(|name, _| !left_out.contains(&name));
            let nothing = History::new(header.clone(), Vec::new()).ok()?;
            let nothing = check.with_parameters(nothing);
            let error = check_with(&nothing, model, &self.options).err()?;
            (error.problem
                == Problem::Parameters {
                    detail: detail.clone(),
                })
            .then_some(())
        };
        let given: Vec<&String> = self.parameters.keys().collect();
        if is_wrong_without(&given).is_some() {
            return error.into();
        }
        let mut names = given.iter();
        let name = names.find(|name| is_wrong_without(&[name]).is_none());
        match name {
            Some(name) => CheckError::Parameter {
                name: (*name).clone(),
                detail: detail.clone(),
            },
            None => error.into(),
        }
    }

    fn with_parameters(&self, history: History) -> History {
        // What is no object has no parameters, as the header's reader made sure.
        let header: Option<BTreeMap<String, Value>> =
            history.header().parameters.parse().unwrap_or_default();
        let mut parameters = header.unwrap_or_default();
        parameters.extend(self.parameters.clone());
        history.with_parameters(Json::new(&parameters).expect("an object has a JSON form"))
    }
}

impl From<ReadError> for CheckError {
    fn from(error: ReadError) -> Self {
        Self::Import(error.into())
    }
}
