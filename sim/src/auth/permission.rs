//! Ranges of keys, and what they cover.

use std::cmp::Ordering;

/// What is to be done with keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// They are read.
    Read,
    /// They are put or deleted.
    Write,
}

/// What a role allows. The kind is that of etcd's `auth.proto`: 0 to read, 1 to
/// write, 2 for both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// 0 to read, 1 to write, 2 for both; anything else allows nothing.
    pub kind: i32,
    /// The key, or the first key.
    pub key: Vec<u8>,
    /// Empty: the key alone; a zero byte: all keys from it on; else the keys before
    /// this one.
    pub range_end: Vec<u8>,
}

impl Permission {
    const READ: i32 = 0;
    const WRITE: i32 = 1;
    const READ_WRITE: i32 = 2;

    /// Whether there is no key that it is about: none to begin with, or an end that is not
    /// behind it.
    pub(super) fn is_empty(&self) -> bool {
        let Permission { key, range_end, .. } = self;
        let ends_in_time = || affine(&Interval::new(key, range_end).end, key).is_le();
        key.is_empty() || ends_in_time()
    }

    fn allows(&self, access: Access) -> bool {
        self.kind == Self::READ_WRITE
            || match access {
                Access::Read => self.kind == Self::READ,
                Access::Write => self.kind == Self::WRITE,
            }
    }
}

/// What the roles of a user allow together (`server/auth/range_perm_cache.go`).
#[derive(Debug, Default)]
pub(super) struct Permissions {
    read: Vec<Interval>,
    write: Vec<Interval>,
}

impl Permissions {
    pub(super) fn of<'a>(all: impl Iterator<Item = &'a Permission>) -> Permissions {
        let mut permissions = Permissions::default();
        for permission in all {
            let interval = Interval::new(&permission.key, &permission.range_end);
            if permission.allows(Access::Read) {
                permissions.read.push(interval.clone());
            }
            if permission.allows(Access::Write) {
                permissions.write.push(interval);
            }
        }
        for intervals in [&mut permissions.read, &mut permissions.write] {
            intervals.sort_by(|a, b| affine(&a.begin, &b.begin));
        }
        permissions
    }

    /// Whether the key, or all keys of the range, are among them. A range that ends
    /// before it begins is not; in etcd that depends on the shape of its tree.
    pub(super) fn cover(&self, access: Access, key: &[u8], range_end: &[u8]) -> bool {
        let intervals = match access {
            Access::Read => &self.read,
            Access::Write => &self.write,
        };
        let asked = Interval::new(key, range_end);
        if affine(&asked.end, &asked.begin).is_lt() {
            return false;
        }
        let mut meeting = intervals.iter().filter(|interval| asked.meets(interval));
        let Some(first) = meeting.next() else {
            return false;
        };
        if range_end.is_empty() {
            return true;
        }
        let mut end = &first.end;
        for next in meeting {
            if affine(end, &next.begin).is_lt() {
                return false;
            }
            if affine(&next.end, end).is_gt() {
                end = &next.end;
            }
        }
        affine(end, &asked.end).is_ge() && affine(&first.begin, &asked.begin).is_le()
    }
}

/// The keys from one on and before another; an empty end is behind all keys.
#[derive(Clone, Debug)]
struct Interval {
    begin: Vec<u8>,
    end: Vec<u8>,
}

impl Interval {
    fn new(key: &[u8], range_end: &[u8]) -> Interval {
        let end = match range_end {
            [] => [key, b"\0"].concat(),
            b"\0" => Vec::new(),
            end => end.to_vec(),
        };
        Interval {
            begin: key.to_vec(),
            end,
        }
    }

    /// Whether they have a key in common (`Interval.Compare` in `pkg/adt`).
    fn meets(&self, other: &Interval) -> bool {
        let is_left =
            affine(&self.begin, &other.begin).is_lt() && affine(&self.end, &other.begin).is_le();
        let is_right = affine(&self.begin, &other.end).is_ge();
        !is_left && !is_right
    }
}

/// Compares bounds: an empty one is greater than all others
/// (`BytesAffineComparable`).
fn affine(a: &[u8], b: &[u8]) -> Ordering {
    match (a, b) {
        ([], []) => Ordering::Equal,
        ([], _) => Ordering::Greater,
        (_, []) => Ordering::Less,
        (a, b) => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permissions(all: &[(i32, &str, &str)]) -> Permissions {
        let all: Vec<Permission> = all
            .iter()
            .map(|(kind, key, range_end)| Permission {
                kind: *kind,
                key: key.as_bytes().to_vec(),
                range_end: range_end.as_bytes().to_vec(),
            })
            .collect();
        Permissions::of(all.iter())
    }

    #[test]
    fn ranges_that_touch_cover_what_lies_in_both() {
        let all = permissions(&[(2, "a", "c"), (0, "c", "e"), (2, "x", "\0")]);
        let covers =
            |access, key: &str, end: &str| all.cover(access, key.as_bytes(), end.as_bytes());
        assert!(covers(Access::Read, "a", "e"));
        assert!(covers(Access::Read, "b", "d"));
        assert!(!covers(Access::Read, "a", "f"));
        assert!(!covers(Access::Write, "a", "e"));
        assert!(covers(Access::Write, "a", "c"));
        assert!(covers(Access::Read, "b", ""));
        assert!(!covers(Access::Read, "e", ""));
        assert!(covers(Access::Write, "y", "\0"));
        assert!(!covers(Access::Write, "w", "\0"));
    }

    #[test]
    fn a_range_that_ends_before_it_begins_is_empty() {
        let is_empty = |key: &str, range_end: &str| {
            let (key, range_end) = (key.as_bytes().to_vec(), range_end.as_bytes().to_vec());
            let kind = Permission::READ;
            let permission = Permission {
                kind,
                key,
                range_end,
            };
            permission.is_empty()
        };
        for (key, range_end) in [("z", "a"), ("a", "a"), ("", ""), ("", "b"), ("", "\0")] {
            assert!(is_empty(key, range_end), "{key:?} {range_end:?}");
        }
        for (key, range_end) in [("a", "z"), ("a", ""), ("a", "\0"), ("\0", "\0")] {
            assert!(!is_empty(key, range_end), "{key:?} {range_end:?}");
        }
    }

    #[test]
    fn a_single_key_is_no_range() {
        let all = permissions(&[(2, "a", "")]);
        assert!(all.cover(Access::Read, b"a", b""));
        assert!(all.cover(Access::Read, b"a", b"a\0"));
        assert!(!all.cover(Access::Read, b"a", b"b"));
        assert!(!all.cover(Access::Read, b"a\0", b""));
    }
}
