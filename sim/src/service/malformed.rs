//! What cannot be read, in the words of Go's gRPC library and of etcd's messages.

use prost::DecodeError;
use tonic::{Code, Status};

/// How the decoder of messages begins what it has to say.
const DECODER: &str = "failed to decode Protobuf message: ";

/// The refusal of a message that cannot be read.
#[expect(clippy::needless_pass_by_value, reason = "maps errors")]
pub(super) fn unreadable(error: DecodeError) -> Status {
    in_words_of_go(&Status::internal(error.to_string()))
        .unwrap_or_else(|| refusal("unexpected EOF"))
}

/// A field that begins otherwise than a field of its type does.
pub(super) fn wrong_type(wire_type: u8, field: &str) -> Status {
    refusal(&format!(
        "proto: wrong wireType = {wire_type} for field {field}"
    ))
}

/// What a message is refused with that ends too early.
pub(super) fn too_short() -> Status {
    refusal("unexpected EOF")
}

fn refusal(reason: &str) -> Status {
    Status::internal(format!("grpc: error unmarshalling request: {reason}"))
}

/// The same refusal as etcd words it, if it is one of the decoder's.
pub(super) fn in_words_of_go(status: &Status) -> Option<Status> {
    let error = status.message().strip_prefix(DECODER)?;
    (status.code() == Code::Internal).then(|| refusal(&reason(error)))
}

/// What the decoder says is `Message.field: Message.field: reason`, from the outside in.
fn reason(error: &str) -> String {
    let field = error.rsplit_once(": invalid wire type: ");
    let wrong = field.and_then(|(field, types)| {
        let field = field.rsplit(['.', ':', ' ']).next()?;
        let given = types.split_once(' ')?.0;
        Some((camel_case(field), number_of(given)?))
    });
    match wrong {
        Some((field, wire_type)) => {
            format!("proto: wrong wireType = {wire_type} for field {field}")
        }
        None => "unexpected EOF".to_owned(),
    }
}

/// A field as Go calls it.
fn camel_case(field: &str) -> String {
    let words = field.trim_start_matches("r#").split('_');
    // Of `peerURLs` the generated code here has made three words.
    let capital = |word: &str| {
        if ["id", "ttl", "ur"].contains(&word) {
            return Some(word.to_ascii_uppercase());
        }
        let (first, rest) = word.split_at_checked(1)?;
        Some(first.to_ascii_uppercase() + rest)
    };
    words.filter_map(capital).collect()
}

fn number_of(wire_type: &str) -> Option<u8> {
    let names = [
        "Varint",
        "SixtyFourBit",
        "LengthDelimited",
        "StartGroup",
        "EndGroup",
        "ThirtyTwoBit",
    ];
    let number = names.iter().position(|name| *name == wire_type)?;
    u8::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use etcd_client::proto::{PbPutRequest, PbRangeRequest};
    use prost::Message;

    use super::*;

    fn refused<M: Message + Default>(bytes: &[u8]) -> String {
        let status = unreadable(M::decode(bytes).err().unwrap());
        assert_eq!(status.code(), Code::Internal);
        let reason = status
            .message()
            .strip_prefix("grpc: error unmarshalling request: ");
        reason.unwrap().to_owned()
    }

    #[test]
    fn what_cannot_be_read_is_refused_in_etcds_words() {
        let wrong =
            |number: u8, field: &str| format!("proto: wrong wireType = {number} for field {field}");
        assert_eq!(refused::<PbRangeRequest>(b"\x08\x01"), wrong(0, "Key"));
        assert_eq!(refused::<PbRangeRequest>(b"\x1a\x01a"), wrong(2, "Limit"));
        assert_eq!(refused::<PbPutRequest>(b"\x25\0\0\0\0"), wrong(5, "PrevKv"));
        for bytes in [&b"\x0a\x05"[..], b"\xff", b"\x18", b"\x18\x80"] {
            assert_eq!(refused::<PbRangeRequest>(bytes), "unexpected EOF");
        }
    }
}
