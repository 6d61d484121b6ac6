//! What a line says, and what can be wrong with it.

use std::fmt::Write as _;

use crate::output;

/// A command of a recipe, for `help` and for complaints.
pub(super) struct Command {
    pub(super) name: &'static str,
    /// As they are written: `VALUE PRIORITY`.
    pub(super) arguments: &'static str,
    pub(super) about: &'static str,
}

impl Command {
    pub(super) const fn new(
        name: &'static str,
        arguments: &'static str,
        about: &'static str,
    ) -> Self {
        Command {
            name,
            arguments,
            about,
        }
    }

    fn usage(&self) -> String {
        format!("{} {}", self.name, self.arguments)
            .trim_end()
            .to_owned()
    }
}

/// A command as it was typed: its name and its arguments.
pub(super) struct Line {
    name: String,
    arguments: Vec<String>,
}

impl Line {
    /// Splits a line into words as a shell does, so that quotes keep spaces
    /// together. None for a line that says nothing.
    pub(super) fn parse(line: &str) -> Result<Option<Self>, Problem> {
        let words = shell_words::split(line).map_err(|shell_words::ParseError| {
            Problem::Wrong("a quotation mark has no partner".to_owned())
        })?;
        let mut words = words.into_iter();
        Ok(words.next().map(|name| Line {
            name,
            arguments: words.collect(),
        }))
    }

    pub(super) fn parts(&self) -> (&str, &[String]) {
        (&self.name, &self.arguments)
    }
}

/// Why a command came to nothing.
#[derive(Debug)]
pub(super) enum Problem {
    /// There is no such command, or its arguments do not fit.
    Usage { name: String },
    /// A sentence that says what is wrong.
    Wrong(String),
    /// The recipe failed.
    Recipe(etcd_recipes::Error),
    /// Nobody takes the results any more. Ends the shell.
    Output(anyhow::Error),
}

impl Problem {
    /// The line is none of the recipe's commands.
    pub(super) fn usage(line: &Line) -> Self {
        Problem::Usage {
            name: line.name.clone(),
        }
    }

    pub(super) fn wrong(sentence: impl Into<String>) -> Self {
        Problem::Wrong(sentence.into())
    }

    /// Says it on standard error.
    pub(super) fn tell(&self, commands: &[Command]) {
        match self {
            Problem::Usage { name } => output::note(usage(name, commands)),
            Problem::Wrong(sentence) => output::note(sentence),
            Problem::Recipe(error) => output::note(error),
            Problem::Output(error) => output::error(error),
        }
    }
}

impl From<etcd_recipes::Error> for Problem {
    fn from(error: etcd_recipes::Error) -> Self {
        Problem::Recipe(error)
    }
}

/// The right way to write a command, or the commands that there are.
fn usage(name: &str, commands: &[Command]) -> String {
    match commands.iter().find(|command| command.name == name) {
        Some(command) => format!("write it as: {}", command.usage()),
        None if ["quit", "exit"].contains(&name) => format!("write it as: {name}"),
        None => {
            let names: Vec<_> = commands.iter().map(|command| command.name).collect();
            let name = output::plain(name);
            format!(
                "there is no command `{name}`; there are: {}, help, quit",
                names.join(", ")
            )
        }
    }
}

/// All commands, one a line.
pub(super) fn help(commands: &[Command]) -> String {
    let own = [
        Command::new("help", "", "says this"),
        Command::new("quit", "", "leaves the shell, as does `exit`"),
    ];
    let all = || commands.iter().chain(&own);
    let width = all().map(|command| command.usage().len()).max();
    let mut text = String::new();
    for command in all() {
        let usage = command.usage();
        // Writing to a string does not fail.
        writeln!(
            text,
            "  {usage:width$}  {}",
            command.about,
            width = width.unwrap_or(0)
        )
        .ok();
    }
    text.push_str("Quotes keep spaces together: 'clean up'. Ctrl-C ends a wait.");
    text
}

/// A whole number among the arguments.
pub(super) fn number<T: std::str::FromStr>(word: &str, what: &str) -> Result<T, Problem> {
    let complain = |_| Problem::wrong(format!("`{}` is not {what}", output::plain(word)));
    word.parse().map_err(complain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMANDS: [Command; 1] = [Command::new("push", "VALUE", "puts an item at the tail")];

    fn words(line: &str) -> Vec<String> {
        let line = Line::parse(line).unwrap().unwrap();
        let (name, arguments) = line.parts();
        [&[name.to_owned()], arguments].concat()
    }

    #[test]
    fn words_are_split_as_in_a_shell() {
        assert_eq!(words("push 'clean up'"), ["push", "clean up"]);
        assert_eq!(words(r#"  push "a 'b'" c\ d "#), ["push", "a 'b'", "c d"]);
        assert_eq!(words("push ''"), ["push", ""]);
        assert!(Line::parse("  ").unwrap().is_none());
        assert!(Line::parse("push 'a").is_err());
    }

    #[test]
    fn what_is_wrong_is_said_with_the_right_way() {
        assert_eq!(usage("push", &COMMANDS), "write it as: push VALUE");
        let unknown = usage("pull", &COMMANDS);
        assert!(
            unknown.contains("`pull`") && unknown.contains("push, help, quit"),
            "{unknown}"
        );
        assert!(help(&COMMANDS).starts_with("  push VALUE  puts an item at the tail\n"));
    }

    #[test]
    fn numbers_are_checked() {
        assert_eq!(number::<u16>("7", "a priority").unwrap(), 7);
        assert!(number::<u16>("70000", "a priority").is_err());
    }
}
