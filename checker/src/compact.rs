//! Lists and objects as values: the same however they are spaced and escaped.

use std::borrow::Cow;

/// The JSON without space between its parts, and without escapes that need not be. Numbers and
/// the order of fields stay as they are written.
pub(crate) fn compact(json: &str) -> Cow<'_, str> {
    if !json
        .bytes()
        .any(|byte| byte == b'\\' || byte.is_ascii_whitespace())
    {
        return Cow::Borrowed(json);
    }
    let mut compact = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(open) = rest.find('"') {
        let (between, string) = rest.split_at(open);
        push_without_space(&mut compact, between);
        let Some(length) = length_of_string(string) else {
            break;
        };
        let (string, behind) = string.split_at(length);
        let plain = serde_json::from_str::<String>(string).ok();
        let again = plain.and_then(|plain| serde_json::to_string(&plain).ok());
        compact += again.as_deref().unwrap_or(string);
        rest = behind;
    }
    push_without_space(&mut compact, rest);
    Cow::Owned(compact)
}

fn push_without_space(compact: &mut String, between: &str) {
    compact.extend(between.split_ascii_whitespace());
}

/// Up to behind the closing quote of the string that begins there; none if it is never closed.
pub(crate) fn length_of_string(json: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, byte) in json.bytes().enumerate().skip(1) {
        if byte == b'"' && !is_escaped {
            return Some(at + 1);
        }
        is_escaped = byte == b'\\' && !is_escaped;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::compact;

    #[test]
    fn space_and_escapes_make_no_difference() {
        for (json, expected) in [
            ("[1,2]", "[1,2]"),
            ("[ 1,\t2 ]", "[1,2]"),
            (r#"[1, "a b", "\u00e9\"\\ \n"]"#, r#"[1,"a b","é\"\\ \n"]"#),
            (r#"{"a" : [ "" , {} ]}"#, r#"{"a":["",{}]}"#),
            (
                "[12345678901234567890123, 1.0]",
                "[12345678901234567890123,1.0]",
            ),
        ] {
            assert_eq!(compact(json), expected);
            assert_eq!(compact(expected), expected);
        }
    }
}
