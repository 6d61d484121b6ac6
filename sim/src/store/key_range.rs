//! Which keys a request means.

/// Keys in order: from the first one on, up to before the second if there is one. None
/// when the second does not lie behind the first.
pub(super) type Span<'a> = (&'a [u8], Option<&'a [u8]>);

/// The keys that a pair of `key` and `range_end` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRange<'a> {
    /// One key: `range_end` is empty.
    One(&'a [u8]),
    /// The keys from the first (included) to the second (excluded). None at
    /// all when the second does not lie behind the first.
    Between(&'a [u8], &'a [u8]),
    /// All keys from this one on: `range_end` is a single zero byte.
    From(&'a [u8]),
}

impl<'a> KeyRange<'a> {
    /// Reads the two fields as etcd does: the comments of `RangeRequest` in
    /// `api/etcdserverpb/rpc.proto`, and `mkGteRange` in
    /// `server/etcdserver/txn/delete.go`.
    pub fn new(key: &'a [u8], range_end: &'a [u8]) -> Self {
        match range_end {
            [] => KeyRange::One(key),
            [0] => KeyRange::From(key),
            _ => KeyRange::Between(key, range_end),
        }
    }

    /// Whether `key` is one of them.
    pub fn contains(&self, key: &[u8]) -> bool {
        match *self {
            KeyRange::One(one) => one == key,
            KeyRange::Between(start, end) => start <= key && key < end,
            KeyRange::From(start) => start <= key,
        }
    }

    /// Where the keys are among ordered ones; `None` for a single key.
    pub(super) fn span(&self) -> Option<Span<'a>> {
        match *self {
            KeyRange::One(_) => None,
            KeyRange::Between(start, end) => Some((start, Some(end))),
            KeyRange::From(start) => Some((start, None)),
        }
    }
}
