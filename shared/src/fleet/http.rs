//! HTTP/1.1 over one channel of a connection. Owns: the exchange and its limits.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use russh::ChannelStream;
use russh::client::Msg;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use super::error::HostError;

/// A channel as a stream; it counts against the host's limit as long as it lives.
pub(super) struct Wire {
    stream: ChannelStream<Msg>,
    /// Bytes that may still be read.
    left: u64,
    _permit: OwnedSemaphorePermit,
}

impl Wire {
    pub(super) fn new(stream: ChannelStream<Msg>, permit: OwnedSemaphorePermit) -> Self {
        Self {
            stream,
            left: u64::MAX,
            _permit: permit,
        }
    }

    /// Reading ends with an error after this many bytes: whoever sends without end fills no memory.
    pub(super) fn at_most(self, bytes: u64) -> Self {
        Self {
            left: bytes,
            ..self
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = u64::try_from(buf.filled().len() - before).unwrap_or(u64::MAX);
        match self.left.checked_sub(read) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Err(std::io::Error::other(HostError::TooLong))),
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Begins HTTP on a channel. The exchange goes on in the background until both sides are done; dropping
/// what is returned, and the answer's body, ends it.
pub(super) async fn begin<B>(wire: Wire) -> Result<SendRequest<B>, HostError>
where
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (sender, connection) = http1::handshake(TokioIo::new(wire))
        .await
        .map_err(|_| HostError::Protocol)?;
    tokio::spawn(async move {
        // Whoever waits for the answer is told what went wrong; here there is nobody to tell.
        let _ = connection.await;
    });
    Ok(sender)
}
