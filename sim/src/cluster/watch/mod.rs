//! The watches of a member.
//!
//! A watch is *synced* when it has been told everything up to the present; it
//! then hears of each mutation as it happens. A watch that starts in the past is
//! *unsynced* and is served by a loop, in order. One whose stream is full is a
//! *victim* until there is room again. All as in etcd's
//! `server/storage/mvcc/watchable_store.go`.

mod batch;
mod fragment;
mod hub;
mod interest;
mod stream;
mod watcher;

pub(crate) use batch::WatchSpec;
pub(crate) use hub::{NO_WATCH, WatchHub};
pub(crate) use stream::StreamId;
