//! Histories of other tools, and histories in files, compressed or not.
//!
//! | format | what | module |
//! |---|---|---|
//! | `jsonl` | our own JSON Lines | [`history`](crate::history) |
//! | `jepsen` | Jepsen's `history.edn`, Knossos' and Elle's examples; elle-cli's JSON; Porcupine's key-value events | `jepsen` |
//! | `jepsen-log` | lines such as `INFO  jepsen.util - 3  :invoke  :cas  [1 2]`, and `history.txt` | `jepsen_log` |
//! | `monitor` | `# queue` and lines such as `enq 2 0 1`, of fastlin, PolyLin and fptlin | `monitor` |
//! | `robustness` | the report folders of etcd's robustness tests | `robustness` |
//!
//! A file says by its content which it is: [`Format::recognize`]. gzip and zstd are
//! recognized too, and a byte order mark in front is passed over.
//!
//! No input makes a reader panic or hang. Memory stays within a small multiple of the
//! text, and under a [`Budget`] if there is one.

mod asked;
mod begun;
mod check;
mod collect;
mod edn;
mod jepsen;
mod jepsen_log;
mod memory;
mod models;
mod monitor;
mod number;
mod open;
mod robustness;
mod text;
mod unpack;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

pub use asked::NoEffect;
pub use check::{Check, CheckError, Checked, check_file};
pub(crate) use memory::Held;
pub use memory::{Budget, TooLarge};
pub use open::{Compression, Opened};

use crate::history::{History, HistoryError, Problem, ReadError};
use open::Packed;
use text::{Fault, without_mark};

/// How a history is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Our own JSON Lines.
    Jsonl,
    /// Jepsen's maps, one for each event, in EDN or JSON.
    Jepsen,
    /// Lines of Jepsen's log.
    JepsenLog,
    /// The text of linearizability monitors.
    Monitor,
    /// Reports of etcd's robustness tests.
    Robustness,
}

impl Format {
    /// All formats.
    pub fn all() -> &'static [Self] {
        &[
            Self::Jsonl,
            Self::Jepsen,
            Self::JepsenLog,
            Self::Monitor,
            Self::Robustness,
        ]
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Jepsen => "jepsen",
            Self::JepsenLog => "jepsen-log",
            Self::Monitor => "monitor",
            Self::Robustness => "robustness",
        }
    }

    /// What the beginning of a file is; none when it is nothing that is known.
    pub fn recognize(beginning: &[u8]) -> Option<Self> {
        // The last character may be cut off.
        let text = match std::str::from_utf8(beginning) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&beginning[..error.valid_up_to()]).ok()?,
        };
        let text = text.trim_start_matches('\u{feff}').trim_start();
        if text.is_empty() && beginning.len() >= open::BEGINNING {
            // Only our own format may begin with that much white space.
            return Some(Self::Jsonl);
        }
        let first_line = text.lines().next()?;
        if monitor::is_heading(first_line) {
            return Some(Self::Monitor);
        }
        if jepsen::is_edn_event(text) {
            return Some(Self::Jepsen);
        }
        let is_ours = first_line.contains(crate::history::FORMAT);
        if !is_ours && text.starts_with('{') && robustness::is_report(text) {
            return Some(Self::Robustness);
        }
        if !is_ours && jepsen::is_json_event(text) {
            return Some(Self::Jepsen);
        }
        if text.starts_with('{') {
            return Some(Self::Jsonl);
        }
        jepsen_log::is_beginning(text).then_some(Self::JepsenLog)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let found = Self::all().iter().find(|format| format.name() == name);
        found.copied().ok_or_else(|| UnknownFormat {
            name: name.to_owned(),
        })
    }
}

/// There is no format of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown format {name:?}")]
pub struct UnknownFormat {
    /// What was asked for.
    pub name: String,
}

/// Why a history could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The bytes could not be read, or are no history of the format.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It does not fit into memory.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

impl From<Fault> for ImportError {
    fn from(fault: Fault) -> Self {
        Self::from(fault.error())
    }
}

impl From<HistoryError> for ImportError {
    fn from(error: HistoryError) -> Self {
        Self::Read(error.into())
    }
}

/// Reads a history from its bytes, which are not compressed.
///
/// # Errors
/// When they are no history of that format, contradict themselves, or need more
/// memory than the budget allows.
pub fn read_bytes(
    bytes: &[u8],
    format: Option<Format>,
    mut budget: Budget,
) -> Result<(Format, History), ImportError> {
    let bytes = without_mark(bytes);
    let beginning = &bytes[..bytes.len().min(open::BEGINNING)];
    let format = match format.or_else(|| Format::recognize(beginning)) {
        Some(format) => format,
        None => return Err(unrecognized(bytes).into()),
    };
    budget.hold(bytes.len())?;
    let history = match format {
        Format::Jsonl => {
            let length = Some(bytes.len() as u64);
            read_lines(bytes, length, &Packed::default(), budget)?
        }
        Format::Jepsen => jepsen::read(bytes, &mut budget)?,
        Format::JepsenLog => jepsen_log::read(bytes, &mut budget)?,
        Format::Monitor => monitor::read(bytes, &mut budget)?,
        Format::Robustness => robustness::read(bytes, &mut budget)?,
    };
    Ok((format, history))
}

/// Whether a folder is a report of etcd's robustness tests.
pub fn is_report_folder(folder: &Path) -> bool {
    !robustness::clients(folder).is_empty()
}

/// Reads our own format, which is not held as text, of about that length in bytes.
fn read_lines(
    reader: impl std::io::BufRead,
    length: Option<u64>,
    packed: &Packed,
    mut budget: Budget,
) -> Result<History, ImportError> {
    History::read_within(reader, |so_far| {
        let reached = length.map(|length| (so_far.bytes, length));
        if let Some((done, all)) = reached.or_else(|| packed.reached()) {
            budget.reached(done, all);
        }
        if let Ok(model) = so_far.model.parse() {
            budget.about(model);
        }
        budget.unpacking(packed.unpacking());
        budget.allow(so_far.line, so_far.held)?;
        Ok(budget.more(so_far.held.events))
    })
}

fn unrecognized(bytes: &[u8]) -> HistoryError {
    let problem = if bytes.trim_ascii().is_empty() {
        Problem::Empty
    } else {
        Problem::Unrecognized {
            known: Format::all()
                .iter()
                .map(|format| format.name())
                .collect::<Vec<_>>()
                .join(", "),
        }
    };
    HistoryError::in_column(1, 1, problem)
}
