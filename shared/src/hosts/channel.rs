//! One channel of a connection. Owns: closing a channel as soon as it is dropped, also after an error, and
//! counting it against the host's limit until then.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::error::HostError;
use crate::domain::fleet::HostReadError;
use crate::failure::with_reason;

/// Sending the close message can block on a connection that is stuck.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// An open channel.
pub(super) struct Channel {
    read: ChannelReadHalf,
    guard: CloseGuard,
}

impl Channel {
    pub(super) fn new(channel: russh::Channel<Msg>, permit: OwnedSemaphorePermit) -> Self {
        let (read, write) = channel.split();
        let guard = CloseGuard {
            write: Arc::new(write),
            permit: Some(permit),
        };
        Self { read, guard }
    }

    /// Asks the host to run a command.
    pub(super) async fn exec(&self, command: &'static str) -> Result<(), HostError> {
        let sent = self.guard.write.exec(true, command).await;
        sent.map_err(with_reason(HostReadError::Protocol))
    }

    /// The next message from the host. `None` once the channel is closed.
    pub(super) async fn next_message(&mut self) -> Option<ChannelMsg> {
        self.read.wait().await
    }

    pub(super) fn into_stream(self) -> ChannelStream {
        ChannelStream {
            write: Box::pin(self.guard.write.make_writer()),
            read: self.read,
            unread: Bytes::new(),
            bytes_left: u64::MAX,
            _guard: self.guard,
        }
    }
}

/// Closes the channel when dropped, and only then gives its permit back.
struct CloseGuard {
    write: Arc<ChannelWriteHalf<Msg>>,
    /// `None` only while this is being dropped.
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for CloseGuard {
    fn drop(&mut self) {
        let (write, permit) = (Arc::clone(&self.write), self.permit.take());
        tokio::spawn(async move {
            // The permit lets the next channel open. If it were released before the close, the host would briefly
            // have one channel over the limit.
            let _ = timeout(CLOSE_TIMEOUT, write.close()).await;
            drop(permit);
        });
    }
}

/// A channel as a stream of bytes.
pub(super) struct ChannelStream {
    read: ChannelReadHalf,
    write: Pin<Box<dyn AsyncWrite + Send>>,
    /// Received, but not yet read by the caller.
    unread: Bytes,
    bytes_left: u64,
    _guard: CloseGuard,
}

impl ChannelStream {
    /// More than this many bytes are an error: a host that sends without end must not fill the memory.
    pub(super) fn with_max_bytes(self, max_bytes: u64) -> Self {
        Self {
            bytes_left: max_bytes,
            ..self
        }
    }

    /// Waits until `unread` holds bytes. At the end of the stream `unread` stays empty.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.unread.is_empty() {
            match ready!(std::pin::pin!(self.read.wait()).poll(cx)) {
                Some(ChannelMsg::Data { data }) => self.unread = data,
                Some(ChannelMsg::Eof | ChannelMsg::Close) | None => break,
                Some(_) => {}
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for ChannelStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        ready!(self.poll_receive(cx));
        let length = self.unread.len().min(buf.remaining());
        let bytes = u64::try_from(length).unwrap_or(u64::MAX);
        let Some(bytes_left) = self.bytes_left.checked_sub(bytes) else {
            let error = HostError::new(HostReadError::ResponseTooLarge);
            return Poll::Ready(Err(std::io::Error::other(error)));
        };
        self.bytes_left = bytes_left;
        buf.put_slice(&self.unread[..length]);
        self.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ChannelStream {
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
