//! Indices in 32 bits: things of which more do not fit into memory.

/// An index, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Index(u32);

impl Index {
    pub(crate) const NONE: Self = Self(u32::MAX);

    pub(crate) fn of(index: usize) -> Self {
        Self(number(index))
    }

    /// [`usize::MAX`] being none.
    pub(crate) fn or_never(self) -> usize {
        self.get().unwrap_or(usize::MAX)
    }

    pub(crate) fn get(self) -> Option<usize> {
        (self != Self::NONE).then_some(self.0 as usize)
    }
}

/// An index that there is, or a count.
pub(crate) fn number(index: usize) -> u32 {
    let number = u32::try_from(index).ok();
    let number = number.filter(|number| *number != u32::MAX);
    number.expect("fewer than 2^32 events fit into memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_what_it_was_made_of() {
        for index in [0, 1, u32::MAX as usize - 1] {
            assert_eq!(Index::of(index).get(), Some(index));
        }
        assert_eq!(Index::NONE.get(), None);
        assert_eq!(Index::NONE.or_never(), usize::MAX);
    }
}
