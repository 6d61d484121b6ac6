//! `check`: recorded histories against their model.

mod sources;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use etcd_checker::history::{Problem, ReadError, Source};
use etcd_checker::import::{Budget, CheckError, Format, ImportError};
use etcd_checker::verdict::WitnessOperation;
use etcd_checker::{Checked, Consistency, KeyOrders, Linearization, Model, Options, search};
use serde_json::Value;

use crate::exit_code::{self, Status};
use crate::failure;
use crate::files::{Pages, page_name};
use crate::output::{self, Output};
use crate::report::html::Page;
use crate::report::{checked, json, progress, reproduce, verdict};
use sources::Sources;

const EXAMPLES: &str = "\
Examples:
  etcd-recipes check history.jsonl
  etcd-recipes check histories                       all that are in a folder
  etcd-recipes check 'store/*/*/history.edn' --model list-append
  etcd-recipes sim queue --seed 7 --history - | etcd-recipes check -
  etcd-recipes check --model transactions bank.jsonl.zst
  etcd-recipes check --consistency snapshot-isolation append.jsonl
  etcd-recipes check --consistency serializable --linearizable-keys registers.edn
  etcd-recipes check --html queue.html queue.jsonl   then open it in a browser

What other tools write is recognized by its content, packed by gzip or zstd or not:
  jsonl       our own JSON Lines; see docs/history-format.md in the repository
  jepsen      Jepsen's history.edn, the same in JSON, and Porcupine's files of key-value events
  jepsen-log  lines such as `INFO  jepsen.util - 3  :invoke  :cas  [1 2]`
  monitor     `# queue`, then a method, a value, start and end on each line
  robustness  reports of etcd's robustness tests: the folder with client-1, client-2, ..

See docs/other-formats.md in the repository.

";

/// Check recorded histories.
///
/// Says for each file whether the operations that it records keep the promise
/// of their model, and if not, which of them prove it. Of a folder, all
/// histories in it are checked, and told in a table.
#[derive(Args)]
#[command(after_help = format!("{EXAMPLES}{}", exit_code::HELP))]
pub(crate) struct Check {
    /// The histories: files, folders, or patterns in quotes; `-` reads standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// What to check against, instead of what a history says or its operations tell
    #[arg(long, value_name = "NAME", value_parser = model_parser())]
    model: Option<Model>,

    /// How the histories are written down, instead of what their content tells
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    from: Option<Format>,

    /// The consistency models that transactions must satisfy, instead of what the header says
    #[arg(long, long_help = consistency_help(), alias = "consistency-models", value_name = "NAME", value_delimiter = ',', value_parser = consistency_parser())]
    consistency: Vec<Consistency>,

    /// Take for granted that each key by itself respects real time, as Elle does
    ///
    /// For the model rw-register, as the two below. Nobody says in which order the values
    /// of a register came; what the system is known to keep tells more of it, at models
    /// weaker than strict-serializable
    #[arg(long)]
    linearizable_keys: bool,

    /// Take for granted that each key by itself respects the order of each process
    #[arg(long)]
    sequential_keys: bool,

    /// Take for granted that who reads a key and writes it, writes over what was read
    #[arg(long)]
    wfr_keys: bool,

    /// A parameter of the model, instead of what the header says, such as initial=0
    ///
    /// Which there are is told for each model in docs/history-format.md in the repository
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, Value)>,

    /// Draw the history, with what proves the verdict, as a page for a browser
    /// into this file; of several histories: as files NAME.html in this folder
    #[arg(long, value_name = "PATH")]
    html: Option<PathBuf>,

    /// Print an order of the operations that makes a valid history so
    ///
    /// Or say why there is none. Which models have one is told in docs/pages.md in the
    /// repository
    #[arg(long)]
    linearization: bool,

    /// How much memory to use at most, such as 2GiB, instead of what is free
    ///
    /// So much in all: for what is read, for checking it, and for a search if the model needs one,
    /// which without this may take 1 GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,

    /// How long to search for an answer at most, for each history, such as 90s, 5min or 2h
    ///
    /// For models that need a search. The verdict is undecided when that is over
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    time: Duration,

    /// Print the verdicts as JSON to standard output
    ///
    /// What is wrong with a history is told there, too. A command line that is wrong, such as an
    /// unknown model, is told on standard error alone, with exit code 2
    #[arg(long)]
    json: bool,
}

fn model_parser() -> impl TypedValueParser<Value = Model> {
    PossibleValuesParser::new(Model::all().iter().map(|model| model.name()))
        .map(|name| name.parse().expect("only these names are possible"))
}

