//! A stand-in for Neon's API that keeps projects as Neon's reference describes, and fails as a test
//! says.

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

/// The API key that it accepts.
pub const KEY: &str = "neon-test-key";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An error status; the request has no effect.
    Status(u16),
    /// An error status with a `Retry-After` in seconds; the request has no effect.
    RetryAfter(u16, u64),
    /// An answer that is not JSON.
    Garbage,
    /// No answer; the request has no effect.
    NoReply,
    /// The request has its effect, but the answer breaks off.
    LostAnswer,
    /// The request has its effect, but the answer is this error status.
    DoneWithStatus(u16),
    /// A list is empty and reports its projects as unavailable.
    Incomplete,
    /// A list lacks its last project and reports it as unavailable.
    LastUnavailable,
}

/// A running stand-in, which stops when dropped.
#[derive(Debug)]
pub struct NeonApi {
    address: SocketAddr,
    state: Shared,
    server: JoinHandle<()>,
}

type Shared = Arc<Mutex<ApiState>>;

#[derive(Debug, Default)]
struct ApiState {
    created_count: usize,
    /// Ids and names.
    projects: Vec<(String, String)>,
    /// The settings of the project that was created last.
    last_settings: Value,
    /// How often a password was reset.
    reset_count: usize,
    faults: VecDeque<(Method, Fault)>,
    requests: Vec<String>,
}

impl NeonApi {
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

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/api/v2", self.address)
    }

    /// Adds a project as if somebody had created it by hand, and returns its id.
    #[must_use]
    pub fn add_project(&self, name: &str) -> String {
        self.state().create(name)
    }

    /// Makes the next request with this method fail; faults queue up per method.
    pub fn fail_next(&self, method: Method, fault: Fault) {
        self.state().faults.push_back((method, fault));
    }

    #[must_use]
    pub fn project_names(&self) -> Vec<String> {
        let state = self.state();
        state
            .projects
            .iter()
            .map(|(_, name)| name.clone())
            .collect()
    }

    /// The settings of the project that was created last; null if it has none.
    #[must_use]
    pub fn last_settings(&self) -> Value {
        self.state().last_settings.clone()
    }

    /// Methods and paths of the requests since the last call of this function.
    #[must_use]
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state().requests)
    }

    fn state(&self) -> MutexGuard<'_, ApiState> {
        lock(&self.state)
    }
}

impl Drop for NeonApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl ApiState {
    fn create(&mut self, name: &str) -> String {
        self.created_count += 1;
        let id = format!("quiet-river-{:06}", self.created_count);
        self.projects.push((id.clone(), name.to_owned()));
        id
    }

    fn uri(&self, id: &str) -> String {
        let password = match self.reset_count {
            0 => "word".to_owned(),
            resets => format!("word-{resets}"),
        };
        format!("postgresql://neondb_owner:{password}@{id}.neon.example/neondb?sslmode=require")
    }

    fn fault(&mut self, method: &Method) -> Option<Fault> {
        let at = self
            .faults
            .iter()
            .position(|(fault_method, _)| fault_method == method)?;
        self.faults.remove(at).map(|(_, fault)| fault)
    }

    /// Carries out a request and returns status and body.
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
                let matching = self.projects.iter();
                let matching =
                    matching.filter(|(id, name)| id.contains(search) || name.contains(search));
                let projects: Vec<Value> = matching
                    .take(limit)
                    .map(|(id, name)| json!({"id": id, "name": name, "pg_version": 17}))
                    .collect();
                let list = json!({"projects": projects, "unavailable_project_ids": [],
                    "pagination": {"cursor": "x"}, "applications": {}, "integrations": {}});
                (200, list)
            }
            ("POST", ["projects"]) => {
                let request: Value = serde_json::from_slice(body).unwrap_or_default();
                let name = request["project"]["name"].as_str().unwrap_or("unnamed");
                let id = self.create(name);
                self.last_settings = request["project"]["settings"].clone();
                let created = json!({"project": {"id": id, "name": name},
                    "connection_uris": [{"connection_uri": self.uri(&id), "connection_parameters": {}}],
                    "roles": [], "databases": [], "operations": []});
                (201, created)
            }
            ("GET", ["projects", id, "connection_uri"]) => {
                let exists = self.projects.iter().any(|(project, _)| project == id);
                let names = (parameter("database_name"), parameter("role_name"));
                if exists && names == ("neondb", "neondb_owner") {
                    (200, json!({"uri": self.uri(id)}))
                } else {
                    refusal(404)
                }
            }
            ("GET", ["projects", _, "branches"]) => {
                let branches = json!([{"id": "br-side", "default": false}, {"id": "br-main", "default": true}]);
                (200, json!({"branches": branches}))
            }
            (
                "POST",
                [
                    "projects",
                    _,
                    "branches",
                    "br-main",
                    "roles",
                    "neondb_owner",
                    "reset_password",
                ],
            ) => {
                self.reset_count += 1;
                (
                    200,
                    json!({"role": {"name": "neondb_owner"}, "operations": []}),
                )
            }
            ("DELETE", ["projects", id]) => {
                let before = self.projects.len();
                self.projects.retain(|(project, _)| project != id);
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
        Some(Fault::NoReply) => return std::future::pending().await,
        Some(Fault::Garbage) => return response(200, None, Body::from("<html>not JSON</html>")),
        Some(Fault::Status(status)) => return json_response(refusal(status), None),
        Some(Fault::RetryAfter(status, after)) => {
            return json_response(refusal(status), Some(after));
        }
        Some(Fault::Incomplete) => {
            let list = json!({"projects": [], "unavailable_project_ids": ["quiet-river-000001"]});
            return json_response((200, list), None);
        }
        Some(Fault::LostAnswer | Fault::DoneWithStatus(_) | Fault::LastUnavailable) | None => {}
    }
    let authorization = headers
        .get("authorization")
        .and_then(|key| key.to_str().ok());
    if authorization != Some(&format!("Bearer {KEY}")) {
        return json_response(refusal(401), None);
    }
    let parts: Vec<&str> = path.split('/').collect();
    let query = uri.query().unwrap_or_default();
    let result = lock(&state).answer(&method, &parts, query, &body);
    match fault {
        Some(Fault::LostAnswer) => {
            let broken = std::io::Error::other("broken off");
            let body = Body::from_stream(stream::iter([Ok("{\"project\":"), Err(broken)]));
            response(result.0, None, body)
        }
        Some(Fault::LastUnavailable) => {
            let (status, mut list) = result;
            let unavailable = list["projects"].as_array_mut().and_then(Vec::pop);
            list["unavailable_project_ids"] = json!([unavailable.expect("a project")["id"]]);
            json_response((status, list), None)
        }
        Some(Fault::DoneWithStatus(status)) => json_response(refusal(status), None),
        _ => json_response(result, None),
    }
}

fn lock(state: &Mutex<ApiState>) -> MutexGuard<'_, ApiState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
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
