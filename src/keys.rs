//! Names, and the keys that a recipe makes of them.
//!
//! The layouts are those of etcd's Go recipes, so that programs in both
//! languages can share a queue. Where the Go recipes look at every key that
//! *begins* with the name, these look at *direct children of the right form*
//! only: a queue `jobs` never touches `jobs2/..`, nor `jobs/x/1`.

use crate::error::Error;
use crate::runtime;

/// A checked name.
///
/// A name is not empty, does not end with `/`, has no empty part (`a//b`) and
/// no NUL. It may begin with `/`, as the keys of many programs do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        match fault_of(&name) {
            None => Ok(Self(name)),
            Some(reason) => Err(Error::invalid_name(&name, reason)),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What the keys of all children, direct or not, begin with.
    pub(crate) fn children(&self) -> String {
        format!("{}/", self.0)
    }

    /// The key of a child. `id` must have passed [`check_id`] or be a number.
    pub(crate) fn child(&self, id: &str) -> String {
        format!("{}/{id}", self.0)
    }

    /// A key for a new queue item: `name/<nanoseconds since 1970>`.
    pub(crate) fn new_item_key(&self) -> String {
        format!("{}/{}", self.0, runtime::unique_nanos())
    }

    /// The key of a session: `name/<lease in lower hexadecimal>`, as Go prints it.
    pub(crate) fn lease_key(&self, lease: i64) -> String {
        format!("{}/{lease:x}", self.0)
    }

    /// The lease after which a direct child of this name is called.
    pub(crate) fn lease_of(&self, key: &str) -> Option<i64> {
        let id = key.strip_prefix(&self.0)?.strip_prefix('/')?;
        let is_lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if id.starts_with('0') || !id.bytes().all(is_lower_hex) {
            return None;
        }
        i64::from_str_radix(id, 16).ok()
    }

    /// The smallest range `[start, end)` that holds every possible item key.
    pub(crate) fn item_range(&self) -> (String, String) {
        // ':' comes right after '9'.
        (format!("{}/0", self.0), format!("{}/:", self.0))
    }

    /// Whether `key` is a queue item of this name: `name/<decimal>`.
    ///
    /// Below `__jobs` a priority queue `jobs` keeps its books, `__jobs/00007`;
    /// those are no items. (Go's queue takes them for some.)
    pub(crate) fn is_item(&self, key: &[u8]) -> bool {
        let is_book = |id: &[u8]| id.len() == 5 && self.0.starts_with("__");
        key.strip_prefix(self.0.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"/"))
            .is_some_and(|id| !id.is_empty() && id.iter().all(u8::is_ascii_digit) && !is_book(id))
    }

    /// Whether keys under `other` could be taken for keys of this name, or the
    /// other way round, also by a Go program, which scans for the bare name.
    pub(crate) fn overlaps(&self, other: &Name) -> bool {
        other.0.starts_with(&self.0) || self.children().starts_with(&other.children())
    }
}

/// Checks an id that becomes the last part of a key.
pub(crate) fn check_id(id: &str) -> Result<(), Error> {
    let reason = match id {
        "" => Some("it is empty"),
        _ if id.contains('/') => Some("it contains '/'"),
        _ if id.contains('\0') => Some("it contains a NUL"),
        _ => None,
    };
    reason.map_or(Ok(()), |reason| Err(Error::invalid_name(id, reason)))
}

fn fault_of(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name.ends_with('/') {
        Some("it ends with '/'")
    } else if name.contains("//") {
        Some("it has an empty part ('//')")
    } else if name.contains('\0') {
        Some("it contains a NUL")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_with_a_reason() {
        for good in ["jobs", "/jobs", "a/b", "jobs 2", "Ärger"] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for (bad, reason) in [
            ("", "empty"),
            ("/", "ends with"),
            ("jobs/", "ends with"),
            ("a//b", "empty part"),
            ("a\0b", "NUL"),
        ] {
            let error = Name::new(bad).unwrap_err();
            assert!(error.is_invalid_name());
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn only_direct_decimal_children_are_items() {
        let name = Name::new("jobs").unwrap();
        assert!(name.is_item(b"jobs/1795215111050153261"));
        assert!(name.is_item(name.new_item_key().as_bytes()));
        for foreign in [
            "jobs", "jobs/", "jobs2/1", "jobs/x/1", "jobs/1/2", "jobs/1a", "jobs/-1", "job/1",
        ] {
            assert!(!name.is_item(foreign.as_bytes()), "{foreign}");
        }
    }

    #[test]
    fn keys_of_leases_are_lower_hexadecimal_without_padding() {
        let name = Name::new("lk").unwrap();
        assert_eq!(name.lease_key(0x3cee_a1fb), "lk/3ceea1fb");
        assert_eq!(name.lease_of("lk/3ceea1fb"), Some(0x3cee_a1fb));
        assert_eq!(name.lease_of("lk/7fffffffffffffff"), Some(i64::MAX));
        for foreign in [
            "lk",
            "lk/",
            "lk/03ce",
            "lk/3CE",
            "lk/x/3ce",
            "lk/3ce/1",
            "lk2/3ce",
            "lk/-3",
            "lk/+3",
            "lk/8fffffffffffffff",
        ] {
            assert_eq!(name.lease_of(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn the_books_of_a_priority_queue_are_no_items() {
        let name = Name::new("__jobs").unwrap();
        assert!(!name.is_item(b"__jobs/00007"));
        assert!(name.is_item(b"__jobs/1795215111050153261"));
        assert!(Name::new("jobs").unwrap().is_item(b"jobs/00007"));
    }

    #[test]
    fn the_item_range_holds_all_items_and_no_neighbour() {
        let name = Name::new("jobs").unwrap();
        let (start, end) = name.item_range();
        let within = |key: &str| start.as_str() <= key && key < end.as_str();
        assert!(within("jobs/0") && within("jobs/9") && within("jobs/99999999999999999999"));
        assert!(!within("jobs/x/1") && !within("jobs2/1") && !within("jobs"));
    }

    #[test]
    fn overlapping_names_are_seen_in_both_directions() {
        let overlaps = |a: &str, b: &str| Name::new(a).unwrap().overlaps(&Name::new(b).unwrap());
        assert!(overlaps("jobs", "jobs"));
        assert!(overlaps("jobs", "jobs/receipts"));
        // A Go consumer of `jobs` would see it.
        assert!(overlaps("jobs", "jobs-receipts"));
        assert!(overlaps("r/jobs", "r"));
        assert!(!overlaps("jobs", "receipts/jobs"));
        assert!(!overlaps("jobs2", "jobs"));
    }
}
