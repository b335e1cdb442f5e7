//! One port that behaves like the HTTP API of the template: it finds the route, converts the
//! request to a payload 2.0 event, invokes the function, and converts the answer to a response.
//! Function URLs that stream share the port, as they share the domain once deployed. What stands in front of them in a
//! deployment stands in front here: the edge sees a request first, and answers a flood before its body is read.
//!
//! `GET /dev/mails` shows the mails of a mailbox, once it has one.
//!
//! `POST /2015-03-31/functions/<name>/invocations` passes a raw event to a function, like Lambda's
//! Invoke.

mod cors;
mod edge;
pub mod event;
mod response;
mod routes;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::header::DATE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request, Response, StatusCode};
use axum::serve::ListenerExt;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::mailbox::{self, Mailbox};
use crate::runtime::{MAX_PAYLOAD_BYTES, Outcome, Pool};
use crate::template::Template;
use edge::Edge;
pub use routes::{RouteMatch, Routes};

/// The HTTP API's limit for an answer. The function continues after it.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(29);

/// A running gateway, which stops when dropped.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    server: JoinHandle<()>,
    time: SimulatedTime,
    mailbox: ShownMailbox,
}

/// `None` if no mails are shown.
type ShownMailbox = Arc<Mutex<Option<Mailbox>>>;

/// `None` in real time.
type SimulatedTime = Arc<Mutex<Option<DateTime<Utc>>>>;

struct Shared {
    pool: Pool,
    template: Template,
    edge: Edge,
    routes: Routes,
    response_timeout: Duration,
    time: SimulatedTime,
    mailbox: ShownMailbox,
}

impl Gateway {
    /// Serves the routes of `template` on `listener` with the functions of `pool`.
    pub fn start(listener: TcpListener, template: Template, pool: Pool) -> Result<Self> {
        Self::start_with(listener, template, pool, RESPONSE_TIMEOUT)
    }

    /// Like [`Gateway::start`], with another limit than the HTTP API's 29 seconds, for tests.
    pub fn start_with(
        listener: TcpListener,
        template: Template,
        pool: Pool,
        response_timeout: Duration,
    ) -> Result<Self> {
        let address = listener
            .local_addr()
            .context("the gateway has no address")?;
        let time = SimulatedTime::default();
        let mailbox = ShownMailbox::default();
        let shared = Arc::new(Shared {
            routes: Routes::new(&template),
            edge: Edge::new(&template.edge)?,
            pool,
            template,
            response_timeout,
            time: Arc::clone(&time),
            mailbox: Arc::clone(&mailbox),
        });
        let service = Router::new()
            .fallback(serve)
            .with_state(shared)
            .into_make_service_with_connect_info::<SocketAddr>();
        let server = tokio::spawn(async move {
            // Only a broken listener ends this; every request then fails visibly.
            let _ = axum::serve(listener.tap_io(disable_nagle), service).await;
        });
        Ok(Self {
            address,
            server,
            time,
            mailbox,
        })
    }

    /// Dates the responses `at` from now on, so that clients follow simulated time.
    pub fn set_time(&self, at: DateTime<Utc>) {
        *self.time.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    /// Shows the mails of this mailbox from now on.
    pub fn show_mails(&self, mailbox: Mailbox) {
        *self.mailbox.lock().unwrap_or_else(PoisonError::into_inner) = Some(mailbox);
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Sends small chunks of a stream at once instead of waiting for more data.
fn disable_nagle(connection: &mut TcpStream) {
    // Fails only if the connection is already closed.
    let _ = connection.set_nodelay(true);
}

async fn serve(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response<Body> {
    let refusal = shared
        .edge
        .refuse(caller.ip(), request.headers(), Instant::now());
    if let Some(refusal) = refusal {
        return refusal;
    }
    let (parts, body) = request.into_parts();
    let cors_request = cors::CorsRequest::new(&parts.method, &parts.headers);
    let mut response = match to_bytes(body, MAX_PAYLOAD_BYTES).await {
        Ok(body) => answer(&shared, caller, &parts, &body).await,
        Err(_) => too_large(),
    };
    if let Some(cors) = &shared.template.cors {
        cors::apply(cors, &cors_request, &mut response);
    }
    if let Some(date) = shared.date() {
        response.headers_mut().insert(DATE, date);
    }
    response
}

async fn answer(shared: &Shared, caller: SocketAddr, parts: &Parts, body: &[u8]) -> Response<Body> {
    let (method, path) = (parts.method.as_str(), parts.uri.path());
    if let Some(function) = invoked_function(method, path) {
        return invoke(shared, function, body).await;
    }
    if let Some(page) = shared.mail_page(method, path) {
        return page;
    }
    let Some(matched) = shared.routes.find(method, path) else {
        if method == "OPTIONS" && shared.template.cors.is_some() {
            return cors::answer();
        }
        return message(StatusCode::NOT_FOUND, "Not Found");
    };
    let request = event::Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str().to_owned(), value)
            })
            .collect(),
        body: body.to_vec(),
        source_ip: caller.ip().to_string(),
    };
    let event = event::build(&request, &matched.key, &matched.parameters);
    // Lambda limits the event, in which a body is at most six times as long: if each of its bytes is escaped. The server
    // limits the rest of the request.
    let may_be_too_large = body.len() > MAX_PAYLOAD_BYTES / 8;
    if may_be_too_large && event.to_string().len() > MAX_PAYLOAD_BYTES {
        return too_large();
    }
    if matched.is_streamed {
        return stream(shared, matched.function, event).await;
    }
    let invocation = shared.invoke(&matched.function, event);
    match tokio::time::timeout(shared.response_timeout, invocation).await {
        Err(_) | Ok(Ok(Outcome::TimedOut)) => {
            message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
        }
        Ok(Ok(Outcome::Success(value))) => response::build(&value).unwrap_or_else(|error| {
            eprintln!("{}: {error:#}", matched.function);
            internal_error()
        }),
        Ok(failed) => {
            eprintln!("{}: {}", matched.function, describe(failed));
            internal_error()
        }
    }
}

