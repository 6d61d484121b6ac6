//! What the queues share to take items that others want too: `consumers` says
//! who looks out for an item and when, `first_present` takes the first of
//! several items that is still there.

pub(crate) mod consumers;
pub(crate) mod first_present;
