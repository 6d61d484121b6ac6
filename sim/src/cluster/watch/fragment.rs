//! Answers that are too large for one message.

use etcd_client::proto::PbWatchResponse;
use prost::Message as _;

/// Splits an answer that is too large, between events (`sendFragments` in
/// etcd's `server/etcdserver/api/v3rpc/watch.go`).
pub(super) fn fragments(mut answer: PbWatchResponse, bytes_max: usize) -> Vec<PbWatchResponse> {
    if answer.encoded_len() < bytes_max || answer.events.len() < 2 {
        return vec![answer];
    }
    let events = std::mem::take(&mut answer.events);
    let mut parts = Vec::new();
    let mut part = PbWatchResponse {
        fragment: true,
        ..answer.clone()
    };
    for event in events {
        part.events.push(event);
        if part.events.len() > 1 && part.encoded_len() >= bytes_max {
            let event = part.events.pop().expect("an event was added");
            parts.push(part);
            part = PbWatchResponse {
                fragment: true,
                ..answer.clone()
            };
            part.events.push(event);
        }
    }
    part.fragment = false;
    parts.push(part);
    parts
}
