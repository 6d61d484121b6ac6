//! Where in their lines the parts of events are.

use std::num::NonZeroU32;

/// The columns of an event's parts, in bytes counted from 1.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    /// Of the operation's name.
    pub(crate) f: Option<usize>,
    /// Of the value.
    pub(crate) value: Option<usize>,
}

/// The places of all events of a file. They say nothing of what happened, so
/// all are equal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    events: Vec<[Option<NonZeroU32>; 2]>,
    /// Of the model and the parameters in the header.
    header: [Option<usize>; 2],
}

impl Places {
    pub(crate) fn push(&mut self, place: Place) {
        // Lines are shorter than 2^32 bytes.
        let column = |column: Option<usize>| NonZeroU32::new(u32::try_from(column?).ok()?);
        self.events.push([column(place.f), column(place.value)]);
    }

    /// Makes room for so many more, if there is any.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.events.try_reserve_exact(more).ok();
    }

    pub(crate) fn set_header(&mut self, model: Option<usize>, parameters: Option<usize>) {
        self.header = [model, parameters];
    }

    pub(crate) fn header(&self, field: &str) -> Option<usize> {
        match field {
            "model" => self.header[0],
            "parameters" => self.header[1],
            _ => None,
        }
    }

    pub(crate) fn get(&self, event: usize) -> Option<Place> {
        let [f, value] = *self.events.get(event)?;
        let column = |column: Option<NonZeroU32>| usize::try_from(column?.get()).ok();
        Some(Place {
            f: column(f),
            value: column(value),
        })
    }
}

/// Where a value of a JSON text begins when a parser that does not want it stands in this column:
/// at the end of a string, number or word, or in front of a bracket. Of anything else, the column.
pub(crate) fn start_of_value(json: &str, column: usize) -> usize {
    let bytes = json.as_bytes();
    if let [.., before, b'[' | b'{'] = &bytes[..bytes.len().min(column + 1)]
        && b":,[ ".contains(before)
    {
        return column + 1;
    }
    let mut at = 0;
    while at < bytes.len().min(column) {
        let start = at;
        at += match bytes[at] {
            b'"' => length_of_string(&bytes[at..]),
            byte => length_of_word(&bytes[at..]).max(usize::from(is_between(byte))),
        };
        if at >= column && !is_between(bytes[start]) {
            return start + 1;
        }
    }
    column
}

/// How many bytes a string has that begins there, with its quotes.
fn length_of_string(bytes: &[u8]) -> usize {
    let mut is_escaped = true;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'"' && !is_escaped {
            return at + 1;
        }
        is_escaped = at == 0 || *byte == b'\\' && !is_escaped;
    }
    bytes.len()
}

fn length_of_word(bytes: &[u8]) -> usize {
    let end = bytes
        .iter()
        .position(|byte| is_between(*byte) || *byte == b'"');
    end.unwrap_or(bytes.len())
}

/// Whether a byte is no part of a scalar.
fn is_between(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b",:[]{}".contains(&byte)
}

impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Places {}

#[cfg(test)]
mod tests {
    use super::start_of_value;

    #[test]
    fn a_value_begins_where_its_first_byte_stands() {
        let json = r#"{"a" : -1.5e3,"b":["x\"y", null],"c":{}}"#;
        for (scalar, width) in [("\"a\"", 3), ("-1.5", 6), ("\"x", 6), ("null", 4)] {
            let start = json.find(scalar).unwrap() + 1;
            for column in start..start + width {
                assert_eq!(start_of_value(json, column), start, "{scalar} {column}");
            }
        }
        for bracket in ["[", "{}"] {
            let at = json.find(bracket).unwrap();
            assert_eq!(start_of_value(json, at), at + 1);
            assert_eq!(start_of_value(json, at + 1), at + 1);
        }
        // What is none stands where it is said to stand.
        for column in [0, 1, 5, 14, json.len(), json.len() + 7] {
            assert_eq!(start_of_value(json, column), column);
        }
    }
}
