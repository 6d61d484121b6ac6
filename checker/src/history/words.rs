//! The reads and writes of a transaction in words.

use serde_json::value::RawValue;

/// `{r x = 1 @7, w y = 2, append z = 3}`; none when the value is no list of such.
///
/// Of what was asked for, nothing has been read yet: `r x`. In an answer a read of nothing
/// found nothing: `r x = absent`.
pub(super) fn of_micro_operations(json: &str, is_asked: bool) -> Option<String> {
    let list: Vec<Vec<&RawValue>> = serde_json::from_str(json).ok()?;
    let words: Option<Vec<String>> = list.iter().map(|micro| of_one(micro, is_asked)).collect();
    let words = words.filter(|words| !words.is_empty())?;
    Some(format!("{{{}}}", words.join(", ")))
}

fn of_one(micro: &[&RawValue], is_asked: bool) -> Option<String> {
    let [kind, key, value, rest @ ..] = micro else {
        return None;
    };
    let key = text(key);
    let is_nothing = value.get() == "null";
    let value = text(value);
    Some(match kind.get() {
        r#""r""# if is_nothing && is_asked => format!("r {key}"),
        r#""r""# if is_nothing => format!("r {key} = absent"),
        r#""r""# => {
            let revision = rest.first().filter(|revision| revision.get() != "null");
            let at = revision.map(|revision| format!(" @{}", revision.get()));
            format!("r {key} = {value}{}", at.unwrap_or_default())
        }
        r#""w""# if is_nothing => format!("delete {key}"),
        r#""w""# => format!("w {key} = {value}"),
        r#""append""# => format!("append {key} = {value}"),
        _ => return None,
    })
}

/// A string without its quotes, anything else as it stands.
fn text(json: &RawValue) -> String {
    serde_json::from_str(json.get()).unwrap_or_else(|_| json.get().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_has_not_been_read() {
        let json =
            r#"[["r","x",null],["append","x",1],["r",3,"a\n",7],["w","y",null],["w","y","b",0]]"#;
        assert_eq!(
            of_micro_operations(json, true).unwrap(),
            "{r x, append x = 1, r 3 = a\n @7, delete y, w y = b}"
        );
        assert_eq!(
            of_micro_operations(json, false).unwrap(),
            "{r x = absent, append x = 1, r 3 = a\n @7, delete y, w y = b}"
        );
        assert_eq!(
            of_micro_operations(r#"[["r","x",[]],["r","y",[1,2],null]]"#, false).unwrap(),
            "{r x = [], r y = [1,2]}"
        );
    }

    #[test]
    fn other_lists_are_none_of_it() {
        for json in [
            "[]",
            "7",
            "null",
            r#"[["r",7]]"#,
            r#"[["job",7,8]]"#,
            r#"["r","x",1]"#,
        ] {
            assert_eq!(of_micro_operations(json, true), None, "{json}");
        }
    }
}