fn consistency_parser() -> impl TypedValueParser<Value = Consistency> {
    let known =
        Consistency::ALL.map(|model| PossibleValue::new(model.name()).aliases(model.aliases()));
    // Those have reasons of their own for not being there.
    let others = Consistency::UNDECIDED
        .iter()
        .chain(&Consistency::OF_OBJECTS);
    let others = others.map(|name| PossibleValue::new(name).hide(true));
    PossibleValuesParser::new(known.into_iter().chain(others))
        .try_map(|name| name.parse::<Consistency>())
}

/// What `--help` says of `--consistency`, with all names.
fn consistency_help() -> String {
    // The command breaks lines where the terminal ends.
    let mut help = [
        "The consistency models that transactions must satisfy, instead of what the header says",
        "",
        "For the models transactions, bank, list-append and rw-register. Without this and without \
         a word in the header it is strict-serializable, which is for transactions what \
         linearizable is for objects. Other names of the models are understood, too:",
        "",
    ]
    .join("\n");
    for model in Consistency::ALL {
        if !model.aliases().is_empty() {
            help += &format!("\n  {:<32} {}", model.name(), model.aliases().join(", "));
        }
    }
    help
}

fn format_parser() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::all().iter().map(|format| format.name()))
        .map(|name| name.parse().expect("only these names are possible"))
}

/// A name and a value, which is JSON, or else a text.
fn parameter(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or("a name, `=` and a value are needed, such as initial=0")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

/// A number, perhaps with a unit of time; seconds without one.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "ms" => 0.001,
        "" | "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        unit => return Err(format!("unknown unit {unit:?}; use ms, s, min, h or d")),
    };
    let number: f64 = digits
        .trim()
        .parse()
        .map_err(|_| "a number and a unit are needed, such as 90s or 5min".to_owned())?;
    Duration::try_from_secs_f64(number * seconds)
        .map_err(|_| "that is no time that anything can take".to_owned())
}

/// A number of bytes, perhaps with a unit.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        unit => return Err(format!("unknown unit {unit:?}; use KiB, MiB, GiB or TiB")),
    };
    let number: u64 = digits
        .trim()
        .parse()
        .map_err(|_| "a whole number and a unit are needed, such as 2GiB".to_owned())?;
    number
        .checked_mul(1_u64 << shift)
        .ok_or_else(|| "that is more than there can be".to_owned())
}

impl Check {
    pub(crate) fn run(self) -> anyhow::Result<Status> {
        let output = if self.json {
            Output::Program
        } else {
            Output::People
        };
        let sources = Sources::find(&self.files);
        let pages = Pages::of_option(self.html.as_deref(), sources.list.len() as u64)?;
        let mut status = Status::Valid;
        let mut files = Vec::new();
        for source in &sources.list {
            let (checked, one) = self.check(source, sources.is_table, pages.as_ref(), output)?;
            files.push(checked);
            status = status.max(one);
        }
        for (argument, error) in &sources.refused {
            output::error(error);
            files.push(json::CheckedFile {
                error: Some(output::chain(error)),
                ..json::CheckedFile::of(name(argument))
            });
            status = status.max(failure::status_of(error));
        }
        if sources.is_table && !sources.list.is_empty() {
            output.result(checked::table(&files, sources.skipped))?;
        }
        if self.json {
            output::json(&json::Checked {
                command: "check",
                files,
                exit_code: status.code(),
            })?;
        }
        Ok(status)
    }

