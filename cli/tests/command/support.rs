//! Running the command in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;

/// Where a test runs the command; removed at the end.
pub(crate) struct Folder(tempfile::TempDir);

/// What the command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Folder(tempfile::tempdir().expect("there is room for a folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("there is room for a file");
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("the command wrote the file")
    }

    /// The command, here and with nothing of the environment that it listens to.
    pub(crate) fn command(&self) -> Command {
        let mut command = assert_cmd::cargo::cargo_bin_cmd!("etcd-recipes");
        command.current_dir(self.0.path());
        for name in ["ENDPOINTS", "USER", "PASSWORD", "CACERT", "CERT", "KEY"] {
            command.env_remove(format!("ETCDCTL_{name}"));
        }
        command.env_remove("RUST_LOG").env_remove("CLICOLOR_FORCE");
        command
    }

    /// Runs the command with these arguments, separated by spaces.
    pub(crate) fn run(&self, arguments: &str) -> Ran {
        self.command()
            .args(arguments.split_whitespace())
            .output()
            .expect("it starts")
            .into()
    }

    /// Runs a line as it stands in a report, in a shell.
    pub(crate) fn shell(&self, line: &str) -> Ran {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", line]).current_dir(self.0.path());
        shell.output().expect("there is a shell").into()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let ran = Ran {
            code: output.status.code().expect("it was not killed"),
            stdout: String::from_utf8(output.stdout).expect("it prints UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("it prints UTF-8"),
        };
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        ran
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn exits_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text),
            "no {text:?} in {}\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    #[track_caller]
    pub(crate) fn notes(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no {text:?} in {}", self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).expect("standard output is one JSON document")
    }

    /// What follows `label` on its line of standard output.
    #[track_caller]
    pub(crate) fn labelled(&self, label: &str) -> &str {
        labelled(&self.stdout, label)
    }
}

/// What follows `label` on its line of a text.
#[track_caller]
pub(crate) fn labelled<'t>(text: &'t str, label: &str) -> &'t str {
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.trim_start().strip_prefix(label));
    line.unwrap_or_else(|| panic!("no line {label:?} in {text}"))
        .trim()
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}
