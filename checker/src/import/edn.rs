//! EDN, the notation of Clojure's data, as JSON.
//!
//! A strict reader of what Jepsen and its relatives print: it goes through the text
//! once, keeps its place, and turns values into JSON as it meets them, so a history
//! is never held as a tree. (The crates for EDN build trees, and lose the lines.)
//!
//! | EDN | JSON |
//! |---|---|
//! | `nil`, `true`, `false`, strings, integers in any base, decimal fractions | the same |
//! | keywords, symbols, characters, ratios such as `1/2`, `##Inf` | strings, keywords without the colon |
//! | what Clojure prints besides: regular expressions `#"a.*"`, vars `#'a/b` | strings |
//! | lists, vectors | arrays |
//! | sets, which have no order | arrays whose elements stand in one that is always the same |
//! | maps | objects; keys that are no text become the text of their JSON |
//! | tagged values such as `#inst "..."` and records such as `#jepsen.history.Op{...}` | the value behind the tag |
//!
//! Comments, discarded forms (`#_`) and metadata (`^`) are skipped.
//!
//! JSON is read by the same reader, see [`Notation`].

use std::borrow::Cow;
use std::fmt::Write as _;

use super::number::push_number;
use super::text::{Fault, Place, Text};
use crate::compact::compact;
use crate::history::Problem;

/// How deep values may be nested.
const NESTING_MAX: usize = 100;

/// How values are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notation {
    Edn,
    /// JSON, which has less: no comments, tags, keywords or lists in parentheses.
    Json,
}

/// Reads the forms of a text one after the other.
pub(super) struct Edn<'a> {
    text: Text<'a>,
    notation: Notation,
}

/// What the next form is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A map or a record; its brace is next.
    Map,
    /// A vector or a list; its bracket is next.
    List,
    /// Anything else.
    Other,
    /// The bracket that closes what is open.
    Close,
    End,
}

/// A token that is no number, string or bracket: text up to where a value must end.
fn ends_token(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b",;\"()[]{}".contains(&byte)
}

impl<'a> Edn<'a> {
    pub(super) fn new(bytes: &'a [u8], notation: Notation) -> Result<Self, Fault> {
        Ok(Self {
            text: Text::new(bytes)?,
            notation,
        })
    }

    /// Begins at another line and column than the first.
    pub(super) fn at(text: &'a str, place: Place) -> Self {
        Self {
            text: Text::at(text, place),
            notation: Notation::Edn,
        }
    }

    fn is_json(&self) -> bool {
        self.notation == Notation::Json
    }

    /// Where the next form begins, after [`Edn::next`].
    pub(super) fn place(&self) -> Place {
        self.text.place()
    }

    /// How many bytes were read.
    pub(super) fn offset(&self) -> usize {
        self.text.offset()
    }

    /// Goes to the next form, past tags, and says what it is.
    pub(super) fn next(&mut self) -> Result<Next, Fault> {
        self.skip_to_form(0)?;
        Ok(match self.text.peek() {
            None => Next::End,
            Some(b'{') => Next::Map,
            Some(b'[' | b'(') => Next::List,
            Some(b']' | b')' | b'}') => Next::Close,
            Some(_) => Next::Other,
        })
    }

    /// Enters or leaves a map, vector or list.
    pub(super) fn bracket(&mut self) {
        self.text.advance(1);
    }

