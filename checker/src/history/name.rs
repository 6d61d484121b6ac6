//! Names of operations.

use std::fmt;

/// The name of an operation, or the kind of a fault.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Name {
    /// One of those that stand on almost every line.
    Known(Known),
    /// Any other.
    Other(Box<str>),
}

impl Name {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Known(known) => known.as_str(),
            Self::Other(text) => text,
        }
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Known::of(text).map_or_else(|| Self::Other(text.into()), Self::Known)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// Names that are kept by their number, which takes a byte and no allocation.
macro_rules! known_names {
    ($($known:ident $text:literal,)*) => {
        /// The names that occur on almost every line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Known {
            $(#[doc = $text] $known,)*
        }

        impl Known {
            fn of(text: &str) -> Option<Self> {
                Some(match text {
                    $($text => Self::$known,)*
                    _ => return None,
                })
            }

            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$known => $text,)*
                }
            }
        }

        #[cfg(test)]
        const KNOWN: &[&str] = &[$($text),*];
    };
}

known_names! {
    Acquire "acquire",
    Act "act",
    Append "append",
    Attempt "attempt",
    Campaign "campaign",
    Cas "cas",
    Delete "delete",
    Dequeue "dequeue",
    Enqueue "enqueue",
    Get "get",
    Key "key",
    Leader "leader",
    Lock "lock",
    Mark "mark",
    Notice "notice",
    Observe "observe",
    Proclaim "proclaim",
    Put "put",
    Range "range",
    Read "read",
    Release "release",
    Resign "resign",
    TryLock "try-lock",
    Txn "txn",
    Unlock "unlock",
    Wait "wait",
    Watch "watch",
    Write "write",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_it_was_made_of() {
        for text in KNOWN.iter().copied().chain(["", "x", "enqueu", "enqueue "]) {
            let name = Name::from(text);
            assert_eq!(name.as_str(), text);
            assert_eq!(matches!(name, Name::Known(_)), KNOWN.contains(&text));
        }
    }
}
