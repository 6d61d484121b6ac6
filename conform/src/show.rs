//! Requests as a person reads them.

use std::fmt::{self, Display, Formatter, Write as _};

use etcd_client::proto::{
    PbCompare, PbDeleteRequest, PbPutRequest, PbRangeRequest, PbTargetUnion, PbTxnOpRequest,
    PbTxnRequest, PbTxnRequestOp, PbWatchRequest, PbWatchRequestUnion,
};

use crate::step::{Step, shown, shown_lease};

/// How much of a value is shown, in bytes.
const VALUE_BYTES_MAX: usize = 40;

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Step::Range(range) => f.write_str(&range_text(range)),
            Step::Put(put) => f.write_str(&put_text(put)),
            Step::Delete(delete) => f.write_str(&delete_text(delete)),
            Step::Txn(txn) => f.write_str(&txn_text(txn)),
            Step::Compact(compact) => {
                write!(f, "compact at {}", shown(compact.revision))?;
                flag(f, "physical", compact.physical)
            }
            Step::Grant { id, ttl } => write!(f, "grant lease {} for {ttl} s", shown_lease(*id)),
            Step::ShortGrant { id, ttl } => {
                write!(f, "grant lease {id} for {ttl} s, and revoke it")
            }
            Step::Revoke { id } => write!(f, "revoke lease {}", shown_lease(*id)),
            Step::TimeToLive { id, keys } => {
                write!(f, "time to live of lease {}", shown_lease(*id))?;
                flag(f, "keys", *keys)
            }
            Step::Leases => f.write_str("list leases"),
            Step::Hash { revision: 0 } => f.write_str("hash of all keys"),
            Step::Hash { revision } => write!(f, "hash of all keys up to {}", shown(*revision)),
            Step::KeepAlive { ids } => {
                let ids: Vec<_> = ids.iter().map(|id| shown_lease(*id)).collect();
                write!(f, "keep leases {} alive", ids.join(", "))
            }
            Step::Watch { stream, requests } => {
                let texts: Vec<_> = requests.iter().map(watch_text).collect();
                write!(f, "on watch stream {stream}: {}", texts.join("; at once "))
            }
            Step::Listen { stream } => write!(f, "listen to watch stream {stream}"),
            Step::HalfClose { stream } => write!(f, "half close watch stream {stream}"),
            Step::Nested { levels, put } => {
                write!(
                    f,
                    "{levels} transactions within each other: {}",
                    put_text(put)
                )
            }
            Step::Method(method) => write!(f, "call {method}"),
            Step::Wait(time) => write!(f, "wait {time:?}"),
            Step::Wipe => f.write_str("remove all keys and leases, end all streams"),
        }
    }
}

