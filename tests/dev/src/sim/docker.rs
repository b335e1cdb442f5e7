//! The Docker Engine of a simulated host: the part of its API that is used, on the script's containers.

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use russh::ChannelStream;
use russh::server::Msg;
use serde_json::{Value, json};

use super::answers;
use super::{Fault, State};
use crate::gateway::event::decoded;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Speaks HTTP on a channel until either side has had enough.
pub(super) async fn serve(state: &Arc<State>, stream: ChannelStream<Msg>) {
    let answer = |request| async move { Ok::<_, Infallible>(answer(state, &request).await) };
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
    // Whoever hangs up in the middle knows why.
    let _ = served.await;
}

async fn answer(state: &State, request: &Request<Incoming>) -> Response<Body> {
    let asked = Asked::of(request);
    let kind = format!("{} {}", request.method(), asked.kind());
    *state.counts().requests.entry(kind).or_default() += 1;
    state.latency().await;
    if state.fault() == Some(Fault::DockerSilent) {
        std::future::pending::<()>().await;
    }
    let path: Vec<&str> = asked.path.iter().map(String::as_str).collect();
    match (request.method().as_str(), path.as_slice()) {
        ("GET" | "HEAD", ["_ping"]) => body("text/plain", Full::from("OK").boxed_unsync()),
        ("GET", ["version"]) => json(&answers::version(&state.script())),
        ("GET", ["containers", "json"]) => list(state, &asked),
        ("GET", ["containers", id, "json"]) => {
            let script = state.script();
            let found = script.find(id);
            found.map_or_else(
                || no_container(id),
                |found| json(&answers::inspected(found, &script)),
            )
        }
        ("GET", ["containers", id, "logs"]) => logs(state, id, &asked),
        (
            "POST",
            [
                "containers",
                id,
                verb @ ("start" | "stop" | "restart" | "kill"),
            ],
        ) => act(state, id, verb),
        ("DELETE", ["containers", id]) => remove(state, id, asked.is_set("force")),
        ("GET", ["images", name @ .., "json"]) => image(state, &name.join("/")),
        ("POST", ["images", "create"]) => pull(state, &asked),
        _ => error(StatusCode::NOT_FOUND, "page not found"),
    }
}

/// A request without the version of the API it was written for.
struct Asked {
    path: Vec<String>,
    query: Vec<(String, String)>,
}

impl Asked {
    fn of(request: &Request<Incoming>) -> Self {
        let mut path: Vec<String> = request
            .uri()
            .path()
            .split('/')
            .skip(1)
            .map(decoded)
            .collect();
        let versioned = path.first().and_then(|first| first.strip_prefix('v'));
        if versioned.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit())) {
            path.remove(0);
        }
        let plain = |text: &str| decoded(&text.replace('+', " "));
        let query = request.uri().query().unwrap_or_default().split('&');
        let query = query.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self {
            path,
            query: query
                .map(|(name, value)| (plain(name), plain(value)))
                .collect(),
        }
    }

    /// The path without names and ids.
    fn kind(&self) -> String {
        let mut path = self.path.clone();
        match path.as_mut_slice() {
            [first, id, ..] if first == "containers" && id != "json" => "{id}".clone_into(id),
            [first, .., last] if first == "images" && last == "json" => {
                return "/images/{name}/json".to_owned();
            }
            _ => {}
        }
        format!("/{}", path.join("/"))
    }

    fn value(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    fn is_set(&self, name: &str) -> bool {
        matches!(self.value(name), Some("1" | "true" | "True"))
    }
}

fn list(state: &State, asked: &Asked) -> Response<Body> {
    let script = state.script();
    match script.fault {
        Some(Fault::HugeAnswer(bytes)) => return streamed(answers::huge(bytes)),
        Some(Fault::Crowd(count)) => return streamed(answers::crowd(count)),
        _ => {}
    }
    let filters: Value = asked
        .value("filters")
        .and_then(|filters| serde_json::from_str(filters).ok())
        .unwrap_or_default();
    let parts = filters["name"].as_array();
    let is_named = |name: &str| {
        let mut parts = parts.into_iter().flatten().filter_map(Value::as_str);
        parts.clone().next().is_none() || parts.any(|part| name.contains(part))
    };
    let all = asked.is_set("all");
    let wanted = script
        .containers
        .iter()
        .filter(|found| is_named(&found.name) && (all || found.is_up()));
    let listed: Vec<Value> = wanted
        .map(|found| answers::listed(found, &script))
        .collect();
    if script.fault == Some(Fault::HalfJson) {
        let text = Value::from(listed).to_string();
        let half = text.as_bytes()[..text.len() / 2].to_vec();
        return body("application/json", Full::from(half).boxed_unsync());
    }
    json(&listed.into())
}

