//! Compression of long bodies. Owns: reading `Accept-Encoding`. Does not own: bodies that are put together from what was
//! compressed before (`cache`).

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use lambda_http::http::{HeaderMap, HeaderValue};
use lambda_http::{Body, Request, Response};

use super::problem::{Problem, log_internal};

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
}
