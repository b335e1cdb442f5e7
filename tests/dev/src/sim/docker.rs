//! The Docker Engine of a simulated host: the part of its API that the functions use, on the
//! script's containers.

use std::convert::Infallible;
use std::sync::Arc;

use chrono::Utc;
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

use super::docker_start::{self, Refusal};
use super::stats::stats;
use super::{Fault, State, answers, archive, docker_json, store};
use crate::gateway::event::decoded;

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serves HTTP on a channel until either side closes it.
pub(super) async fn serve(state: &Arc<State>, stream: ChannelStream<Msg>) {
    let answer = |request| async move { Ok::<_, Infallible>(answer(state, request).await) };
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
    // A client may hang up at any time.
    let _ = served.await;
}

async fn answer(state: &State, request: Request<Incoming>) -> Response<Body> {
    let docker_request = DockerRequest::new(&request);
    let endpoint = format!("{} {}", request.method(), docker_request.path_pattern());
    *state.counts().requests.entry(endpoint.clone()).or_default() += 1;
    state.simulate_latency().await;
    if state.fault() == Some(Fault::DockerSilent) {
        std::future::pending::<()>().await;
    }
    if let Some(refusal) = state.script().api_versions.refusal(docker_request.version) {
        return error(StatusCode::BAD_REQUEST, &refusal);
    }
    let taken = answers::take(&mut state.script().answers, &endpoint);
    if let Some(answer) = taken {
        tokio::time::sleep(answer.delay).await;
        let mut response = body("application/json", Full::from(answer.body).boxed_unsync());
        *response.status_mut() = answer.status;
        return response;
    }
    let path: Vec<&str> = docker_request.path.iter().map(String::as_str).collect();
    let method = request.method().clone();
    match (method.as_str(), path.as_slice()) {
        ("GET" | "HEAD", ["_ping"]) => body("text/plain", Full::from("OK").boxed_unsync()),
        ("GET", ["version"]) => json(&docker_json::version(&state.script())),
        ("GET", ["info"]) => json(&docker_json::info(&state.script())),
        ("GET", ["networks"]) => json(&docker_start::networks(&state.script())),
        ("POST", ["networks", "create"]) => answer_of(docker_start::create_network()),
        ("GET", ["volumes"]) => json(&store::unused_volumes(&state.script())),
        ("GET", ["volumes", name]) => answer_of(store::find_volume(&state.script(), name)),
        ("DELETE", ["volumes", name]) => match store::remove_volume(&mut state.script(), name) {
            Ok(()) => empty(StatusCode::NO_CONTENT),
            Err(refusal) => error(refusal.status, &refusal.message),
        },
        ("POST", ["volumes", "create"]) => {
            let settings = read_json(request).await;
            json(&store::create_volume(&mut state.script(), &settings))
        }
        ("POST", ["containers", "create"]) => {
            let settings = read_json(request).await;
            let name = docker_request.value("name").unwrap_or_default();
            let mut script = state.script();
            answer_of(docker_start::create_container(&mut script, name, &settings))
        }
        ("GET", ["containers", "json"]) => list(state, &docker_request),
        (method, ["containers", id, rest @ ..]) => {
            of_container(state, id, (method, rest), &docker_request, request).await
        }
        ("GET", ["system", "df"]) => json(&archive::usage(&state.script())),
        ("GET", ["images", "json"]) => json(&store::images(&state.script())),
        ("GET", ["images", name @ .., "json"]) => image(state, &name.join("/")),
        ("DELETE", ["images", name @ ..]) => {
            answer_of(store::remove_image(&mut state.script(), &name.join("/")))
        }
        ("GET", ["distribution", name @ .., "json"]) => {
            answer_of(store::resolve(&state.script(), &name.join("/")))
        }
        ("POST", ["images", "create"]) => {
            if let Some(Fault::SlowPull(time)) = state.fault() {
                tokio::time::sleep(time).await;
            }
            pull(state, &docker_request)
        }
        _ => error(StatusCode::NOT_FOUND, "page not found"),
    }
}

