//! Stands in for Headscale's API: answers each path as a test says.

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

/// The key it knows.
pub const KEY: &str = "headscale-test-key";

/// How a path is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// With this status and body.
    Whole(u16, String),
    /// With a redirect to this path.
    Redirect(&'static str),
    /// With this much of a body that breaks off.
    Half(String),
    /// Not at all.
    Silence,
}

/// The running stand-in; it stops when dropped.
#[derive(Debug)]
pub struct Headscale {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    replies: Mutex<BTreeMap<String, Reply>>,
    asked: Mutex<Vec<String>>,
}

impl Headscale {
    /// Starts it; it knows no path.
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

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers a path so from now on.
    pub fn set(&self, path: &str, reply: Reply) {
        let mut replies = self
            .shared
            .replies
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        replies.insert(path.to_owned(), reply);
    }

    /// The paths that were asked for since this was last asked.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        let mut asked = self
            .shared
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut asked)
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
        .asked
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
        Some(Reply::Whole(status, body)) => response(status, Body::from(body)),
        Some(Reply::Redirect(to)) => {
            let mut response = response(302, Body::empty());
            response
                .headers_mut()
                .insert("location", to.parse().expect("a path"));
            response
        }
        Some(Reply::Half(body)) => {
            let broken = std::io::Error::other("broken off");
            response(
                200,
                Body::from_stream(stream::iter([Ok(Bytes::from(body)), Err(broken)])),
            )
        }
        Some(Reply::Silence) => std::future::pending().await,
    }
}

fn response(status: u16, body: Body) -> Response<Body> {
    let response = Response::builder().status(status);
    let response = response.header("content-type", "application/json");
    response.body(body).expect("a response")
}
