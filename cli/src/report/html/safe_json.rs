//! JSON that may stand between `<script>` tags.
//!
//! A browser looks for the end of a script in its text, whatever the quotes say:
//! `</script>` in a string would end it, and `<!--` would hide the end. So the
//! characters of markup are written as escapes, which mean the same to JSON.

use std::io;

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// The compact JSON form of `value` without `<`, `>` and `&`.
pub(super) fn to_string(value: &impl Serialize) -> io::Result<String> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, Safe))?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

struct Safe;

impl Formatter for Safe {
    // Outside of strings JSON has none of these characters.
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&']) {
            writer.write_all(&rest.as_bytes()[..at])?;
            write!(writer, "\\u{:04x}", rest.as_bytes()[at])?;
            rest = &rest[at + 1..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped_and_reads_back() {
        let evil = "</script><!-- <img src=x onerror=alert(1)> & ü \u{2028} \"\\";
        let json = to_string(&[evil]).unwrap();
        assert!(!json.contains(['<', '>', '&']), "{json}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&json).unwrap(), [evil]);
    }
}
