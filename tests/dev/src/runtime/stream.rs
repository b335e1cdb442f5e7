//! Streamed responses, from the request that carries one to its reader.
//!
//! Owns their format on the Runtime API and the handling of a response that breaks off. Does not
//! own the process; see `instance.rs`. Unread data is held back: a slow reader slows the function
//! down. If the reader goes away, the function runs to its end, as in Lambda.

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

use super::{MAX_PAYLOAD_BYTES, Outcome};

/// Separates the prelude from the payload.
const DELIMITER: [u8; 8] = [0; 8];

/// More than any status with headers needs.
const MAX_PRELUDE_BYTES: usize = 256 * 1024;

/// The number of chunks that wait for the reader before the function has to wait.
const CHUNK_QUEUE_LENGTH: usize = 8;

/// A streamed response that has started.
#[derive(Debug)]
pub struct StreamedResponse {
    /// `statusCode`, `headers` (a list for a repeated name) and `cookies`.
    pub prelude: Value,
    pub body: BodyStream,
}

/// The payload of a streamed response. If the response failed, its last item is the outcome.
#[derive(Debug)]
pub struct BodyStream {
    chunks: mpsc::Receiver<Bytes>,
    end: oneshot::Receiver<StreamEnd>,
    is_finished: bool,
}

/// How a streamed response ended.
pub(super) type StreamEnd = Result<(), Outcome>;

/// What an instance answers to an event.
#[derive(Debug)]
pub(super) enum Answer {
    Complete(Outcome),
    /// The prelude, the chunks and the end. The end's sender is dropped without a value if the
    /// connection breaks.
    Started(Value, mpsc::Receiver<Bytes>, oneshot::Receiver<StreamEnd>),
}

impl StreamedResponse {
    pub(super) fn new(
        prelude: Value,
        chunks: mpsc::Receiver<Bytes>,
        end: oneshot::Receiver<StreamEnd>,
    ) -> Self {
        let body = BodyStream {
            chunks,
            end,
            is_finished: false,
        };
        Self { prelude, body }
    }

