//! Sentences in which names and values stand between backquotes, and lines of the file are named.

use std::ops::Range;

use crate::output::visible;

/// A part of a sentence.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    /// Whether it is a name or a value of the history.
    pub(super) is_code: bool,
    /// The operation to which it leads, by its index.
    pub(super) operation: Option<usize>,
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
        operation: None,
    });
    pieces.filter(|piece| !piece.text.is_empty()).collect()
}

/// The parts of a sentence, of which each `line 7` leads to the operation that stands there.
pub(super) fn linked(sentence: &str, operation_in: impl Fn(usize) -> Option<usize>) -> Vec<Piece> {
    let with_links = |piece: Piece| {
        if piece.is_code {
            return vec![piece];
        }
        let text = piece.text.as_str();
        let mut parts = Vec::new();
        let mut end = 0;
        for (place, operation) in
            lines_in(text).filter_map(|(place, line)| Some((place, operation_in(line)?)))
        {
            parts.push((&text[end..place.start], None));
            end = place.end;
            parts.push((&text[place], Some(operation)));
        }
        parts.push((&text[end..], None));
        parts.retain(|(text, _)| !text.is_empty());
        let part = |(text, operation): (&str, _)| Piece {
            text: text.to_owned(),
            is_code: false,
            operation,
        };
        parts.into_iter().map(part).collect()
    };
    of(sentence).into_iter().flat_map(with_links).collect()
}

/// Where a text says `line 7` or `lines 7`, and the number.
fn lines_in(text: &str) -> impl Iterator<Item = (Range<usize>, usize)> + '_ {
    text.match_indices("line").filter_map(move |(start, word)| {
        let is_word = !text[..start].ends_with(|letter: char| letter.is_alphanumeric());
        let behind = &text[start + word.len()..];
        let number = behind
            .strip_prefix(" ")
            .or_else(|| behind.strip_prefix("s "))?;
        let digits = number.find(|letter: char| !letter.is_ascii_digit());
        let digits = &number[..digits.unwrap_or(number.len())];
        let end = text.len() - number.len() + digits.len();
        Some((start..end, digits.parse().ok()?)).filter(|_| is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_quotes_is_code() {
        let piece = |text: &str, is_code| Piece {
            text: text.to_owned(),
            is_code,
            operation: None,
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
    fn lines_lead_to_their_operations() {
        let sentence = "`line 1` by T1, line 2 (lines 3 and 4), outline 2, line x, line 9";
        let pieces = linked(sentence, |line| (line < 9).then_some(line + 100));
        let links = pieces
            .iter()
            .filter_map(|piece| Some((piece.text.as_str(), piece.operation?)));
        let links: Vec<(&str, usize)> = links.collect();
        assert_eq!(links, [("line 2", 102), ("lines 3", 103)]);
        let whole: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
        assert_eq!(whole, sentence.replace('`', ""));
    }

    #[test]
    fn long_values_are_cut_and_what_cannot_be_seen_is_spelled_out() {
        let long = "\u{e9}".repeat(5_000);
        let cut = short(&long);
        assert_eq!(of(&format!("`{long}` left"))[0].text, cut);
        assert!(cut.ends_with("\u{e9}\u{2026} (4700 characters more)"));
        assert_eq!(short("a..\u{10ffff}"), r"a..\u{10ffff}");
        assert_eq!(
            short("\u{e9} e\u{301} a\u{200b}"),
            "\u{e9} e\\u{301} a\\u{200b}"
        );
    }
}
