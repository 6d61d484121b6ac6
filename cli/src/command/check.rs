//! `check`: recorded histories against their model.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use etcd_checker::history::Source;
use etcd_checker::{Consistency, History, Model, Options, Verdict};

use crate::exit_code::{self, Status};
use crate::files::{Pages, page_name};
use crate::output::{self, Output};
use crate::report::html::Page;
use crate::report::{json, reproduce, verdict};

const EXAMPLES: &str = "\
Examples:
  etcd-recipes check history.jsonl
  etcd-recipes check histories/*.jsonl
  etcd-recipes sim queue --seed 7 --history - | etcd-recipes check -
  etcd-recipes check --model transactions bank.jsonl
  etcd-recipes check --consistency snapshot-isolation append.jsonl
  etcd-recipes check --html queue.html queue.jsonl   then open it in a browser

A history is a file of JSON Lines, the first of which is a header; see
docs/history-format.md in the repository for how other programs write one.

";

/// Check recorded histories.
///
/// Says for each file whether the operations that it records keep the promise
/// of their model, and if not, which of them prove it.
#[derive(Args)]
#[command(after_help = format!("{EXAMPLES}{}", exit_code::HELP))]
pub(crate) struct Check {
    /// The histories; `-` reads standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// What to check against, instead of what the header of a history says
    #[arg(long, value_name = "NAME", value_parser = model_parser())]
    model: Option<Model>,

    /// The consistency models that transactions must satisfy, instead of what the header says
    ///
    /// For the models list-append, rw-register, transactions and bank. Without this and without a
    /// word in the header it is strict-serializable
    #[arg(long, alias = "consistency-models", value_name = "NAME", value_delimiter = ',', value_parser = consistency_parser())]
    consistency: Vec<Consistency>,

    /// Draw the history, with what proves the verdict, as a page for a browser
    /// into this file; of several histories: as files NAME.html in this folder
    #[arg(long, value_name = "PATH")]
    html: Option<PathBuf>,

    /// Print the verdicts as JSON to standard output
    #[arg(long)]
    json: bool,
}

fn model_parser() -> impl TypedValueParser<Value = Model> {
    PossibleValuesParser::new(Model::all().iter().map(|model| model.name()))
        .map(|name| name.parse().expect("only these names are possible"))
}

fn consistency_parser() -> impl TypedValueParser<Value = Consistency> {
    let names =
        Consistency::ALL.map(|model| PossibleValue::new(model.name()).aliases(model.aliases()));
    PossibleValuesParser::new(names)
        .map(|name| name.parse().expect("only these names are possible"))
}

impl Check {
    pub(crate) fn run(self) -> anyhow::Result<Status> {
        let output = if self.json {
            Output::Program
        } else {
            Output::People
        };
        let pages = Pages::of_option(self.html.as_deref(), self.files.len() as u64)?;
        let mut status = Status::Valid;
        let mut files = Vec::new();
        for path in &self.files {
            let (checked, one) = self.check(path, pages.as_ref(), output)?;
            files.push(checked);
            status = status.max(one);
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

    fn check(
        &self,
        path: &Path,
        pages: Option<&Pages>,
        output: Output,
    ) -> anyhow::Result<(json::CheckedFile, Status)> {
        let name = name(path);
        let mut file = json::CheckedFile {
            file: name.clone(),
            model: None,
            verdict: None,
            error: None,
        };
        let status = match self.judge(path) {
            Ok(judged) => {
                output.result(verdict::text(&name, &judged.verdict))?;
                let again = judged
                    .is_simulated(path)
                    .then(|| reproduce::command_line(&format!("replay {}", reproduce::path(path))));
                if !judged.verdict.is_valid()
                    && let Some(again) = &again
                {
                    output.result(format_args!("  reproduce: {again}"))?;
                }
                if let Some(pages) = pages {
                    let page = Page {
                        name: &name,
                        history: &judged.history,
                        model: judged.model,
                        verdict: &judged.verdict,
                        reproduce: again,
                    };
                    let saved = pages.save(&page_name(path), &page)?;
                    output.result(format_args!("  page:      {}", saved.display()))?;
                }
                file.model = Some(judged.model.name());
                let status = verdict::status(&judged.verdict);
                file.verdict = Some(judged.verdict);
                status
            }
            Err(error) => {
                // The other files are still worth a look.
                let error = error.context(name);
                output::error(&error);
                file.error = Some(format!("{error:#}"));
                Status::Usage
            }
        };
        Ok((file, status))
    }

    fn judge(&self, path: &Path) -> anyhow::Result<Judged> {
        let history = read(path)?;
        let model = match self.model {
            Some(model) => model,
            None => Model::of(&history)?,
        };
        let options = Options {
            consistency: self.consistency.clone(),
            ..Options::default()
        };
        Ok(Judged {
            model,
            verdict: etcd_checker::check_with(&history, model, &options)?,
            history,
        })
    }
}

struct Judged {
    history: History,
    model: Model,
    verdict: Verdict,
}

impl Judged {
    /// Whether `replay` can do the run again that this file tells of.
    fn is_simulated(&self, path: &Path) -> bool {
        let source = &self.history.header().source;
        path != Path::new("-") && matches!(source, Source::Simulation { .. })
    }
}

fn read(path: &Path) -> anyhow::Result<History> {
    Ok(if path == Path::new("-") {
        History::read_from(io::stdin().lock())?
    } else {
        let file = File::open(path).context("cannot open the file")?;
        History::read_from(BufReader::with_capacity(1 << 16, file))?
    })
}

fn name(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}
