//! Command lines that can be copied into a shell.

use std::path::Path;

/// `etcd-recipes ARGUMENTS`, with the name by which this program was called, so
/// that the line works where it was printed.
pub(crate) fn command_line(arguments: &str) -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    let has_folder = Path::new(&called).components().count() > 1;
    let program = if has_folder {
        quoted(&called.to_string_lossy())
    } else {
        "etcd-recipes".to_owned()
    };
    format!("{program} {arguments}")
}

/// A path as one word of a shell.
pub(crate) fn path(path: &Path) -> String {
    let text = path.to_string_lossy();
    // A name that looks like an option is none.
    if text.starts_with('-') {
        quoted(&format!("./{text}"))
    } else {
        quoted(&text)
    }
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:=@%,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(path(Path::new("out/queue-7.json")), "out/queue-7.json");
        assert_eq!(path(Path::new("my runs/q.json")), "'my runs/q.json'");
        assert_eq!(path(Path::new("it's")), r"'it'\''s'");
        assert_eq!(path(Path::new("-x")), "./-x");
    }
}
