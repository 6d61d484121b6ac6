//! The keys of a reliable queue. The layout is our own.
//!
//! | key | value | lease |
//! |---|---|---|
//! | `name/items/0000000000000012` | the item's | none: stays until it is acknowledged |
//! | `name/claims/0000000000000012` | which attempt made the claim | the consumer's |
//! | `name/consumers/<lease in hex>` | empty; rewritten to bar late claims | the consumer's |
//! | `name/tail` | the last number that was given out | none |

use crate::error::Error;
use crate::keys::Name;

/// One more than the largest number: those have 16 digits.
pub(super) const NUMBER_END: u64 = 10_000_000_000_000_000;

const DIGITS: usize = 16;

pub(super) fn item_key(name: &Name, number: u64) -> String {
    format!("{}/items/{number:016}", name.as_str())
}

pub(super) fn claim_key(name: &Name, number: u64) -> String {
    format!("{}/claims/{number:016}", name.as_str())
}

pub(super) fn items(name: &Name) -> String {
    format!("{}/items/", name.as_str())
}

pub(super) fn claims(name: &Name) -> String {
    format!("{}/claims/", name.as_str())
}

/// The range of all items from this number on.
pub(super) fn items_from(name: &Name, number: u64) -> (String, String) {
    // ':' comes right after '9'.
    (item_key(name, number), format!("{}:", items(name)))
}

/// The range of all claims from this number on.
pub(super) fn claims_from(name: &Name, number: u64) -> (String, String) {
    (claim_key(name, number), format!("{}:", claims(name)))
}

pub(super) fn tail_key(name: &Name) -> String {
    format!("{}/tail", name.as_str())
}

pub(super) fn consumer_key(name: &Name, lease: i64) -> String {
    format!("{}/consumers/{lease:x}", name.as_str())
}

/// The number in a key that begins with `prefix`. `None` if it is neither an
/// item's nor a claim's.
pub(super) fn number_in(prefix: &str, key: &[u8]) -> Option<u64> {
    let digits = key.strip_prefix(prefix.as_bytes())?;
    if digits.len() != DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The number in the value of the tail.
pub(super) fn number_of_tail(name: &Name, value: &[u8]) -> Result<u64, Error> {
    let number = std::str::from_utf8(value).ok().and_then(|t| t.parse().ok());
    number
        .filter(|number| *number < NUMBER_END)
        .ok_or_else(|| Error::foreign_data(&tail_key(name), "it is not the tail of a queue"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_the_documentation_says() {
        let name = Name::new("jobs").unwrap();
        assert_eq!(item_key(&name, 12), "jobs/items/0000000000000012");
        assert_eq!(claim_key(&name, 12), "jobs/claims/0000000000000012");
        assert_eq!(consumer_key(&name, 0x1f), "jobs/consumers/1f");
        assert_eq!(tail_key(&name), "jobs/tail");
    }

    #[test]
    fn only_sixteen_digits_make_an_item() {
        let name = Name::new("jobs").unwrap();
        let prefix = items(&name);
        let number = |key: &str| number_in(&prefix, key.as_bytes());
        assert_eq!(number("jobs/items/0000000000000012"), Some(12));
        for foreign in [
            "jobs/items/12",
            "jobs/items/000000000000001x",
            "jobs/items/items/0000000000000012",
            "jobs2/items/0000000000000012",
        ] {
            assert_eq!(number(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_tail_that_is_none_is_refused() {
        let name = Name::new("jobs").unwrap();
        assert_eq!(number_of_tail(&name, b"41").unwrap(), 41);
        for foreign in [&b""[..], b"x", b"-1", b"99999999999999999"] {
            let error = number_of_tail(&name, foreign).unwrap_err();
            assert_eq!(error.kind(), crate::error::ErrorKind::ForeignData);
        }
    }
}
