//! Reads along on the wire between a client and the simulated etcd.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use etcd_client::proto::{
    PbCompare, PbDeleteRequest, PbPutRequest, PbRangeRequest, PbTargetUnion, PbTxnOpRequest,
    PbTxnRequest, PbTxnRequestOp,
};
use etcd_client::{Channel, Client};
use etcd_recipes::runtime;
use etcd_sim::network::ChannelOptions;
use etcd_sim::plan::Plan;
use etcd_sim::simulation::{Options, Simulation, run};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use tonic::body::Body;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service as _};

/// What was sent to the key-value store, in words.
#[derive(Clone, Default)]
pub(crate) struct Tap(Arc<Mutex<Vec<String>>>);

impl Tap {
    /// A client of the simulated etcd whose requests are noted.
    pub(crate) async fn client(&self, simulation: &Simulation, number: u32) -> Client {
        let channel = simulation
            .channel(number, ChannelOptions::default())
            .into_etcd_channel();
        let Channel::Custom(wire) = channel else {
            panic!("a simulated channel is a custom one")
        };
        let tap = self.clone();
        let tapped = tower::service_fn(move |request: http::Request<Body>| {
            let (tap, mut wire) = (tap.clone(), wire.clone());
            async move {
                let request = tap.note(request).await?;
                wire.call(request).await
            }
        });
        let channel = Channel::Custom(BoxCloneSyncService::new(tapped));
        Client::from_channel(channel, None).await.unwrap()
    }

    /// What was sent since it was last asked.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    async fn note(&self, request: http::Request<Body>) -> Result<http::Request<Body>, BoxError> {
        let path = request.uri().path().to_owned();
        if path.starts_with("/etcdserverpb.Watch") {
            self.0.lock().unwrap().push("watch".to_owned());
        }
        // Everything else that is a stream, or no business of a recipe.
        if !path.starts_with("/etcdserverpb.KV/") {
            return Ok(request);
        }
        let (parts, body) = request.into_parts();
        let message = body.collect().await?.to_bytes();
        self.0.lock().unwrap().push(in_words(&path, &message));
        let body = Body::new(Full::new(message));
        Ok(http::Request::from_parts(parts, body))
    }
}

/// A gRPC message begins with a flag and its length.
fn in_words(path: &str, message: &Bytes) -> String {
    let message = message.slice(5..);
    match path.rsplit('/').next() {
        Some("Range") => range(&PbRangeRequest::decode(message).unwrap()),
        Some("Put") => put(&PbPutRequest::decode(message).unwrap()),
        Some("DeleteRange") => delete(&PbDeleteRequest::decode(message).unwrap()),
        Some("Txn") => txn(&PbTxnRequest::decode(message).unwrap()),
        other => format!("{other:?}"),
    }
}

fn txn(txn: &PbTxnRequest) -> String {
    let list = |parts: Vec<String>| parts.join(", ");
    let compares = txn.compare.iter().map(compare).collect();
    let mut text = format!("if {}", list(compares));
    for (word, operations) in [("then", &txn.success), ("else", &txn.failure)] {
        if !operations.is_empty() {
            let operations = operations.iter().map(operation).collect();
            text += &format!(" {word} {}", list(operations));
        }
    }
    text
}

fn compare(compare: &PbCompare) -> String {
    let relation = ["=", ">", "<", "!="][usize::try_from(compare.result).unwrap()];
    let target = match &compare.target_union {
        Some(PbTargetUnion::Version(version)) => format!("version {relation} {version}"),
        Some(PbTargetUnion::CreateRevision(revision)) => format!("created {relation} {revision}"),
        Some(PbTargetUnion::ModRevision(revision)) => format!("modified {relation} {revision}"),
        other => format!("{other:?} {relation}"),
    };
    format!("{}{} {target}", text(&compare.key), end(&compare.range_end))
}

fn operation(operation: &PbTxnRequestOp) -> String {
    match operation.request.as_ref().unwrap() {
        PbTxnOpRequest::RequestRange(request) => range(request),
        PbTxnOpRequest::RequestPut(request) => put(request),
        PbTxnOpRequest::RequestDeleteRange(request) => delete(request),
        PbTxnOpRequest::RequestTxn(request) => format!("({})", txn(request)),
    }
}

fn put(put: &PbPutRequest) -> String {
    let lease = if put.lease == 0 { "" } else { " with lease" };
    format!("put {} {:?}{lease}", text(&put.key), text(&put.value))
}

fn range(range: &PbRangeRequest) -> String {
    const TARGETS: [&str; 5] = ["key", "version", "create", "mod", "value"];
    const ORDERS: [&str; 3] = ["none", "ascending", "descending"];
    let mut words = format!("get {}{}", text(&range.key), end(&range.range_end));
    if range.sort_order != 0 {
        let target = TARGETS[usize::try_from(range.sort_target).unwrap()];
        let order = ORDERS[usize::try_from(range.sort_order).unwrap()];
        words += &format!(" by {target} {order}");
    }
    if range.limit != 0 {
        words += &format!(" limit {}", range.limit);
    }
    if range.keys_only {
        words += " keys only";
    }
    if range.count_only {
        words += " count only";
    }
    if range.revision != 0 {
        words += &format!(" at {}", range.revision);
    }
    if range.serializable {
        words += " serializable";
    }
    words
}

fn delete(delete: &PbDeleteRequest) -> String {
    format!("delete {}{}", text(&delete.key), end(&delete.range_end))
}

fn end(range_end: &[u8]) -> String {
    if range_end.is_empty() {
        String::new()
    } else {
        format!("..{}", text(range_end))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// All keys of the store: key, value, and whether it goes with a lease.
pub(crate) fn stored(simulation: &Simulation) -> Vec<String> {
    simulation.member().with_store(|store| {
        let keys: std::collections::BTreeSet<Vec<u8>> =
            store.events(0).map(|event| event.key().to_vec()).collect();
        let now = keys
            .into_iter()
            .filter_map(|key| store.key_at(&key, store.revision()));
        now.map(|kv| {
            let lease = if kv.lease() == 0 { "" } else { " with lease" };
            format!("{} {:?}{lease}", text(kv.key()), text(kv.value()))
        })
        .collect()
    })
}

/// The text with ids that differ from run to run replaced.
pub(crate) fn plain(text: &str, lease: i64) -> String {
    let text = text.replace(&format!("{lease:x}"), "LEASE");
    let mut plain = String::new();
    let mut digits = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        // 19 digits are nanoseconds since 1970.
        plain += if digits.len() == 19 { "NANOS" } else { &digits };
        digits.clear();
        if c != '\0' {
            plain.push(c);
        }
    }
    plain
}

/// Runs `body` in a simulation without faults.
pub(crate) fn quiet<T, Fut>(body: impl FnOnce(Simulation) -> Fut + Send + 'static) -> T
where
    Fut: Future<Output = T>,
    T: Send + 'static,
{
    run(Options::new(Plan::quiet(3)), move |simulation| {
        let seeded = runtime::seed_thread(3);
        let running = body(simulation);
        async move {
            let result = running.await;
            drop(seeded);
            result
        }
    })
    .unwrap()
}
