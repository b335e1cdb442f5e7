//! A TCP connection that ends or falls silent when the script says so.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::{PortMode, PortState};

/// Waits for the next change of the port; `None` when there will be no more changes.
type Changed = Pin<Box<dyn Future<Output = Option<watch::Receiver<PortState>>> + Send>>;

pub(super) struct ControlledStream {
    stream: TcpStream,
    /// The port's count of disconnects when the connection started; it is over when the count
    /// differs.
    disconnects: u64,
    current: PortState,
    changed: Changed,
}

impl ControlledStream {
    pub(super) fn new(stream: TcpStream, mut ports: watch::Receiver<PortState>) -> Self {
        let current = *ports.borrow_and_update();
        Self {
            stream,
            disconnects: current.disconnects,
            current,
            changed: changed(ports),
        }
    }

    /// Whether the connection is over; pending while the host is silent.
    fn poll_is_over(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while let Poll::Ready(ports) = self.changed.as_mut().poll(cx) {
            if let Some(mut ports) = ports {
                self.current = *ports.borrow_and_update();
                self.changed = changed(ports);
            } else {
                self.current.mode = PortMode::Stopped;
                self.changed = Box::pin(std::future::pending());
            }
        }
        match self.current.mode {
            _ if self.current.disconnects != self.disconnects => Poll::Ready(true),
            PortMode::Stopped => Poll::Ready(true),
            PortMode::Silent => Poll::Pending,
            PortMode::Open | PortMode::Refusing => Poll::Ready(false),
        }
    }
}

fn changed(mut ports: watch::Receiver<PortState>) -> Changed {
    Box::pin(async move { ports.changed().await.is_ok().then_some(ports) })
}

impl AsyncRead for ControlledStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if ready!(self.poll_is_over(cx)) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for ControlledStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if ready!(self.poll_is_over(cx)) {
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
