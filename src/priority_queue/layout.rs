//! The keys of a priority queue: those of etcd's Go recipes.
//!
//! | key | what |
//! |---|---|
//! | `name/00007/0000000000000012` | an item of priority 7, the value is the item's |
//! | `__name/00007` | written with every item of priority 7, so that Go writers notice each other; never deleted |

use crate::keys::Name;

/// One more than the largest sequence number: those have 16 digits.
pub(super) const SEQUENCE_END: u64 = 10_000_000_000_000_000;

const PRIORITY_DIGITS: usize = 5;
const SEQUENCE_DIGITS: usize = 16;

/// `name/00007/0000000000000012`
pub(super) fn item_key(name: &Name, priority: u16, sequence: u64) -> String {
    format!("{}/{priority:05}/{sequence:016}", name.as_str())
}

/// `__name/00007`
pub(super) fn bookkeeping_key(name: &Name, priority: u16) -> String {
    format!("__{}/{priority:05}", name.as_str())
}

/// The range that holds every possible item of a priority from `sequence` on.
pub(super) fn from_sequence(name: &Name, priority: u16, sequence: u64) -> (String, String) {
    // ':' comes right after '9'.
    let end = format!("{}/{priority:05}/:", name.as_str());
    (item_key(name, priority, sequence), end)
}

/// The priority of the item with this key. `None` if it is no item of this
/// queue.
pub(super) fn priority_of(name: &Name, key: &[u8]) -> Option<u16> {
    let rest = key.strip_prefix(name.as_str().as_bytes())?;
    let (priority, sequence) = rest.strip_prefix(b"/")?.split_at_checked(PRIORITY_DIGITS)?;
    let sequence = sequence.strip_prefix(b"/")?;
    let is_sequence = sequence.len() == SEQUENCE_DIGITS && sequence.iter().all(u8::is_ascii_digit);
    let is_priority = priority.iter().all(u8::is_ascii_digit);
    if !is_sequence || !is_priority {
        return None;
    }
    std::str::from_utf8(priority).ok()?.parse().ok()
}

/// The sequence number to go on with after the last key of a priority: one that
/// sorts behind it, even if it is no item's. `None` if there is none.
pub(super) fn sequence_after(name: &Name, priority: u16, last: &[u8]) -> Option<u64> {
    let prefix = format!("{}/{priority:05}/", name.as_str());
    let rest = last.strip_prefix(prefix.as_bytes())?;
    let digits = rest.get(..SEQUENCE_DIGITS)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number + 1 < SEQUENCE_END).then_some(number + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_go_recipes() {
        let name = Name::new("pq").unwrap();
        assert_eq!(item_key(&name, 9, 0), "pq/00009/0000000000000000");
        assert_eq!(bookkeeping_key(&name, 1), "__pq/00001");
        assert_eq!(item_key(&name, 65535, 12), "pq/65535/0000000000000012");
    }

    #[test]
    fn only_items_of_this_queue_have_a_priority() {
        let name = Name::new("pq").unwrap();
        assert_eq!(priority_of(&name, b"pq/00009/0000000000000000"), Some(9));
        for foreign in [
            "pq/00009",
            "pq/9/0000000000000000",
            "pq/70000/0000000000000000",
            "pq/00009/1795215111050153261",
            "pq/00009/000000000000000x",
            "pq2/00009/0000000000000000",
            "__pq/00009",
            "pq/+0009/0000000000000000",
        ] {
            assert_eq!(priority_of(&name, foreign.as_bytes()), None, "{foreign}");
        }
    }

    #[test]
    fn the_next_item_sorts_behind_whatever_is_last() {
        let name = Name::new("pq").unwrap();
        let after = |last: &str| sequence_after(&name, 9, last.as_bytes());
        assert_eq!(after("pq/00009/0000000000000041"), Some(42));
        assert_eq!(after("pq/00009/0000000000000041/x"), Some(42));
        assert_eq!(
            after("pq/00009/1795215111050153261"),
            Some(1795215111050154)
        );
        assert_eq!(after("pq/00009/9999999999999999"), None);
        assert_eq!(after("pq/00009/12"), None);
        assert_eq!(after("pq/00009/x"), None);
    }

    #[test]
    fn a_range_of_a_priority_holds_its_items_and_no_neighbour() {
        let name = Name::new("pq").unwrap();
        let (start, end) = from_sequence(&name, 9, 5);
        let within = |key: &str| start.as_str() <= key && key < end.as_str();
        assert!(within("pq/00009/0000000000000005") && within("pq/00009/9999999999999999"));
        assert!(!within("pq/00009/0000000000000004") && !within("pq/00010/0000000000000005"));
    }
}
