//! An agent's HTTP, through a port of its host's loopback. Owns: the exchange, its time and its size.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::Request;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::connection::Connection;
use super::error::HostError;
use super::http;

/// An agent's port on its host.
#[derive(Clone, Debug)]
pub struct AgentHttp {
    connection: Arc<Connection>,
    port: u16,
}

/// What an agent answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

impl AgentHttp {
    /// The port on the host that leads to the agent.
    #[must_use]
    pub fn new(connection: Arc<Connection>, port: u16) -> Self {
        Self { connection, port }
    }

    /// `GET`.
    ///
    /// # Errors
    /// [`HostError`]: unreachable when nobody listens, timed out, protocol for what is no HTTP, too
    /// long for more than `longest` bytes.
    pub async fn get(
        &self,
        path: &str,
        longest: usize,
        within: Duration,
    ) -> Result<Answer, HostError> {
        self.exchange("GET", path, None, longest, within).await
    }

    /// `POST` of a JSON text.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn post(
        &self,
        path: &str,
        body: Bytes,
        longest: usize,
        within: Duration,
    ) -> Result<Answer, HostError> {
        self.exchange("POST", path, Some(body), longest, within)
            .await
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        body: Option<Bytes>,
        longest: usize,
        within: Duration,
    ) -> Result<Answer, HostError> {
        let exchange = async {
            let answer = self.send(method, path, body).await?;
            let status = answer.status().as_u16();
            // One that says how long it is need not come first.
            let least = usize::try_from(answer.body().size_hint().lower());
            if least.map_or(true, |least| least > longest) {
                return Err(HostError::TooLong);
            }
            let body = Limited::new(answer.into_body(), longest).collect().await;
            let body = body.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    HostError::TooLong
                } else {
                    HostError::Protocol
                }
            })?;
            let body = body.to_bytes();
            Ok(Answer { status, body })
        };
        timeout(within, exchange)
            .await
            .map_err(|_| HostError::TimedOut)?
    }

    /// Sends a request and answers with the head of the response; its body is still to come.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<hyper::Response<Incoming>, HostError> {
        let wire = self.connection.to_port(self.port).await?.into_wire();
        let mut sender = http::begin(wire).await?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "agent")
            .header("connection", "close");
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::new(body.unwrap_or_default()));
        let request = request.map_err(|_| HostError::Protocol)?;
        sender
            .send_request(request)
            .await
            .map_err(|_| HostError::Protocol)
    }
}
