//! The micro-operations of transactions.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::fields::is_same;
use crate::history::Scanner;
use crate::keyed::text;

/// Which micro-operations a completion repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Micros {
    /// Those that were asked for, and no others.
    All,
    /// Those that were asked for; it may have read more.
    AllButReads,
}

/// Whether the completion of a transaction names other micro-operations than its invocation, if
/// that names some.
pub(super) fn micro_operations_differ(asked: &str, told: &str, which: Micros) -> bool {
    if asked == "null" {
        return false;
    }
    let plain = differ(Plain::of(asked), Plain::of(told), which);
    plain.or_else(|_| any_differ(asked, told, which)) == Ok(true)
}

/// It is not written as this reader of it understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NotUnderstood;

/// A read or write.
struct Micro<'t> {
    kind: Cow<'t, str>,
    key: Cow<'t, str>,
    /// As it is written.
    value: &'t str,
}

impl Micro<'_> {
    fn is_read(&self) -> bool {
        self.kind == "r"
    }

    fn is_repeated_by(&self, told: &Self) -> bool {
        self.kind == told.kind
            && self.key == told.key
            && (self.is_read() || is_same(self.value, told.value))
    }
}

fn differ<'t>(
    mut asked: impl Iterator<Item = Result<Micro<'t>, NotUnderstood>>,
    told: impl Iterator<Item = Result<Micro<'t>, NotUnderstood>>,
    which: Micros,
) -> Result<bool, NotUnderstood> {
    let mut next = asked.next().transpose()?;
    for told in told {
        let told = told?;
        let is_next = (next.as_ref()).is_some_and(|asked| asked.is_repeated_by(&told));
        if is_next {
            next = asked.next().transpose()?;
        } else if which == Micros::All || !told.is_read() {
            return Ok(true);
        }
    }
    Ok(next.is_some())
}

/// A list of them as almost every program writes it, taken one by one: no memory is needed.
struct Plain<'t> {
    list: Scanner<'t>,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Begin,
    Between,
    End,
}

impl<'t> Plain<'t> {
    fn of(text: &'t str) -> Self {
        Self {
            list: Scanner::new(text),
            place: Place::Begin,
        }
    }

    /// The next one; none where that is not plain.
    fn take(&mut self) -> Option<Option<Micro<'t>>> {
        let list = &mut self.list;
        match self.place {
            Place::Begin => list.expect(b'[')?,
            Place::Between => {}
            Place::End => return Some(None),
        }
        list.skip_space();
        if self.place == Place::Begin && list.peek()? == b']' {
            list.expect(b']')?;
            self.place = Place::End;
            return list.is_at_end().then_some(None);
        }
        let micro = plain_one(list)?;
        list.skip_space();
        self.place = match list.next()? {
            b',' => Place::Between,
            b']' if list.is_at_end() => Place::End,
            _ => return None,
        };
        Some(Some(micro))
    }
}

impl<'t> Iterator for Plain<'t> {
    type Item = Result<Micro<'t>, NotUnderstood>;

    fn next(&mut self) -> Option<Self::Item> {
        self.take().ok_or(NotUnderstood).transpose()
    }
}

/// What stands behind its value is not compared.
fn plain_one<'t>(list: &mut Scanner<'t>) -> Option<Micro<'t>> {
    list.expect(b'[')?;
    list.skip_space();
    let kind = Cow::Borrowed(list.string()?);
    next_element(list)?;
    let key = Cow::Borrowed(list.text()?);
    let mut value = None;
    loop {
        list.skip_space();
        match list.next()? {
            b',' => {}
            b']' => break,
            _ => return None,
        }
        list.skip_space();
        let element = list.any()?;
        value.get_or_insert(element);
    }
    let value = value.unwrap_or("null");
    Some(Micro { kind, key, value })
}

fn next_element(list: &mut Scanner<'_>) -> Option<()> {
    list.skip_space();
    list.expect(b',')?;
    list.skip_space();
    Some(())
}

fn any_differ(asked: &str, told: &str, which: Micros) -> Result<bool, NotUnderstood> {
    let (asked, told) = (any_list(asked)?, any_list(told)?);
    differ(asked.into_iter(), told.into_iter(), which)
}

fn any_list(text: &str) -> Result<Vec<Result<Micro<'_>, NotUnderstood>>, NotUnderstood> {
    let list: Vec<Vec<&RawValue>> = serde_json::from_str(text).map_err(|_| NotUnderstood)?;
    Ok(list
        .into_iter()
        .map(|elements| any_one(&elements))
        .collect())
}

fn any_one<'t>(elements: &[&'t RawValue]) -> Result<Micro<'t>, NotUnderstood> {
    let named = |at: usize| -> Option<Cow<'t, str>> { text(elements.get(at)?.get()) };
    Ok(Micro {
        kind: named(0).ok_or(NotUnderstood)?,
        key: named(1).ok_or(NotUnderstood)?,
        value: elements.get(2).map_or("null", |value| value.get()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lists_are_compared_as_any_others() {
        let lists = [
            "[]",
            "[ ]",
            r#"[["w","x",1]]"#,
            r#"[ ["w", "x", "1", 7] ]"#,
            r#"[["w",1,2],["r","y"]]"#,
            r#"[["w","1",2],["r","y",null,5]]"#,
            r#"[["r","z",1],["w","1",2],["r","y",[1]]]"#,
            r#"[["r","y",1],["r","y",1],["w","1",3]]"#,
            r#"[["r","y",1]]"#,
        ];
        for asked in lists {
            for told in lists {
                for which in [Micros::All, Micros::AllButReads] {
                    let plain = differ(Plain::of(asked), Plain::of(told), which);
                    assert!(plain.is_ok(), "{asked} {told}");
                    assert_eq!(plain, any_differ(asked, told, which), "{asked} {told}");
                }
            }
        }
        let [_, _, write, again, both, repeated, more, ..] = lists;
        assert!(!micro_operations_differ(write, again, Micros::All));
        assert!(!micro_operations_differ(both, repeated, Micros::All));
        assert!(micro_operations_differ(both, more, Micros::All));
        assert!(!micro_operations_differ(both, more, Micros::AllButReads));
        assert!(micro_operations_differ(more, both, Micros::AllButReads));
        let escaped = r#"[["w","\u0078",2]]"#;
        assert!(Plain::of(escaped).any(|micro| micro.is_err()));
        assert!(micro_operations_differ(write, escaped, Micros::AllButReads));
    }
}
