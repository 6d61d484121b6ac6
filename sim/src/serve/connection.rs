//! A TCP connection that can be cut, with TLS or without.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::Stream;
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::authority::Authorities;
#[cfg(feature = "tls")]
use super::tls::{Secured, Tls};

/// How much is read at once.
const CHUNK: usize = 8 * 1024;

/// The connections that one member has accepted.
#[derive(Default)]
pub(super) struct Connections {
    open: Mutex<Vec<Weak<Cut>>>,
}

impl Connections {
    /// Closes all of them.
    pub(super) fn cut(&self) {
        let open = std::mem::take(&mut *self.lock());
        for cut in open.iter().filter_map(Weak::upgrade) {
            cut.is_cut.store(true, Ordering::Release);
            cut.reader.wake();
        }
    }

    fn accept(&self, stream: Wire, info: TcpConnectInfo) -> Connection {
        let cut = Arc::new(Cut::default());
        let mut open = self.lock();
        open.retain(|cut| cut.strong_count() > 0);
        open.push(Arc::downgrade(&cut));
        Connection {
            stream,
            info,
            cut,
            authorities: Authorities::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Cut>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a connection was cut, and whom to tell.
#[derive(Default)]
struct Cut {
    is_cut: AtomicBool,
    reader: AtomicWaker,
}

/// A TCP connection until it is cut: then it is reset for whoever uses it here, and
/// closed for the other side.
pub(super) struct Connection {
    stream: Wire,
    info: TcpConnectInfo,
    cut: Arc<Cut>,
    authorities: Authorities,
}

impl Connection {
    fn check(&self) -> io::Result<()> {
        if self.cut.is_cut.load(Ordering::Acquire) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.cut.reader.register(context.waker());
        self.check()?;
        while buffer.remaining() > 0 && !self.authorities.give(buffer) {
            let mut chunk = [MaybeUninit::uninit(); CHUNK];
            let mut chunk = ReadBuf::uninit(&mut chunk);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut chunk))?;
            if chunk.filled().is_empty() {
                break;
            }
            self.authorities.take(chunk.filled());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.info.clone()
    }
}

/// What a listener accepts.
pub(super) struct Incoming {
    pub(super) listener: TcpListener,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Tls>,
    pub(super) connections: Arc<Connections>,
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted: io::Result<(TcpStream, SocketAddr)> =
            ready!(self.listener.poll_accept(context));
        Poll::Ready(Some(accepted.and_then(|(stream, _)| {
            stream.set_nodelay(true)?;
            let info = stream.connect_info();
            Ok(self.connections.accept(self.wire(stream), info))
        })))
    }
}

impl Incoming {
    fn wire(&self, stream: TcpStream) -> Wire {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return Wire::Secured(tls.accept(stream));
        }
        Wire::Plain(stream)
    }
}

/// What a connection is made of.
enum Wire {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Secured(Secured),
}

/// Does the same with either.
macro_rules! on_wire {
    ($wire:expr, $stream:ident => $action:expr) => {
        match $wire {
            Wire::Plain($stream) => $action,
            #[cfg(feature = "tls")]
            Wire::Secured($stream) => $action,
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_wire!(self.get_mut(), stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_wire!(self.get_mut(), stream => Pin::new(stream).poll_write(context, buffer))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_wire!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(context, buffers))
    }

    fn is_write_vectored(&self) -> bool {
        on_wire!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_wire!(self.get_mut(), stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_wire!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(context))
    }
}