fn logs(state: &State, id: &str, asked: &Asked) -> Response<Body> {
    let script = state.script();
    let Some(found) = script.find(id) else {
        return no_container(id);
    };
    let number = |name: &str| asked.value(name).and_then(|text| text.parse::<u64>().ok());
    let frames = answers::frames(
        found,
        script.clock_ahead,
        number("since"),
        number("tail"),
        asked.is_set("timestamps"),
    );
    let kind = "application/vnd.docker.raw-stream";
    body(kind, Full::from(frames).boxed_unsync())
}

fn act(state: &State, id: &str, verb: &str) -> Response<Body> {
    let mut script = state.script();
    let Some(found) = script.find_mut(id) else {
        return no_container(id);
    };
    match (verb, found.is_up()) {
        ("start", true) | ("stop", false) => return empty(StatusCode::NOT_MODIFIED),
        ("kill", false) => {
            let id = &found.id;
            let message = format!("Cannot kill container: {id}: Container {id} is not running");
            return error(StatusCode::CONFLICT, &message);
        }
        ("stop", true) => found.set_state("exited", "Exited (0) Less than a second ago"),
        ("kill", true) => found.set_state("exited", "Exited (137) Less than a second ago"),
        _ => found.set_state("running", "Up Less than a second"),
    }
    empty(StatusCode::NO_CONTENT)
}

fn remove(state: &State, id: &str, force: bool) -> Response<Body> {
    let mut script = state.script();
    let Some(found) = script.find(id) else {
        return no_container(id);
    };
    if found.is_up() && !force {
        let message = format!(
            "You cannot remove a running container {}. Stop the container before attempting removal or force remove",
            found.id
        );
        return error(StatusCode::CONFLICT, &message);
    }
    let id = found.id.clone();
    script.containers.retain(|found| found.id != id);
    empty(StatusCode::NO_CONTENT)
}

fn image(state: &State, name: &str) -> Response<Body> {
    if state.script().images.contains(name) {
        return json(&answers::image(name));
    }
    let message = format!("No such image: {name}");
    error(StatusCode::NOT_FOUND, &message)
}

/// Whatever is asked for is found.
fn pull(state: &State, asked: &Asked) -> Response<Body> {
    let name = asked.value("fromImage").unwrap_or_default();
    let name = match asked.value("tag").filter(|tag| !tag.is_empty()) {
        Some(tag) => format!("{name}:{tag}"),
        None => name.to_owned(),
    };
    let found = json!({"status": "Pulling from a registry", "id": "latest"});
    let done = json!({"status": format!("Status: Downloaded newer image for {name}")});
    state.script().images.insert(name);
    let text = format!("{found}\r\n{done}\r\n");
    body("application/json", Full::from(text).boxed_unsync())
}

fn no_container(id: &str) -> Response<Body> {
    let message = format!("No such container: {id}");
    error(StatusCode::NOT_FOUND, &message)
}

fn error(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = json(&json!({"message": message}));
    *response.status_mut() = status;
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Full::default().boxed_unsync());
    *response.status_mut() = status;
    response
}

fn json(value: &Value) -> Response<Body> {
    let text = format!("{value}\n");
    body("application/json", Full::from(text).boxed_unsync())
}

/// Made piece by piece, as fast as it is read.
fn streamed(pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Response<Body> {
    let frames = stream::iter(pieces).map(|piece| Ok(Frame::data(piece)));
    body("application/json", StreamBody::new(frames).boxed_unsync())
}

fn body(kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert("api-version", HeaderValue::from_static(answers::API));
    response
}
