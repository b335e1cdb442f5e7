//! An agent's HTTP, through a port of its host's loopback. Owns: the exchange, its timeout and its size.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::Request;
use hyper::body::{Body, Incoming};
use tokio::time::error::Elapsed;

use super::connection::Connection;
use super::error::HostError;
use super::http;
use crate::domain::fleet::HostReadError;
use crate::failure::with_reason;

/// The HTTP server of an agent, behind a port of its host.
#[derive(Clone, Debug)]
pub struct AgentHttp {
    connection: Arc<Connection>,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    pub status: u16,
    pub body: Bytes,
}

impl AgentHttp {
    #[must_use]
    pub fn new(connection: Arc<Connection>, port: u16) -> Self {
        Self { connection, port }
    }

    /// # Errors
    /// `Unreachable` if nothing listens on the port, `TimedOut`, `Protocol` if the answer is not HTTP,
    /// `ResponseTooLarge` if its body exceeds `max_bytes`.
    pub async fn get(
        &self,
        path: &str,
        max_bytes: usize,
        timeout: Duration,
    ) -> Result<HttpResponse, HostError> {
        self.exchange("GET", path, None, max_bytes, timeout).await
    }

    /// Sends a JSON text. Fails as [`AgentHttp::get`] does.
    pub async fn post(
        &self,
        path: &str,
        body: Bytes,
        max_bytes: usize,
        timeout: Duration,
    ) -> Result<HttpResponse, HostError> {
        self.exchange("POST", path, Some(body), max_bytes, timeout)
            .await
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        body: Option<Bytes>,
        max_bytes: usize,
        timeout: Duration,
    ) -> Result<HttpResponse, HostError> {
        let exchange = async {
            let response = self.send(method, path, body).await?;
            let status = response.status().as_u16();
            // A declared length that is too long is refused without reading the body.
            let declared_length = usize::try_from(response.body().size_hint().lower());
            if declared_length.map_or(true, |length| length > max_bytes) {
                return Err(HostReadError::ResponseTooLarge.into());
            }
            let body = Limited::new(response.into_body(), max_bytes)
                .collect()
                .await
                .map_err(body_error)?
                .to_bytes();
            Ok(HttpResponse { status, body })
        };
        tokio::time::timeout(timeout, exchange)
            .await
            .map_err(|_: Elapsed| HostReadError::TimedOut)?
    }

    /// Sends a request and returns the head of the response. Its body is still to be read.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<hyper::Response<Incoming>, HostError> {
        let channel = self.connection.open_port_channel(self.port).await?;
        let mut sender = http::handshake(channel.into_stream()).await?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "agent")
            .header("connection", "close");
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request
            .body(Full::new(body.unwrap_or_default()))
            .map_err(with_reason(HostReadError::Protocol))?;
        sender
            .send_request(request)
            .await
            .map_err(with_reason(HostReadError::Protocol))
    }
}

fn body_error(error: Box<dyn std::error::Error + Send + Sync>) -> HostError {
    if error.is::<LengthLimitError>() {
        return HostReadError::ResponseTooLarge.into();
    }
    match error.downcast::<hyper::Error>() {
        Ok(error) => HostError::new(HostReadError::Protocol).with_cause(*error),
        Err(_) => HostReadError::Protocol.into(),
    }
}
