//! The client's end of the wire: the channel that `etcd_client` is built on.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use tonic::Status;
use tonic::body::Body;
use tower::BoxError;
use tower::util::BoxCloneSyncService;

use super::balance::Pick;
use super::deadline::Deadlines;
use super::exchange::{Broken, Down, Exchange, Up};
use super::inbox::Letter;
use super::{Direction, Fate, Network, member, soon};
use crate::executor::{Node, SimTime, now, sleep, sleep_until};
use crate::fault::{ClientId, MemberId};
use crate::service::unary::{Method, is_whole};

/// The timeouts of a simulated channel.
///
/// `etcd_client::ConnectOptions` has timeouts too, but they act only on the
/// channels that the crate opens by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelOptions {
    /// How long a call may take until its response begins. Then it fails with
    /// `Cancelled`, "Timeout expired", as on tonic's own channel; the request
    /// stays sent. None: for ever.
    pub timeout: Option<Duration>,
}

/// Which members a client knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoints {
    /// All of them. Each call goes to one that is connected, at random, as with
    /// tonic's balanced channel.
    #[default]
    All,
    /// One of them: that whose number is the client's, counted around.
    Own,
    /// This one.
    One(MemberId),
}

/// The connections of one client process to the members of a cluster.
///
/// Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct Channel {
    network: Network,
    client: ClientId,
    incarnation: u64,
    /// The process that sends: its node relays what it streams.
    node: Node,
    options: ChannelOptions,
    deadlines: Deadlines,
    /// None: as the run's plan says.
    endpoints: Option<Endpoints>,
}

type Request = http::Request<Body>;
type Response = http::Response<Body>;

impl Channel {
    pub(crate) fn new(
        network: Network,
        client: ClientId,
        incarnation: u64,
        node: Node,
        options: ChannelOptions,
    ) -> Self {
        Channel {
            network,
            client,
            incarnation,
            node,
            options,
            deadlines: Deadlines::default(),
            endpoints: None,
        }
    }

    /// The same channel for a client that knows these members, whatever the run's
    /// plan says.
    #[must_use]
    pub fn with_endpoints(mut self, endpoints: Endpoints) -> Self {
        self.endpoints = Some(endpoints);
        self
    }

    /// The channel in the form that [`etcd_client::Client::from_channel`] takes.
    pub fn into_etcd_channel(self) -> etcd_client::Channel {
        let channel = Arc::new(self);
        let call = move |request| Arc::clone(&channel).call(request);
        let service = tower::service_fn(call);
        etcd_client::Channel::Custom(BoxCloneSyncService::new(service))
    }

    /// Sends a request and waits for the head of the response.
    pub(crate) fn call(
        self: Arc<Self>,
        request: Request,
    ) -> impl Future<Output = Result<Response, BoxError>> + Send + 'static {
        // In a box from the beginning: futures that hold it are moved about.
        let (parts, body) = request.into_parts();
        let parts = Box::new(parts);
        async move {
            let Some(timeout) = self.options.timeout else {
                return self.open(parts, body).await;
            };
            let mut deadline = self.deadlines.at(now() + timeout);
            let mut call = pin!(self.open(parts, body));
            std::future::poll_fn(|context| {
                if let Poll::Ready(response) = call.as_mut().poll(context) {
                    return Poll::Ready(response);
                }
                deadline
                    .poll(context)
                    .map(|()| Err(Status::cancelled("Timeout expired").into()))
            })
            .await
        }
    }

    /// Sends the first message and waits for the head of the response.
    async fn open(
        &self,
        parts: Box<http::request::Parts>,
        mut body: Body,
    ) -> Result<Response, BoxError> {
        let first =
            std::future::poll_fn(|context| poll_first(Pin::new(&mut body), context)).await?;
        let (member, now) = self.pick().await?;
        let link = (self.client, member);
        let exchange = Exchange::new(self.network.clone(), link, parts.uri.clone());
        let exchange = Arc::new(exchange);
        let end = ClientEnd {
            exchange: Arc::clone(&exchange),
            closed: false,
        };
        let ended = first.end;
        if let Err(refused) = self.send_first(&exchange, parts, first, now) {
            sleep(REFUSED_AFTER).await;
            return Err(refused.into());
        }
        if !ended {
            self.node.spawn(relay(body, Relay::new(&exchange)));
        }
        end.response().await
    }

    /// Chooses the member that a call goes to, and when. Waits while none is connected.
    async fn pick(&self) -> Result<(MemberId, SimTime), Status> {
        loop {
            let now = now();
            match self.network.pick(self.client, self.endpoints, now) {
                Pick::Member(member) => return Ok((member, now)),
                Pick::Refused => {
                    sleep(REFUSED_AFTER).await;
                    return Err(refused());
                }
                Pick::Wait(until) => sleep_until(soon(until)).await,
            }
        }
    }

    fn send_first(
        &self,
        exchange: &Arc<Exchange>,
        parts: Box<http::request::Parts>,
        first: First,
        now: SimTime,
    ) -> Result<(), Status> {
        let accepted = self.network.connect(self, exchange, now)?;
        let fate = exchange.fate(Direction::Request, now);
        let arrives = match (accepted, fate) {
            (Some(member), Fate::Arrives(at)) => Some((member, at)),
            _ => None,
        };
        let First { messages, end } = first;
        let exchange = Arc::clone(exchange);
        let messages = match (Method::of(parts.uri.path()), messages.into_inner()) {
            (Some(method), Ok([message])) if is_whole(&message) => {
                if let Some((member, at)) = arrives {
                    member.receive(at, Letter::new(method, exchange, parts, message));
                }
                return Ok(());
            }
            (_, Ok(message)) => message.into(),
            (_, Err(messages)) => messages,
        };
        for message in messages {
            exchange.push_up(fate, Up::Message(message), now);
        }
        if end {
            exchange.push_up(Fate::Arrives(now), Up::End, now);
        }
        if let Some((member, at)) = arrives {
            member.accept(exchange, parts, at);
        }
        Ok(())
    }
}

