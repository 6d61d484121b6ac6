//! Unary calls on keys, the short way.
//!
//! Nearly all requests of a simulation are small unary ones. The network hands
//! them over as the one message that they are, and gets one message back:
//! without tonic's buffers of 8 KiB, bodies and frames. What a client sees is
//! the same (gRPC over HTTP/2: a byte that says whether the message is
//! compressed, four bytes of length, the message).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes};
use etcd_client::proto::{
    PbCompactionRequest, PbDeleteRequest, PbKvService as _, PbPutRequest, PbRangeRequest,
    PbTxnRequest,
};
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status};

use super::kv::{Change, KvService};
use super::malformed::unreadable;
use super::nested::decode_txn;
use crate::cluster::{Applied, Begun, token};
use crate::store::is_read_only;

const HEADER_BYTES: usize = 5;

/// What a unary call gives.
pub(crate) struct Answer {
    /// The message with its header of five bytes.
    pub(crate) message: Bytes,
    /// There when the call changed something.
    pub(crate) applied: Option<Applied>,
}

/// What has become of a unary call at the moment at which it came in.
pub(crate) enum Call {
    Answered(Result<Answer, Status>),
    Waits(Waits),
}

/// A unary call under way.
pub(crate) type Waits = Pin<Box<dyn Future<Output = Result<Answer, Status>> + Send>>;

/// A unary call that takes the short way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Method {
    Range,
    Put,
    DeleteRange,
    Txn,
    Compact,
}

impl Method {
    /// The method of a path; none when it does not take the short way.
    pub(crate) fn of(path: &str) -> Option<Method> {
        Some(match path.strip_prefix("/etcdserverpb.KV/")? {
            "Range" => Method::Range,
            "Put" => Method::Put,
            "DeleteRange" => Method::DeleteRange,
            "Txn" => Method::Txn,
            "Compact" => Method::Compact,
            _ => return None,
        })
    }

    /// Starts the call with the bytes of its message, header included.
    ///
    /// What need not wait is not put into a future: most of the time of a future goes into
    /// moving its request.
    pub(super) fn call(self, kv: &Arc<KvService>, headers: http::HeaderMap, bytes: Bytes) -> Call {
        let begun = match self {
            Method::Range => decode(bytes, decode_message).and_then(|q| range(kv, headers, q)),
            Method::Put => decode(bytes, decode_message)
                .and_then(|q: PbPutRequest| change(kv, headers, q, |kv, q| kv.put(q))),
            Method::DeleteRange => decode(bytes, decode_message)
                .and_then(|q: PbDeleteRequest| change(kv, headers, q, |kv, q| kv.delete_range(q))),
            Method::Txn => decode(bytes, decode_txn).and_then(|q| txn(kv, headers, q)),
            Method::Compact => decode(bytes, decode_message).and_then(|q| compact(kv, headers, q)),
        };
        begun.unwrap_or_else(|refused| Call::Answered(Err(refused)))
    }
}

fn range(
    kv: &Arc<KvService>,
    headers: http::HeaderMap,
    request: PbRangeRequest,
) -> Result<Call, Status> {
    if token(&headers).is_some() {
        return Ok(long_way(kv, headers, request, |kv, request| {
            kv.range(request)
        }));
    }
    Ok(match kv.begin_range(&request)? {
        Begun::Done(()) => {
            Call::Answered(kv.read(&request, Ok(None)).map(|message| encode(&message)))
        }
        Begun::Waits(waiting) => {
            let kv = Arc::clone(kv);
            Call::Waits(Box::pin(async move {
                waiting.may_read().await?;
                kv.read(&request, Ok(None)).map(|message| encode(&message))
            }))
        }
    })
}

fn txn(
    kv: &Arc<KvService>,
    headers: http::HeaderMap,
    request: PbTxnRequest,
) -> Result<Call, Status> {
    if is_read_only(&request) {
        return Ok(long_way(kv, headers, request, |kv, request| {
            kv.txn(request)
        }));
    }
    change(kv, headers, request, |kv, request| kv.txn(request))
}

fn compact(
    kv: &Arc<KvService>,
    headers: http::HeaderMap,
    request: PbCompactionRequest,
) -> Result<Call, Status> {
    if token(&headers).is_none() {
        kv.permits_compaction()?;
    }
    change(kv, headers, request, |kv, request| kv.compact(request))
}

