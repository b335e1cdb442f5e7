//! Responses that come piece by piece: from the request that carries one to whoever reads it.
//!
//! Owns the form they have on the Runtime API and what becomes of one that breaks off. Does not own the
//! process; see `instance.rs`. What is not read yet is held back: a slow reader slows the function down.
//! A reader that goes away does not: as in Lambda, the function then runs to its end unheard.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{Stream, StreamExt};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::{Outcome, PAYLOAD_LIMIT};

/// Between the prelude and the payload.
const DELIMITER: [u8; 8] = [0; 8];

/// No status with headers is longer than this.
const PRELUDE_LIMIT: usize = 256 * 1024;

/// So many pieces wait for the reader before the function has to.
const QUEUE: usize = 8;

/// A response that has begun.
#[derive(Debug)]
pub struct Streamed {
    /// `statusCode`, `headers` (a list where a name comes more than once) and `cookies`.
    pub prelude: Value,
    /// What comes after it.
    pub body: Pieces,
}

/// The payload as it comes. A response that did not end well has how it ended as its last item.
#[derive(Debug)]
pub struct Pieces {
    chunks: mpsc::Receiver<Bytes>,
    ending: oneshot::Receiver<Ending>,
    is_over: bool,
}

/// How a response that had begun ended.
pub(super) type Ending = Result<(), Outcome>;

/// What an instance says to an event.
#[derive(Debug)]
pub(super) enum Answer {
    /// All of it.
    Whole(Outcome),
    /// Its beginning; the last part tells the end, and nothing when the connection broke.
    Begun(Value, mpsc::Receiver<Bytes>, oneshot::Receiver<Ending>),
}

impl Streamed {
    pub(super) fn new(
        prelude: Value,
        chunks: mpsc::Receiver<Bytes>,
        ending: oneshot::Receiver<Ending>,
    ) -> Self {
        let body = Pieces {
            chunks,
            ending,
            is_over: false,
        };
        Self { prelude, body }
    }

    /// Reads it to its end and makes one answer of it, as Lambda does for who cannot read a stream.
    pub async fn whole(mut self) -> Outcome {
        let mut body = Vec::new();
        while let Some(piece) = self.body.next().await {
            match piece {
                Ok(piece) => body.extend_from_slice(&piece),
                Err(outcome) => return outcome,
            }
        }
        if body.len() > PAYLOAD_LIMIT {
            return Outcome::too_large(body.len());
        }
        let (text, is_binary) = match String::from_utf8(body) {
            Ok(text) => (text, false),
            Err(binary) => (STANDARD.encode(binary.as_bytes()), true),
        };
        self.prelude["body"] = text.into();
        self.prelude["isBase64Encoded"] = is_binary.into();
        Outcome::Success(self.prelude)
    }
}

impl Pieces {
    /// Has the reader learn of the end from the second value only; the first one tells it before.
    pub(super) fn hold_back_the_end(
        &mut self,
    ) -> (oneshot::Receiver<Ending>, oneshot::Sender<Ending>) {
        let (sender, receiver) = oneshot::channel();
        (std::mem::replace(&mut self.ending, receiver), sender)
    }
}

impl Stream for Pieces {
    type Item = Result<Bytes, Outcome>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some(chunk) = ready!(self.chunks.poll_recv(context)) {
            return Poll::Ready(Some(Ok(chunk)));
        }
        let ending = ready!(Pin::new(&mut self.ending).poll(context));
        self.is_over = true;
        Poll::Ready(match ending {
            Ok(Ok(())) => None,
            Ok(Err(outcome)) => Some(Err(outcome)),
            Err(_) => Some(Err(Outcome::Crashed {
                status: "unknown".to_owned(),
            })),
        })
    }
}

/// Whether a response is one of these.
pub(super) fn is_streamed(headers: &HeaderMap) -> bool {
    headers
        .get("lambda-runtime-function-response-mode")
        .is_some_and(|mode| mode.as_bytes().eq_ignore_ascii_case(b"streaming"))
}

/// Hands a response over as it comes, to its end. When the connection breaks nothing is told: whoever
/// waits knows best what has become of the process.
pub(super) async fn receive(waiting: oneshot::Sender<Answer>, mut body: Body) {
    let mut start = Vec::new();
    let at = loop {
        let found = start.windows(DELIMITER.len()).position(|w| w == DELIMITER);
        if let Some(at) = found {
            break at;
        }
        match next(&mut body).await {
            Ok(Some(Piece::Data(data))) if start.len() <= PRELUDE_LIMIT => start.extend(data),
            Ok(Some(Piece::Failed(outcome))) => return tell(waiting, outcome),
            Ok(_) => return tell(waiting, malformed("it has no prelude")),
            Err(_) => return,
        }
    };
    let Ok(prelude @ Value::Object(_)) = serde_json::from_slice(&start[..at]) else {
        return tell(waiting, malformed("its prelude is no JSON object"));
    };
    let (chunks, reader) = mpsc::channel(QUEUE);
    let (end, ending) = oneshot::channel();
    // Who gave up meanwhile does not listen; the function is read to its end all the same.
    let _ = waiting.send(Answer::Begun(prelude, reader, ending));
    let mut piece = Piece::Data(Bytes::from(start.split_off(at + DELIMITER.len())));
    let ending = loop {
        match piece {
            Piece::Failed(outcome) => break Err(outcome),
            // An empty chunk is the end of a chunked body in HTTP.
            Piece::Data(data) if data.is_empty() => {}
            // Fails once the reader is gone, each time at once.
            Piece::Data(data) => drop(chunks.send(data).await),
        }
        match next(&mut body).await {
            Ok(Some(next)) => piece = next,
            Ok(None) => break Ok(()),
            Err(_) => return,
        }
    };
    let _ = end.send(ending);
}