    /// Checks one history. Where a table follows, only what is not valid is told at
    /// once.
    fn check(
        &self,
        path: &Path,
        is_table: bool,
        pages: Option<&Pages>,
        output: Output,
    ) -> anyhow::Result<(json::CheckedFile, Status)> {
        let name = name(path);
        let mut file = json::CheckedFile::of(name.clone());
        let status = match self.judge(path) {
            Ok(checked) => {
                if !is_table || !checked.verdict.is_valid() {
                    output.result(verdict::text(&name, &checked.verdict))?;
                }
                let again = is_simulated(path, &checked)
                    .then(|| reproduce::command_line(&format!("replay {}", reproduce::path(path))));
                if !checked.verdict.is_valid()
                    && let Some(again) = &again
                {
                    output.result(format_args!("  reproduce: {again}"))?;
                }
                let mut status = verdict::status(&checked.verdict);
                if let Some(pages) = pages {
                    let page = Page {
                        name: &name,
                        history: &checked.history,
                        model: checked.model,
                        verdict: &checked.verdict,
                        reproduce: again,
                    };
                    match pages.save(&page_name(path), &page) {
                        Ok(saved) => {
                            output.result(format_args!("  page:      {}", saved.display()))?;
                        }
                        Err(error) => {
                            // The verdict stands, and the other files are worth their pages.
                            output::error(&error);
                            file.error = Some(output::chain(&error));
                            status = status.max(Status::Usage);
                        }
                    }
                }
                if self.linearization && checked.verdict.is_valid() {
                    let order = Self::linearization(&checked)?;
                    output.result(verdict::linearization(&order))?;
                    match order {
                        Ok(order) => file.linearization = Some(order),
                        Err(reason) => file.no_linearization = Some(reason),
                    }
                }
                file.format = Some(checked.format.name());
                file.model = Some(checked.model.name());
                file.verdict = Some(checked.verdict);
                status
            }
            Err(error) => {
                // The other files are still worth a look.
                let error = with_option(error).context(name);
                output::error(&error);
                file.error = Some(output::chain(&error));
                Status::Usage
            }
        };
        Ok((file, status))
    }

    /// The operations in the order in which they took effect, or why there is none to give.
    fn linearization(checked: &Checked) -> anyhow::Result<Result<Vec<WitnessOperation>, String>> {
        let order = checked.linearization()?;
        let operations = checked.history.operations();
        Ok(match order {
            Linearization::Order(order) => {
                let operations = order.iter().map(|index| &operations[*index]);
                let told = operations.map(WitnessOperation::of);
                Ok(told.map(|told| told.in_history(&checked.history)).collect())
            }
            Linearization::None { reason } => Err(reason.into_owned()),
        })
    }

    /// What a search may take at most; what is read and checked leaves less.
    fn search_budget(&self) -> search::Budget {
        let default = search::Budget::default();
        let memory = self.memory.and_then(|bytes| bytes.try_into().ok());
        search::Budget {
            time: Some(self.time),
            memory_bytes: memory.unwrap_or(default.memory_bytes),
        }
    }

    fn judge(&self, path: &Path) -> anyhow::Result<Checked> {
        let mut check = etcd_checker::Check::new().options(Options {
            consistency: self.consistency.clone(),
            keys: KeyOrders {
                linearizable: self.linearizable_keys,
                sequential: self.sequential_keys,
                writes_follow_reads: self.wfr_keys,
            },
            budget: self.search_budget(),
        });
        if let Some(format) = self.from {
            check = check.format(format);
        }
        if let Some(model) = self.model {
            check = check.model(model);
        }
        for (name, value) in &self.parameters {
            check = check.parameter(name, value.clone());
        }
        if let Some(bytes) = self.memory {
            check = check.budget(Budget::bytes(bytes));
        }
        if path == Path::new("-") {
            let bar = progress::reading(None);
            let (format, history) = check.read(bar.wrap_read(io::stdin().lock()))?;
            bar.finish_and_clear();
            return Ok(check.imported(format, history)?);
        }
        if path.is_dir() {
            let spinner = progress::spinner(format!("checking {}", path.display()));
            let checked = check.file(path);
            spinner.finish_and_clear();
            return Ok(checked?);
        }
        let file = File::open(path).context("cannot open the file")?;
        let length = file.metadata().ok().map(|metadata| metadata.len());
        let bar = progress::reading(length);
        let (format, history) = check.read_sized(bar.wrap_read(file), length)?;
        bar.finish_and_clear();
        let spinner = progress::spinner(format!("checking {}", path.display()));
        let checked = check.imported(format, history);
        spinner.finish_and_clear();
        Ok(checked?)
    }
}

/// Whether `replay` can do the run again that this file tells of.
fn is_simulated(path: &Path, checked: &Checked) -> bool {
    let source = &checked.history.header().source;
    path != Path::new("-") && matches!(source, Source::Simulation { .. })
}

fn name(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}

/// Where the format is to be named, the option that does so.
fn with_option(error: anyhow::Error) -> anyhow::Error {
    let import = match error.downcast_ref() {
        Some(CheckError::Import(import)) => Some(import),
        _ => error.downcast_ref::<ImportError>(),
    };
    match import {
        Some(ImportError::Read(ReadError::History(history)))
            if matches!(history.problem, Problem::Unrecognized { .. }) =>
        {
            anyhow::anyhow!("{error} with `--from FORMAT`")
        }
        _ => error,
    }
}