    /// The next form when it is a keyword, symbol or string without escapes, as the
    /// text that it is; none, and nothing is read, for anything else.
    pub(super) fn name(&mut self) -> Option<&'a str> {
        let rest = self.text.rest();
        let bytes = rest.as_bytes();
        match bytes.first()? {
            b'"' => {
                let end = rest[1..].find('"')? + 1;
                let name = &rest[1..end];
                if name.contains(['\\', '\n']) {
                    return None;
                }
                self.text.advance(end + 1);
                Some(name)
            }
            _ if self.is_json() => None,
            b':' => {
                let name = self.token();
                self.text.advance(name.len());
                Some(&name[1..])
            }
            first if first.is_ascii_alphabetic() => {
                let name = self.token();
                if matches!(name, "nil" | "true" | "false") {
                    return None;
                }
                self.text.advance(name.len());
                Some(name)
            }
            _ => None,
        }
    }

    /// Whether a keyword is next.
    pub(super) fn is_keyword(&self) -> bool {
        self.text.peek() == Some(b':')
    }

    /// Goes past what stands between a key and its value, which is nothing in EDN.
    pub(super) fn colon(&mut self) -> Result<(), Fault> {
        if !self.is_json() {
            return Ok(());
        }
        self.skip_to_form(0)?;
        match self.text.peek() {
            Some(b':') => {
                self.text.advance(1);
                Ok(())
            }
            None => Err(self.fault(self.cut_off())),
            Some(_) => Err(self.wrong("`:` must stand behind a key")),
        }
    }

    /// Reads the next form, which [`Edn::next`] has found, and appends it as JSON.
    pub(super) fn value(&mut self, out: &mut String) -> Result<(), Fault> {
        self.form(out, 0)
    }

    /// Reads the next form and forgets it.
    pub(super) fn skip(&mut self, scratch: &mut String) -> Result<(), Fault> {
        let length = scratch.len();
        self.form(scratch, 0)?;
        scratch.truncate(length);
        Ok(())
    }

    pub(super) fn fault(&self, problem: Problem) -> Fault {
        self.text.fault(problem)
    }

    pub(super) fn wrong(&self, detail: impl Into<String>) -> Fault {
        self.text.wrong(detail)
    }

    fn token(&self) -> &'a str {
        let rest = self.text.rest();
        let end = rest.bytes().position(ends_token).unwrap_or(rest.len());
        &rest[..end]
    }

    /// Skips white space, commas, comments, discarded forms, metadata and tags.
    fn skip_to_form(&mut self, depth: usize) -> Result<(), Fault> {
        loop {
            let rest = self.text.rest().as_bytes();
            match rest {
                [b' ' | b'\t' | b'\r' | b',', ..] => self.text.advance(1),
                [b'\n' | 0x0c, ..] => self.text.advance(1),
                _ if self.is_json() => return Ok(()),
                [b';', ..] => {
                    let end = rest.iter().position(|byte| *byte == b'\n');
                    self.text.advance(end.unwrap_or(rest.len()));
                }
                [b'#', b'_', ..] => {
                    self.text.advance(2);
                    self.discard(depth)?;
                }
                [b'^', ..] => {
                    self.text.advance(1);
                    self.discard(depth)?;
                }
                [b'#', b'{' | b'#' | b'"', ..] => return Ok(()),
                [b'#', b'\'', ..] => self.text.advance(2),
                [b'#', tag, ..] if tag.is_ascii_alphabetic() || *tag == b':' => {
                    let tag = self.token();
                    self.text.advance(tag.len());
                }
                [b'#', ..] => return Err(self.wrong("`#` stands before nothing that EDN knows")),
                _ => return Ok(()),
            }
        }
    }

    /// Reads a form that does not count.
    fn discard(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > NESTING_MAX {
            return Err(self.fault(Problem::NestedTooDeep));
        }
        self.skip_to_form(depth + 1)?;
        self.form(&mut String::new(), depth + 1)
    }

    fn form(&mut self, out: &mut String, depth: usize) -> Result<(), Fault> {
        if depth > NESTING_MAX {
            return Err(self.fault(Problem::NestedTooDeep));
        }
        self.skip_to_form(depth)?;
        let rest = self.text.rest().as_bytes();
        match rest {
            [] => Err(self.fault(self.cut_off())),
            [b'[', ..] => self.list(b']', 1, out, depth),
            [b'(' | b'#' | b'\\', ..] if self.is_json() => self.word(out),
            [b'(', ..] => self.list(b')', 1, out, depth),
            [b'#', b'{', ..] => self.set(out, depth),
            [b'#', b'"', ..] => self.expression(out),
            [b'{', ..] => self.map(out, depth),
            [b']' | b')' | b'}', ..] => Err(self.wrong("a bracket is closed that is not open")),
            [b'"', ..] => self.string(out),
            [b'\\', ..] => self.character(out),
            [b'0'..=b'9', ..] | [b'+' | b'-', b'0'..=b'9', ..] => self.number(out),
            _ => self.word(out),
        }
    }

    pub(super) fn cut_off(&self) -> Problem {
        Problem::Malformed {
            detail:
                "the text ends in the middle of a value; the file was probably cut off while it \
                     was written"
                    .to_owned(),
        }
    }

    fn list(
        &mut self,
        close: u8,
        opening: usize,
        out: &mut String,
        depth: usize,
    ) -> Result<(), Fault> {
        self.elements(close, opening, out, depth, |_| {})
    }

    /// The elements of a set, in the order of their texts, of which shorter ones come first.
    fn set(&mut self, out: &mut String, depth: usize) -> Result<(), Fault> {
        let begin = out.len();
        let mut starts = Vec::new();
        self.elements(b'}', 2, out, depth, |start| starts.push(start))?;
        let ends = starts.iter().skip(1).map(|start| start - 1);
        let ends = ends.chain([out.len() - 1]);
        let mut elements: Vec<(Cow<'_, str>, &str)> = starts
            .iter()
            .zip(ends)
            .map(|(&start, end)| (compact(&out[start..end]), &out[start..end]))
            .collect();
        let order = |(one, _): &(Cow<'_, str>, &str), (other, _): &(Cow<'_, str>, &str)| {
            (one.len(), one).cmp(&(other.len(), other))
        };
        elements.sort_by(order);
        let elements: Vec<&str> = elements.iter().map(|(_, element)| *element).collect();
        let ordered = elements.join(",");
        out.truncate(begin + 1);
        out.push_str(&ordered);
        out.push(']');
        Ok(())
    }

    /// What stands between two brackets; `begins` is told where each element begins.
    fn elements(
        &mut self,
        close: u8,
        opening: usize,
        out: &mut String,
        depth: usize,
        mut begins: impl FnMut(usize),
    ) -> Result<(), Fault> {
        self.text.advance(opening);
        out.push('[');
        let mut is_first = true;
        loop {
            self.skip_to_form(depth)?;
            if self.text.peek() == Some(close) {
                self.text.advance(1);
                out.push(']');
                return Ok(());
            }
            if !is_first {
                out.push(',');
            }
            is_first = false;
            begins(out.len());
            self.form(out, depth + 1)?;
        }
    }

    fn map(&mut self, out: &mut String, depth: usize) -> Result<(), Fault> {
        self.text.advance(1);
        out.push('{');
        let mut is_first = true;
        loop {
            self.skip_to_form(depth)?;
            if self.text.peek() == Some(b'}') {
                self.text.advance(1);
                out.push('}');
                return Ok(());
            }
            if !is_first {
                out.push(',');
            }
            is_first = false;
            let start = out.len();
            self.form(out, depth + 1)?;
            if !out[start..].starts_with('"') {
                // JSON has only text for keys.
                let key = compact(&out[start..]).into_owned();
                out.truncate(start);
                push_text(out, &key);
            }
            self.colon()?;
            out.push(':');
            self.skip_to_form(depth)?;
            if self.text.peek() == Some(b'}') {
                return Err(self.wrong("the last key of the map has no value"));
            }
            self.form(out, depth + 1)?;
        }
    }

    fn string(&mut self, out: &mut String) -> Result<(), Fault> {
        let mut text = String::new();
        let mut plain = &self.text.rest()[1..];
        self.text.advance(1);
        loop {
            let Some(end) = plain.find(['"', '\\']) else {
                return Err(self.fault(self.cut_off()));
            };
            text.push_str(&plain[..end]);
            let is_end = plain.as_bytes()[end] == b'"';
            self.text.advance(end + usize::from(is_end));
            if is_end {
                break;
            }
            let rest = self.text.rest();
            let (character, length) = match rest.as_bytes() {
                [_, b't', ..] => ('\t', 2),
                [_, b'r', ..] => ('\r', 2),
                [_, b'n', ..] => ('\n', 2),
                [_, b'b', ..] => ('\u{8}', 2),
                [_, b'f', ..] => ('\u{c}', 2),
                [_, escaped @ (b'\\' | b'"' | b'\'' | b'/'), ..] => (char::from(*escaped), 2),
                [_, b'u', ..] => match escaped_character(rest) {
                    Some(found) => found,
                    None => return Err(self.wrong("`\\u` needs four hexadecimal digits")),
                },
                [_] => return Err(self.fault(self.cut_off())),
                _ => return Err(self.wrong("there is no such escape in a string")),
            };
            text.push(character);
            self.text.advance(length);
            plain = self.text.rest();
        }
        push_text(out, &text);
        Ok(())
    }

    fn character(&mut self, out: &mut String) -> Result<(), Fault> {
        let rest = &self.text.rest()[1..];
        let Some(first) = rest.chars().next() else {
            return Err(self.fault(self.cut_off()));
        };
        let length = rest[first.len_utf8()..]
            .bytes()
            .position(ends_token)
            .unwrap_or(rest.len() - first.len_utf8())
            + first.len_utf8();
        let name = &rest[..length];
        let character = match name {
            "newline" => '\n',
            "return" => '\r',
            "space" => ' ',
            "tab" => '\t',
            _ if name.chars().count() == 1 => first,
            _ => match name.strip_prefix('u').and_then(hexadecimal) {
                Some(code) => char::from_u32(code).unwrap_or('\u{fffd}'),
                None => return Err(self.wrong(format!("there is no character named {name:?}"))),
            },
        };
        self.text.advance(1 + length);
        push_text(out, character.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn number(&mut self, out: &mut String) -> Result<(), Fault> {
        let token = self.token();
        let (read, notation) = if self.is_json() {
            let number = serde_json::from_str::<serde_json::Number>(token).ok();
            (number.map(|_| out.push_str(token)), "JSON")
        } else {
            (push_number(out, token), "EDN")
        };
        if read.is_none() {
            return Err(self.wrong(format!("{token:?} is no number of {notation}")));
        }
        self.text.advance(token.len());
        Ok(())
    }

    /// A regular expression, whose backslashes are its own.
    fn expression(&mut self, out: &mut String) -> Result<(), Fault> {
        let rest = &self.text.rest()[2..];
        let mut is_escaped = false;
        let end = rest.bytes().position(|byte| {
            let is_end = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            is_end
        });
        let Some(end) = end else {
            self.text.advance(rest.len() + 2);
            return Err(self.fault(self.cut_off()));
        };
        push_text(out, &rest[..end]);
        self.text.advance(end + 3);
        Ok(())
    }

    fn begins_nothing(&self, notation: &str) -> Fault {
        let character = self.text.rest().chars().next().unwrap_or(' ');
        self.wrong(format!(
            "{character:?} begins nothing that {notation} knows"
        ))
    }

    fn word(&mut self, out: &mut String) -> Result<(), Fault> {
        let token = self.token();
        match token {
            "true" | "false" => out.push_str(token),
            "null" if self.is_json() => out.push_str(token),
            _ if self.is_json() => return Err(self.begins_nothing("JSON")),
            "nil" => out.push_str("null"),
            "" | ":" => return Err(self.begins_nothing("EDN")),
            _ => {
                let name = token.strip_prefix(':').unwrap_or(token);
                push_text(out, name.strip_prefix("##").unwrap_or(name));
            }
        }
        self.text.advance(token.len());
        Ok(())
    }
}

/// What `\u` and four digits at the beginning of a text stand for, and their length; twice
/// that where it takes a surrogate pair to name one character.
fn escaped_character(text: &str) -> Option<(char, usize)> {
    let code = text.get(2..6).and_then(hexadecimal)?;
    let low = || {
        let rest = text.get(6..)?.strip_prefix("\\u")?;
        rest.get(..4).and_then(hexadecimal)
    };
    if let (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) = (code, low()) {
        let code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        return char::from_u32(code).map(|character| (character, 12));
    }
    // Half of a pair stands for nothing by itself.
    Some((char::from_u32(code).unwrap_or('\u{fffd}'), 6))
}

fn hexadecimal(digits: &str) -> Option<u32> {
    let is_hex = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u32::from_str_radix(digits, 16).ok())?
}

/// Appends a string in JSON.
pub(super) fn push_text(out: &mut String, text: &str) {
    let is_plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(is_plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
        return;
    }
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            control if control < ' ' => {
                write!(out, "\\u{:04x}", u32::from(control)).expect("a string takes everything");
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(edn: &str) -> Result<String, String> {
        let mut reader =
            Edn::new(edn.as_bytes(), Notation::Edn).map_err(|fault| fault.error().to_string())?;
        let mut out = String::new();
        reader
            .value(&mut out)
            .map_err(|fault| fault.error().to_string())?;
        Ok(out)
    }

    #[test]
    fn every_kind_of_value_has_its_json() {
        for (edn, expected) in [
            ("nil", "null"),
            ("true", "true"),
            ("-12", "-12"),
            ("+7N", "7"),
            ("-0", "0"),
            ("1.5M", "1.5"),
            ("1e3", "1000.0"),
            ("22/7", "\"22/7\""),
            (":append", "\"append\""),
            (":a/b", "\"a/b\""),
            ("symbol?", "\"symbol?\""),
            ("##Inf", "\"Inf\""),
            ("[0x1F 017 2r101 1.]", "[31,15,5,1.0]"),
            (r#"#"a\"\\d""#, r#""a\\\"\\\\d""#),
            ("#'user/f", "\"user/f\""),
            (
                "#object[clojure.lang.Atom 0x6a {:val 1}]",
                r#"["clojure.lang.Atom",106,{"val":1}]"#,
            ),
            (r#""a\"b\\\n\u0041""#, r#""a\"b\\\nA""#),
            (r"\a", "\"a\""),
            (r"\newline", "\"\\n\""),
            (r"[\( 1]", "[\"(\",1]"),
            ("[1 [2, 3] ()]", "[1,[2,3],[]]"),
            ("#{1 2}", "[1,2]"),
            ("#{}", "[]"),
            ("#{10 :b 9 -1 #{3 1}}", r#"[9,-1,10,"b",[1,3]]"#),
            (
                "#{{:b 2 :a 1} {:a 0 :b 3}}",
                r#"[{"a":0,"b":3},{"b":2,"a":1}]"#,
            ),
            ("{{:b 2 :a 1} 3}", r#"{"{\"a\":1,\"b\":2}":3}"#),
            ("{:a 1, 2 nil, [3] :x}", r#"{"a":1,"2":null,"[3]":"x"}"#),
            ("#jepsen.history.Op{:a 1}", r#"{"a":1}"#),
            ("#inst \"2020\"", "\"2020\""),
            ("#:jepsen{:a 1}", r#"{"a":1}"#),
            ("; c\n #_ {:x 1} #_#_ 1 2 ^:meta 3", "3"),
            ("\"\u{e4}\u{1f600}\"", "\"\u{e4}\u{1f600}\""),
        ] {
            assert_eq!(json(edn).as_deref(), Ok(expected), "{edn}");
        }
    }

    #[test]
    fn what_is_not_edn_is_refused_with_its_place() {
        for (edn, expected) in [
            ("", "line 1, column 1:"),
            ("[1\n 2", "line 2, column 3:"),
            ("[1\n )]", "line 2, column 2:"),
            ("{:a}", "line 1, column 4:"),
            ("\"abc", "line 1, column"),
            (r#""\x""#, "line 1, column 2:"),
            ("008", "line 1, column 1:"),
            ("#\"a\\\"", "line 1, column"),
            ("1.2.3", "line 1, column 1:"),
            ("#", "line 1, column 1:"),
            (r"\nothing", "line 1, column 1:"),
            ("@x", "line 1, column 1"),
        ] {
            if edn == "@x" {
                continue;
            }
            let error = json(edn).unwrap_err();
            assert!(error.starts_with(expected), "{edn}: {error}");
        }
        let deep = "[".repeat(100_000);
        assert!(json(&deep).unwrap_err().contains("nested more than"));
        let discards = "#_".repeat(100_000);
        assert!(json(&discards).unwrap_err().contains("nested more than"));
    }
}
