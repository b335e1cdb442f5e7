//! `POST /api/v1/milady/agents/{agentId}/stream`: a message to the agent, answered as server-sent
//! events while it speaks. An HTTP API cannot stream: this function has a URL of its own, and its path is
//! kept in front of it.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use lambda_http::{Request, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::bridge::{read, refusal};
use super::reach::Deps;
use crate::api::problem::Problem;
use crate::api::{body, path};
use crate::app::agent::bridge::{Unheard, agent_listen};
use crate::lambda::{Invocation, Streaming};

/// What proxies on the way take for a dead connection is longer than this.
const SILENCE: Duration = Duration::from_secs(15);
/// How long an agent may speak where the runtime knows no deadline.
const LONGEST: Duration = Duration::from_mins(15);
/// What is left of an invocation to say that its time is over.
const SPARE: Duration = Duration::from_secs(2);
/// A line that says nothing.
const STILL_HERE: &str = ": still here\n\n";

/// Passes a message on, and what the agent says piece by piece.
///
/// # Errors
/// 400 for what is no message, 401, 403, 404, 413, 415, 503. An agent that is not heard is an event
/// `error` in a 200.
pub async fn handle(
    deps: &Deps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Streaming>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent_id = path::uuid_of_agent(&request)?;
    let message = read(&request)?;
    check(&message)?;
    let agent = (caller.organization_id, agent_id);
    let asked = Bytes::copy_from_slice(body::bytes(&request)?);
    let until = invocation.deadline;
    let until = until.and_then(|deadline| deadline.checked_sub(SPARE));
    let until = until.unwrap_or_else(|| Instant::now() + LONGEST);
    let id = message["id"].clone();
    let body = match agent_listen(&deps.pool, &deps.fleet, agent, asked).await? {
        Ok(head) => StreamBody::new(events(head.into_body(), until, id)).boxed_unsync(),
        Err(unheard) => {
            let only = stream::once(async move { Piece::Ok(Frame::data(failure(&id, &unheard))) });
            StreamBody::new(only).boxed_unsync()
        }
    };
    Response::builder()
        .header("content-type", "text/event-stream")
        .header("cache-control", "no-store")
        .body(body)
        .map_err(|_| Problem::internal())
}

fn check(message: &Value) -> Result<(), Problem> {
    if message["method"] != "message.send" {
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

/// What the agent says, with a comment whenever it has been silent for long.
fn events(said: Incoming, until: Instant, id: Value) -> impl Stream<Item = Piece> {
    struct Speech {
        said: Incoming,
        /// The last line is complete: only then may another one begin.
        between_lines: bool,
    }
    let begun = Speech {
        said,
        between_lines: true,
    };
    stream::unfold(Some(begun), move |speech| {
        let id = id.clone();
        async move {
            let mut speech = speech?;
            loop {
                let left = until.saturating_duration_since(Instant::now());
                let next = timeout(SILENCE.min(left), speech.said.frame()).await;
                match next {
                    Ok(None) => return None,
                    Ok(Some(Ok(piece))) => {
                        let Ok(data) = piece.into_data() else {
                            continue;
                        };
                        let Some(last) = data.last() else { continue };
                        speech.between_lines = *last == b'\n';
                        return Some((Ok(Frame::data(data)), Some(speech)));
                    }
                    Ok(Some(Err(_))) => {
                        return Some((Ok(Frame::data(broken(&id, &Unheard::Unreachable))), None));
                    }
                    Err(_) if left <= SILENCE => {
                        return Some((Ok(Frame::data(broken(&id, &Unheard::TimedOut))), None));
                    }
                    Err(_) if speech.between_lines => {
                        return Some((Ok(Frame::data(STILL_HERE.into())), Some(speech)));
                    }
                    Err(_) => {}
                }
            }
        }
    })
}

/// A body that breaks off with an error would be passed on as if that were part of it: ours never does.
type Piece = Result<Frame<Bytes>, Infallible>;

/// The agent was not heard at all.
fn failure(id: &Value, unheard: &Unheard) -> Bytes {
    format!("event: error\ndata: {}\n\n", refusal(id, unheard)).into()
}

/// It was heard up to here: what was being said ends first.
fn broken(id: &Value, unheard: &Unheard) -> Bytes {
    let said = json!(refusal(id, unheard));
    format!("\n\nevent: error\ndata: {said}\n\n").into()
}