/// Answers a request about one container. `call` is the method and what follows the container in the path.
async fn of_container(
    state: &State,
    id: &str,
    call: (&str, &[&str]),
    docker_request: &DockerRequest,
    request: Request<Incoming>,
) -> Response<Body> {
    let (method, _) = call;
    match call {
        ("GET", ["json"]) => {
            let script = state.script();
            let container = script.find(id);
            container.map_or_else(
                || no_such_container(id),
                |container| json(&docker_json::details(container, &script)),
            )
        }
        ("GET", ["stats"]) => {
            // Without these two the engine would go on answering, or measure for a second.
            if docker_request.value("stream") != Some("false") || !docker_request.is_set("one-shot")
            {
                return error(StatusCode::NOT_IMPLEMENTED, "only one look at a container");
            }
            let script = state.script();
            let container = script.find(id);
            container.map_or_else(
                || no_such_container(id),
                |container| json(&stats(container)),
            )
        }
        ("GET" | "HEAD", ["archive"]) => {
            let script = state.script();
            match script.find(id) {
                Some(_) if method == "HEAD" => empty(StatusCode::OK),
                Some(_) => body("application/x-tar", archive::body(script.data)),
                None => no_such_container(id),
            }
        }
        ("PUT", ["archive"]) => {
            if state.script().find(id).is_none() {
                return no_such_container(id);
            }
            match archive::receive(state, request.into_body()).await {
                Ok(()) => empty(StatusCode::OK),
                Err(error) => error_response(&error),
            }
        }
        ("GET", ["logs"]) => logs(state, id, docker_request),
        ("POST", [verb @ ("start" | "stop" | "restart" | "kill")]) => change_state(state, id, verb),
        ("POST", ["update"]) => {
            let settings = read_json(request).await;
            update(state, id, &settings)
        }
        ("DELETE", []) => remove(state, id, docker_request.is_set("force")),
        _ => error(StatusCode::NOT_FOUND, "page not found"),
    }
}

/// A request without the API version in its path.
struct DockerRequest {
    /// The minor part of the API version, if the path has one: `1.41`.
    version: Option<u32>,
    path: Vec<String>,
    query: Vec<(String, String)>,
}

impl DockerRequest {
    fn new(request: &Request<Incoming>) -> Self {
        let mut path: Vec<String> = request
            .uri()
            .path()
            .split('/')
            .skip(1)
            .map(decoded)
            .collect();
        let version = path.first().and_then(|first| first.strip_prefix("v1."));
        let version = version.and_then(|minor| minor.parse().ok());
        if version.is_some() {
            path.remove(0);
        }
        let plain = |text: &str| decoded(&text.replace('+', " "));
        let query = request.uri().query().unwrap_or_default().split('&');
        let query = query.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self {
            version,
            path,
            query: query
                .map(|(name, value)| (plain(name), plain(value)))
                .collect(),
        }
    }

    /// The path without names and ids, for counting.
    fn path_pattern(&self) -> String {
        let mut path = self.path.clone();
        match path.as_mut_slice() {
            [first, id, ..] if first == "containers" && id != "json" && id != "create" => {
                "{id}".clone_into(id);
            }
            [first, name] if first == "volumes" && name != "create" => "{name}".clone_into(name),
            [first, _, .., last] if first == "images" && last == "json" => {
                return "/images/{name}/json".to_owned();
            }
            _ => {}
        }
        format!("/{}", path.join("/"))
    }

    fn value(&self, name: &str) -> Option<&str> {
        let pair = self.query.iter().find(|(key, _)| key == name);
        pair.map(|(_, value)| value.as_str())
    }

    fn is_set(&self, name: &str) -> bool {
        matches!(self.value(name), Some("1" | "true" | "True"))
    }
}

fn list(state: &State, docker_request: &DockerRequest) -> Response<Body> {
    let script = state.script();
    match script.fault {
        Some(Fault::HugeResponse(bytes)) => return streamed(docker_json::huge_list(bytes)),
        Some(Fault::ManyContainers(count)) => return streamed(docker_json::long_list(count)),
        _ => {}
    }
    let filters: Value = docker_request
        .value("filters")
        .and_then(|filters| serde_json::from_str(filters).ok())
        .unwrap_or_default();
    let parts = filters["name"].as_array();
    let is_named = |name: &str| {
        let mut parts = parts.into_iter().flatten().filter_map(Value::as_str);
        parts.clone().next().is_none() || parts.any(|part| name.contains(part))
    };
    let all = docker_request.is_set("all");
    let selected = script
        .containers
        .iter()
        .filter(|container| is_named(&container.name) && (all || container.is_up()));
    let listed: Vec<Value> = selected
        .map(|container| docker_json::list_entry(container, &script))
        .collect();
    if script.fault == Some(Fault::TruncatedJson) {
        let text = Value::from(listed).to_string();
        let half = text.as_bytes()[..text.len() / 2].to_vec();
        return body("application/json", Full::from(half).boxed_unsync());
    }
    json(&listed.into())
}

