//! What violations of simple objects are called.

use crate::search::{Call, Failure};
use crate::verdict::Kind;

pub(crate) const STALE_READ: Kind = Kind {
    name: "stale-read",
    meaning: "a read found what had been replaced by then",
};
pub(crate) const FUTURE_READ: Kind = Kind {
    name: "future-read",
    meaning: "a read found what was written only after it had returned",
};
pub(crate) const GARBAGE_READ: Kind = Kind {
    name: "garbage-read",
    meaning: "a read found what nobody had written",
};
/// As [`FUTURE_READ`], of a comparison that held.
const FUTURE_COMPARISON: Kind = Kind {
    name: FUTURE_READ.name,
    meaning: "a comparison met what was written only after it had returned",
};
/// As [`GARBAGE_READ`], of a comparison that held.
const GARBAGE_COMPARISON: Kind = Kind {
    name: GARBAGE_READ.name,
    meaning: "a comparison met what nobody had written",
};
pub(crate) const LOST_UPDATE: Kind = Kind {
    name: "lost-update",
    meaning: "an update took no account of another one, which is gone",
};
pub(crate) const SPURIOUS_FAILURE: Kind = Kind {
    name: "spurious-failure",
    meaning: "an operation was refused although nothing was in its way",
};
pub(crate) const MUTUAL_EXCLUSION: Kind = Kind {
    name: "mutual-exclusion",
    meaning: "somebody came in while another one was inside who should have kept it out",
};
pub(crate) const NOT_HELD: Kind = Kind {
    name: "not-held",
    meaning: "something was released that was not held",
};

/// Whether the answer of a call is known where the failure is proved.
pub(crate) fn is_known<I, O>(failure: &Failure, index: usize, call: &Call<I, O>) -> bool {
    failure.others.gives(call.returned) || failure.witness.contains(&index)
}

/// Why a read cannot have seen a value, which is what a register had at first or one of
/// these calls wrote, if any.
pub(crate) fn wrong_read<'c, I: 'c, O: 'c>(
    read: &Call<I, O>,
    was_first: bool,
    writes: impl Iterator<Item = &'c Call<I, O>>,
) -> Kind {
    if was_first {
        return STALE_READ;
    }
    let begun = writes.map(|write| write.invoked).min();
    match (begun, read.returned) {
        (None, _) => GARBAGE_READ,
        (Some(begun), Some(returned)) if begun > returned => FUTURE_READ,
        _ => STALE_READ,
    }
}

/// As [`wrong_read`], of a comparison with what was written over then.
pub(crate) fn wrong_comparison<'c, I: 'c, O: 'c>(
    update: &Call<I, O>,
    was_first: bool,
    writes: impl Iterator<Item = &'c Call<I, O>>,
) -> Kind {
    // It met what was there before it wrote itself.
    let others = writes.filter(|write| !std::ptr::eq(*write, update));
    match wrong_read(update, was_first, others) {
        FUTURE_READ => FUTURE_COMPARISON,
        GARBAGE_READ => GARBAGE_COMPARISON,
        _ => LOST_UPDATE,
    }
}

/// Why somebody cannot have been let in, or been refused, or have left.
pub(crate) fn wrong_entry(is_release: bool, entered: Option<bool>) -> Kind {
    match entered {
        _ if is_release => NOT_HELD,
        Some(false) => SPURIOUS_FAILURE,
        Some(true) | None => MUTUAL_EXCLUSION,
    }
}
