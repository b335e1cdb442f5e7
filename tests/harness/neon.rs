//! Stands in for Neon's API: keeps projects as its reference says, and fails as a test says.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The key it knows.
pub const KEY: &str = "neon-test-key";

/// How a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// With this status; nothing was done.
    Status(u16),
    /// With this status, and a wait of so many seconds that it asks for.
    Later(u16, u64),
    /// With an answer that is not JSON.
    Garbage,
    /// It is not answered, and nothing was done.
    Silence,
    /// It is done, and the answer breaks off.
    LostAnswer,
    /// It is done, and the answer is a status.
    DoneBut(u16),
    /// A list lacks everything that it should hold, and says so.
    Incomplete,
}

/// The running stand-in; it stops when dropped.
#[derive(Debug)]
pub struct NeonApi {
    address: SocketAddr,
    state: Shared,
    server: JoinHandle<()>,
}

type Shared = Arc<Mutex<Changing>>;

#[derive(Debug, Default)]
struct Changing {
    made: usize,
    /// Ids and names.
    projects: Vec<(String, String)>,
    faults: VecDeque<(Method, Fault)>,
    requests: Vec<String>,
}

impl NeonApi {
    /// Starts it with no projects.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Shared::default();
        let router = Router::new().fallback(answer).with_state(state.clone());
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("served");
        });
        Self {
            address,
            state,
            server,
        }
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/api/v2", self.address)
    }

    /// Puts a project there, as if somebody had made it by hand. Answers its id.
    #[must_use]
    pub fn put(&self, name: &str) -> String {
        self.state().create(name)
    }

    /// Makes the next request of a method that is not yet to fail do so.
    pub fn fail(&self, method: Method, fault: Fault) {
        self.state().faults.push_back((method, fault));
    }

    /// The names of its projects.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let state = self.state();
        state
            .projects
            .iter()
            .map(|(_, name)| name.clone())
            .collect()
    }

    /// What it was asked since it was last asked this: methods and paths.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state().requests)
    }

    fn state(&self) -> MutexGuard<'_, Changing> {
        lock(&self.state)
    }
}

impl Drop for NeonApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Changing {
    fn create(&mut self, name: &str) -> String {
        self.made += 1;
        let id = format!("quiet-river-{:06}", self.made);
        self.projects.push((id.clone(), name.to_owned()));
        id
    }

    fn fault(&mut self, method: &Method) -> Option<Fault> {
        let at = self.faults.iter().position(|(of, _)| of == method)?;
        self.faults.remove(at).map(|(_, fault)| fault)
    }

    /// Does what is asked: a status and a body.
    fn answer(&mut self, method: &Method, path: &[&str], query: &str, body: &[u8]) -> (u16, Value) {
        let parameter = |key: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let mut values = pairs.filter(|(name, _)| *name == key);
            values.next().map_or("", |(_, value)| value)
        };
        match (method.as_str(), path) {
            ("GET", ["projects"]) => {
                let search = parameter("search");
                let limit = parameter("limit").parse().unwrap_or(10);
                let found = self.projects.iter();
                let found = found.filter(|(id, name)| id.contains(search) || name.contains(search));
                let found: Vec<Value> = found
                    .take(limit)
                    .map(|(id, name)| json!({"id": id, "name": name, "pg_version": 17}))
                    .collect();
                let list = json!({"projects": found, "unavailable_project_ids": [],
                    "pagination": {"cursor": "x"}, "applications": {}, "integrations": {}});
                (200, list)
            }
            ("POST", ["projects"]) => {
                let request: Value = serde_json::from_slice(body).unwrap_or_default();
                let name = request["project"]["name"].as_str().unwrap_or("unnamed");
                let id = self.create(name);
                let created = json!({"project": {"id": id, "name": name},
                    "connection_uris": [{"connection_uri": uri(&id), "connection_parameters": {}}],
                    "roles": [], "databases": [], "operations": []});
                (201, created)
            }
            ("GET", ["projects", id, "connection_uri"]) => {
                let known = self.projects.iter().any(|(found, _)| found == id);
                let named = (parameter("database_name"), parameter("role_name"));
                if known && named == ("neondb", "neondb_owner") {
                    (200, json!({"uri": uri(id)}))
                } else {
                    refusal(404)
                }
            }
            ("DELETE", ["projects", id]) => {
                let before = self.projects.len();
                self.projects.retain(|(found, _)| found != id);
                if self.projects.len() < before {
                    (200, json!({"project": {"id": id}}))
                } else {
                    refusal(404)
                }
            }
            _ => refusal(404),
        }
    }
}

async fn answer(
    State(state): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let path = uri.path().strip_prefix("/api/v2/").unwrap_or_default();
    let fault = {
        let mut state = lock(&state);
        state.requests.push(format!("{method} /{path}"));
        state.fault(&method)
    };
    match fault {
        Some(Fault::Silence) => return std::future::pending().await,
        Some(Fault::Garbage) => return response(200, None, Body::from("<html>not JSON</html>")),
        Some(Fault::Status(status)) => return json_response(refusal(status), None),
        Some(Fault::Later(status, after)) => return json_response(refusal(status), Some(after)),
        Some(Fault::Incomplete) => {
            let list = json!({"projects": [], "unavailable_project_ids": ["quiet-river-000001"]});
            return json_response((200, list), None);
        }
        Some(Fault::LostAnswer | Fault::DoneBut(_)) | None => {}
    }
    let known = headers
        .get("authorization")
        .and_then(|key| key.to_str().ok());
    if known != Some(&format!("Bearer {KEY}")) {
        return json_response(refusal(401), None);
    }
    let parts: Vec<&str> = path.split('/').collect();
    let query = uri.query().unwrap_or_default();
    let done = lock(&state).answer(&method, &parts, query, &body);
    match fault {
        Some(Fault::LostAnswer) => {
            let broken = std::io::Error::other("broken off");
            let body = Body::from_stream(stream::iter([Ok("{\"project\":"), Err(broken)]));
            response(done.0, None, body)
        }
        Some(Fault::DoneBut(status)) => json_response(refusal(status), None),
        _ => json_response(done, None),
    }
}

fn lock(state: &Mutex<Changing>) -> MutexGuard<'_, Changing> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn uri(id: &str) -> String {
    format!("postgresql://neondb_owner:word@{id}.neon.example/neondb?sslmode=require")
}

fn refusal(status: u16) -> (u16, Value) {
    let body = json!({"request_id": "r-1", "code": "SOME_CODE", "message": "a message"});
    (status, body)
}

fn json_response((status, body): (u16, Value), retry_after: Option<u64>) -> Response<Body> {
    response(status, retry_after, Body::from(body.to_string()))
}

fn response(status: u16, retry_after: Option<u64>, body: Body) -> Response<Body> {
    let mut response = Response::builder().status(status);
    if let Some(seconds) = retry_after {
        response = response.header("retry-after", seconds);
    }
    response.body(body).expect("a response")
}
