//! Compression of long bodies. Owns: reading `Accept-Encoding`, and how long a body becomes in what Lambda
//! returns.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use lambda_http::http::{HeaderMap, HeaderValue};
use lambda_http::{Body, Request, Response};
use serde::Serialize;

use super::problem::{Problem, log_internal};
use crate::domain::payload::{base64_length, escaped_length};

/// A shorter body fits into one packet either way.
const MIN_BYTES: usize = 1_024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Plain,
    Gzip,
}

impl Encoding {
    /// The best encoding that the client accepts.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        if accepts(request.headers(), "gzip") {
            Self::Gzip
        } else {
            Self::Plain
        }
    }

    /// The JSON of a body, and its length in what Lambda returns, where text is a JSON string and bytes are
    /// base64.
    ///
    /// # Errors
    /// 500 if the body has no JSON form.
    pub fn encode(self, body: &impl Serialize) -> Result<(Body, usize), Problem> {
        let text =
            serde_json::to_string(body).map_err(log_internal("response has no JSON form"))?;
        if self == Self::Plain {
            let length = escaped_length(&text);
            return Ok((Body::Text(text), length));
        }
        let bytes = gzip(&text)?;
        let length = base64_length(bytes.len());
        Ok((Body::Binary(bytes), length))
    }
}

/// Compresses the body of a response, if that is worth it and the client accepts it. Returns whether it did.
///
/// # Errors
/// 500 if that fails.
pub fn compress(request: &Request, response: &mut Response<Body>) -> Result<bool, Problem> {
    let Body::Text(text) = response.body() else {
        return Ok(false);
    };
    if text.len() < MIN_BYTES || Encoding::of(request) == Encoding::Plain {
        return Ok(false);
    }
    *response.body_mut() = Body::Binary(gzip(text)?);
    let headers = response.headers_mut();
    headers.insert("content-encoding", HeaderValue::from_static("gzip"));
    Ok(true)
}

fn gzip(text: &str) -> Result<Vec<u8>, Problem> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(text.as_bytes());
    let bytes = written.and_then(|()| encoder.finish());
    bytes.map_err(log_internal("response not compressed"))
}

/// Whether `Accept-Encoding` allows a coding, by its name or by `*`. What it says of the name takes precedence.
#[must_use]
pub fn accepts(headers: &HeaderMap, coding: &str) -> bool {
    let values = headers.get_all("accept-encoding").iter();
    let codings = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let mut any = false;
    for entry in codings {
        let (name, parameters) = entry.split_once(';').unwrap_or((entry, ""));
        let weight = parameters.trim().strip_prefix("q=").unwrap_or("1");
        let is_allowed = !weight.bytes().all(|c| matches!(c, b'0' | b'.'));
        let name = name.trim();
        if name.eq_ignore_ascii_case(coding) {
            return is_allowed;
        }
        any |= name == "*" && is_allowed;
    }
    any
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn gzip_is_used_only_if_the_client_accepts_it() {
        for (header, accepted) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("deflate, gzip, br, zstd", true),
            ("*", true),
            ("gzip; q=0.001", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("br", false),
            ("identity", false),
            ("", false),
            ("xgzip", false),
            ("*, gzip;q=0", false),
            ("*;q=0, gzip", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("accept-encoding", header.parse().expect("a header"));
            assert_eq!(accepts(&headers, "gzip"), accepted, "{header}");
        }
    }

    #[test]
    fn encode_returns_the_length_in_what_lambda_returns() {
        let body = vec!["\"quoted\"", "back\\slash", "new\nline\u{1}", "ünïcödé"];
        let (Body::Text(text), length) = Encoding::Plain.encode(&body).expect("a body") else {
            panic!("a text is expected");
        };
        let returned = serde_json::to_string(&text).expect("JSON");
        assert_eq!(length, returned.len() - 2);
        let (Body::Binary(bytes), length) = Encoding::Gzip.encode(&body).expect("a body") else {
            panic!("bytes are expected");
        };
        assert_eq!(length, STANDARD.encode(bytes).len());
    }
}
