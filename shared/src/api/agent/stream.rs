//! `POST /api/v1/milady/agents/{agentId}/stream`: sends a message to the agent and streams its answer as
//! server-sent events. API Gateway cannot stream, so this function has a URL of its own; whatever stands in front
//! of the API must route this path to it.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use lambda_http::{Request, Response};
use schemars::JsonSchema;
use serde_json::Value;
use tokio::time::timeout;
use tracing::warn;

use super::rpc::{self, RpcId};
use crate::api::deps::HostDeps;
use crate::api::problem::{Problem, log_internal};
use crate::api::response::StreamedBody;
use crate::api::route::{RequestBody, ResponseKind, Route, Tag};
use crate::api::{body, path};
use crate::app::agent::bridge::BridgeError;
use crate::app::agent::stream::{AgentStream, agent_stream};
use crate::app::open_stream::OpenStream;
use crate::failure::Cause;
use crate::invocation::Invocation;

pub const ROUTE: Route = Route {
    description: "The response is a stream of server-sent events: `connected`, `chunk` and `done` from the agent, \
                  and a comment line whenever the agent has been silent for 15 seconds. If the agent does not \
                  answer, the stream is one event `error`, whose data is a JSON-RPC error with the code -32000 and the \
                  same text as `message`. An answer that breaks off or takes too long ends with the same event. An \
                  organization may have only so many open streams: a further one gets 429.",
    body: Some(RequestBody::required::<MessageRequest>(
        r#"{"jsonrpc": "2.0", "id": 1, "method": "message.send", "params": {"text": "Hello"}}"#,
    )),
    responses: &[ResponseKind::stream(
        200,
        "text/event-stream",
        "The agent's answer, or an event `error`.",
    )],
    refusals: &[404, 409],
    ..Route::post(
        "agent-stream",
        "/api/v1/milady/agents/{agentId}/stream",
        Tag::Agents,
        "Send a message to a running agent and stream its answer",
    )
};

#[derive(JsonSchema)]
#[expect(dead_code, reason = "describes the body, which `rpc::read` reads")]
struct MessageRequest {
    #[schemars(extend("const" = rpc::VERSION))]
    jsonrpc: String,
    id: Option<RpcId>,
    #[schemars(extend("const" = METHOD))]
    method: String,
    params: MessageParams,
}

#[derive(JsonSchema)]
#[schemars(inline, rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which `rpc::read` reads")]
struct MessageParams {
    text: String,
    room_id: Option<String>,
}

const METHOD: &str = "message.send";
/// How long the stream may be silent before a comment is sent. Proxies close connections that are silent for
/// longer, usually 60 s.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// A line that clients ignore.
const KEEP_ALIVE_COMMENT: &str = ": still here\n\n";
/// How long an answer may take if the runtime names no deadline: Lambda's own limit.
const MAX_STREAM_DURATION: Duration = Duration::from_mins(15);
/// Time kept back from the invocation, so that a stream that runs out of time can still send its `error` event.
const TIMEOUT_RESERVE: Duration = Duration::from_secs(2);

type Piece = Result<Frame<Bytes>, Infallible>;

/// Streams the agent's answer. If the agent cannot be reached, the response is one event `error` with
/// status 200.
///
/// # Errors
/// 400 if the body is not a message, 401, 403, 404, 409 and 429 if too many streams are open, 413, 415, 503.
pub async fn handle(
    deps: &HostDeps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<StreamedBody>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let agent = caller.agent(path::agent_id(&request)?);
    let message = rpc::read(&request)?;
    check(&message)?;
    let bytes = Bytes::copy_from_slice(body::bytes(&request)?);
    let time_left = invocation
        .time_left(TIMEOUT_RESERVE)
        .min(MAX_STREAM_DURATION);
    let deadline = Instant::now() + time_left;
    let id = message["id"].clone();
    let answer = agent_stream(&deps.pool, &deps.hosts, agent, bytes, time_left).await?;
    let body = match answer {
        Ok(answer) => StreamBody::new(events(answer, deadline, id)).boxed_unsync(),
        Err(error) => {
            let only =
                stream::once(async move { Piece::Ok(Frame::data(error_event(&id, &error))) });
            StreamBody::new(only).boxed_unsync()
        }
    };
    Response::builder()
        .header("content-type", "text/event-stream")
        .header("cache-control", "no-store")
        .body(body)
        .map_err(log_internal("stream not started"))
}

fn check(message: &Value) -> Result<(), Problem> {
    if message["method"] != METHOD {
        return Err(Problem::field("method", "must be message.send"));
    }
    let params = &message["params"];
    if !params["text"].is_string() {
        return Err(Problem::field("params.text", "must be a string"));
    }
    if !(params["roomId"].is_null() || params["roomId"].is_string()) {
        return Err(Problem::field("params.roomId", "must be a string"));
    }
    Ok(())
}

