//! HTTP/1.1 over one channel of a connection.

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use super::channel::ChannelStream;
use super::error::HostError;
use crate::domain::fleet::HostReadError;
use crate::failure::with_reason;

/// Starts HTTP on a channel. A background task drives the exchange until both sides are done; dropping the
/// returned sender and the response body ends it.
pub(super) async fn handshake<B>(stream: ChannelStream) -> Result<SendRequest<B>, HostError>
where
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(with_reason(HostReadError::Protocol))?;
    tokio::spawn(async move {
        // The caller gets the error with the response or its body.
        let _ = connection.await;
    });
    Ok(sender)
}
