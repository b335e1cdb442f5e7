//! Compression of long bodies. Owns: reading `Accept-Encoding`, and how long a body becomes in what Lambda
//! returns.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use lambda_http::{Body, Request};
use serde::Serialize;

use super::problem::{Problem, log_internal};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Plain,
    Gzip,
}

impl Encoding {
    /// The best encoding that the client accepts.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        let headers = request.headers().get_all("accept-encoding");
        let mut headers = headers.iter().filter_map(|value| value.to_str().ok());
        if headers.any(accepts_gzip) {
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
            let escaped = text.bytes().filter(|byte| matches!(byte, b'"' | b'\\'));
            let length = text.len() + escaped.count();
            return Ok((Body::Text(text), length));
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let written = encoder.write_all(text.as_bytes());
        let bytes = written.and_then(|()| encoder.finish());
        let bytes = bytes.map_err(log_internal("response not compressed"))?;
        let length = bytes.len().div_ceil(3) * 4;
        Ok((Body::Binary(bytes), length))
    }
}

fn accepts_gzip(header: &str) -> bool {
    header.split(',').any(|coding| {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let name = name.trim();
        let weight = parameters.trim().strip_prefix("q=").unwrap_or("1");
        let is_refused = weight.bytes().all(|c| matches!(c, b'0' | b'.'));
        (name.eq_ignore_ascii_case("gzip") || name == "*") && !is_refused
    })
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
        ] {
            assert_eq!(accepts_gzip(header), accepted, "{header}");
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
