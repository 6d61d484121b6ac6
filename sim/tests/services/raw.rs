//! Bytes that are sent as they are, to a real etcd and to a simulated one.

use bytes::{Buf as _, BufMut as _};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::live::compare;
use crate::real::{Endpoint, soon};
use crate::transcript::Transcript;

#[test]
fn what_cannot_be_read_and_whether_all_is_well_are_answered_as_by_a_real_etcd() {
    compare!(session, 50);
}

/// Messages as bytes.
#[derive(Clone, Copy, Default)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Bytes;
    type Decoder = Bytes;

    fn encoder(&mut self) -> Bytes {
        Bytes
    }

    fn decoder(&mut self) -> Bytes {
        Bytes
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut message = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut message);
        Ok(Some(message))
    }
}

/// The first message that a path answers; in short, so that ids do not matter.
async fn ask(channel: &Channel, path: &str, message: &[u8], said: &mut Transcript) {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.expect("it is connected");
    let request = Request::new(message.to_vec());
    let path: http::uri::PathAndQuery = path.parse().expect("it is a path");
    let name = format!("{path} {message:x?}");
    let answer = soon(async {
        let answers = grpc.server_streaming(request, path, Bytes).await?;
        answers.into_inner().message().await
    });
    let text = match answer.await {
        Ok(first) => format!("{first:?}"),
        Err(status) => format!("{:?}: {}", status.code(), status.message()),
    };
    said.say(&name, text);
}

async fn session(etcd: &impl Endpoint) -> Transcript {
    let mut said = Transcript::default();
    let endpoint = etcd.endpoint();
    let endpoint = format!("http://{}", endpoint.trim_start_matches("http://"));
    let channel = Channel::from_shared(endpoint).expect("it is a URL");
    let channel = channel.connect().await.expect("it listens");
    for method in ["Check", "Watch", "List", "None"] {
        for message in [&b""[..], b"\x0a\x01a"] {
            let path = format!("/grpc.health.v1.Health/{method}");
            ask(&channel, &path, message, &mut said).await;
        }
    }
    for path in [
        "/",
        "/etcdserverpb.KV",
        "/etcdserverpb.KV/",
        "/a/b/c",
        "/x/y",
    ] {
        ask(&channel, path, b"", &mut said).await;
    }
    ask(&channel, "/etcdserverpb.KV/RangeStream", b"\xff", &mut said).await;
    let txns = [
        &b"\x08\x01"[..],
        b"\x0a\x05",
        b"\x0b",
        b"\x0a",
        b"\x1a\x02\x08",
        b"\x0a\x02\xff\xff",
        b"\x2a\x01",
        b"\x12\x02\x08\xff",
        b"\x12\x04\x12\x02\x08",
        b"\x12\x04\x22\x02\x10\x01",
        b"\xff",
    ];
    for message in txns {
        ask(&channel, "/etcdserverpb.KV/Txn", message, &mut said).await;
    }
    let others = [
        "/etcdserverpb.KV/Range",
        "/etcdserverpb.KV/Put",
        "/etcdserverpb.Lease/LeaseGrant",
        "/etcdserverpb.Auth/UserAdd",
        "/etcdserverpb.Maintenance/HashKV",
        "/etcdserverpb.Cluster/MemberAdd",
        "/v3lockpb.Lock/Lock",
    ];
    for path in others {
        for message in [&b"\xff"[..], b"\x0d", b"\x0a\x05", b"\x18\x80"] {
            ask(&channel, path, message, &mut said).await;
        }
    }
    said
}
