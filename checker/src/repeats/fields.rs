//! Values that are the same, and fields of objects.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::history::Scanner;
use crate::keyed::text;

/// Whether two values are the same to models, to which the number `1` and the string `"1"` are.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    if one == other || text(one) == text(other) {
        return true;
    }
    let lists: (Result<Vec<&RawValue>, _>, Result<Vec<&RawValue>, _>) =
        (serde_json::from_str(one), serde_json::from_str(other));
    if let (Ok(one), Ok(other)) = lists {
        let mut pairs = one.iter().zip(&other);
        return one.len() == other.len()
            && pairs.all(|(one, other)| is_same(one.get(), other.get()));
    }
    // Objects may be spaced in another way.
    let values: (Result<serde_json::Value, _>, Result<serde_json::Value, _>) =
        (serde_json::from_str(one), serde_json::from_str(other));
    matches!(values, (Ok(one), Ok(other)) if one == other)
}

/// Whether a field that both objects have differs: the one that is named, or any.
pub(super) fn fields_differ(asked: &str, told: &str, only: Option<&str>) -> bool {
    // Most completions are answers, and no objects.
    if !told.starts_with('{') {
        return false;
    }
    let plain = plain_fields_differ(asked, told, only);
    plain.unwrap_or_else(|| any_fields_differ(asked, told, only))
}

/// The same of objects as almost every program writes them, without a list of the fields. Of
/// others nothing is said.
fn plain_fields_differ(asked: &str, told: &str, only: Option<&str>) -> Option<bool> {
    let mut differ = false;
    let mut told = Scanner::new(told);
    told.object(|name, scanner| {
        let told = scanner.any()?;
        if only.is_none_or(|only| only == name) {
            let asked = plain_field(asked, name)?;
            differ |= asked.is_some_and(|asked| is_another(asked, told));
        }
        Some(())
    })?;
    told.is_at_end().then_some(differ)
}

/// The last field of this name, if there is one.
fn plain_field<'t>(object: &'t str, name: &str) -> Option<Option<&'t str>> {
    let mut found = None;
    Scanner::new(object).object(|of, scanner| {
        let value = scanner.any()?;
        if of == name {
            found = Some(value);
        }
        Some(())
    })?;
    Some(found)
}

fn any_fields_differ(asked: &str, told: &str, only: Option<&str>) -> bool {
    type Fields<'t> = BTreeMap<Cow<'t, str>, &'t RawValue>;
    let fields = |text| serde_json::from_str::<Fields<'_>>(text);
    let (Ok(asked), Ok(told)) = (fields(asked), fields(told)) else {
        return false;
    };
    let compared = told
        .iter()
        .filter(|(name, _)| only.is_none_or(|only| only == **name));
    let mut both = compared.filter_map(|(name, told)| Some((asked.get(name)?, told)));
    both.any(|(asked, told)| is_another(asked.get(), told.get()))
}

/// Whether a field tells of something else. What is `null` was left out.
fn is_another(asked: &str, told: &str) -> bool {
    told != "null" && !is_same(asked, told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_objects_are_compared_as_any_others() {
        let objects = [
            r#"{"a":1}"#,
            r#"{"a": 1, "b":2}"#,
            r#"{"b":2,"a":"1"}"#,
            r#"{"a":2}"#,
            r#"{"a":null}"#,
            r#"{"c":[1,2]}"#,
            r#"{"a":[1, 2]}"#,
        ];
        for asked in objects {
            for told in objects {
                for only in [None, Some("a"), Some("b")] {
                    let plain = plain_fields_differ(asked, told, only);
                    let expected = Some(any_fields_differ(asked, told, only));
                    assert_eq!(plain, expected, "{asked} {told} {only:?}");
                }
            }
        }
        assert!(fields_differ(objects[0], objects[3], None));
        assert!(!fields_differ(objects[0], objects[3], Some("b")));
        // What is written with escapes is no plain object.
        let escaped = r#"{"\u0061":2}"#;
        assert_eq!(plain_fields_differ(objects[0], escaped, None), None);
        assert!(fields_differ(objects[0], escaped, None));
    }
}
