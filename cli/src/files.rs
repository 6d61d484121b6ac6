//! The files that the command writes: histories and the plans of failed runs.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;

use anyhow::Context as _;
use etcd_checker::History;

use crate::failure::Failure;
use crate::output;
use crate::report::html::{Index, Page};

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
    /// with `--json` standard output is taken. `one_run` says how there would be one run.
    pub(crate) fn of_options(
        history: Option<&Path>,
        runs: u64,
        one_run: &str,
        json: bool,
    ) -> Result<Option<Self>, Failure> {
        let target = history.map(|path| Self::new(path, runs, one_run));
        let target = target.transpose()?;
        if json && target.as_ref().is_some_and(Self::is_stdout) {
            return Err(
                Failure::usage("--json and --history - both want standard output")
                    .hint("Write the history to a file."),
            );
        }
        Ok(target)
    }

    /// What `--history` means for this number of runs.
    fn new(path: &Path, runs: u64, one_run: &str) -> Result<Self, Failure> {
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
            return Err(Failure::usage(what).hint(format!("Give a folder, or run {one_run}")));
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

/// Where pages for a browser go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PageTarget {
    /// One file.
    File(PathBuf),
    /// A folder, with a page for each history and a first page.
    Folder(PathBuf),
}

/// Writes pages to where they go.
pub(crate) struct Pages {
    target: PageTarget,
    index: Mutex<Index>,
}

impl Pages {
    /// What `--html` means for this number of histories, where it was given.
    pub(crate) fn of_option(path: Option<&Path>, histories: u64) -> Result<Option<Self>, Failure> {
        let target = path
            .map(|path| PageTarget::new(path, histories))
            .transpose()?;
        Ok(target.map(|target| Pages {
            target,
            index: Mutex::default(),
        }))
    }

    /// Writes the page of a run or of a file; returns the page's file.
    pub(crate) fn save(&self, name: &str, page: &Page<'_>) -> anyhow::Result<PathBuf> {
        match &self.target {
            PageTarget::File(path) => {
                page.save(path)?;
                Ok(path.clone())
            }
            PageTarget::Folder(folder) => {
                let file = format!("{name}.html");
                let path = in_folder(folder, &file)?;
                page.save(&path)?;
                let mut index = self
                    .index
                    .lock()
                    .expect("nothing panics while it holds the index");
                index.add(&file, page);
                index.save(folder)?;
                Ok(path)
            }
        }
    }
}

impl PageTarget {
    /// What `--html` means for this number of histories.
    fn new(path: &Path, histories: u64) -> Result<Self, Failure> {
        let names_file = path
            .extension()
            .is_some_and(|extension| extension == "html" || extension == "htm");
        if histories > 1 && (path.is_file() || names_file) {
            let what = format!(
                "--html {} is one file for the pages of {histories} histories",
                path.display()
            );
            return Err(Failure::usage(what).hint("Give a folder, such as --html pages"));
        }
        // What ends in a slash is a folder that need not be there yet.
        let names_folder = path.as_os_str().to_string_lossy().ends_with('/');
        Ok(if histories > 1 || path.is_dir() || names_folder {
            PageTarget::Folder(path.to_owned())
        } else {
            PageTarget::File(path.to_owned())
        })
    }
}

/// How the page of a file is called, in a folder of several: the folders that the
/// file lies in are kept, so that no two files have one page.
pub(crate) fn page_name(path: &Path) -> String {
    let is_our_own = path.extension().is_some_and(|one| one == "jsonl");
    let path = if is_our_own {
        path.with_extension("")
    } else {
        path.to_owned()
    };
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_string_lossy()),
        _ => None,
    });
    let name = names.collect::<Vec<_>>().join("/");
    if name.is_empty() {
        "history".to_owned()
    } else {
        name
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
    let path = folder.join(name);
    let folder = path.parent().unwrap_or(folder);
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    Ok(path)
}
