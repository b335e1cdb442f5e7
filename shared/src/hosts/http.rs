//! HTTP/1.1 over one channel of a connection. Owns: the exchange.

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use super::channel::Wire;
use super::error::HostError;

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
