//! Values as text.

/// A value on one line: UTF-8 as it is, with escapes for what cannot be printed,
/// and for the backslash, so that no two values look the same.
pub(super) fn of(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    for chunk in value.utf8_chunks() {
        let escaped = chunk.valid().escape_debug().to_string();
        // In text without quotation marks around it they stand for themselves.
        text.push_str(&escaped.replace("\\\"", "\"").replace("\\'", "'"));
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn what_can_be_printed_stands_for_itself() {
        assert_eq!(
            of("clean up, \"now\" 'é' 日本".as_bytes()),
            "clean up, \"now\" 'é' 日本"
        );
        assert_eq!(of(b""), "");
    }

    #[test]
    fn the_rest_is_escaped_and_no_two_values_look_the_same() {
        assert_eq!(of(b"a\nb\x1b[0m"), "a\\nb\\u{1b}[0m");
        assert_eq!(of(b"\xff\x00"), "\\xff\\0");
        assert_eq!(of(b"\\\""), "\\\\\"");
        assert_ne!(of(b"\\n"), of(b"\n"));
    }
}
