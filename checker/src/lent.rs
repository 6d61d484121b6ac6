//! Texts that a history lends, where they stand in options and lists.
//!
//! serde's derive borrows a field when its type is written `Cow<str>`, and copies what stands
//! in an `Option`, in a list, or behind another name of the type.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// For a field with `deserialize_with`.
pub(crate) fn optional<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'a, str>>, D::Error> {
    let text: Option<Text<'a>> = Deserialize::deserialize(deserializer)?;
    Ok(text.map(|Text(text)| text))
}

/// For a field with `deserialize_with`.
pub(crate) fn list<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Cow<'a, str>>, D::Error> {
    let texts: Vec<Text<'a>> = Deserialize::deserialize(deserializer)?;
    Ok(texts.into_iter().map(|Text(text)| text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_escapes_is_not_copied() {
        let mut json = serde_json::Deserializer::from_str(r#"["a","b\n"]"#);
        let texts = list(&mut json).unwrap();
        assert!(matches!(
            texts.as_slice(),
            [Cow::Borrowed("a"), Cow::Owned(_)]
        ));
        let mut json = serde_json::Deserializer::from_str(r#""a""#);
        assert!(matches!(optional(&mut json), Ok(Some(Cow::Borrowed("a")))));
    }
}
