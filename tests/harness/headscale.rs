//! A stand-in for Headscale's API that answers each path as a test says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use futures_util::stream;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The API key that it accepts.
pub const KEY: &str = "headscale-test-key";

/// The answer to a path.
#[derive(Clone, Debug)]
pub enum Reply {
    Full(u16, String),
    /// A redirect to this path.
    Redirect(&'static str),
    /// The beginning of a body, after which the connection breaks.
    Truncated(String),
    /// The request is never answered.
    NoReply,
}

/// A running stand-in, which stops when dropped.
#[derive(Debug)]
pub struct Headscale {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    replies: Mutex<BTreeMap<String, Reply>>,
    requested_paths: Mutex<Vec<String>>,
}

impl Headscale {
    /// Starts a stand-in that answers 404 to every path.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("served");
        });
        Self {
            address,
            shared,
            server,
        }
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets the answer to a path.
    pub fn set_reply(&self, path: &str, reply: Reply) {
        let mut replies = self
            .shared
            .replies
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        replies.insert(path.to_owned(), reply);
    }

    /// The paths requested since the last call of this function.
    #[must_use]
    pub fn requested_paths(&self) -> Vec<String> {
        let mut requested_paths = self
            .shared
            .requested_paths
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut requested_paths)
    }
}

impl Drop for Headscale {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response<Body> {
    let path = uri.path().to_owned();
    shared
        .requested_paths
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(path.clone());
    let key = headers
        .get("authorization")
        .and_then(|key| key.to_str().ok());
    if key != Some(&format!("Bearer {KEY}")) {
        return response(401, Body::from("Unauthorized"));
    }
    let reply = shared
        .replies
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&path)
        .cloned();
    match reply {
        None => response(
            404,
            Body::from(r#"{"code": 5, "message": "Not Found", "details": []}"#),
        ),
        Some(Reply::Full(status, body)) => response(status, Body::from(body)),
        Some(Reply::Redirect(to)) => {
            let mut response = response(302, Body::empty());
            response
                .headers_mut()
                .insert("location", to.parse().expect("a path"));
            response
        }
        Some(Reply::Truncated(body)) => {
            let broken = std::io::Error::other("broken off");
            response(
                200,
                Body::from_stream(stream::iter([Ok(Bytes::from(body)), Err(broken)])),
            )
        }
        Some(Reply::NoReply) => std::future::pending().await,
    }
}

fn response(status: u16, body: Body) -> Response<Body> {
    let response = Response::builder().status(status);
    let response = response.header("content-type", "application/json");
    response.body(body).expect("a response")
}
