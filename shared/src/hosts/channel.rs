//! One channel of a connection. Owns: that it is closed when nobody uses it any more, however that came,
//! and that it counts against the host's limit until then.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::error::HostError;

/// What saying that a channel is closed may take on a connection that is stuck.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// An open channel.
pub(super) struct Open {
    read: ChannelReadHalf,
    half: Half,
}

impl Open {
    pub(super) fn new(channel: Channel<Msg>, permit: OwnedSemaphorePermit) -> Self {
        let (read, write) = channel.split();
        let half = Half {
            write: Arc::new(write),
            permit: Some(permit),
        };
        Self { read, half }
    }

    /// Asks the host to run a command.
    pub(super) async fn exec(&self, command: &'static str) -> Result<(), HostError> {
        let asked = self.half.write.exec(true, command).await;
        asked.map_err(|_| HostError::Protocol)
    }

    /// What the host says next; none when it has closed the channel.
    pub(super) async fn wait(&mut self) -> Option<ChannelMsg> {
        self.read.wait().await
    }

    /// The channel as a stream of bytes.
    pub(super) fn into_wire(self) -> Wire {
        Wire {
            write: Box::pin(self.half.write.make_writer()),
            read: self.read,
            rest: Bytes::new(),
            left: u64::MAX,
            _half: self.half,
        }
    }
}

/// Our half of a channel.
struct Half {
    write: Arc<ChannelWriteHalf<Msg>>,
    /// None while this is being dropped.
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Half {
    fn drop(&mut self) {
        let (write, permit) = (Arc::clone(&self.write), self.permit.take());
        tokio::spawn(async move {
            // Whoever waits for the permit opens the next channel: not before this one is closed.
            let _ = timeout(CLOSE_WITHIN, write.close()).await;
            drop(permit);
        });
    }
}

/// A channel as a stream.
pub(super) struct Wire {
    read: ChannelReadHalf,
    write: Pin<Box<dyn AsyncWrite + Send>>,
    /// What was received and is not read yet.
    rest: Bytes,
    /// Bytes that may still be read.
    left: u64,
    _half: Half,
}

impl Wire {
    /// Reading ends with an error after this many bytes: whoever sends without end fills no memory.
    pub(super) fn at_most(self, bytes: u64) -> Self {
        Self {
            left: bytes,
            ..self
        }
    }

    /// What there is to read; nothing at the end.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.rest.is_empty() {
            match ready!(std::pin::pin!(self.read.wait()).poll(cx)) {
                Some(ChannelMsg::Data { data }) => self.rest = data,
                Some(ChannelMsg::Eof | ChannelMsg::Close) | None => break,
                Some(_) => {}
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        ready!(self.poll_rest(cx));
        let length = self.rest.len().min(buf.remaining());
        let read = u64::try_from(length).unwrap_or(u64::MAX);
        let Some(left) = self.left.checked_sub(read) else {
            return Poll::Ready(Err(std::io::Error::other(HostError::TooLong)));
        };
        self.left = left;
        buf.put_slice(&self.rest[..length]);
        self.rest.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.write.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.write.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.write.as_mut().poll_shutdown(cx)
    }
}
