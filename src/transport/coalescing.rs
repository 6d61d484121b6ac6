//! A byte stream that sends at once what was written to it in one turn.
//!
//! Writes are kept. The first flush after them gives way: it asks to be polled
//! again and lets the tasks run that are ready now, which may write more. The second
//! one sends it all. HTTP/2 needs just that: the head of a request, flushed, opens
//! the stream, and the task that waits for it writes the body.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes are kept at most; whoever writes more waits until they are sent.
/// Four of HTTP/2's largest frames by default.
const KEPT_MAX: usize = 64 * 1024;

pub(super) struct Coalescing<S> {
    stream: S,
    kept: BytesMut,
    has_given_way: bool,
}

impl<S> Coalescing<S> {
    pub(super) fn new(stream: S) -> Self {
        Coalescing {
            stream,
            kept: BytesMut::new(),
            has_given_way: false,
        }
    }
}

impl<S: AsyncWrite + Unpin> Coalescing<S> {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.kept.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, &self.kept))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.kept.advance(sent);
        }
        self.has_given_way = false;
        Poll::Ready(Ok(()))
    }

    /// Keeps what there is room for.
    fn keep(&mut self, bytes: &[u8]) -> usize {
        let kept = bytes.len().min(KEPT_MAX - self.kept.len());
        self.kept.extend_from_slice(&bytes[..kept]);
        kept
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Coalescing<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.kept.len() == KEPT_MAX {
            ready!(self.poll_send(context))?;
        }
        Poll::Ready(Ok(self.keep(bytes)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.kept.len() == KEPT_MAX {
            ready!(self.poll_send(context))?;
        }
        Poll::Ready(Ok(parts.iter().map(|part| self.keep(part)).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.kept.is_empty() && !self.has_given_way {
            self.has_given_way = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Coalescing<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes so many bytes with each write, or none while it is full.
    #[derive(Default)]
    struct Wire {
        writes: Vec<Vec<u8>>,
        room: usize,
        is_shut: bool,
    }

    impl AsyncWrite for Wire {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.room);
            if taken == 0 {
                return Poll::Pending;
            }
            self.room -= taken;
            self.writes.push(bytes[..taken].to_vec());
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.is_shut = true;
            Poll::Ready(Ok(()))
        }
    }

    fn over_wire(room: usize) -> Coalescing<Wire> {
        Coalescing::new(Wire {
            room,
            ..Wire::default()
        })
    }

    impl Coalescing<Wire> {
        fn write(&mut self, bytes: &[u8]) -> Option<usize> {
            let mut context = Context::from_waker(Waker::noop());
            match Pin::new(self).poll_write(&mut context, bytes) {
                Poll::Ready(written) => Some(written.unwrap()),
                Poll::Pending => None,
            }
        }

        fn flush(&mut self) -> bool {
            let mut context = Context::from_waker(Waker::noop());
            Pin::new(self).poll_flush(&mut context).is_ready()
        }
    }

    #[test]
    fn what_is_written_after_the_first_flush_leaves_with_what_was_before() {
        let mut stream = over_wire(usize::MAX);
        stream.write(b"head");
        assert!(!stream.flush(), "gives way once");
        stream.write(b"body");
        assert!(stream.flush());
        assert_eq!(stream.stream.writes, [b"headbody"]);
        assert!(stream.flush(), "nothing left to send");
        stream.write(b"next");
        assert!(!stream.flush(), "gives way again for the next request");
        assert!(stream.flush());
        assert_eq!(stream.stream.writes.len(), 2);
    }

    #[test]
    fn a_wire_that_takes_a_part_gets_the_rest_later() {
        let mut stream = over_wire(3);
        stream.write(b"headbody");
        assert!(!stream.flush());
        assert!(!stream.flush(), "the wire is full");
        stream.stream.room = 100;
        assert!(stream.flush());
        assert_eq!(stream.stream.writes.concat(), b"headbody");
    }

    #[test]
    fn a_full_buffer_is_sent_before_more_is_taken() {
        let mut stream = over_wire(0);
        let big = vec![7; KEPT_MAX + 10];
        assert_eq!(stream.write(&big), Some(KEPT_MAX));
        assert_eq!(stream.write(b"more"), None, "no memory beyond the limit");
        stream.stream.room = usize::MAX;
        assert_eq!(stream.write(b"more"), Some(4));
        assert_eq!(stream.stream.writes.concat().len(), KEPT_MAX);
    }

    #[test]
    fn parts_are_kept_in_order_and_up_to_the_limit() {
        let mut stream = over_wire(usize::MAX);
        let big = vec![7; KEPT_MAX];
        let parts = [io::IoSlice::new(b"head"), io::IoSlice::new(&big)];
        let mut context = Context::from_waker(Waker::noop());
        let written = Pin::new(&mut stream).poll_write_vectored(&mut context, &parts);
        assert!(matches!(written, Poll::Ready(Ok(KEPT_MAX))));
        assert!(stream.kept.starts_with(b"head\x07"));
    }

    #[test]
    fn closing_sends_what_was_kept() {
        let mut stream = over_wire(usize::MAX);
        stream.write(b"goodbye");
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut stream).poll_shutdown(&mut context).is_ready());
        assert_eq!(stream.stream.writes, [b"goodbye"]);
        assert!(stream.stream.is_shut);
    }
}
