//! The cross-origin headers of an HTTP API.
//!
//! The API answers a preflight by itself only where no route takes `OPTIONS`. A default route does take
//! it: the function's answer then counts, and the headers are put onto that. What functions say about
//! cross-origin calls themselves is dropped.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use crate::template::Cors;

/// What of a request matters here.
pub(super) struct Asked {
    origin: Option<HeaderValue>,
    is_preflight: bool,
}

impl Asked {
    pub(super) fn new(method: &Method, headers: &HeaderMap) -> Self {
        let origin = headers.get(header::ORIGIN).cloned();
        Self {
            is_preflight: *method == Method::OPTIONS
                && origin.is_some()
                && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD),
            origin,
        }
    }
}

/// The API's own answer to `OPTIONS`, before [`apply`] adds to it.
pub(super) fn answer() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Puts the API's headers in the place of the function's.
pub(super) fn apply(cors: &Cors, asked: &Asked, response: &mut Response<Body>) {
    let headers = response.headers_mut();
    let own: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("access-control-"))
        .cloned()
        .collect();
    for name in own {
        headers.remove(name);
    }
    let Some(origin) = allowed(cors, asked.origin.as_ref()) else {
        return;
    };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if cors.credentials {
        let yes = HeaderValue::from_static("true");
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
    }
    let mut list = |name: HeaderName, values: &[String]| {
        if let Some(joined) = HeaderValue::from_str(&values.join(","))
            .ok()
            .filter(|joined| !joined.is_empty())
        {
            headers.insert(name, joined);
        }
    };
    list(header::ACCESS_CONTROL_EXPOSE_HEADERS, &cors.exposed);
    if asked.is_preflight {
        list(header::ACCESS_CONTROL_ALLOW_METHODS, &cors.methods);
        list(header::ACCESS_CONTROL_ALLOW_HEADERS, &cors.headers);
        let max_age = cors.max_age.map(|seconds| seconds.to_string());
        list(header::ACCESS_CONTROL_MAX_AGE, max_age.as_slice());
    }
}

/// What to say the allowed origin is; none for an origin that is not.
fn allowed(cors: &Cors, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
    let origin = origin?;
    let any = cors.origins.iter().any(|allowed| allowed == "*");
    if any && !cors.credentials {
        return Some(HeaderValue::from_static("*"));
    }
    cors.origins
        .iter()
        .any(|allowed| any || allowed.as_bytes() == origin.as_bytes())
        .then(|| origin.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors() -> Cors {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Cors {
            origins: texts(&["http://localhost:3000"]),
            methods: texts(&["GET", "POST"]),
            headers: texts(&["X-API-Key"]),
            exposed: texts(&["ETag"]),
            credentials: true,
            max_age: Some(600),
        }
    }

    fn headers(method: &Method, sent: &[(&'static str, &'static str)]) -> Vec<String> {
        let sent = sent
            .iter()
            .map(|&(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .collect();
        let mut response = answer();
        let own = HeaderValue::from_static("https://evil.example");
        response
            .headers_mut()
            .insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, own);
        apply(&cors(), &Asked::new(method, &sent), &mut response);
        let mut headers: Vec<String> = response
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        headers.sort();
        headers
    }

    const ORIGIN: (&str, &str) = ("origin", "http://localhost:3000");

    #[test]
    fn a_preflight_of_an_allowed_origin_is_told_everything() {
        let asks = ("access-control-request-method", "POST");
        assert_eq!(
            headers(&Method::OPTIONS, &[ORIGIN, asks]),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-headers: X-API-Key",
                "access-control-allow-methods: GET,POST",
                "access-control-allow-origin: http://localhost:3000",
                "access-control-expose-headers: ETag",
                "access-control-max-age: 600",
            ]
        );
    }

    #[test]
    fn a_call_of_an_allowed_origin_is_told_what_it_may_read() {
        assert_eq!(
            headers(&Method::GET, &[ORIGIN]),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-origin: http://localhost:3000",
                "access-control-expose-headers: ETag",
            ]
        );
    }

    #[test]
    fn another_origin_is_told_nothing() {
        for origin in ["http://localhost:3001", "null", "http://localhost:3000/"] {
            let sent = [
                ("origin", origin),
                ("access-control-request-method", "POST"),
            ];
            assert_eq!(headers(&Method::OPTIONS, &sent), [""; 0], "{origin}");
        }
        assert_eq!(headers(&Method::GET, &[]), [""; 0]);
    }
}
