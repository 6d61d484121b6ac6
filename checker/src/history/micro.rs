//! Micro-operations: what a transaction read and wrote.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeSeq, Serializer};

use super::Json;
use super::scan::Scanner;

/// One read or write of a transaction. In a history it is a short list:
/// `["r", key, value-or-null, mod_revision]` or `["w", key, value-or-null]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MicroOperation<'a> {
    /// The transaction saw `value` under `key`.
    Read {
        /// The key.
        key: Cow<'a, str>,
        /// What was read; none means that the key was absent.
        value: Option<Cow<'a, str>>,
        /// The revision that wrote this value; 0 when absent, none when
        /// unknown.
        mod_revision: Option<i64>,
    },
    /// The transaction wrote `value` under `key`.
    Write {
        /// The key.
        key: Cow<'a, str>,
        /// What was written; none means that the key was deleted.
        value: Option<Cow<'a, str>>,
    },
}

impl<'a> MicroOperation<'a> {
    /// A read that found `value`, last written by `mod_revision`.
    pub fn read(
        key: impl Into<Cow<'a, str>>,
        value: impl Into<Cow<'a, str>>,
        mod_revision: i64,
    ) -> Self {
        Self::Read {
            key: key.into(),
            value: Some(value.into()),
            mod_revision: Some(mod_revision),
        }
    }

    /// A read that found nothing.
    pub fn read_absent(key: impl Into<Cow<'a, str>>) -> Self {
        Self::Read {
            key: key.into(),
            value: None,
            mod_revision: Some(0),
        }
    }

    /// A write of `value`.
    pub fn write(key: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) -> Self {
        Self::Write {
            key: key.into(),
            value: Some(value.into()),
        }
    }

    /// A deletion.
    pub fn delete(key: impl Into<Cow<'a, str>>) -> Self {
        Self::Write {
            key: key.into(),
            value: None,
        }
    }
}

impl fmt::Display for MicroOperation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read {
                key, value: None, ..
            } => write!(f, "r {key} = absent"),
            Self::Read {
                key,
                value: Some(value),
                mod_revision: None,
            } => write!(f, "r {key} = {value}"),
            Self::Read {
                key,
                value: Some(value),
                mod_revision: Some(revision),
            } => {
                write!(f, "r {key} = {value} @{revision}")
            }
            Self::Write {
                key,
                value: Some(value),
            } => write!(f, "w {key} = {value}"),
            Self::Write { key, value: None } => write!(f, "delete {key}"),
        }
    }
}

impl Serialize for MicroOperation<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        match self {
            Self::Read {
                key,
                value,
                mod_revision,
            } => {
                list.serialize_element("r")?;
                list.serialize_element(key)?;
                list.serialize_element(value)?;
                if let Some(revision) = mod_revision {
                    list.serialize_element(revision)?;
                }
            }
            Self::Write { key, value } => {
                list.serialize_element("w")?;
                list.serialize_element(key)?;
                list.serialize_element(value)?;
            }
        }
        list.end()
    }
}

/// The micro-operations of a transaction.
///
/// # Errors
/// When the value is no list of them.
pub(crate) fn micro_operations(json: &Json) -> Result<Vec<MicroOperation<'_>>, serde_json::Error> {
    plain_list(json.as_str()).map_or_else(|| json.parse(), Ok)
}

/// As almost every program writes them: nothing but what is needed, without escapes. Of
/// anything else nothing is said here.
fn plain_list(text: &str) -> Option<Vec<MicroOperation<'_>>> {
    let scanner = &mut Scanner::new(text);
    let mut list = Vec::with_capacity(4);
    scanner.expect(b'[')?;
    scanner.skip_space();
    while scanner.peek()? != b']' {
        if !list.is_empty() {
            scanner.expect(b',')?;
            scanner.skip_space();
        }
        list.push(plain_one(scanner)?);
        scanner.skip_space();
    }
    scanner.expect(b']')?;
    scanner.is_at_end().then_some(list)
}

fn plain_one<'a>(scanner: &mut Scanner<'a>) -> Option<MicroOperation<'a>> {
    scanner.expect(b'[')?;
    scanner.skip_space();
    let kind = scanner.string()?;
    next_element(scanner)?;
    let key = Cow::Borrowed(scanner.text()?);
    next_element(scanner)?;
    let value = scanner.or_null(Scanner::text)?.map(Cow::Borrowed);
    scanner.skip_space();
    let operation = match kind {
        "w" => MicroOperation::Write { key, value },
        "r" => {
            let mut mod_revision = None;
            if scanner.peek()? == b',' {
                next_element(scanner)?;
                mod_revision = scanner.or_null(Scanner::signed)?;
                scanner.skip_space();
            }
            MicroOperation::Read {
                key,
                value,
                mod_revision,
            }
        }
        _ => return None,
    };
    scanner.expect(b']')?;
    Some(operation)
}

