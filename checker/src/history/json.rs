//! A JSON value kept as its text.
//!
//! A history is written and read far more often than its values are looked
//! into, and what they mean depends on the model. So an event carries the text
//! of its value; the model that knows its shape parses it.

use std::fmt;

use serde::de::Deserialize;
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

/// One JSON value as compact text on a single line. `null` is the default.
///
/// Two values are equal when their texts are: `1.0` and `1` differ.
#[derive(Clone, Default)]
pub struct Json(Option<Box<RawValue>>);

impl Json {
    /// The value `null`.
    pub const NULL: Self = Self(None);

    /// The JSON form of `value`.
    ///
    /// # Errors
    /// When `value` has no JSON form, such as a map whose keys are no strings.
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(value).map(Self::from_raw)
    }

    /// The text, without line breaks.
    pub fn as_str(&self) -> &str {
        self.0.as_ref().map_or("null", |raw| raw.get())
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

    pub(crate) fn from_raw(raw: Box<RawValue>) -> Self {
        if raw.get() == "null" {
            return Self::NULL;
        }
        // Raw text is passed through by serde as it stands. Outside of strings a
        // line break is white space, and inside it is always escaped.
        if raw.get().contains(['\n', '\r']) {
            let line = raw.get().replace(['\n', '\r'], " ");
            return Self(RawValue::from_string(line).ok());
        }
        Self(Some(raw))
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
        self.0.serialize(serializer)
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
    fn null_is_the_default_however_it_is_made() {
        assert_eq!(Json::default(), Json::NULL);
        assert!(Json::new(&Option::<u8>::None).unwrap().is_null());
        assert!(Json::from(None::<&str>).is_null());
    }
}
