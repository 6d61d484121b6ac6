//! Sentences in which names and values stand between backquotes.

use crate::output::visible;

/// A part of a sentence.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    /// Whether it is a name or a value of the history.
    pub(super) is_code: bool,
}

/// How much of a value is shown, in characters. What is clicked on is shown whole.
const SHOWN_MAX: usize = 300;

/// A value that fills no more than a few lines.
pub(super) fn short(value: &str) -> String {
    match value.char_indices().nth(SHOWN_MAX) {
        None => visible(value).into_owned(),
        Some((end, _)) => {
            let more = value[end..].chars().count();
            format!(
                "{}\u{2026} ({more} characters more)",
                visible(&value[..end])
            )
        }
    }
}

/// The parts of a sentence, without the quotes. One whose quotes make no pairs stays whole.
pub(super) fn of(sentence: &str) -> Vec<Piece> {
    let quotes = sentence.matches('`').count();
    let parts = sentence.split(|c| c == '`' && quotes.is_multiple_of(2));
    let pieces = parts.enumerate().map(|(index, text)| Piece {
        text: match index % 2 {
            1 => short(text),
            _ => visible(text).into_owned(),
        },
        is_code: index % 2 == 1,
    });
    pieces.filter(|piece| !piece.text.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_quotes_is_code() {
        let piece = |text: &str, is_code| Piece {
            text: text.to_owned(),
            is_code,
        };
        assert_eq!(
            of("`a` left before `b`"),
            [
                piece("a", true),
                piece(" left before ", false),
                piece("b", true)
            ]
        );
        assert_eq!(of("a ` b"), [piece("a ` b", false)]);
    }

    #[test]
    fn long_values_are_cut_and_what_cannot_be_seen_is_spelled_out() {
        let long = "\u{e9}".repeat(5_000);
        let cut = short(&long);
        assert_eq!(of(&format!("`{long}` left"))[0].text, cut);
        assert!(cut.ends_with("\u{e9}\u{2026} (4700 characters more)"));
        assert_eq!(short("a..\u{10ffff}"), r"a..\u{10ffff}");
    }
}
