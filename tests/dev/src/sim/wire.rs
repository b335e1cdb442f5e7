//! A connection's bytes. Owns: that they end, or stop, when the script says so.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::{Door, Line};

/// Waits for the next change; none when there will be no more.
type Changed = Pin<Box<dyn Future<Output = Option<watch::Receiver<Line>>> + Send>>;

/// A TCP connection that a host may fall silent on or end.
pub(super) struct Wire {
    stream: TcpStream,
    /// The number of those that are not over.
    cuts: u64,
    now: Line,
    changed: Changed,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, mut line: watch::Receiver<Line>) -> Self {
        let now = *line.borrow_and_update();
        Self {
            stream,
            cuts: now.cuts,
            now,
            changed: changed(line),
        }
    }

    /// Pending while the host is silent, whether it is over otherwise.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while let Poll::Ready(line) = self.changed.as_mut().poll(cx) {
            if let Some(mut line) = line {
                self.now = *line.borrow_and_update();
                self.changed = changed(line);
            } else {
                self.now.door = Door::Gone;
                self.changed = Box::pin(std::future::pending());
            }
        }
        match self.now.door {
            _ if self.now.cuts != self.cuts => Poll::Ready(true),
            Door::Gone => Poll::Ready(true),
            Door::Silent => Poll::Pending,
            Door::Open | Door::Refusing => Poll::Ready(false),
        }
    }
}

fn changed(mut line: watch::Receiver<Line>) -> Changed {
    Box::pin(async move { line.changed().await.is_ok().then_some(line) })
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if ready!(self.poll_over(cx)) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if ready!(self.poll_over(cx)) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
