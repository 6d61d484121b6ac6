//! One channel over the channels to all endpoints of a client.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::TryFutureExt;
use futures_util::future::BoxFuture;
use http::Uri;
use tokio::sync::mpsc::{Receiver, Sender};
use tonic::body::Body;
use tonic::transport::channel::Change;
use tonic::transport::{Channel, Endpoint};
use tower::{BoxError, Service, ServiceExt};

use super::connector::Connecting;

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// Makes a channel to an endpoint.
type Open = fn(&Endpoint, Connecting) -> Channel;

/// Sends requests to the endpoints in turn. Clones share the connections.
#[derive(Clone)]
pub(super) struct Members(Arc<Mutex<Shared>>);

struct Shared {
    /// What the client has said about its endpoints and nobody has looked at yet.
    changes: Receiver<Change<Uri, Endpoint>>,
    open: Open,
    members: Vec<Member>,
    next: usize,
}

struct Member {
    uri: Uri,
    channel: Channel,
    connecting: Connecting,
}

impl Members {
    /// No endpoints yet: they come through the sender.
    pub(super) fn new(changes_max: usize, open: Open) -> (Sender<Change<Uri, Endpoint>>, Self) {
        let (sender, changes) = tokio::sync::mpsc::channel(changes_max);
        let shared = Shared {
            changes,
            open,
            members: Vec::new(),
            next: 0,
        };
        (sender, Members(Arc::new(Mutex::new(shared))))
    }

    /// The channel to the endpoint whose turn it is.
    fn pick(&self) -> Option<Channel> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shared.take_up_changes();
        shared.pick().map(|member| member.channel.clone())
    }
}

impl Shared {
    fn take_up_changes(&mut self) {
        while let Ok(change) = self.changes.try_recv() {
            match change {
                Change::Insert(uri, endpoint) => {
                    self.members.retain(|member| member.uri != uri);
                    let connecting = Connecting::default();
                    self.members.push(Member {
                        uri,
                        channel: (self.open)(&endpoint, connecting.clone()),
                        connecting,
                    });
                }
                Change::Remove(uri) => self.members.retain(|member| member.uri != uri),
            }
        }
    }

    /// The next one in turn that is not being connected to; if all are, the next.
    fn pick(&mut self) -> Option<&Member> {
        let count = self.members.len();
        let turns = (0..count).map(|turn| (self.next + turn) % count);
        let is_free = |at: &usize| !self.members[*at].connecting.is_in_progress();
        let at = turns
            .clone()
            .find(is_free)
            .or_else(|| turns.clone().next())?;
        self.next = at + 1;
        Some(&self.members[at])
    }
}

impl Service<Request> for Members {
    type Response = Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.pick() {
            Some(channel) => Box::pin(channel.oneshot(request).map_err(BoxError::from)),
            None => Box::pin(async {
                let nowhere = "the client has no endpoint to send a request to";
                Err(BoxError::from(tonic::Status::unavailable(nowhere)))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lazily(endpoint: &Endpoint, _: Connecting) -> Channel {
        endpoint.connect_lazy()
    }

    async fn members_of(endpoints: &[&'static str]) -> (Sender<Change<Uri, Endpoint>>, Members) {
        let (changes, members) = Members::new(8, lazily);
        for endpoint in endpoints {
            let endpoint = Endpoint::from_static(endpoint);
            let change = Change::Insert(endpoint.uri().clone(), endpoint);
            changes.send(change).await.unwrap();
        }
        (changes, members)
    }

    impl Members {
        fn next_hosts(&self, count: usize) -> String {
            let mut shared = self.0.lock().unwrap();
            shared.take_up_changes();
            let next = |_| shared.pick().unwrap().uri.host().unwrap().to_owned();
            (0..count).map(next).collect()
        }

        fn at(&self, member: usize) -> Connecting {
            self.0.lock().unwrap().members[member].connecting.clone()
        }
    }

    #[tokio::test]
    async fn endpoints_take_turns_from_when_they_are_added_until_they_are_removed() {
        let (changes, members) = members_of(&["http://a", "http://b"]).await;
        assert_eq!(members.next_hosts(4), "abab");
        let c = Endpoint::from_static("http://c");
        let insert = Change::Insert(c.uri().clone(), c);
        changes.send(insert).await.unwrap();
        assert_eq!(members.next_hosts(6), "cabcab");
        let b = Uri::from_static("http://b");
        changes.send(Change::Remove(b)).await.unwrap();
        assert_eq!(members.next_hosts(4), "acac");
    }

    #[tokio::test]
    async fn an_endpoint_that_is_added_again_is_not_asked_twice_as_often() {
        let (_changes, members) = members_of(&["http://a", "http://b", "http://a"]).await;
        assert_eq!(members.next_hosts(4), "baba");
    }

    #[tokio::test]
    async fn while_a_connection_is_made_requests_go_elsewhere_if_they_can() {
        let (_changes, members) = members_of(&["http://a", "http://b"]).await;
        members.next_hosts(1);
        let attempt = members.at(0).begin();
        assert_eq!(members.next_hosts(3), "bbb");
        let other = members.at(1).begin();
        assert_eq!(members.next_hosts(4), "abab", "nowhere else to go");
        drop((attempt, other));
        assert_eq!(members.next_hosts(4), "abab");
    }

    #[tokio::test]
    async fn without_endpoints_a_request_is_refused_as_not_sent() {
        let (_changes, mut members) = members_of(&[]).await;
        let refused = members.call(Request::new(Body::empty())).await.unwrap_err();
        let status = refused.downcast::<tonic::Status>().unwrap();
        assert_eq!(status.code(), tonic::Code::Unavailable);
    }
}
