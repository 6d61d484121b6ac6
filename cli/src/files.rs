//! The files that the command writes: histories and the plans of failed runs.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use etcd_checker::History;

use crate::failure::Failure;
use crate::output;

/// Where plans, and histories nobody asked for, are kept unless `--out` says
/// otherwise.
pub(crate) const DEFAULT_OUT: &str = "etcd-recipes-failures";

/// Where histories go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HistoryTarget {
    /// Standard output.
    Stdout,
    /// One file.
    File(PathBuf),
    /// A folder, with `WORKLOAD-SEED.jsonl` for each run.
    Folder(PathBuf),
}

impl HistoryTarget {
    /// What `--history` means for this number of runs, where it was given;
    /// with `--json` standard output is taken.
    pub(crate) fn of_options(
        history: Option<&Path>,
        runs: u64,
        json: bool,
    ) -> Result<Option<Self>, Failure> {
        let target = history.map(|path| Self::new(path, runs)).transpose()?;
        if json && target.as_ref().is_some_and(Self::is_stdout) {
            return Err(
                Failure::usage("--json and --history - both want standard output")
                    .hint("Write the history to a file."),
            );
        }
        Ok(target)
    }

    /// What `--history` means for this number of runs.
    fn new(path: &Path, runs: u64) -> Result<Self, Failure> {
        let is_stdout = path == Path::new("-");
        let names_file = path.is_file()
            || !path.exists()
                && path
                    .extension()
                    .is_some_and(|extension| extension == "jsonl" || extension == "json");
        if runs > 1 && (is_stdout || names_file) {
            let what = format!(
                "--history {} is one place for the histories of {runs} runs",
                path.display()
            );
            return Err(Failure::usage(what)
                .hint("Give a folder, or run one workload with one seed: sim queue --seed 7"));
        }
        Ok(if is_stdout {
            HistoryTarget::Stdout
        } else if runs > 1 || path.is_dir() {
            HistoryTarget::Folder(path.to_owned())
        } else {
            HistoryTarget::File(path.to_owned())
        })
    }

    /// Whether standard output is taken by a history.
    pub(crate) fn is_stdout(&self) -> bool {
        *self == HistoryTarget::Stdout
    }

    /// Writes the history of a run; returns the file, if it is one.
    pub(crate) fn write(&self, run: &str, history: &History) -> anyhow::Result<Option<PathBuf>> {
        let path = match self {
            HistoryTarget::Stdout => {
                output::to_stdout(|stdout| history.write_to(stdout))?;
                return Ok(None);
            }
            HistoryTarget::File(path) => path.clone(),
            HistoryTarget::Folder(folder) => in_folder(folder, &format!("{run}.jsonl"))?,
        };
        let failed = || format!("cannot write the history to {}", path.display());
        let file = File::create(&path).with_context(failed)?;
        let mut writer = BufWriter::new(file);
        history
            .write_to(&mut writer)
            .and_then(|()| writer.flush())
            .with_context(failed)?;
        Ok(Some(path))
    }
}

/// Saves the plan of a run.
pub(crate) fn save_plan(folder: &Path, run: &str, plan: &str) -> anyhow::Result<PathBuf> {
    let path = in_folder(folder, &format!("{run}.json"))?;
    fs::write(&path, plan)
        .with_context(|| format!("cannot save the plan to {}", path.display()))?;
    Ok(path)
}

fn in_folder(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    Ok(folder.join(name))
}
