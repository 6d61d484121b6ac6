//! Lines: from a terminal, where they can be edited, or from a pipe.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::sync::mpsc as blocking;
use std::thread;

use rustyline::error::ReadlineError;
use rustyline::{Behavior, Config, DefaultEditor};
use tokio::sync::mpsc;

/// What was given to read.
#[derive(Debug)]
pub(super) enum Given {
    Line(String),
    /// A line that is not UTF-8: what it would do is not what was meant.
    NoText,
    /// Ctrl-C at the prompt: the line that was begun is forgotten.
    Interrupted,
    /// There is nothing more.
    End,
}

/// Where lines come from. Reading blocks, so a thread of its own does it; it
/// reads only when asked, so the prompt appears when it is the user's turn.
pub(super) struct Input {
    asks: blocking::Sender<&'static str>,
    given: mpsc::UnboundedReceiver<io::Result<Given>>,
    asked: bool,
    is_terminal: bool,
}

impl Input {
    pub(super) fn new() -> anyhow::Result<Self> {
        let (asks, asked) = blocking::channel();
        let (gives, given) = mpsc::unbounded_channel();
        let is_terminal = io::stdin().is_terminal();
        let mut source = Source::new(is_terminal)?;
        thread::Builder::new()
            .name("input".to_owned())
            .spawn(move || {
                for prompt in asked {
                    let Some(read) = source.read(prompt).transpose() else {
                        gives.send(Ok(Given::End)).ok();
                        return;
                    };
                    if gives.send(read).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Input {
            asks,
            given,
            asked: false,
            is_terminal,
        })
    }

    /// Whether a person types.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// The next line. Dropping the future loses none: the next call returns it.
    pub(super) async fn next(&mut self, prompt: &'static str) -> anyhow::Result<Given> {
        if !self.asked {
            // Fails once the thread has seen the end.
            self.asked = self.asks.send(prompt).is_ok();
        }
        let given = self.given.recv().await;
        self.asked = false;
        Ok(given.unwrap_or(Ok(Given::End))?)
    }
}

enum Source {
    Terminal(Box<DefaultEditor>),
    Pipe,
}

impl Source {
    fn new(is_terminal: bool) -> anyhow::Result<Self> {
        if !is_terminal {
            return Ok(Source::Pipe);
        }
        // Prompts keep out of standard output where that goes elsewhere.
        let behavior = match io::stdout().is_terminal() {
            true => Behavior::Stdio,
            false => Behavior::PreferTerm,
        };
        let config = Config::builder()
            .behavior(behavior)
            .auto_add_history(true)
            .build();
        Ok(Source::Terminal(Box::new(DefaultEditor::with_config(
            config,
        )?)))
    }

    /// None at the end.
    fn read(&mut self, prompt: &str) -> io::Result<Option<Given>> {
        match self {
            Source::Terminal(editor) => match editor.readline(prompt) {
                Ok(line) => Ok(Some(Given::Line(line))),
                Err(ReadlineError::Interrupted) => Ok(Some(Given::Interrupted)),
                Err(ReadlineError::Eof) => Ok(None),
                Err(ReadlineError::Io(error)) => Err(error),
                Err(error) => Err(io::Error::other(error)),
            },
            Source::Pipe => {
                let mut line = Vec::new();
                let read = io::stdin().lock().read_until(b'\n', &mut line)?;
                Ok((read > 0).then(|| without_end(line)))
            }
        }
    }
}

/// The line without the characters that end it, on any system.
fn without_end(line: Vec<u8>) -> Given {
    let Ok(mut line) = String::from_utf8(line) else {
        return Given::NoText;
    };
    let text = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(text);
    Given::Line(line)
}
