//! Unary calls without tonic's codec.
//!
//! tonic serves every call through buffers of 8 KiB, made for streams. Nearly
//! all requests of a simulation are small unary ones, so they are decoded and
//! encoded here, straight from and into the one message that a unary call has
//! (gRPC over HTTP/2: a byte that says whether it is compressed, four bytes of
//! length, the message). What a client sees is the same.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use http_body::{Body as _, Frame};
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

const HEADER_BYTES: usize = 5;

/// Decodes the request, hands it to `handle`, and encodes its answer.
pub(super) async fn serve<Q, A, F, Fut>(
    request: http::Request<Body>,
    handle: F,
) -> http::Response<Body>
where
    Q: prost::Message + Default,
    A: prost::Message,
    F: FnOnce(Request<Q>) -> Fut,
    Fut: Future<Output = Result<Response<A>, Status>>,
{
    let (parts, body) = request.into_parts();
    let message = match read(body).await.and_then(decode) {
        Ok(message) => message,
        Err(status) => return status.into_http(),
    };
    let metadata = MetadataMap::from_headers(parts.headers);
    let request = Request::from_parts(metadata, parts.extensions, message);
    match handle(request).await {
        Ok(answer) => encode(answer),
        Err(status) => status.into_http(),
    }
}

/// The bytes of the whole body.
async fn read(mut body: Body) -> Result<Bytes, Status> {
    let mut body = Pin::new(&mut body);
    let mut whole = Bytes::new();
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await
    {
        let Ok(data) = frame?.into_data() else { break };
        whole = if whole.is_empty() {
            data
        } else {
            [whole, data].concat().into()
        };
        if is_whole(&whole) {
            break;
        }
    }
    Ok(whole)
}

fn is_whole(bytes: &[u8]) -> bool {
    let length = |mut length: &[u8]| length.get_u32() as usize;
    bytes.len() >= HEADER_BYTES && bytes.len() - HEADER_BYTES >= length(&bytes[1..HEADER_BYTES])
}

fn decode<Q: prost::Message + Default>(mut bytes: Bytes) -> Result<Q, Status> {
    if !is_whole(&bytes) {
        return Err(Status::internal("Missing request message."));
    }
    if bytes.get_u8() != 0 {
        return Err(Status::unimplemented(
            "compressed messages are not simulated",
        ));
    }
    let length = bytes.get_u32() as usize;
    Q::decode(bytes.slice(..length)).map_err(|error| Status::internal(error.to_string()))
}

fn encode<A: prost::Message>(answer: Response<A>) -> http::Response<Body> {
    let (metadata, message, extensions) = answer.into_parts();
    let length = message.encoded_len();
    let mut data = BytesMut::with_capacity(HEADER_BYTES + length);
    data.put_u8(0);
    data.put_u32(u32::try_from(length).expect("a message is smaller than 4 GiB"));
    message
        .encode(&mut data)
        .expect("the buffer has the length of the message");
    let mut response = http::Response::new(Body::new(Answer {
        data: Some(data.freeze()),
        ended: false,
    }));
    *response.headers_mut() = metadata.into_headers();
    let grpc = HeaderValue::from_static("application/grpc");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, grpc);
    *response.extensions_mut() = extensions;
    response
}

/// One message and the trailers that say that all went well.
struct Answer {
    data: Option<Bytes>,
    ended: bool,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if std::mem::replace(&mut self.ended, true) {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

#[cfg(test)]
mod tests {
    use etcd_client::proto::PbPutRequest;
    use prost::Message as _;

    use super::*;

    fn framed(message: &PbPutRequest) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.put_u32(u32::try_from(message.encoded_len()).unwrap());
        message.encode(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_message_is_decoded_whatever_follows_it() {
        let message = PbPutRequest {
            key: b"key".to_vec(),
            ..PbPutRequest::default()
        };
        let mut bytes = framed(&message);
        assert_eq!(
            decode::<PbPutRequest>(bytes.clone().into()).unwrap(),
            message
        );
        bytes.extend(b"more");
        assert_eq!(decode::<PbPutRequest>(bytes.into()).unwrap(), message);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let refused = |bytes: &'static [u8]| {
            let status = decode::<PbPutRequest>(Bytes::from_static(bytes)).unwrap_err();
            status.code()
        };
        assert_eq!(refused(b""), tonic::Code::Internal);
        assert_eq!(refused(b"\0\0\0\0\x05abc"), tonic::Code::Internal);
        assert_eq!(refused(b"\0\0\0\0\x01\xff"), tonic::Code::Internal);
        assert_eq!(refused(b"\x01\0\0\0\0"), tonic::Code::Unimplemented);
    }
}