fn change<C: Change>(
    kv: &Arc<KvService>,
    headers: http::HeaderMap,
    request: C,
    method: ServiceMethod<C, C::Answer>,
) -> Result<Call, Status> {
    if token(&headers).is_some() {
        return Ok(long_way(kv, headers, request, method));
    }
    let answer = |kv: &KvService, executed| {
        let (message, revision) = kv.answer::<C>(executed)?;
        let applied = revision.map(|revision| Applied { revision });
        Ok(Answer {
            applied,
            ..encode(&message)
        })
    };
    Ok(match kv.begin(request)? {
        Begun::Done(executed) => Call::Answered(answer(kv, executed)),
        Begun::Waits(waiting) => {
            let kv = Arc::clone(kv);
            Call::Waits(Box::pin(async move {
                let executed = waiting.executed().await?;
                answer(&kv, executed)
            }))
        }
    })
}

/// A method of the service as it is generated.
type ServiceMethod<Q, A> =
    for<'a> fn(
        &'a KvService,
        Request<Q>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<A>, Status>> + Send + 'a>>;

/// The long way: whoever sends a token may have to wait until the member knows it.
fn long_way<Q: Send + 'static, A: prost::Message + 'static>(
    kv: &Arc<KvService>,
    headers: http::HeaderMap,
    request: Q,
    method: ServiceMethod<Q, A>,
) -> Call {
    let kv = Arc::clone(kv);
    let metadata = MetadataMap::from_headers(headers);
    let request = Request::from_parts(metadata, Extensions::default(), request);
    Call::Waits(Box::pin(async move {
        let answered = method(&kv, request).await?;
        let applied = answered.extensions().get::<Applied>().copied();
        Ok(Answer {
            applied,
            ..encode(answered.get_ref())
        })
    }))
}

/// Whether these bytes are a whole message.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    let length = |mut length: &[u8]| length.get_u32() as usize;
    bytes.len() >= HEADER_BYTES && bytes.len() - HEADER_BYTES >= length(&bytes[1..HEADER_BYTES])
}

fn decode_message<Q: prost::Message + Default>(bytes: Bytes) -> Result<Q, Status> {
    Q::decode(bytes).map_err(unreadable)
}

fn decode<Q>(mut bytes: Bytes, decode: fn(Bytes) -> Result<Q, Status>) -> Result<Q, Status> {
    if !is_whole(&bytes) {
        return Err(Status::internal("Missing request message."));
    }
    if bytes.get_u8() != 0 {
        return Err(Status::unimplemented(
            "compressed messages are not simulated",
        ));
    }
    let length = bytes.get_u32() as usize;
    decode(bytes.split_to(length))
}

/// The answer of a call that has changed nothing.
fn encode(message: &impl prost::Message) -> Answer {
    let length = message.encoded_len();
    let mut data = Vec::with_capacity(HEADER_BYTES + length);
    data.put_u8(0);
    data.put_u32(u32::try_from(length).expect("a message is smaller than 4 GiB"));
    message.encode(&mut data).expect("a vector grows as needed");
    Answer {
        message: data.into(),
        applied: None,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn decoded(bytes: impl Into<Bytes>) -> Result<PbPutRequest, Status> {
        decode(bytes.into(), decode_message)
    }

    #[test]
    fn a_message_is_decoded_whatever_follows_it() {
        let message = PbPutRequest {
            key: b"key".to_vec(),
            ..PbPutRequest::default()
        };
        let mut bytes = vec![0];
        bytes.put_u32(u32::try_from(message.encoded_len()).unwrap());
        message.encode(&mut bytes).unwrap();
        assert_eq!(decoded(bytes.clone()).unwrap(), message);
        bytes.extend(b"more");
        assert_eq!(decoded(bytes).unwrap(), message);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let refused = |bytes: &'static [u8]| decoded(bytes).unwrap_err().code();
        assert_eq!(refused(b""), tonic::Code::Internal);
        assert_eq!(refused(b"\0\0\0\0\x05abc"), tonic::Code::Internal);
        assert_eq!(refused(b"\0\0\0\0\x01\xff"), tonic::Code::Internal);
        assert_eq!(refused(b"\x01\0\0\0\0"), tonic::Code::Unimplemented);
    }
}