/// The agent's answer as it arrives, with a comment whenever the agent has been silent for long. A connection
/// that breaks and a deadline that passes end the stream with an event `error`.
fn events(answer: AgentStream, deadline: Instant, id: Value) -> impl Stream<Item = Piece> {
    struct Answer {
        body: Incoming,
        position: EventPosition,
        open: OpenStream,
    }
    enum State {
        Answering(Answer),
        /// The last event was sent.
        Ended(OpenStream),
    }
    let AgentStream { head, open } = answer;
    let answer = Answer {
        body: head.into_body(),
        position: EventPosition::default(),
        open,
    };
    stream::unfold(State::Answering(answer), move |state| {
        let id = id.clone();
        async move {
            let mut answer = match state {
                State::Answering(answer) => answer,
                State::Ended(open) => {
                    open.close().await;
                    return None;
                }
            };
            loop {
                let time_left = deadline.saturating_duration_since(Instant::now());
                let wait = KEEP_ALIVE_INTERVAL.min(time_left);
                match timeout(wait, answer.body.frame()).await {
                    Ok(None) => {
                        answer.open.close().await;
                        return None;
                    }
                    Ok(Some(Ok(frame))) => {
                        let Ok(data) = frame.into_data() else {
                            continue;
                        };
                        if data.is_empty() {
                            continue;
                        }
                        answer.position.advance(&data);
                        return Some((Ok(Frame::data(data)), State::Answering(answer)));
                    }
                    Ok(Some(Err(error))) => {
                        let error = error.class();
                        warn!(
                            error,
                            "agent's answer broke off; stream ended with an error event"
                        );
                        let event = final_error_event(&id, &BridgeError::Unreachable);
                        return Some((Ok(Frame::data(event)), State::Ended(answer.open)));
                    }
                    Err(_) if time_left <= KEEP_ALIVE_INTERVAL => {
                        let event = final_error_event(&id, &BridgeError::TimedOut);
                        return Some((Ok(Frame::data(event)), State::Ended(answer.open)));
                    }
                    Err(_) if answer.position.is_between_events() => {
                        let comment = Frame::data(KEEP_ALIVE_COMMENT.into());
                        return Some((Ok(comment), State::Answering(answer)));
                    }
                    Err(_) => {}
                }
            }
        }
    })
}

/// Where a stream of server-sent events stands. A comment in the middle of a line would corrupt the line, and the empty
/// line after the comment would end the event that the comment is in (F90).
#[derive(Clone, Copy, Debug, Default)]
struct EventPosition {
    /// The current line has begun.
    is_in_line: bool,
    /// The current event has begun: a line was sent, and no empty one after it.
    is_in_event: bool,
    /// The last byte was a carriage return, which ends a line alone or with a line feed.
    after_carriage_return: bool,
}

impl EventPosition {
    fn advance(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let is_second_half = *byte == b'\n' && self.after_carriage_return;
            self.after_carriage_return = *byte == b'\r';
            match byte {
                b'\n' if is_second_half => {}
                b'\n' | b'\r' => {
                    self.is_in_event = self.is_in_line;
                    self.is_in_line = false;
                }
                _ => self.is_in_line = true,
            }
        }
    }

    fn is_between_events(self) -> bool {
        !self.is_in_line && !self.is_in_event
    }
}

fn error_event(id: &Value, error: &BridgeError) -> Bytes {
    let mut data = rpc::error(id, error);
    // Clients of the earlier deployment read it here.
    data["message"] = error.to_string().into();
    format!("event: error\ndata: {data}\n\n").into()
}

/// [`error_event`] for a stream that has already sent something. The empty line before it ends an unfinished event.
fn final_error_event(id: &Value, error: &BridgeError) -> Bytes {
    [&b"\n\n"[..], &error_event(id, error)[..]].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ends of line are those of <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>.
    /// Origin: the HTML standard, "Server-sent events": a line ends with CR, LF or both, and an event with an empty line.
    #[test]
    fn f90_a_comment_is_sent_only_between_events() {
        for (sent, expected) in [
            ("", true),
            ("event: chunk", false),
            ("event: chunk\n", false),
            ("event: chunk\ndata: 1\n", false),
            ("event: chunk\ndata: 1\n\n", true),
            ("event: chunk\r\ndata: 1\r\n", false),
            ("event: chunk\r\ndata: 1\r\n\r\n", true),
            ("event: chunk\rdata: 1\r", false),
            ("event: chunk\rdata: 1\r\r", true),
            ("event: chunk\r\n\n", true),
            (": a comment\n", false),
            (": a comment\n\n", true),
            ("data: 1\n\ndata: 2\n", false),
            ("\n", true),
        ] {
            // However the stream is cut into pieces.
            for cut in 0..=sent.len() {
                let mut position = EventPosition::default();
                position.advance(&sent.as_bytes()[..cut]);
                position.advance(&sent.as_bytes()[cut..]);
                assert_eq!(position.is_between_events(), expected, "{sent:?} {cut}");
            }
        }
    }
}