enum Piece {
    Data(Bytes),
    Failed(Outcome),
}

async fn next(body: &mut Body) -> Result<Option<Piece>, axum::Error> {
    loop {
        let Some(frame) = body.frame().await.transpose()? else {
            return Ok(None);
        };
        match frame.into_data() {
            Ok(data) => return Ok(Some(Piece::Data(data))),
            Err(frame) => {
                if let Some(outcome) = frame.trailers_ref().and_then(reported) {
                    return Ok(Some(Piece::Failed(outcome)));
                }
            }
        }
    }
}

/// An error midway, as the trailers report it. The runtime for Rust (1.5) does not write these: what it
/// means to be trailers arrives as the last piece of the payload, here as in Lambda.
fn reported(trailers: &HeaderMap) -> Option<Outcome> {
    let text = |name: &str| {
        let value = trailers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let error_type = text("lambda-runtime-function-error-type")?;
    let body = text("lambda-runtime-function-error-body").unwrap_or_default();
    let body = STANDARD.decode(&body).unwrap_or(body.into_bytes());
    let message = serde_json::from_slice::<Value>(&body)
        .ok()
        .and_then(|error| error["errorMessage"].as_str().map(str::to_owned));
    Some(Outcome::FunctionError {
        error_type,
        message: message.unwrap_or_else(|| String::from_utf8_lossy(&body).into_owned()),
    })
}

fn tell(waiting: oneshot::Sender<Answer>, outcome: Outcome) {
    // Nobody listens any more when the invocation was given up; that is no error here.
    let _ = waiting.send(Answer::Whole(outcome));
}

fn malformed(what: &str) -> Outcome {
    Outcome::FunctionError {
        error_type: "Runtime.MalformedStream".to_owned(),
        message: format!("A streamed response was not understood: {what}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn begun(body: Body) -> Answer {
        let (waiting, answered) = oneshot::channel();
        receive(waiting, body).await;
        answered.await.unwrap()
    }

    fn in_pieces(pieces: &'static [&'static [u8]]) -> Body {
        let pieces = pieces.iter().map(|&piece| Ok::<_, axum::Error>(piece));
        Body::from_stream(futures_util::stream::iter(pieces))
    }

    #[tokio::test]
    async fn the_prelude_ends_at_eight_zeros_however_they_come() {
        for pieces in [
            &[b"{\"statusCode\":201}\0\0\0\0\0\0\0\0a\0b" as &[u8]][..],
            &[b"{\"statusCode\"", b":201}\0\0\0", b"\0\0\0\0\0", b"a\0b"],
            &[b"{\"statusCode\":201}", b"\0\0\0\0\0\0\0\0a", b"", b"\0b"],
        ] {
            let Answer::Begun(prelude, chunks, ending) = begun(in_pieces(pieces)).await else {
                panic!("no beginning")
            };
            assert_eq!(prelude["statusCode"], 201);
            let whole = Streamed::new(prelude, chunks, ending).whole().await;
            let Outcome::Success(answer) = whole else {
                panic!("{whole:?}")
            };
            assert_eq!(answer["body"], "a\0b");
            assert_eq!(answer["isBase64Encoded"], false);
        }
    }

    #[tokio::test]
    async fn what_has_no_prelude_is_refused() {
        for pieces in [&[b"hello" as &[u8]][..], &[], &[b"7\0\0\0\0\0\0\0\0"]] {
            let answer = begun(in_pieces(pieces)).await;
            assert!(
                matches!(answer, Answer::Whole(Outcome::FunctionError { error_type, .. })
                    if error_type == "Runtime.MalformedStream")
            );
        }
    }

    #[test]
    fn an_error_in_the_trailers_is_read() {
        let mut trailers = HeaderMap::new();
        assert_eq!(reported(&trailers), None);
        for (body, message) in [("{\"errorMessage\":\"m\"}", "m"), ("plain", "plain")] {
            for (name, value) in [("type", "Custom.Error"), ("body", &STANDARD.encode(body))] {
                let name = match name {
                    "type" => "lambda-runtime-function-error-type",
                    _ => "lambda-runtime-function-error-body",
                };
                trailers.insert(name, value.parse().unwrap());
            }
            let expected = Outcome::FunctionError {
                error_type: "Custom.Error".to_owned(),
                message: message.to_owned(),
            };
            assert_eq!(reported(&trailers), Some(expected));
        }
    }
}
