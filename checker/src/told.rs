//! What is told of a history has bounds, however long the values in it are.

use std::borrow::Cow;

use crate::compact::length_of_string;

/// How much of a quoted text, a value or a word is told, in bytes.
const PART_MAX: usize = 100;

/// How long a sentence about what is wrong with a history may be, in bytes.
pub(crate) const ERROR_MAX: usize = 3_000;

/// How long a sentence of a verdict may be, in bytes. Those about a cycle of many transactions
/// are long.
pub(crate) const SENTENCE_MAX: usize = 20_000;

/// The beginning of a long text, and how much of it is left out. A quote that is open is closed.
pub(crate) fn part(text: &str) -> Cow<'_, str> {
    beginning(text, PART_MAX)
}

fn beginning(text: &str, most: usize) -> Cow<'_, str> {
    const ELLIPSIS: &str = "...";
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    // What the sentence has behind it, or around it.
    let bare = text.trim_end_matches([',', ';', ':', '.', ')']);
    let behind = &text[bare.len()..];
    let behind = if behind.len() > 2 { "" } else { behind };
    let length = text.len() - behind.len();
    let mut close = if text[..length].ends_with('`') {
        "`"
    } else {
        ""
    };
    let most = most - ELLIPSIS.len() - 1;
    let ends = (0..=most).rev().find(|at| text.is_char_boundary(*at));
    let told = &text[..ends.unwrap_or(0)];
    if has_open_quote(told) {
        close = "\"";
    }
    let left_out = length - told.len() - close.len();
    Cow::Owned(format!(
        "{told}{ELLIPSIS}{close} ({left_out} bytes more){behind}"
    ))
}

fn has_open_quote(text: &str) -> bool {
    let (mut is_open, mut is_escaped) = (false, false);
    for byte in text.bytes() {
        is_open ^= byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
    }
    is_open
}

/// A sentence in which each quoted text and each word is told as far as a person reads it, and
/// that ends somewhere.
pub(crate) fn sentence(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= PART_MAX {
        return Cow::Borrowed(text);
    }
    let mut told = String::new();
    let mut rest = text;
    let mut has_quotes = true;
    while !rest.is_empty() && told.len() <= most {
        let quoted = has_quotes.then(|| length_of_quoted(rest));
        has_quotes &= quoted != Some(None);
        let length = quoted.flatten().filter(|length| *length > 0);
        let (piece, behind) = rest.split_at(length.unwrap_or_else(|| length_of_word(rest)));
        told += &part(piece);
        rest = behind;
    }
    told += rest;
    match beginning(&told, most) {
        Cow::Borrowed(_) => Cow::Owned(told),
        Cow::Owned(cut) => Cow::Owned(cut),
    }
}

/// How much of the text is one in quotes that begins there, which may be nothing; none if a quote
/// is never closed.
fn length_of_quoted(text: &str) -> Option<usize> {
    if !text.starts_with('"') {
        return Some(0);
    }
    length_of_string(text)
}

/// How much of the text is one word, or the space between two.
fn length_of_word(text: &str) -> usize {
    let is_space = text.starts_with(char::is_whitespace);
    let mut characters = text.char_indices().skip(1);
    let end = characters.find(|(_, c)| c.is_whitespace() != is_space || *c == '"');
    end.map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_told_whole() {
        let long = "the value \"a b\" was `enqueue [1,2]`, not \"\" ".repeat(20);
        for text in ["", "a", &"a".repeat(100), &long] {
            assert_eq!(sentence(text, SENTENCE_MAX), text);
            assert_eq!(
                part(&text[..text.len().min(100)]),
                text[..text.len().min(100)]
            );
        }
    }

    #[test]
    fn what_is_long_is_cut_where_it_stands() {
        let (many, kept) = ("\u{e9} \\\" ".repeat(1_000), "\u{e9} \\\" ".repeat(16));
        for (text, expected) in [
            (
                format!("the value \"{many}\" was read"),
                format!(
                    "the value \"{}...\" (5905 bytes more) was read",
                    kept.trim_end()
                ),
            ),
            (
                format!("process 1 did `{}`, which is late", "a".repeat(1_000)),
                format!(
                    "process 1 did `{}...` (905 bytes more), which is late",
                    "a".repeat(95)
                ),
            ),
            (
                format!("`{}` is late", "a".repeat(1_000)),
                format!("`{}...` (905 bytes more) is late", "a".repeat(95)),
            ),
            (
                format!("it was {{\"key\":\"{}\"}} here", "a".repeat(1_000)),
                format!(
                    "it was {{\"key\":\"{}...\" (905 bytes more)}} here",
                    "a".repeat(95)
                ),
            ),
            (
                format!("a quote \" is open {}", "b".repeat(200)),
                format!("a quote \" is open {}... (104 bytes more)", "b".repeat(96)),
            ),
        ] {
            assert_eq!(sentence(&text, ERROR_MAX), expected);
            assert_eq!(sentence(&expected, ERROR_MAX), expected);
        }
    }

    #[test]
    fn many_parts_end_somewhere() {
        for text in ["a ", "\"a\",", "\"", "\\\"", " ", "\u{1f600}"] {
            let told = sentence(&text.repeat(1 << 20), ERROR_MAX).len();
            assert!(told <= ERROR_MAX + 40, "{text:?}: {told}");
        }
    }
}
