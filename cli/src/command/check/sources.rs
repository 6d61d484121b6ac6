//! What there is to check: files, patterns, and folders of them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use etcd_checker::import::{self, Opened};

use crate::failure::Failure;

/// How deep folders are looked into.
const DEPTH_MAX: usize = 32;

/// The histories that arguments stand for.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) list: Vec<PathBuf>,
    /// Whether a folder or a pattern was among them, so that there may be many.
    pub(super) is_table: bool,
    /// Files in folders that are no histories.
    pub(super) skipped: u64,
    /// Arguments that stand for nothing, and why.
    pub(super) refused: Vec<(PathBuf, anyhow::Error)>,
}

impl Sources {
    /// Finds them, those of each argument in the order of their names. A pattern that is
    /// malformed or stands for nothing is refused, and so is a folder with no history in it.
    pub(super) fn find(arguments: &[PathBuf]) -> Self {
        let mut sources = Self::default();
        for argument in arguments {
            let found = sources.list.len();
            if let Err(error) = sources.argument(argument) {
                sources.list.truncate(found);
                sources.refused.push((argument.clone(), error));
            }
        }
        sources.list = reports_whole(std::mem::take(&mut sources.list));
        sources
    }

    fn argument(&mut self, argument: &Path) -> anyhow::Result<()> {
        let found = self.list.len();
        let is_one = argument == Path::new("-") || argument.is_file();
        if is_one || import::is_report_folder(argument) {
            self.list.push(argument.to_owned());
            return Ok(());
        }
        let nothing = if argument.is_dir() {
            self.is_table = true;
            self.folder(argument, 0)?;
            "no history is in this folder"
        } else if is_pattern(argument) {
            self.is_table = true;
            self.pattern(argument)?;
            "no file has such a name"
        } else {
            // Whoever opens it says what is wrong.
            self.list.push(argument.to_owned());
            return Ok(());
        };
        if self.list.len() == found {
            let what = format!("{}: {nothing}", argument.display());
            return Err(Failure::usage(what).into());
        }
        Ok(())
    }

    fn pattern(&mut self, pattern: &Path) -> anyhow::Result<()> {
        let text = pattern.to_string_lossy();
        let paths = glob::glob(&text).map_err(|error| {
            Failure::usage(format!("{text}: this is no pattern for names: {error}"))
        })?;
        for path in paths {
            let path = path?;
            if path.is_dir() {
                self.folder(&path, 0)?;
            } else {
                self.list.push(path);
            }
        }
        Ok(())
    }

    /// The histories in a folder, which their content tells.
    fn folder(&mut self, folder: &Path, depth: usize) -> anyhow::Result<()> {
        if import::is_report_folder(folder) {
            self.list.push(folder.to_owned());
            return Ok(());
        }
        let failed = || format!("{}: cannot read the folder", folder.display());
        let mut entries = fs::read_dir(folder)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, kind) = (entry.path(), entry.file_type().with_context(failed)?);
            let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
            if is_hidden {
                continue;
            }
            // Links to folders, such as Jepsen's `latest`, would be checked twice.
            if kind.is_dir() && depth < DEPTH_MAX {
                self.folder(&path, depth + 1)?;
            } else if path.is_file() {
                if is_history(&path) {
                    self.list.push(path);
                } else {
                    self.skipped += 1;
                }
            }
        }
        Ok(())
    }
}

/// The same with the report's folder in the place of files of its clients, once: what one
/// client saw makes no sense without what the others did.
fn reports_whole(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut whole: Vec<PathBuf> = Vec::with_capacity(paths.len());
    for path in paths {
        match report_of(&path) {
            Some(report) if whole.contains(&report) => {}
            Some(report) => whole.push(report),
            None => whole.push(path),
        }
    }
    whole
}

/// The folder of the report that a file is a part of.
fn report_of(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?;
    let client = path.parent()?;
    let is_part = name == "operations.json" || name == "watch.json";
    let is_of_client = client.file_name()?.to_str()?.starts_with("client-");
    let report = client.parent().filter(|_| is_part && is_of_client)?;
    let report = if report.as_os_str().is_empty() {
        Path::new(".")
    } else {
        report
    };
    import::is_report_folder(report).then(|| report.to_owned())
}

/// Whether a name stands for several.
fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '['])
}

/// Whether a file looks like a history, or is to be told as a damaged one: what cannot be
/// read or unpacked, and whatever has the name of this project's own format.
fn is_history(path: &Path) -> bool {
    let opened = File::open(path).ok().map(Opened::new);
    match opened {
        Some(Ok(opened)) => opened.is_history() || is_named_as_history(path),
        Some(Err(_)) | None => true,
    }
}

fn is_named_as_history(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let packed = [".gz", ".zst"]
        .iter()
        .find_map(|end| name.strip_suffix(end));
    packed.unwrap_or(&name).ends_with(".jsonl")
}
