//! What roles allow, and which keys that covers.

use super::interval::{Interval, IntervalTree, affine};

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
        let Interval { begin, end } = self.interval();
        begin.is_empty() || affine(&end, &begin).is_le()
    }

    fn interval(&self) -> Interval {
        Interval::new(&self.key, &self.range_end)
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
    read: IntervalTree,
    write: IntervalTree,
}

impl Permissions {
    pub(super) fn of(all: &[&Permission]) -> Permissions {
        let tree = |access| {
            let allowed = all.iter().filter(|permission| permission.allows(access));
            IntervalTree::of(allowed.map(|permission| permission.interval()))
        };
        Permissions {
            read: tree(Access::Read),
            write: tree(Access::Write),
        }
    }

    /// Whether the key, or all keys of the range, are among them. Whether a range that
    /// ends before it begins is, depends on the shape of the tree.
    pub(super) fn cover(&self, access: Access, key: &[u8], range_end: &[u8]) -> bool {
        let tree = match access {
            Access::Read => &self.read,
            Access::Write => &self.write,
        };
        let asked = Interval::new(key, range_end);
        if range_end.is_empty() {
            return tree.meets(&asked);
        }
        let meeting = tree.meeting(&asked);
        let Some((first, others)) = meeting.split_first() else {
            return false;
        };
        let mut end = &first.end;
        for next in others {
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
        Permissions::of(&all.iter().collect::<Vec<_>>())
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
    fn a_range_that_ends_before_it_begins_is_covered_by_what_lies_around_it() {
        let all = permissions(&[(0, "x", ""), (2, "c", "e"), (0, "m", "\0")]);
        let covers =
            |access, key: &str, end: &str| all.cover(access, key.as_bytes(), end.as_bytes());
        assert!(covers(Access::Read, "d", "c"));
        assert!(covers(Access::Write, "d", "c"));
        assert!(covers(Access::Read, "x", "a"));
        assert!(!covers(Access::Write, "x", "a"));
        assert!(!covers(Access::Read, "b", "a"));
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