impl Shared {
    /// The simulated time as a header; in real time the server dates its responses itself.
    fn date(&self) -> Option<HeaderValue> {
        let time = *self.time.lock().unwrap_or_else(PoisonError::into_inner);
        let date = time?.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        HeaderValue::try_from(date).ok()
    }

    /// `None` for any other path.
    fn mail_page(&self, method: &str, path: &str) -> Option<Response<Body>> {
        let mailbox = self.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        let mailbox = mailbox.as_ref().filter(|_| method == "GET")?;
        mailbox::page::answer(mailbox, path)
    }

    async fn invoke(&self, function: &str, event: Value) -> Result<Outcome> {
        let timeout = self.timeout(function);
        self.pool.invoke(function, event, timeout).await
    }

    fn timeout(&self, function: &str) -> Duration {
        self.template
            .function(function)
            .map_or(RESPONSE_TIMEOUT, |function| function.timeout)
    }
}

/// Answers from a function URL. Only the function's own timeout limits it, and an error of the
/// function is a 502.
async fn stream(shared: &Shared, function: String, event: Value) -> Response<Body> {
    let timeout = shared.timeout(&function);
    let started = shared
        .pool
        .invoke_streaming(&function, event, timeout)
        .await;
    let answer = match started {
        Ok(Ok(streamed)) => response::streamed(function.clone(), streamed),
        Ok(Err(Outcome::Success(value))) => response::build(&value),
        Ok(Err(outcome)) => Err(anyhow::anyhow!(describe(Ok(outcome)))),
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(|error| {
        eprintln!("{function}: {error:#}");
        message(StatusCode::BAD_GATEWAY, "Internal Server Error")
    })
}

fn invoked_function<'a>(method: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix("/2015-03-31/functions/")?
        .strip_suffix("/invocations")
        .filter(|_| method == "POST")
}

/// Answers like Lambda's Invoke: an error of the function is a 200 with the header
/// `x-amz-function-error`.
async fn invoke(shared: &Shared, function: &str, body: &[u8]) -> Response<Body> {
    if !shared.pool.has_function(function) {
        return message(StatusCode::NOT_FOUND, "Function not matched");
    }
    let Ok(event) = serde_json::from_slice(if body.is_empty() { b"{}" } else { body }) else {
        return message(StatusCode::BAD_REQUEST, "Could not parse request body");
    };
    let (error_type, text) = match shared.invoke(function, event).await {
        Ok(Outcome::Success(value)) => return json_response(StatusCode::OK, &value),
        Ok(Outcome::FunctionError {
            error_type,
            message,
        }) => (error_type, message),
        Ok(Outcome::Crashed { status }) => ("Runtime.ExitError".to_owned(), status),
        Ok(Outcome::TimedOut) => ("Sandbox.Timedout".to_owned(), "timed out".to_owned()),
        Err(error) => {
            eprintln!("{function}: {error:#}");
            return internal_error();
        }
    };
    let body = json!({"errorType": error_type, "errorMessage": text});
    let mut response = json_response(StatusCode::OK, &body);
    let unhandled = HeaderValue::from_static("Unhandled");
    response
        .headers_mut()
        .insert("x-amz-function-error", unhandled);
    response
}

/// Describes the outcome of a failed invocation in one line.
#[must_use]
pub fn describe(outcome: Result<Outcome>) -> String {
    match outcome {
        Ok(Outcome::FunctionError {
            error_type,
            message,
        }) => format!("{error_type}: {message}"),
        Ok(Outcome::Crashed { status }) => format!("the process exited: {status}"),
        Ok(Outcome::TimedOut) => "timed out".to_owned(),
        Ok(Outcome::Success(value)) => value.to_string(),
        Err(error) => format!("{error:#}"),
    }
}

fn internal_error() -> Response<Body> {
    message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}

fn too_large() -> Response<Body> {
    message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large")
}

/// An answer of the gateway itself, in API Gateway's format.
fn message(status: StatusCode, text: &str) -> Response<Body> {
    json_response(status, &json!({"message": text}))
}

fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let json = axum::http::HeaderValue::from_static("application/json");
    response.headers_mut().insert("content-type", json);
    response
}