    /// Collects the stream into one answer, as Lambda does for callers that cannot read a stream.
    pub async fn collect_response(mut self) -> Outcome {
        let mut body = Vec::new();
        while let Some(piece) = self.body.next().await {
            match piece {
                Ok(piece) => body.extend_from_slice(&piece),
                Err(outcome) => return outcome,
            }
        }
        if body.len() > MAX_PAYLOAD_BYTES {
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

impl BodyStream {
    /// Takes the receiver of the end and returns it with a new sender, through which the reader
    /// learns of the end instead.
    pub(super) fn intercept_end(
        &mut self,
    ) -> (oneshot::Receiver<StreamEnd>, oneshot::Sender<StreamEnd>) {
        let (sender, receiver) = oneshot::channel();
        (std::mem::replace(&mut self.end, receiver), sender)
    }
}

impl Stream for BodyStream {
    type Item = Result<Bytes, Outcome>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_finished {
            return Poll::Ready(None);
        }
        if let Some(chunk) = ready!(self.chunks.poll_recv(context)) {
            return Poll::Ready(Some(Ok(chunk)));
        }
        let stream_end = ready!(Pin::new(&mut self.end).poll(context));
        self.is_finished = true;
        Poll::Ready(match stream_end {
            Ok(Ok(())) => None,
            Ok(Err(outcome)) => Some(Err(outcome)),
            Err(_) => Some(Err(Outcome::Crashed {
                status: "unknown".to_owned(),
            })),
        })
    }
}

pub(super) fn is_streamed(headers: &HeaderMap) -> bool {
    headers
        .get("lambda-runtime-function-response-mode")
        .is_some_and(|mode| mode.as_bytes().eq_ignore_ascii_case(b"streaming"))
}

/// Passes a response on as it arrives. If the connection breaks, drops the senders without a value:
/// the receiver then asks for the state of the process.
pub(super) async fn receive(waiting: oneshot::Sender<Answer>, mut body: Body) {
    let mut start = Vec::new();
    let at = loop {
        let delimiter = start.windows(DELIMITER.len()).position(|w| w == DELIMITER);
        if let Some(at) = delimiter {
            break at;
        }
        match next(&mut body).await {
            Ok(Some(Piece::Data(data))) if start.len() <= MAX_PRELUDE_BYTES => start.extend(data),
            Ok(Some(Piece::Failed(outcome))) => return finish(waiting, outcome),
            Ok(_) => return finish(waiting, malformed("it has no prelude")),
            Err(_) => return,
        }
    };
    let Ok(prelude @ Value::Object(_)) = serde_json::from_slice(&start[..at]) else {
        return finish(waiting, malformed("its prelude is not a JSON object"));
    };
    let (chunks, reader) = mpsc::channel(CHUNK_QUEUE_LENGTH);
    let (end_sender, end) = oneshot::channel();
    // Sending fails if the invocation was given up; the function is still read to its end.
    let _ = waiting.send(Answer::Started(prelude, reader, end));
    let mut piece = Piece::Data(Bytes::from(start.split_off(at + DELIMITER.len())));
    let stream_end = loop {
        match piece {
            Piece::Failed(outcome) => break Err(outcome),
            // HTTP would take an empty chunk for the end of the body.
            Piece::Data(data) if data.is_empty() => {}
            // Fails at once when the reader is gone.
            Piece::Data(data) => drop(chunks.send(data).await),
        }
        match next(&mut body).await {
            Ok(Some(next)) => piece = next,
            Ok(None) => break Ok(()),
            Err(_) => return,
        }
    };
    let _ = end_sender.send(stream_end);
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

/// The error that the trailers of a response report. The Rust runtime (1.5) does not send trailers:
/// its error arrives as the last chunk of the payload, here as in Lambda.
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

fn finish(waiting: oneshot::Sender<Answer>, outcome: Outcome) {
    // Sending fails if the invocation was given up, which is no error here.
    let _ = waiting.send(Answer::Complete(outcome));
}

fn malformed(reason: &str) -> Outcome {
    Outcome::FunctionError {
        error_type: "Runtime.MalformedStream".to_owned(),
        message: format!("A streamed response is malformed: {reason}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn first_answer(body: Body) -> Answer {
        let (waiting, answered) = oneshot::channel();
        receive(waiting, body).await;
        answered.await.unwrap()
    }

    fn in_pieces(pieces: &'static [&'static [u8]]) -> Body {
        let pieces = pieces.iter().map(|&piece| Ok::<_, axum::Error>(piece));
        Body::from_stream(futures_util::stream::iter(pieces))
    }

    #[tokio::test]
    async fn prelude_ends_at_eight_zeros_however_they_are_split() {
        for pieces in [
            &[b"{\"statusCode\":201}\0\0\0\0\0\0\0\0a\0b" as &[u8]][..],
            &[b"{\"statusCode\"", b":201}\0\0\0", b"\0\0\0\0\0", b"a\0b"],
            &[b"{\"statusCode\":201}", b"\0\0\0\0\0\0\0\0a", b"", b"\0b"],
        ] {
            let Answer::Started(prelude, chunks, ending) = first_answer(in_pieces(pieces)).await
            else {
                panic!("no stream was started")
            };
            assert_eq!(prelude["statusCode"], 201);
            let outcome = StreamedResponse::new(prelude, chunks, ending)
                .collect_response()
                .await;
            let Outcome::Success(answer) = outcome else {
                panic!("{outcome:?}")
            };
            assert_eq!(answer["body"], "a\0b");
            assert_eq!(answer["isBase64Encoded"], false);
        }
    }

    #[tokio::test]
    async fn response_without_a_prelude_is_refused() {
        for pieces in [&[b"hello" as &[u8]][..], &[], &[b"7\0\0\0\0\0\0\0\0"]] {
            let answer = first_answer(in_pieces(pieces)).await;
            assert!(
                matches!(answer, Answer::Complete(Outcome::FunctionError { error_type, .. })
                    if error_type == "Runtime.MalformedStream")
            );
        }
    }

    #[test]
    fn error_in_the_trailers_is_read() {
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