/// A number with its noun: `1 key`, `2 keys`.
pub(crate) fn count(number: i64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn flag(f: &mut Formatter<'_>, name: &str, is_set: bool) -> fmt::Result {
    match is_set {
        true => write!(f, ", {name}"),
        false => Ok(()),
    }
}

/// Appends `, name` for each that is set.
fn flags(text: &mut String, flags: &[(&str, bool)]) {
    for (name, _) in flags.iter().filter(|(_, is_set)| *is_set) {
        text.push_str(", ");
        text.push_str(name);
    }
}

/// Appends `, name number` for each that is not zero.
fn numbers(text: &mut String, numbers: &[(&str, i64)]) {
    for (name, number) in numbers.iter().filter(|(_, number)| *number != 0) {
        // Writing to a string does not fail.
        write!(text, ", {name} {}", shown(*number)).ok();
    }
}

fn quoted(bytes: &[u8]) -> String {
    if bytes.len() > VALUE_BYTES_MAX {
        return format!("({} bytes)", bytes.len());
    }
    format!("\"{}\"", bytes.escape_ascii())
}

fn keys_text(key: &[u8], range_end: &[u8]) -> String {
    match range_end {
        [] => quoted(key),
        [0] => format!("{} and all after it", quoted(key)),
        end => format!("{} to {}", quoted(key), quoted(end)),
    }
}

fn range_text(range: &PbRangeRequest) -> String {
    let mut text = format!("get {}", keys_text(&range.key, &range.range_end));
    numbers(
        &mut text,
        &[
            ("revision", range.revision),
            ("limit", range.limit),
            ("min mod revision", range.min_mod_revision),
            ("max mod revision", range.max_mod_revision),
            ("min create revision", range.min_create_revision),
            ("max create revision", range.max_create_revision),
            ("sort order", range.sort_order.into()),
            ("sort target", range.sort_target.into()),
        ],
    );
    flags(
        &mut text,
        &[
            ("serializable", range.serializable),
            ("keys only", range.keys_only),
            ("count only", range.count_only),
        ],
    );
    text
}

fn put_text(put: &PbPutRequest) -> String {
    let mut text = format!("put {} = {}", quoted(&put.key), quoted(&put.value));
    if put.lease != 0 {
        write!(text, ", lease {}", shown_lease(put.lease)).ok();
    }
    flags(
        &mut text,
        &[
            ("prev kv", put.prev_kv),
            ("ignore value", put.ignore_value),
            ("ignore lease", put.ignore_lease),
        ],
    );
    text
}

fn delete_text(delete: &PbDeleteRequest) -> String {
    let mut text = format!("delete {}", keys_text(&delete.key, &delete.range_end));
    flags(&mut text, &[("prev kv", delete.prev_kv)]);
    text
}

fn txn_text(txn: &PbTxnRequest) -> String {
    let list = |texts: Vec<String>| {
        let mut list: Vec<String> = Vec::new();
        for same in texts.chunk_by(|a, b| a == b) {
            list.push(match same {
                [one] => one.clone(),
                many => format!("{} times: {}", many.len(), many[0]),
            });
        }
        list.join("; ")
    };
    let ops = |ops: &[PbTxnRequestOp]| list(ops.iter().map(op_text).collect());
    let compares = list(txn.compare.iter().map(compare_text).collect());
    format!(
        "txn [if {compares}] [then {}] [else {}]",
        ops(&txn.success),
        ops(&txn.failure)
    )
}

fn op_text(op: &PbTxnRequestOp) -> String {
    match &op.request {
        Some(PbTxnOpRequest::RequestRange(range)) => range_text(range),
        Some(PbTxnOpRequest::RequestPut(put)) => put_text(put),
        Some(PbTxnOpRequest::RequestDeleteRange(delete)) => delete_text(delete),
        Some(PbTxnOpRequest::RequestTxn(txn)) => txn_text(txn),
        None => "no request".to_owned(),
    }
}

fn compare_text(compare: &PbCompare) -> String {
    let value = match &compare.target_union {
        Some(PbTargetUnion::Version(version)) => format!("version {version}"),
        Some(PbTargetUnion::CreateRevision(revision)) => {
            format!("create revision {}", shown(*revision))
        }
        Some(PbTargetUnion::ModRevision(revision)) => format!("mod revision {}", shown(*revision)),
        Some(PbTargetUnion::Value(value)) => format!("value {}", quoted(value)),
        Some(PbTargetUnion::Lease(lease)) => format!("lease {}", shown_lease(*lease)),
        None => "nothing".to_owned(),
    };
    let name = |names: [&'static str; 5], number: i32| {
        let known = usize::try_from(number).ok().and_then(|n| names.get(n));
        known.map_or_else(|| number.to_string(), |name| (*name).to_owned())
    };
    format!(
        "{} of {} {} {value}",
        name(
            ["version", "create", "mod", "value", "lease"],
            compare.target
        ),
        keys_text(&compare.key, &compare.range_end),
        name(["=", ">", "<", "!=", "?"], compare.result),
    )
}

fn watch_text(request: &PbWatchRequest) -> String {
    match &request.request_union {
        Some(PbWatchRequestUnion::CreateRequest(create)) => {
            let mut text = format!("watch {}", keys_text(&create.key, &create.range_end));
            numbers(
                &mut text,
                &[("from", create.start_revision), ("id", create.watch_id)],
            );
            flags(
                &mut text,
                &[
                    ("prev kv", create.prev_kv),
                    ("progress notify", create.progress_notify),
                    ("fragment", create.fragment),
                ],
            );
            if !create.filters.is_empty() {
                write!(text, ", filters {:?}", create.filters).ok();
            }
            text
        }
        Some(PbWatchRequestUnion::CancelRequest(cancel)) => format!("cancel {}", cancel.watch_id),
        Some(PbWatchRequestUnion::ProgressRequest(_)) => "ask for progress".to_owned(),
        None => "an empty request".to_owned(),
    }
}
