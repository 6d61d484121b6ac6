//! Transactions within transactions, however deep.
//!
//! The decoder of protobuf messages ends after 100 messages within each other, that
//! is 50 transactions. etcd's does not, and by its limit of operations 128 levels
//! are allowed. So the levels are decoded here, and what they hold by the decoder.

use std::marker::PhantomData;

use bytes::{Buf, Bytes};
use etcd_client::proto::{PbCompare, PbTxnOpRequest, PbTxnRequest, PbTxnRequestOp};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::malformed::{too_short, unreadable, wrong_type};
use crate::store::StoreError;

/// How many levels are decoded. A level without an operation below it is empty, so
/// with etcd's own limit of operations deeper ones are refused whatever they hold.
const LEVELS_MAX: usize = 1000;

/// The tags of `TxnRequest` in etcd's `rpc.proto`.
const COMPARE: u32 = 1;
const SUCCESS: u32 = 2;
const FAILURE: u32 = 3;
/// The fields of both as Go calls them, in the order of their tags.
const TXN_FIELDS: [&str; 3] = ["Compare", "Success", "Failure"];
const OP_FIELDS: [&str; 4] = [
    "RequestRange",
    "RequestPut",
    "RequestDeleteRange",
    "RequestTxn",
];
/// The tag of a transaction in `RequestOp`.
const REQUEST_TXN: u32 = 4;

/// Reads a transaction.
///
/// # Errors
///
/// `Internal` for what is no transaction; "too many operations" for one that is
/// nested more than [`LEVELS_MAX`] levels deep.
pub(super) fn decode_txn(bytes: Bytes) -> Result<PbTxnRequest, Status> {
    txn(bytes, 0)
}

fn txn(mut bytes: Bytes, level: usize) -> Result<PbTxnRequest, Status> {
    if level == LEVELS_MAX {
        return Err(StoreError::TooManyOps.into());
    }
    let mut request = PbTxnRequest::default();
    while bytes.has_remaining() {
        match field(&mut bytes)? {
            Field::Message(COMPARE, message) => {
                let compare = PbCompare::decode(message).map_err(unreadable)?;
                request.compare.push(compare);
            }
            Field::Message(SUCCESS, message) => request.success.push(op(message, level)?),
            Field::Message(FAILURE, message) => request.failure.push(op(message, level)?),
            Field::Message(..) => {}
            Field::Other(tag, kind) => pass(&mut bytes, tag, kind, &TXN_FIELDS)?,
        }
    }
    Ok(request)
}

fn op(bytes: Bytes, level: usize) -> Result<PbTxnRequestOp, Status> {
    let mut rest = bytes.clone();
    let mut nested = None;
    while rest.has_remaining() {
        match field(&mut rest)? {
            Field::Message(REQUEST_TXN, message) => nested = Some(message),
            Field::Message(..) => {}
            Field::Other(tag, kind) => pass(&mut rest, tag, kind, &OP_FIELDS)?,
        }
    }
    let Some(message) = nested else {
        return PbTxnRequestOp::decode(bytes).map_err(unreadable);
    };
    let request = PbTxnOpRequest::RequestTxn(txn(message, level + 1)?);
    Ok(PbTxnRequestOp {
        request: Some(request),
    })
}

/// Passes over a field of a kind that none of these, by their tags, has.
fn pass(bytes: &mut Bytes, tag: u32, kind: WireType, fields: &[&str]) -> Result<(), Status> {
    match usize::try_from(tag)
        .ok()
        .and_then(|tag| fields.get(tag - 1))
    {
        Some(field) => Err(wrong_type(kind as u8, field)),
        None => skip_field(kind, tag, bytes, DecodeContext::default()).map_err(unreadable),
    }
}

enum Field {
    /// A field of bytes, with its tag.
    Message(u32, Bytes),
    /// The beginning of another kind of field.
    Other(u32, WireType),
}

fn field(bytes: &mut Bytes) -> Result<Field, Status> {
    let (tag, wire_type) = decode_key(bytes).map_err(unreadable)?;
    if wire_type != WireType::LengthDelimited {
        return Ok(Field::Other(tag, wire_type));
    }
    let length = decode_varint(bytes).map_err(unreadable)?;
    match usize::try_from(length) {
        Ok(length) if length <= bytes.remaining() => {
            Ok(Field::Message(tag, bytes.split_to(length)))
        }
        _ => Err(too_short()),
    }
}

/// Reads a transaction and writes an answer, for tonic.
#[derive(Debug)]
pub(super) struct TxnCodec<A>(PhantomData<fn() -> A>);

impl<A> Default for TxnCodec<A> {
    fn default() -> Self {
        TxnCodec(PhantomData)
    }
}

impl<A: Message + Send + 'static> Codec for TxnCodec<A> {
    type Encode = A;
    type Decode = PbTxnRequest;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl<A: Message> Encoder for TxnCodec<A> {
    type Item = A;
    type Error = Status;

    fn encode(&mut self, item: A, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let full = |error: prost::EncodeError| Status::internal(error.to_string());
        item.encode(buffer).map_err(full)
    }
}

impl<A> Decoder for TxnCodec<A> {
    type Item = PbTxnRequest;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<PbTxnRequest>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        decode_txn(bytes).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use etcd_client::proto::PbPutRequest;
    use tonic::Code;

    use super::*;

    /// A put within `levels` transactions.
    fn nested(levels: usize) -> PbTxnRequest {
        let put = PbPutRequest {
            key: b"key".to_vec(),
            ..Default::default()
        };
        let mut request = PbTxnOpRequest::RequestPut(put);
        for level in 0..levels {
            let op = PbTxnRequestOp {
                request: Some(request),
            };
            let mut txn = PbTxnRequest::default();
            match level % 2 {
                0 => txn.success.push(op),
                _ => txn.failure.push(op),
            }
            request = PbTxnOpRequest::RequestTxn(txn);
        }
        match request {
            PbTxnOpRequest::RequestTxn(txn) => txn,
            _ => PbTxnRequest::default(),
        }
    }

    fn decoded(txn: &PbTxnRequest) -> Result<PbTxnRequest, Status> {
        decode_txn(txn.encode_to_vec().into())
    }

    #[test]
    fn a_transaction_is_read_as_it_was_written() {
        for levels in [1, 2, 49, 50, 128, LEVELS_MAX] {
            let txn = nested(levels);
            assert_eq!(decoded(&txn).unwrap(), txn);
        }
        let mut txn = nested(2);
        txn.compare.push(PbCompare::default());
        txn.failure.push(PbTxnRequestOp { request: None });
        assert_eq!(decoded(&txn).unwrap(), txn);
    }

    #[test]
    fn too_many_levels_are_too_many_operations() {
        let status = decoded(&nested(LEVELS_MAX + 1)).unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), StoreError::TooManyOps.to_string());
    }

    #[test]
    fn what_is_no_transaction_is_refused() {
        for bytes in [
            &b"\xff"[..],
            b"\x12\x05abc",
            b"\x0a\x02\xff\xff",
            b"\x08\x01",
            b"\x18\x01",
        ] {
            let status = decode_txn(Bytes::from_static(bytes)).unwrap_err();
            assert_eq!(status.code(), Code::Internal);
        }
    }
}
