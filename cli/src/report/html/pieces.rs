//! Sentences in which names and values stand between backquotes.

/// A part of a sentence.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    /// Whether it is a name or a value of the history.
    pub(super) is_code: bool,
}

/// The parts of a sentence, without the quotes. One whose quotes make no pairs stays whole.
pub(super) fn of(sentence: &str) -> Vec<Piece> {
    let quotes = sentence.matches('`').count();
    let parts = sentence.split(|c| c == '`' && quotes.is_multiple_of(2));
    let pieces = parts.enumerate().map(|(index, text)| Piece {
        text: text.to_owned(),
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
}
