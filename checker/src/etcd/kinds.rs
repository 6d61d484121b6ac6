//! The names of violations.

use crate::verdict::Kind;

macro_rules! kinds {
    ($($name:ident = $text:literal: $meaning:literal;)*) => {
        $(pub(super) const $name: Kind = Kind { name: $text, meaning: $meaning };)*
    };
}

kinds! {
    SAME_REVISION = "same-revision": "two writes took one revision";
    REVISION_GOES_BACK = "revision-goes-back": "a write took a revision that existed before it began";
    STALE_READ = "stale-read": "an answer is older than something that was known before it was asked for";
    NONSENSE = "malformed-answer": "an answer contradicts itself";
    NEVER_WRITTEN = "never-written": "a value was seen that nobody had written";
    REFUSED_WRITE = "refused-write": "a write that certainly did not happen was seen";
    WRONG_REVISION = "wrong-revision": "a write was seen at another revision than the one it was told";
    TORN_TXN = "torn-txn": "a part of a transaction happened without the rest";
    LOST_WRITE = "lost-write": "an acknowledged write is missing from the state";
    UNDELETED = "undeleted": "a deleted key is there again";
    VANISHED = "vanished": "a key is gone that nobody deleted";
    WRONG_VERSION = "wrong-version": "version or create revision do not count the writes";
    WRONG_LEASE = "wrong-lease": "a key is attached to another lease than it was written with";
    WRONG_COUNT = "wrong-count": "another number of keys than there were";
    TXN_CONDITION = "txn-condition": "a transaction took the wrong branch";
    PREVIOUS = "wrong-previous": "an answer returns a previous version that was not the previous one";
    SERIALIZABLE = "serializable-state": "a serializable read does not show the state of its header's revision";
    HISTORIC = "historic-state": "a read at a revision does not show the state of that revision";
    TWICE = "written-twice": "a write took effect twice";
    DEAD_LEASE = "dead-lease": "a lease was used that was not granted, or gone";
    LEASE_EARLY = "lease-early": "a lease ended before its time to live was over";
    LEASE_TTL = "lease-ttl": "a lease was granted for less time than asked for";
    LEASE_LEFT_KEYS = "lease-left-keys": "a key outlived the end of its lease";
    LEASE_KEYS = "lease-keys": "a lease lists a key that was never attached to it";
    COMPACTED_READ = "compacted-read": "a compacted revision was read";
    FALSE_COMPACTED = "false-compacted": "a revision was said to be compacted that was not";
    FALSE_FUTURE = "false-future": "a revision was said to lie in the future that did not";
    FUTURE_READ = "future-read": "a revision was read that did not exist yet";
    WATCH_UNORDERED = "watch-unordered": "a watch heard of changes in another order than they were made";
    WATCH_DUPLICATE = "watch-duplicate": "a watch heard of a change twice";
    WATCH_TORN = "watch-torn": "a watch heard of one revision in two answers";
    WATCH_FILTER = "watch-filter": "a watch heard of something that it did not ask for";
    WATCH_START = "watch-before-start": "a watch heard of a revision before the first that it asked for";
    WATCH_PROGRESS = "watch-progress": "a watch heard of a change that a notice of progress had covered, or its progress went back";
    WATCH_HEADER = "watch-header": "a watch heard of a change under the header of an older revision";
    WATCH_LOST = "watch-lost-event": "a watch never heard of a change although it heard of later ones";
    WATCH_INVENTED = "watch-invented-event": "a watch heard of a change that did not happen";
    WATCH_CONTENT = "watch-wrong-event": "a watch heard of a change, but not as it happened";
    WATCH_PREVIOUS = "watch-wrong-previous": "a watch was sent a previous version that was not the previous one";
}
