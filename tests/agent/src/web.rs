//! The HTTP servers of the agent: the health check on the web port, everything else on the bridge
//! port.

use std::convert::Infallible;
use std::future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::bridge::{Call, RpcError, response};
use crate::fault::Fault;
use crate::state::{self, Store};

#[derive(Debug)]
pub struct Agent {
    pub fault: Fault,
    pub store: Mutex<Store>,
}

impl Agent {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out a call and saves the state. If saving fails, the result is an error and not the
    /// answer.
    fn perform(&self, call: &Call) -> Result<Value, RpcError> {
        let mut store = self.store();
        let variable = |name: &str| {
            // Looking up such a name would panic.
            let is_valid_name = !name.is_empty() && !name.contains(['=', '\0']);
            let value = is_valid_name.then(|| std::env::var_os(name)).flatten()?;
            Some(value.to_string_lossy().into_owned())
        };
        let result = call.perform(&mut store.state, variable, SystemTime::now())?;
        store.save().map_err(|error| {
            eprintln!("agent: cannot save the state: {error}");
            RpcError::INTERNAL_ERROR
        })?;
        Ok(result)
    }
}

pub fn web_router(agent: Arc<Agent>) -> Router {
    let routes = Router::new().route("/health", get(health));
    with_faults(routes, agent)
}

pub fn bridge_router(agent: Arc<Agent>) -> Router {
    let routes = Router::new()
        .route("/bridge", post(call))
        .route("/bridge/stream", post(call_stream))
        .route("/api/snapshot", post(snapshot))
        .route("/api/restore", post(restore))
        .layer(DefaultBodyLimit::disable());
    with_faults(routes, agent)
}

fn with_faults(routes: Router<Arc<Agent>>, agent: Arc<Agent>) -> Router {
    routes
        .layer(from_fn_with_state(Arc::clone(&agent), delay))
        .with_state(agent)
}

async fn delay(State(agent): State<Arc<Agent>>, request: Request, next: Next) -> Response {
    match agent.fault {
        Fault::Silent => future::pending().await,
        Fault::Slow(time) => tokio::time::sleep(time).await,
        _ => {}
    }
    next.run(request).await
}

async fn health(State(agent): State<Arc<Agent>>) -> Response {
    let (code, status) = match agent.fault {
        Fault::Unhealthy => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
        _ => (StatusCode::OK, "ok"),
    };
    (code, json_text(&json!({ "status": status }))).into_response()
}

async fn call(State(agent): State<Arc<Agent>>, body: Bytes) -> Response {
    match agent.fault {
        Fault::Garbage => return garbage(),
        Fault::Mute => return future::pending().await,
        _ => {}
    }
    let message = match Call::read(&body) {
        Ok(call) => response(&call.id, agent.perform(&call)),
        Err(error) => error,
    };
    json_text(&message).into_response()
}

/// Streams the answer word by word, between a `connected` and a `done` event.
async fn call_stream(State(agent): State<Arc<Agent>>, body: Bytes) -> Response {
    if agent.fault == Fault::Garbage {
        return garbage();
    }
    let call = match Call::read(&body) {
        Ok(call) if call.is_message() => call,
        Ok(_) => return StatusCode::BAD_REQUEST.into_response(),
        Err(error) => return (StatusCode::BAD_REQUEST, json_text(&error)).into_response(),
    };
    let result = match agent.perform(&call) {
        Ok(result) => result,
        error => {
            let error = response(&call.id, error);
            return (StatusCode::BAD_REQUEST, json_text(&error)).into_response();
        }
    };
    let mut events = vec![event("connected", &json!({ "id": call.id }))];
    let words = result["text"].as_str().unwrap_or_default();
    for word in words.split_inclusive(' ') {
        events.push(event("chunk", &json!({ "text": word })));
    }
    events.push(event("done", &result));
    let pause = match agent.fault {
        Fault::Pausing(time) => time,
        _ => Duration::ZERO,
    };
    let pieces = stream::iter(events)
        .enumerate()
        .then(move |(at, event)| async move {
            if at > 0 && !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            Ok::<_, Infallible>(event)
        });
    Sse::new(pieces).into_response()
}

fn event(name: &str, data: &Value) -> Event {
    Event::default().event(name).data(data.to_string())
}

async fn snapshot(State(agent): State<Arc<Agent>>) -> Response {
    let mut snapshot = agent.store().state.clone();
    match agent.fault {
        Fault::Garbage => return garbage(),
        Fault::Big(bytes) => {
            let filler = "x".repeat(bytes);
            snapshot.workspace_files.insert("big".to_owned(), filler);
        }
        _ => {}
    }
    match serde_json::to_vec(&snapshot) {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn restore(State(agent): State<Arc<Agent>>, body: Bytes) -> Response {
    let Ok(state) = serde_json::from_slice::<state::State>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let mut store = agent.store();
    store.state = state;
    match store.save() {
        Ok(()) => json_text(&json!({ "success": true })).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn json_text(value: &Value) -> impl IntoResponse + use<> {
    (
        [(header::CONTENT_TYPE, "application/json")],
        value.to_string(),
    )
}

/// The content type claims JSON, so a client notices only when it parses the body.
fn garbage() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, "<html>It works!</html>").into_response()
}
