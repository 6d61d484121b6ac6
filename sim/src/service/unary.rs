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
use etcd_client::proto::PbKvService as _;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status};

use super::kv::KvService;
use super::nested::decode_txn;
use crate::cluster::Applied;

const HEADER_BYTES: usize = 5;

/// What a unary call gives.
pub(crate) struct Answer {
    /// The message with its header of five bytes.
    pub(crate) message: Bytes,
    /// There when the call changed something.
    pub(crate) applied: Option<Applied>,
}

/// A unary call under way.
pub(crate) type Call = Pin<Box<dyn Future<Output = Result<Answer, Status>> + Send>>;

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
    pub(super) fn call(self, kv: Arc<KvService>, headers: http::HeaderMap, message: Bytes) -> Call {
        macro_rules! call {
            ($method:ident) => {
                call!($method, decode_message)
            };
            ($method:ident, $decode:expr) => {
                Box::pin(async move {
                    let request = decode(headers, message, $decode)?;
                    encode(kv.$method(request).await?)
                })
            };
        }
        match self {
            Method::Range => call!(range),
            Method::Put => call!(put),
            Method::DeleteRange => call!(delete_range),
            Method::Txn => call!(txn, decode_txn),
            Method::Compact => call!(compact),
        }
    }
}

/// Whether these bytes are a whole message.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    let length = |mut length: &[u8]| length.get_u32() as usize;
    bytes.len() >= HEADER_BYTES && bytes.len() - HEADER_BYTES >= length(&bytes[1..HEADER_BYTES])
}

fn decode_message<Q: prost::Message + Default>(bytes: Bytes) -> Result<Q, Status> {
    Q::decode(bytes).map_err(|error| Status::internal(error.to_string()))
}

fn decode<Q>(
    headers: http::HeaderMap,
    mut bytes: Bytes,
    decode: fn(Bytes) -> Result<Q, Status>,
) -> Result<Request<Q>, Status> {
    if !is_whole(&bytes) {
        return Err(Status::internal("Missing request message."));
    }
    if bytes.get_u8() != 0 {
        return Err(Status::unimplemented(
            "compressed messages are not simulated",
        ));
    }
    let length = bytes.get_u32() as usize;
    let message = decode(bytes.split_to(length))?;
    let metadata = MetadataMap::from_headers(headers);
    Ok(Request::from_parts(
        metadata,
        Extensions::default(),
        message,
    ))
}

#[expect(clippy::unnecessary_wraps, reason = "ends a chain of fallible steps")]
fn encode<A: prost::Message>(answer: Response<A>) -> Result<Answer, Status> {
    let applied = answer.extensions().get::<Applied>().copied();
    let message = answer.into_inner();
    let length = message.encoded_len();
    let mut data = Vec::with_capacity(HEADER_BYTES + length);
    data.put_u8(0);
    data.put_u32(u32::try_from(length).expect("a message is smaller than 4 GiB"));
    message.encode(&mut data).expect("a vector grows as needed");
    Ok(Answer {
        message: data.into(),
        applied,
    })
}

#[cfg(test)]
mod tests {
    use etcd_client::proto::PbPutRequest;
    use prost::Message as _;

    use super::*;

    fn decoded(bytes: impl Into<Bytes>) -> Result<PbPutRequest, Status> {
        decode(http::HeaderMap::new(), bytes.into(), decode_message).map(Request::into_inner)
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
