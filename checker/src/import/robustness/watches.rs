//! Watches of the reports in the words of the model `etcd`.

use std::borrow::Cow;

use super::report::{Watch, WatchEvent, WatchRequest, WatchResponse};
use super::requests::{json, value, version};
use crate::etcd::message::{self, UNKNOWN};
use crate::history::Json;

/// The request of a watch, which is told before everything else: the reports do not say
/// when it was made, and it makes no difference.
pub(super) fn request(name: u64, watch: &Watch<'_>) -> Json {
    let request = &watch.request;
    json(&message::Watch {
        watch: name,
        stream: None,
        span: span(request),
        start: request.revision,
        prev_kv: request.with_prev_kv,
        no_put: false,
        no_delete: false,
    })
}

fn span<'a>(request: &'a WatchRequest<'_>) -> message::Span<'a> {
    message::Span {
        key: Cow::Borrowed(request.key.as_ref()),
        end: request
            .with_prefix
            .then(|| Cow::Owned(behind(&request.key))),
    }
}

/// The first text behind all that begin like that; `"\0"`, as in etcd, if there is none.
fn behind(prefix: &str) -> String {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            characters.push(next);
            return characters.into_iter().collect();
        }
    }
    "\0".to_owned()
}

/// Whether the watch says of its events which of them created a key: so it does if it says
/// it of any.
pub(super) fn tells_creations(watch: &Watch<'_>) -> bool {
    let responses = watch.responses.iter().flatten();
    let mut events = responses.flat_map(|response| response.events.iter().flatten());
    events.any(|event| event.is_create.is_some())
}

/// What a watch heard, with the revision of the header; nothing when the answer says
/// nothing of the keys.
pub(super) fn notice(
    name: u64,
    response: &WatchResponse<'_>,
    tells_creations: bool,
) -> Result<Option<(Json, i64)>, String> {
    let events = response.events.as_deref().unwrap_or_default();
    if events.is_empty() && !response.is_progress_notify {
        return Ok(None);
    }
    let notice = message::Notice {
        watch: Some(name),
        stream: None,
        events: events
            .iter()
            .map(|one| event(one, tells_creations))
            .collect::<Result<_, _>>()?,
        fragment: false,
        compacted: None,
    };
    // The header is not always recorded with events.
    let last = events.iter().map(|event| event.revision).max();
    let revision = response.revision.max(last.unwrap_or(0));
    Ok(Some((json(&notice), revision)))
}

fn event<'a>(
    event: &'a WatchEvent<'_>,
    tells_creations: bool,
) -> Result<message::WatchEvent<'a>, String> {
    let is_creation = event.is_create == Some(true);
    let key = || Cow::Borrowed(event.key.as_ref());
    let existed = || message::KeyValue(key(), None, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN);
    // A previous version may be left out, because of a compaction.
    let previous = match &event.prev_value {
        Some(previous) => {
            let mut previous = version(previous, false);
            previous.0 = key();
            Some(previous)
        }
        None if is_creation => None,
        None => Some(existed()),
    };
    Ok(match event.kind.as_ref() {
        "put-operation" => {
            let (create, version) = match (is_creation, tells_creations) {
                (true, _) => (event.revision, 1),
                (false, true) => (message::EARLIER, UNKNOWN),
                (false, false) => (UNKNOWN, UNKNOWN),
            };
            let version = message::KeyValue(
                key(),
                Some(value(&event.value)),
                create,
                event.revision,
                version,
                UNKNOWN,
            );
            message::WatchEvent::Put(version, previous)
        }
        "delete-operation" => message::WatchEvent::Delete(key(), event.revision, previous),
        other => return Err(format!("unknown type of event {other:?}")),
    })
}
