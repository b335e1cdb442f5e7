//! An agent behind a port of a simulated host: it answers its health check, and on its bridge it sends and takes its state,
//! if the script has one; unless its host's fault is that agents answer everything wrongly.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use russh::ChannelStream;
use russh::server::Msg;

use super::{Fault, Health, State};

/// Serves HTTP on a channel until either side closes it.
pub(super) async fn serve(state: &Arc<State>, port: u16, stream: ChannelStream<Msg>) {
    let answer = |request| async move { Ok::<_, Infallible>(answer(state, port, request).await) };
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
    // A client may hang up at any time.
    let _ = served.await;
}

async fn answer(state: &State, port: u16, request: Request<Incoming>) -> Response<Full<Bytes>> {
    state.counts().agent_requests += 1;
    state.simulate_latency().await;
    match state.fault() {
        Some(Fault::HugeAnswers(bytes)) => return Response::new(Full::from(vec![b' '; bytes])),
        Some(Fault::Answers(body)) => return Response::new(Full::from(body)),
        _ => {}
    }
    let volume = state.script().bridge_volume(port).map(str::to_owned);
    if let Some(volume) = volume {
        return bridge(state, &volume, request).await;
    }
    let health = state.script().agent_health(port);
    let (status, text) = match health {
        _ if request.uri().path() != "/health" => (StatusCode::NOT_FOUND, ""),
        Some(Health::Healthy) => (StatusCode::OK, r#"{"status":"ok"}"#),
        Some(Health::Slow(time)) => {
            tokio::time::sleep(time).await;
            (StatusCode::OK, r#"{"status":"ok"}"#)
        }
        // The agent exited or stopped listening after the channel was opened.
        Some(Health::Failing | Health::Refusing) | None => {
            (StatusCode::INTERNAL_SERVER_ERROR, r#"{"status":"failing"}"#)
        }
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

async fn bridge(state: &State, volume: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/api/snapshot" => {
            let kept = state.script().states.get(volume).cloned();
            Response::new(Full::from(kept.unwrap_or_default()))
        }
        "/api/restore" => {
            let body = request.into_body().collect().await;
            let bytes = body
                .map(http_body_util::Collected::to_bytes)
                .unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            state.script().states.insert(volume.to_owned(), text);
            Response::new(Full::from("{}"))
        }
        _ => {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}