fn logs(state: &State, id: &str, docker_request: &DockerRequest) -> Response<Body> {
    let script = state.script();
    let Some(container) = script.find(id) else {
        return no_such_container(id);
    };
    let number = |name: &str| {
        docker_request
            .value(name)
            .and_then(|text| text.parse::<u64>().ok())
    };
    let frames = docker_json::frames(
        container,
        script.clock_ahead,
        number("since"),
        number("tail"),
        docker_request.is_set("timestamps"),
    );
    let kind = "application/vnd.docker.raw-stream";
    body(kind, Full::from(frames).boxed_unsync())
}

fn change_state(state: &State, id: &str, verb: &str) -> Response<Body> {
    let mut script = state.script();
    let death = script
        .dies_at_start
        .or_else(|| store::broken_image(&script, id));
    let Some(container) = script.find_mut(id) else {
        return no_such_container(id);
    };
    match (verb, container.is_up()) {
        ("start", true) | ("stop", false) => return empty(StatusCode::NOT_MODIFIED),
        ("kill", false) => {
            let id = &container.id;
            let message = format!("Cannot kill container: {id}: Container {id} is not running");
            return error(StatusCode::CONFLICT, &message);
        }
        ("stop", true) => container.set_state("exited", "Exited (0) Less than a second ago"),
        ("kill", true) => container.set_state("exited", "Exited (137) Less than a second ago"),
        _ => {
            container.set_state("running", "Up Less than a second");
            container.started_at = Some(Utc::now());
            if let Some(death) = death {
                container.restart_after(death, Utc::now());
            }
        }
    }
    empty(StatusCode::NO_CONTENT)
}

fn update(state: &State, id: &str, settings: &Value) -> Response<Body> {
    let mut script = state.script();
    let Some(container) = script.find_mut(id) else {
        return no_such_container(id);
    };
    container.io_weight = settings["BlkioWeight"].as_i64();
    json(&json!({"Warnings": null}))
}

fn remove(state: &State, id: &str, force: bool) -> Response<Body> {
    let mut script = state.script();
    let Some(container) = script.find(id) else {
        return no_such_container(id);
    };
    if container.is_up() && !force {
        let message = format!(
            "You cannot remove a running container {}. Stop the container before attempting removal or force remove",
            container.id
        );
        return error(StatusCode::CONFLICT, &message);
    }
    let id = container.id.clone();
    script.containers.retain(|container| container.id != id);
    empty(StatusCode::NO_CONTENT)
}

fn image(state: &State, name: &str) -> Response<Body> {
    let script = state.script();
    if let Some(id) = store::image_id(&script, name) {
        let digests = store::digests(&script, name);
        return json(&docker_json::image(&id, name, &digests));
    }
    let message = format!("No such image: {name}");
    error(StatusCode::NOT_FOUND, &message)
}

/// Every image exists in the registry.
fn pull(state: &State, docker_request: &DockerRequest) -> Response<Body> {
    let name = docker_request.value("fromImage").unwrap_or_default();
    let name = match docker_request.value("tag").filter(|tag| !tag.is_empty()) {
        Some(tag) => format!("{name}:{tag}"),
        None => name.to_owned(),
    };
    let pulling = json!({"status": "Pulling from a registry", "id": "latest"});
    let pulled = json!({"status": format!("Status: Downloaded newer image for {name}")});
    store::pull(&mut state.script(), &name);
    let text = format!("{pulling}\r\n{pulled}\r\n");
    body("application/json", Full::from(text).boxed_unsync())
}

/// The JSON of a request; null if it has none.
async fn read_json(request: Request<Incoming>) -> Value {
    let body = request.into_body().collect().await;
    let bytes = body
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn answer_of(result: Result<Value, Refusal>) -> Response<Body> {
    match result {
        Ok(value) => json(&value),
        Err(refusal) => error(refusal.status, &refusal.message),
    }
}

fn no_such_container(id: &str) -> Response<Body> {
    let message = format!("No such container: {id}");
    error(StatusCode::NOT_FOUND, &message)
}

fn error(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = json(&json!({"message": message}));
    *response.status_mut() = status;
    response
}

fn error_response(error_of_body: &hyper::Error) -> Response<Body> {
    error(
        StatusCode::INTERNAL_SERVER_ERROR,
        &error_of_body.to_string(),
    )
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

/// A body that is produced as fast as the client reads it.
fn streamed(pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Response<Body> {
    let frames = stream::iter(pieces).map(|piece| Ok(Frame::data(piece)));
    body("application/json", StreamBody::new(frames).boxed_unsync())
}

fn body(kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
