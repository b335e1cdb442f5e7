//! The cross-origin headers of an HTTP API.
//!
//! The API answers a preflight request itself only if no route accepts `OPTIONS`. A default route
//! does accept it: then the function answers, and the API adds the headers to that answer. The API
//! drops the functions' own cross-origin headers.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use crate::template::Cors;

/// The parts of a request that decide its cross-origin headers.
pub(super) struct CorsRequest {
    origin: Option<HeaderValue>,
    is_preflight: bool,
}

impl CorsRequest {
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

/// The API's own answer to `OPTIONS`, to which [`apply`] adds headers.
pub(super) fn answer() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Replaces the function's cross-origin headers with the API's.
pub(super) fn apply(cors: &Cors, request: &CorsRequest, response: &mut Response<Body>) {
    let headers = response.headers_mut();
    let function_headers: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("access-control-"))
        .cloned()
        .collect();
    for name in function_headers {
        headers.remove(name);
    }
    let Some(origin) = allowed_origin(cors, request.origin.as_ref()) else {
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
    if request.is_preflight {
        list(header::ACCESS_CONTROL_ALLOW_METHODS, &cors.methods);
        list(header::ACCESS_CONTROL_ALLOW_HEADERS, &cors.headers);
        let max_age = cors.max_age.map(|seconds| seconds.to_string());
        list(header::ACCESS_CONTROL_MAX_AGE, max_age.as_slice());
    }
}

/// The value of `Access-Control-Allow-Origin`; `None` if the origin is not allowed.
fn allowed_origin(cors: &Cors, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
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
        apply(&cors(), &CorsRequest::new(method, &sent), &mut response);
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
    fn preflight_of_an_allowed_origin_gets_all_headers() {
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
    fn request_of_an_allowed_origin_gets_the_expose_headers() {
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
    fn other_origins_get_no_headers() {
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