/// A list of a string, or a whole number taken as its decimal digits, and a whole
/// number, as almost every program writes it. Of anything else nothing is said here.
pub(crate) fn plain_pair(json: &Json) -> Option<(&str, i64)> {
    let scanner = &mut Scanner::new(json.as_str());
    scanner.expect(b'[')?;
    scanner.skip_space();
    let text = scanner.text()?;
    next_element(scanner)?;
    let number = scanner.signed()?;
    scanner.skip_space();
    scanner.expect(b']')?;
    scanner.is_at_end().then_some((text, number))
}

fn next_element(scanner: &mut Scanner<'_>) -> Option<()> {
    scanner.skip_space();
    scanner.expect(b',')?;
    scanner.skip_space();
    Some(())
}

impl<'de: 'a, 'a> Deserialize<'de> for MicroOperation<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(MicroVisitor(std::marker::PhantomData))
    }
}

struct MicroVisitor<'a>(std::marker::PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for MicroVisitor<'a> {
    type Value = MicroOperation<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"["r", key, value, mod_revision] or ["w", key, value]"#)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let Text(kind) = list
            .next_element()?
            .ok_or_else(|| de::Error::invalid_length(0, &self))?;
        let Text(key) = list
            .next_element()?
            .ok_or_else(|| de::Error::invalid_length(1, &self))?;
        let value: Option<Text<'a>> = list
            .next_element()?
            .ok_or_else(|| de::Error::invalid_length(2, &self))?;
        let value = value.map(|Text(text)| text);
        // What later versions append is skipped.
        let operation = match kind.as_ref() {
            "r" => MicroOperation::Read {
                key,
                value,
                mod_revision: list.next_element()?.flatten(),
            },
            "w" => MicroOperation::Write { key, value },
            other => return Err(de::Error::unknown_variant(other, &["r", "w"])),
        };
        while list.next_element::<de::IgnoredAny>()?.is_some() {}
        Ok(operation)
    }
}

/// A string, or a whole number taken as its decimal digits.
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor(std::marker::PhantomData))
    }
}

struct TextVisitor<'a>(std::marker::PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for TextVisitor<'a> {
    type Value = Text<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a whole number")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(number.to_string())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(number.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_pairs_are_read_as_the_general_parser_reads_them() {
        const PAIRS: &[&str] = &[
            r#"["a",7]"#,
            "[ 12 , 0 ]",
            r#"["a\n",-5]"#,
            r#"["a",1.5,2]"#,
        ];
        let mut plain = 0;
        for pair in PAIRS {
            for at in 0..pair.len() {
                for byte in "\"\\[],0-19.e ".chars() {
                    let text = format!("{}{byte}{}", &pair[..at], &pair[at + 1..]);
                    let Ok(raw) = serde_json::from_str(&text) else {
                        continue;
                    };
                    let json = Json::from_raw(raw);
                    if let Some((value, number)) = plain_pair(&json) {
                        let parsed: (Text<'_>, i64) = json.parse().unwrap();
                        assert_eq!((value, number), (&*parsed.0.0, parsed.1), "{text}");
                        plain += 1;
                    }
                }
            }
        }
        assert!(plain > 10, "only {plain} are plain");
    }

    #[test]
    fn plain_lists_are_read_as_the_general_parser_reads_them() {
        const LISTS: &[&str] = &[
            r#"[["r","a","1",5],["w",3,4],["r",7,null,0],["r",7,null],["w","b",null]]"#,
            r#"[ [ "r" , "a" , "x" , null ] , [ "w" , "a" , "" ] ]"#,
            "[]",
            r#"[["r","a","1",5,6],["w","a","b","c"]]"#,
            r#"[["r","a","\n",-5],["w","a",-4],["w","a",1.5],["x","a",1]]"#,
        ];
        let mut plain = 0;
        for list in LISTS {
            let ends = (1..=list.len()).map(|end| list[..end].to_owned());
            let changed = (0..list.len()).flat_map(|at| {
                let bytes = "\"\\[],0-19.enrw ".chars();
                bytes.map(move |byte| format!("{}{byte}{}", &list[..at], &list[at + 1..]))
            });
            for text in ends.chain(changed) {
                if let Some(operations) = plain_list(&text) {
                    let parsed: Vec<MicroOperation<'_>> = serde_json::from_str(&text).unwrap();
                    assert_eq!(operations, parsed, "{text}");
                    plain += 1;
                }
            }
        }
        assert!(plain > 100, "only {plain} are plain");
        for list in &LISTS[..3] {
            assert!(plain_list(list).is_some(), "{list}");
        }
    }
}
