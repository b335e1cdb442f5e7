//! Converts a function's answer to an HTTP response by the rules of payload format 2.0.

use std::io;

use anyhow::{Context, Result};
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::TryStreamExt;
use serde_json::Value;

use super::describe;
use crate::runtime::StreamedResponse;

/// An object with a `statusCode` is a response; anything else is the body of a 200.
pub(super) fn build(answer: &Value) -> Result<Response<Body>> {
    let Some(status) = answer.get("statusCode").filter(|status| !status.is_null()) else {
        let text = match answer {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let mut response = Response::new(Body::from(text));
        insert(&mut response, "content-type", "application/json")?;
        return Ok(response);
    };
    let status = status
        .as_u64()
        .and_then(|status| u16::try_from(status).ok())
        .and_then(|status| StatusCode::from_u16(status).ok())
        .context("the statusCode is not a valid status")?;
    let mut response = Response::new(Body::from(body(answer)?));
    *response.status_mut() = status;
    insert(&mut response, "content-type", "application/json")?;
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        match value {
            // Only the prelude of a stream has lists of values.
            Value::Array(values) => {
                let name = HeaderName::try_from(name.as_str())?;
                response.headers_mut().remove(&name);
                for value in values {
                    let value = HeaderValue::try_from(text(value))?;
                    response.headers_mut().append(&name, value);
                }
            }
            value => insert(&mut response, name, &text(value))?,
        }
    }
    for (name, values) in answer["multiValueHeaders"]
        .as_object()
        .into_iter()
        .flatten()
    {
        let name = HeaderName::try_from(name.as_str())?;
        // lambda_http repeats the entries of `headers` here.
        response.headers_mut().remove(&name);
        for value in values.as_array().into_iter().flatten() {
            let value = HeaderValue::try_from(text(value))?;
            response.headers_mut().append(&name, value);
        }
    }
    for cookie in answer["cookies"].as_array().into_iter().flatten() {
        let value = HeaderValue::try_from(text(cookie))?;
        response.headers_mut().append("set-cookie", value);
    }
    Ok(response)
}

/// A response with a streamed body. If the stream breaks off, so does the connection, so that no
/// client takes the response for complete.
pub(super) fn streamed(function: String, answer: StreamedResponse) -> Result<Response<Body>> {
    let mut response = build(&answer.prelude)?;
    let body = answer.body.map_err(move |outcome| {
        let reason = describe(Ok(outcome));
        eprintln!("{function}: the response stream broke off: {reason}");
        io::Error::other(reason)
    });
    *response.body_mut() = Body::from_stream(body);
    Ok(response)
}

fn body(answer: &Value) -> Result<Vec<u8>> {
    let body = match &answer["body"] {
        Value::Null => String::new(),
        other => text(other),
    };
    if answer["isBase64Encoded"] == true {
        return STANDARD.decode(body).context("the body is not base64");
    }
    Ok(body.into_bytes())
}

fn insert(response: &mut Response<Body>, name: &str, value: &str) -> Result<()> {
    let name = HeaderName::try_from(name)?;
    response
        .headers_mut()
        .insert(name, HeaderValue::try_from(value)?);
    Ok(())
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use serde_json::json;

    async fn built(answer: Value) -> (u16, Vec<(String, String)>, Vec<u8>) {
        let response = build(&answer).unwrap();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, headers, body.to_vec())
    }

    fn header(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[tokio::test]
    async fn answer_without_a_status_is_the_body_of_a_200() {
        let json = header("content-type", "application/json");
        assert_eq!(
            built(json!({"a": 1})).await,
            (200, vec![json], b"{\"a\":1}".to_vec())
        );
    }

    #[tokio::test]
    async fn status_headers_cookies_and_binary_body_are_kept() {
        let (status, headers, body) = built(json!({
            "statusCode": 201,
            "headers": {"content-type": "image/png", "x-one": "1"},
            "multiValueHeaders": {"x-one": ["1"], "x-two": ["a", "b"]},
            "cookies": ["a=1", "b=2"],
            "isBase64Encoded": true,
            "body": "/w==",
        }))
        .await;
        assert_eq!(status, 201);
        assert_eq!(body, [0xff]);
        for expected in [
            header("content-type", "image/png"),
            header("x-one", "1"),
            header("x-two", "b"),
            header("set-cookie", "b=2"),
        ] {
            assert_eq!(
                headers.iter().filter(|h| **h == expected).count(),
                1,
                "{expected:?}"
            );
        }
        assert_eq!(headers.len(), 6);
    }

    #[test]
    fn invalid_status_and_header_are_errors() {
        assert!(build(&json!({"statusCode": 20000})).is_err());
        assert!(build(&json!({"statusCode": 200, "headers": {"a b": "c"}})).is_err());
    }
}