impl Network {
    /// Opens a call on a client's connection.
    ///
    /// None when the calling process has long been dead: it reaches nobody.
    fn connect(
        &self,
        channel: &Channel,
        exchange: &Arc<Exchange>,
        now: SimTime,
    ) -> Result<Option<Arc<member::Up>>, Status> {
        let mut state = self.lock();
        state.report.calls += 1;
        let member = state.members[exchange.member].clone();
        let is_closing = state.closing[exchange.member].is_some();
        let links = state.links(channel.client);
        if links.dead || links.incarnation != channel.incarnation {
            return Ok(None);
        }
        let link = &mut links.to[exchange.member];
        if is_closing {
            let status = match std::mem::take(&mut link.goes_away) {
                true => canceled(),
                false => refused(),
            };
            link.connects_at = Some(now + REFUSED_AFTER);
            return Err(status);
        }
        link.remember(exchange);
        let refuses = link.is_refused(now);
        if (member.is_none() || refuses) && !link.is_partitioned(now) {
            return Err(refused());
        }
        Ok(member)
    }
}

/// What tonic reports when nobody listens.
fn refused() -> Status {
    Status::unavailable("tcp connect error")
}

/// What tonic reports of the first call on a connection on which the member takes none
/// any more.
fn canceled() -> Status {
    Status::cancelled("operation was canceled")
}

/// How long it takes to learn that nobody listens. Not nothing: a client that
/// tries again at once would otherwise stop the clock.
pub(super) const REFUSED_AFTER: Duration = Duration::from_millis(1);

/// The part of a request that is ready at once.
struct First {
    messages: SmallVec<[Bytes; 1]>,
    end: bool,
}

/// Waits for the first message and takes what else is ready with it.
fn poll_first(mut body: Pin<&mut Body>, context: &mut Context<'_>) -> Poll<Result<First, Status>> {
    let mut messages = SmallVec::new();
    loop {
        match body.as_mut().poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    messages.push(data);
                }
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
            Poll::Ready(None) => {
                return Poll::Ready(Ok(First {
                    messages,
                    end: true,
                }));
            }
            Poll::Pending if messages.is_empty() => return Poll::Pending,
            Poll::Pending => {
                return Poll::Ready(Ok(First {
                    messages,
                    end: false,
                }));
            }
        }
    }
}

/// Sends the rest of a stream, message by message. Runs on the client's node:
/// a paused or dead client sends nothing.
async fn relay(mut body: Body, mut relay: Relay) {
    let mut body = Pin::new(&mut body);
    while !relay.exchange.is_over() {
        let frame = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await;
        match frame {
            Some(Ok(frame)) => {
                for message in frame.into_data().into_iter().flat_map(member::split) {
                    relay.exchange.send_up(Up::Message(message));
                }
            }
            Some(Err(_)) => return,
            None => {
                relay.exchange.send_up(Up::End);
                relay.ended = true;
                return;
            }
        }
    }
}

/// Tells the member when the sending half of a stream disappears.
struct Relay {
    exchange: Arc<Exchange>,
    ended: bool,
}

impl Relay {
    fn new(exchange: &Arc<Exchange>) -> Self {
        Relay {
            exchange: Arc::clone(exchange),
            ended: false,
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if !self.ended {
            self.exchange.cancel_up();
        }
    }
}

/// The client's hold on a call; dropping it tells the member so.
struct ClientEnd {
    exchange: Arc<Exchange>,
    /// The response has ended: there is nothing left to cancel.
    closed: bool,
}

impl ClientEnd {
    async fn response(mut self) -> Result<Response, BoxError> {
        let down = std::future::poll_fn(|context| self.exchange.poll_down(context));
        let mut down = down.await.map_err(broken_status)?;
        let head = down
            .head
            .take()
            .expect("the first message carries the head");
        self.closed = down.end;
        let body = Body::new(ResponseBody {
            end: self,
            current: down,
        });
        Ok(http::Response::from_parts(*head, body))
    }
}

impl Drop for ClientEnd {
    fn drop(&mut self) {
        self.exchange.client_left();
        if !self.closed {
            self.exchange.cancel_up();
        }
    }
}

/// The body of a response as the client reads it.
struct ResponseBody {
    end: ClientEnd,
    /// What has arrived and was not read yet.
    current: Down,
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            if let Some(data) = this.current.data.take() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if let Some(trailers) = this.current.trailers.take() {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            if this.end.closed {
                return Poll::Ready(None);
            }
            match this.end.exchange.poll_down(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(down)) => {
                    this.end.closed = down.end;
                    this.current = down;
                }
                Poll::Ready(Err(broken)) => {
                    this.end.closed = true;
                    return Poll::Ready(Some(Err(broken_status(broken))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.end.closed && self.current.data.is_none() && self.current.trailers.is_none()
    }
}

/// What tonic reports when the connection of a call breaks.
fn broken_status(broken: Broken) -> Status {
    match broken {
        Broken::Reset => Status::unknown("transport error: connection reset by peer"),
    }
}
