//! Who reads which stream: results go to standard output, everything else to
//! standard error. Where a program reads standard output (`--json`,
//! `--history -`), results for people move to standard error.
//!
//! Colours are used only where they are understood: `anstream` takes them out
//! for files, pipes and `NO_COLOR`.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufWriter, IsTerminal as _, Write};

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;

/// What went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// What went wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What is not known, and what deserves a look.
pub(crate) const DOUBT: Style = AnsiColor::Yellow.on_default();
/// What the environment did.
pub(crate) const FAULT: Style = AnsiColor::Magenta.on_default();
/// What can be skipped.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// What heads something.
pub(crate) const HEADING: Style = Style::new().bold();

/// Where results go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// People read standard output.
    People,
    /// A program reads standard output.
    Program,
}

impl Output {
    /// Prints a result for people, with a line break.
    pub(crate) fn result(self, text: impl fmt::Display) -> anyhow::Result<()> {
        match self {
            Output::People => to_people(|stdout| writeln!(stdout, "{text}")),
            Output::Program => {
                note(text);
                Ok(())
            }
        }
    }
}

/// Prints something for people that is no result, with a line break.
pub(crate) fn note(text: impl fmt::Display) {
    // Nobody is left to tell when that fails.
    writeln!(anstream::stderr(), "{text}").ok();
}

/// Prints a warning.
pub(crate) fn warning(text: impl fmt::Display) {
    note(format_args!("{DOUBT}warning:{DOUBT:#} {text}"));
}

/// Prints what ended the command.
pub(crate) fn error(error: &anyhow::Error) {
    note(format_args!("{BAD}error:{BAD:#} {}", chain(error)));
}

/// An error and what caused it, in one line. Some errors say their cause themselves; it is
/// not said twice.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text += ": ";
            text += &cause;
        }
    }
    text
}

/// Writes what a program reads to standard output, byte for byte.
pub(crate) fn to_stdout(
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<()> {
    write_buffered(io::stdout().lock(), write)
}

/// Writes what people read to standard output, styled where that is understood.
fn to_people(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    write_buffered(anstream::stdout().lock(), write)
}

/// A reader that has seen enough closes the pipe. That is no error: what is
/// left to say goes nowhere, and the exit code still tells the result.
fn write_buffered(
    stdout: impl Write,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<()> {
    let mut buffered = BufWriter::new(stdout);
    let written = write(&mut buffered).and_then(|()| buffered.flush());
    // Dropped as it is, it would try once more to write what failed.
    let (_, _) = buffered.into_parts();
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// Text from a file, safe for a terminal: control characters are spelled out.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in visible(text).chars() {
        if character.is_control() && character != '\n' {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

/// Text in which what no font has is spelled out, what changes the direction of writing, what
/// takes no room, and marks that stand on the letter before: the end of all keys with a prefix
/// may be `\u{10ffff}`, and texts that differ are not to look alike.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    let is_hidden = |character: char| {
        let number = u32::from(character);
        let is_none = number & 0xfffe == 0xfffe || (0xfdd0..=0xfdef).contains(&number);
        let is_mark = matches!(character, '\u{300}'..='\u{36f}');
        let has_no_room = matches!(
            character,
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
        );
        is_none || is_mark || has_no_room
    };
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut visible = String::with_capacity(text.len());
    for character in text.chars() {
        match is_hidden(character) {
            true => visible.extend(character.escape_unicode()),
            false => visible.push(character),
        }
    }
    Cow::Owned(visible)
}

/// Prints one JSON document to standard output.
pub(crate) fn json(document: &impl serde::Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(document)?;
    to_stdout(|stdout| writeln!(stdout, "{text}"))
}

/// Shows the libraries' events when `RUST_LOG` asks for them.
pub(crate) fn start_logging() {
    if std::env::var_os("RUST_LOG").is_none() {
        return;
    }
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(io::stderr)
        .with_ansi(colours)
        .init();
}
