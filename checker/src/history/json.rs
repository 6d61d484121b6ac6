//! A JSON value kept as its text.
//!
//! A history is written and read far more often than its values are looked
//! into, and what they mean depends on the model. So an event carries the text
//! of its value; the model that knows its shape parses it.

use std::borrow::Cow;
use std::fmt;

use compact_str::CompactString;
use serde::de::Deserialize;
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::value::RawValue;

use super::Text;
use super::scan::until_special;

/// One JSON value as compact text on a single line. `null` is the default.
///
/// Two values are equal when their texts are: `1.0` and `1` differ.
#[derive(Clone, Default)]
// Most values are short, and then stand in the event itself.
pub struct Json(Option<CompactString>);

impl Json {
    /// The value `null`.
    pub const NULL: Self = Self(None);

    /// The JSON form of `value`.
    ///
    /// # Errors
    /// When `value` has no JSON form, such as a map whose keys are no strings.
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).map(Self::from_text)
    }

    /// The text, without line breaks.
    pub fn as_str(&self) -> &str {
        self.0.as_ref().map_or("null", |text| text)
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        self.0.is_none()
    }

    /// Parses the text into a type, which may borrow from it.
    ///
    /// # Errors
    /// When the value has another shape than `T`.
    pub fn parse<'j, T: Deserialize<'j>>(&'j self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.as_str())
    }

    /// A string, or a whole number taken as its decimal digits.
    ///
    /// # Errors
    /// When the value is anything else.
    pub(crate) fn text(&self) -> Result<Cow<'_, str>, serde_json::Error> {
        /// So many digits are a whole number whatever they are.
        const DIGITS_MAX: usize = 18;
        let text = self.as_str();
        if let Some(rest) = text.strip_prefix('"') {
            let end = until_special(rest.as_bytes());
            // Without escapes it stands as it is.
            if let Some(string) = end.and_then(|end| rest.get(..end))
                && string.len() + 1 == rest.len()
            {
                return Ok(Cow::Borrowed(string));
            }
        } else if text.len() <= DIGITS_MAX && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Cow::Borrowed(text));
        }
        self.parse().map(|Text(text)| text)
    }

    pub(crate) fn from_raw(raw: &RawValue) -> Self {
        Self::from_text(raw.get())
    }

    /// Of a text that is JSON, and lies within a line.
    pub(super) fn from_line(text: &str) -> Self {
        if text == "null" {
            return Self::NULL;
        }
        Self(Some(CompactString::new(text)))
    }

    /// Of a text that is JSON.
    fn from_text(text: impl AsRef<str> + Into<CompactString>) -> Self {
        if text.as_ref() == "null" {
            return Self::NULL;
        }
        // Raw text is passed through by serde as it stands. Outside of strings a
        // line break is white space, and inside it is always escaped.
        if text.as_ref().contains(['\n', '\r']) {
            let line = text.as_ref().replace(['\n', '\r'], " ");
            return Self(Some(line.into()));
        }
        Self(Some(text.into()))
    }

    /// How much memory the text takes besides, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let on_heap = self.0.as_ref().filter(|text| text.is_heap_allocated());
        on_heap.map_or(0, CompactString::capacity)
    }

    fn from_plain<T: Serialize + ?Sized>(value: &T) -> Self {
        Self::new(value).expect("strings, numbers and lists of them have a JSON form")
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::from_plain(text)
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::from_plain(&text)
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Self {
        Self::from_plain(&number)
    }
}

impl From<i64> for Json {
    fn from(number: i64) -> Self {
        Self::from_plain(&number)
    }
}

impl From<&[super::MicroOperation<'_>]> for Json {
    fn from(operations: &[super::MicroOperation<'_>]) -> Self {
        Self::from_plain(operations)
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::NULL, Into::into)
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Json {}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_null() {
            return serializer.serialize_none();
        }
        let raw: &RawValue = serde_json::from_str(self.as_str()).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_text_with_line_breaks_becomes_one_line() {
        let pretty = RawValue::from_string("{\n \"a\": \"x\\ny\"\r\n}".to_owned()).unwrap();
        let json = Json::new(&pretty).unwrap();
        assert_eq!(json.as_str(), "{  \"a\": \"x\\ny\"  }");
    }

    #[test]
    fn strings_and_whole_numbers_are_text_as_a_parser_reads_them() {
        for text in [
            "\"\"",
            "\"a\"",
            "\"a\\n\"",
            "\"\\\"\"",
            "0",
            "-3",
            "7",
            "1.5",
            "-0",
            "true",
            "[1]",
            "18446744073709551615",
            "18446744073709551616",
            "123456789012345678",
            "1e3",
        ] {
            let raw: &RawValue = serde_json::from_str(text).unwrap();
            let json = Json::from_raw(raw);
            let parsed = json.parse().map(|Text(text)| text);
            match (json.text(), parsed) {
                (Ok(text), Ok(parsed)) => assert_eq!(text, parsed),
                (Err(error), Err(parsed)) => assert_eq!(error.to_string(), parsed.to_string()),
                (text, _) => panic!("{json} is {text:?}"),
            }
        }
    }

    #[test]
    fn what_is_written_is_the_text() {
        for text in ["null", "\"a\"", "[1,  {\"b\":null}]", "1.50"] {
            let raw: &RawValue = serde_json::from_str(text).unwrap();
            let json = Json::from_raw(raw);
            assert_eq!(serde_json::to_string(&json).unwrap(), text);
        }
    }

    #[test]
    fn null_is_the_default_however_it_is_made() {
        assert_eq!(Json::default(), Json::NULL);
        assert!(Json::new(&Option::<u8>::None).unwrap().is_null());
        assert!(Json::from(None::<&str>).is_null());
    }
}
