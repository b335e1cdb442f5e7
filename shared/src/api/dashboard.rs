//! Every path outside `/api`: the dashboard's files. Owns: their headers and encodings. Does not own: the files, which
//! are built from `functions/web` and embedded in the function `dashboard`.

use lambda_http::http::{HeaderMap, Method, StatusCode, header};
use lambda_http::{Body, Request, Response};

use super::encoding;
use super::problem::{Problem, log_internal};

/// A file of the dashboard, in the encodings that browsers know.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    pub path: &'static str,
    pub content_type: &'static str,
    /// Of the plain content, in hexadecimal.
    pub sha256: &'static str,
    pub plain: &'static [u8],
    pub brotli: &'static [u8],
    pub gzip: &'static [u8],
}

#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// The document that all pages share.
    pub page: Asset,
    /// Everything else, sorted by path. A file below `/assets/` has its hash in its name.
    pub assets: &'static [Asset],
    /// The paths of the pages: `/agents/:id`.
    pub pages: &'static [&'static str],
}

const CACHED_FOR_EVER: &str = "public, max-age=31536000, immutable";
const REVALIDATED: &str = "no-cache";
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
require-trusted-types-for 'script'; trusted-types 'none'";
const SECURITY_HEADERS: [(&str, &str); 8] = [
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-frame-options", "DENY"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "strict-transport-security",
        "max-age=63072000; includeSubDomains",
    ),
    (
        "permissions-policy",
        "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    ),
];
const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><title>Milady Cloud</title>\
<h1>The dashboard is not built</h1>\
<p>Its pages are built with Node.js 20.19, or 22.12 or later: install it and start <code>cargo dev</code> again, or \
run <code>npm ci &amp;&amp; npm run build</code> in <code>functions/web</code> before the functions are built.</p>\
<p>The API works without it: <a href=\"/api/openapi.json\">its description</a>.</p></html>";

/// Serves a file, or the document of all pages. The status is 404 for a file that does not exist (as text, because a
/// browser must not take a page for a script) and for a page that does not exist (with the document, which says so).
///
/// # Errors
/// 404 for a path below `/api/` that the gateway sends here because it has no such route; 500 if a header has an
/// invalid value.
#[expect(clippy::unused_async, reason = "all handlers are called the same way")]
pub async fn handle(request: Request, site: Option<&Site>) -> Result<Response<Body>, Problem> {
    if request.uri().path().starts_with("/api/") {
        return Err(Problem::not_found("There is no such route"));
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let text = Body::from("Only GET and HEAD are allowed here.\n");
        let response =
            plain_text(StatusCode::METHOD_NOT_ALLOWED).header(header::ALLOW, "GET, HEAD");
        return finish(response.body(text), &request);
    }
    let Some(site) = site else {
        let response = Response::builder()
            .status(StatusCode::SERVICE_UNAVAILABLE)
            .header(header::CONTENT_TYPE, "text/html; charset=utf-8")
            .header(header::CACHE_CONTROL, "no-store");
        return finish(response.body(Body::from(NOT_BUILT)), &request);
    };
    let path = request.uri().path();
    let found = site.assets.binary_search_by(|asset| asset.path.cmp(path));
    let (status, asset) = match found.ok().and_then(|index| site.assets.get(index)) {
        Some(asset) => (StatusCode::OK, asset),
        None if is_file(path) => {
            let text = Body::from("There is no such file.\n");
            return finish(plain_text(StatusCode::NOT_FOUND).body(text), &request);
        }
        None if site.has_page(path) => (StatusCode::OK, &site.page),
        None => (StatusCode::NOT_FOUND, &site.page),
    };
    finish(respond(status, asset, request.headers()), &request)
}

impl Site {
    fn has_page(&self, path: &str) -> bool {
        path == "/" || self.pages.iter().any(|pattern| matches(pattern, path))
    }
}

/// Whether a path has the form of a page's: `/agents/:id`.
fn matches(pattern: &str, path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    let (mut expected, mut actual) = (pattern.split('/'), path.split('/'));
    loop {
        match (expected.next(), actual.next()) {
            (None, None) => return true,
            (Some(expected), Some(actual))
                if expected == actual || expected.starts_with(':') && !actual.is_empty() => {}
            _ => return false,
        }
    }
}

/// Whether a path is that of a file and not of a page.
fn is_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    path.starts_with("/assets/") || name.contains('.')
}

fn respond(
    status: StatusCode,
    asset: &Asset,
    headers: &HeaderMap,
) -> Result<Response<Body>, lambda_http::http::Error> {
    let accepts = |coding| encoding::accepts(headers, coding);
    let (content, coding) = if accepts("br") {
        (asset.brotli, Some("br"))
    } else if accepts("gzip") {
        (asset.gzip, Some("gzip"))
    } else {
        (asset.plain, None)
    };
    let tag = format!("\"{}-{}\"", asset.sha256, coding.unwrap_or("plain"));
    let is_known = status == StatusCode::OK && knows(headers, &tag);
    let is_hashed = asset.path.starts_with("/assets/");
    let mut response = Response::builder()
        .status(if is_known {
            StatusCode::NOT_MODIFIED
        } else {
            status
        })
        .header(header::ETAG, tag)
        .header(header::VARY, "accept-encoding")
        .header(
            header::CACHE_CONTROL,
            if is_hashed {
                CACHED_FOR_EVER
            } else {
                REVALIDATED
            },
        );
    if is_known {
        return response.body(Body::Empty);
    }
    response = response.header(header::CONTENT_TYPE, asset.content_type);
    if let Some(coding) = coding {
        response = response.header(header::CONTENT_ENCODING, coding);
    }
    response.body(Body::Binary(content.to_vec()))
}

