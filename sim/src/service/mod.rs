//! etcd's gRPC services on top of a member.
//!
//! They implement the server traits that are generated from etcd's own proto
//! files, one file per service; [`Router`] hands each request to its service.
//! Nothing here knows of networks or faults.
//!
//! The services for locks and elections are clients of the others, as in etcd, and so
//! is the code that they share (`recipe`). Of three services `etcd-client` does not
//! export what a server needs; their calls are sorted out by hand (`method`).
//!
//! Left out, with the answer "unimplemented": to begin a downgrade, and the streaming range
//! read.

mod auth;
mod cluster;
mod election;
mod health;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod malformed;
mod method;
mod nested;
mod recipe;
mod router;
pub(crate) mod unary;
mod watch;
mod while_led;

pub use router::Router;

use tonic::{Response, Status};

use crate::cluster::Applied;
use crate::fault::ClientId;

/// The extension of a request that says who sent it: real members know no more
/// than an address, and nothing here depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller(pub(crate) ClientId);

/// The answer to a method that is left out.
fn left_out(service: &str, method: &str) -> Status {
    Status::unimplemented(format!("method {method} of {service} is not simulated"))
}

/// What grpc-go answers to a method that a server does not have.
fn unknown_method(service: &str, method: &str) -> Status {
    Status::unimplemented(format!("unknown method {method} for service {service}"))
}

/// An answer that tells the network whether the call changed something.
fn answer<T>(message: T, applied: Option<i64>) -> Response<T> {
    let mut response = Response::new(message);
    if let Some(revision) = applied {
        response.extensions_mut().insert(Applied { revision });
    }
    response
}
