//! Lists and objects as values: the same however they are spaced and escaped, and in whatever
//! order the fields of an object stand.

use std::borrow::Cow;

/// How deep values are put in order; no file holds deeper ones.
const DEPTH_MAX: usize = 128;

/// The JSON without space between its parts, and without escapes that need not be, with the
/// fields of objects in the order of their names. Those of one name stay in their order, and
/// numbers as they are written.
pub(crate) fn compact(json: &str) -> Cow<'_, str> {
    let is_special = |byte: u8| matches!(byte, b'\\' | b'{') || byte.is_ascii_whitespace();
    if !json.bytes().any(is_special) {
        return Cow::Borrowed(json);
    }
    let compact = without_space(json);
    if compact.contains('{') {
        let mut ordered = String::with_capacity(compact.len());
        if push_ordered(&mut ordered, &compact, 0) == Some("") {
            return Cow::Owned(ordered);
        }
    }
    Cow::Owned(compact)
}

/// Appends the value that begins there, and returns what is behind it; none if it is none, or
/// nested too deep.
fn push_ordered<'t>(out: &mut String, json: &'t str, depth: usize) -> Option<&'t str> {
    if depth > DEPTH_MAX {
        return None;
    }
    let length = match json.as_bytes().first()? {
        b'{' => return push_object(out, &json[1..], depth),
        b'[' => return push_list(out, &json[1..], depth),
        b'"' => length_of_string(json)?,
        b',' | b']' | b'}' => return None,
        _ => json.find([',', ']', '}']).unwrap_or(json.len()),
    };
    let (plain, behind) = json.split_at(length);
    out.push_str(plain);
    Some(behind)
}

fn push_list<'t>(out: &mut String, mut rest: &'t str, depth: usize) -> Option<&'t str> {
    out.push('[');
    while !rest.starts_with(']') {
        rest = push_ordered(out, rest, depth + 1)?;
        if let Some(behind) = rest.strip_prefix(',') {
            out.push(',');
            rest = behind;
        }
    }
    out.push(']');
    Some(&rest[1..])
}

fn push_object<'t>(out: &mut String, mut rest: &'t str, depth: usize) -> Option<&'t str> {
    let mut fields: Vec<(&str, String)> = Vec::new();
    while !rest.starts_with('}') {
        let (name, behind) = rest.split_at(length_of_string(rest)?);
        let mut value = String::new();
        rest = push_ordered(&mut value, behind.strip_prefix(':')?, depth + 1)?;
        fields.push((name, value));
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    fields.sort_by_key(|(name, _)| *name);
    out.push('{');
    for (index, (name, value)) in fields.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(name);
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
    Some(&rest[1..])
}

fn without_space(json: &str) -> String {
    let mut compact = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(open) = rest.find('"') {
        let (between, string) = rest.split_at(open);
        push_without_space(&mut compact, between);
        let Some(length) = length_of_string(string) else {
            break;
        };
        let (string, behind) = string.split_at(length);
        let plain = serde_json::from_str::<String>(string).ok();
        let again = plain.and_then(|plain| serde_json::to_string(&plain).ok());
        compact += again.as_deref().unwrap_or(string);
        rest = behind;
    }
    push_without_space(&mut compact, rest);
    compact
}

fn push_without_space(compact: &mut String, between: &str) {
    compact.extend(between.split_ascii_whitespace());
}

/// Up to behind the closing quote of the string that begins there; none if it is never closed.
pub(crate) fn length_of_string(json: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, byte) in json.bytes().enumerate().skip(1) {
        if byte == b'"' && !is_escaped {
            return Some(at + 1);
        }
        is_escaped = byte == b'\\' && !is_escaped;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::compact;

    #[test]
    fn space_and_escapes_make_no_difference() {
        for (json, expected) in [
            ("[1,2]", "[1,2]"),
            ("[ 1,\t2 ]", "[1,2]"),
            (r#"[1, "a b", "\u00e9\"\\ \n"]"#, r#"[1,"a b","é\"\\ \n"]"#),
            (r#"{"a" : [ "" , {} ]}"#, r#"{"a":["",{}]}"#),
            (
                "[12345678901234567890123, 1.0]",
                "[12345678901234567890123,1.0]",
            ),
        ] {
            assert_eq!(compact(json), expected);
            assert_eq!(compact(expected), expected);
        }
    }

    #[test]
    fn the_order_of_fields_makes_no_difference() {
        for (json, expected) in [
            (r#"{"b":2,"a":1}"#, r#"{"a":1,"b":2}"#),
            (
                r#"[1, {"b":{"d":"}","c":[{"z":[],"y":{}}]}, "\u0061":[null]}]"#,
                r#"[1,{"a":[null],"b":{"c":[{"y":{},"z":[]}],"d":"}"}}]"#,
            ),
            (r#"["{\"b\":1,\"a\":2}"]"#, r#"["{\"b\":1,\"a\":2}"]"#),
            // Which of two fields of one name counts depends on their order.
            (r#"{"b":1,"a":2,"a":1}"#, r#"{"a":2,"a":1,"b":1}"#),
            ("{}", "{}"),
            ("[[],{},{}]", "[[],{},{}]"),
        ] {
            assert_eq!(compact(json), expected);
            assert_eq!(compact(expected), expected);
        }
    }

    #[test]
    fn what_is_nested_too_deep_or_no_json_stays_as_it_is() {
        let deep = r#"{"b":0,"a":"#.repeat(500) + "0" + &"}".repeat(500);
        for json in [deep.as_str(), "{", r#"{"a"}"#, "[{}", "{]", "[{,}]", "[}{"] {
            assert_eq!(compact(json), json);
        }
    }
}