/// Whether `If-None-Match` names this version.
fn knows(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|known| known.trim().trim_start_matches("W/"))
        .any(|known| known == tag || known == "*")
}

fn plain_text(status: StatusCode) -> lambda_http::http::response::Builder {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(header::CACHE_CONTROL, "no-store")
}

/// Adds the headers of every response, and removes the body of a response to `HEAD`.
fn finish(
    response: Result<Response<Body>, lambda_http::http::Error>,
    request: &Request,
) -> Result<Response<Body>, Problem> {
    let mut response = response.map_err(log_internal("response not built"))?;
    for (name, value) in SECURITY_HEADERS {
        let value = lambda_http::http::HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    if request.method() == Method::HEAD {
        *response.body_mut() = Body::Empty;
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn asset(path: &'static str) -> Asset {
        Asset {
            path,
            content_type: "text/javascript",
            sha256: "5f",
            plain: b"plain",
            brotli: b"br",
            gzip: b"gz",
        }
    }

    const SITE: Site = Site {
        page: asset("/"),
        assets: &[
            asset("/assets/a.js"),
            asset("/assets/b.js"),
            asset("/icon.svg"),
        ],
        pages: &["/agents", "/agents/:id", "/agents/:id/:tab"],
    };

    async fn get(path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let mut request = Request::new(Body::Empty);
        *request.uri_mut() = path.parse().expect("a path");
        for (name, value) in headers {
            let name = header::HeaderName::from_bytes(name.as_bytes()).expect("a name");
            request
                .headers_mut()
                .insert(name, value.parse().expect("a value"));
        }
        handle(request, Some(&SITE)).await.expect("a response")
    }

    #[tokio::test]
    async fn paths_lead_to_files_pages_and_404() {
        for (path, status, cache_control) in [
            ("/", 200, REVALIDATED),
            ("/agents", 200, REVALIDATED),
            ("/agents/", 200, REVALIDATED),
            ("/agents/x?tab=logs", 200, REVALIDATED),
            ("/agents/x/logs", 200, REVALIDATED),
            ("/agents/x/logs/y", 404, REVALIDATED),
            ("/agents//logs", 404, REVALIDATED),
            ("/elsewhere", 404, REVALIDATED),
            ("/assets/a.js", 200, CACHED_FOR_EVER),
            ("/assets/b.js", 200, CACHED_FOR_EVER),
            ("/icon.svg", 200, REVALIDATED),
            ("/assets/c.js", 404, "no-store"),
            ("/assets/c", 404, "no-store"),
            ("/favicon.ico", 404, "no-store"),
            ("/agents/..%2f..%2fetc/passwd.txt", 404, "no-store"),
        ] {
            let response = get(path, &[]).await;
            assert_eq!(response.status(), status, "{path}");
            assert_eq!(response.headers()["cache-control"], cache_control, "{path}");
            let is_text = response.headers()["content-type"] == "text/plain; charset=utf-8";
            assert_eq!(is_text, cache_control == "no-store", "{path}");
            assert_eq!(
                response.headers()["content-security-policy"],
                CONTENT_SECURITY_POLICY
            );
        }
    }

    #[tokio::test]
    async fn each_encoding_has_a_tag_of_its_own() {
        for (accepted, content, tag) in [
            ("gzip, deflate, br, zstd", "br", "\"5f-br\""),
            ("gzip", "gz", "\"5f-gzip\""),
            ("br;q=0, gzip;q=0.5", "gz", "\"5f-gzip\""),
            ("identity", "plain", "\"5f-plain\""),
            ("gzip;q=0", "plain", "\"5f-plain\""),
        ] {
            let response = get("/assets/a.js", &[("accept-encoding", accepted)]).await;
            assert_eq!(response.body().as_ref(), content.as_bytes(), "{accepted}");
            assert_eq!(response.headers()["etag"], tag, "{accepted}");
            assert_eq!(response.headers()["vary"], "accept-encoding");
            for (known, status) in [(tag, 304), ("\"x\", W/\"5f-br\", *", 304), ("\"5f\"", 200)] {
                let headers = [("accept-encoding", accepted), ("if-none-match", known)];
                let response = get("/assets/a.js", &headers).await;
                assert_eq!(response.status(), status, "{accepted} {known}");
                assert_eq!(response.body().is_empty(), status == 304);
            }
        }
        let response = get("/nowhere", &[("if-none-match", "*")]).await;
        assert_eq!(response.status(), 404, "a 404 is not turned into a 304");
    }

    #[tokio::test]
    async fn only_reads_are_allowed_and_a_missing_build_says_how_to_build() {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
            let mut request = Request::new(Body::Empty);
            *request.method_mut() = method.parse().expect("a method");
            let response = handle(request, Some(&SITE)).await.expect("a response");
            assert_eq!(response.status(), 405, "{method}");
            assert_eq!(response.headers()["allow"], "GET, HEAD");
        }
        let mut request = Request::new(Body::Empty);
        *request.method_mut() = Method::HEAD;
        let response = handle(request, Some(&SITE)).await.expect("a response");
        assert!(response.status() == 200 && response.body().is_empty());
        let response = handle(Request::new(Body::Empty), None)
            .await
            .expect("a response");
        assert_eq!(response.status(), 503);
        assert!(String::from_utf8_lossy(response.body().as_ref()).contains("npm run build"));
    }
}
