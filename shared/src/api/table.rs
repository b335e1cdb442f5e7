//! Lists that are served as JSON and as CSV. Owns: how a page is cut, and the header `Link` that leads to the next one.

use lambda_http::{Body, Request, RequestExt, Response};
use serde::Serialize;

use super::csv::{self, Columns};
use super::list;
use super::problem::{Problem, log_internal};
use crate::domain::history::Positioned;

/// How a page is served.
#[derive(Clone, Copy, Debug)]
pub struct PageFormat {
    is_csv: bool,
    /// The rows of a page.
    pub limit: i64,
}

impl PageFormat {
    /// `limit` reads the parameter of this name. CSV has more rows unless it is there.
    ///
    /// # Errors
    /// 400 if it is not valid.
    pub fn of(
        request: &Request,
        limit: impl Fn(&Request) -> Result<i64, Problem>,
    ) -> Result<Self, Problem> {
        let is_csv = csv::is_wanted(request);
        let is_limited = list::parameter(request, "limit").is_some();
        let limit = if is_csv && !is_limited {
            csv::MAX_LINES
        } else {
            limit(request)?
        };
        Ok(Self { is_csv, limit })
    }

    /// The rows to read: one more than a page holds, to know where the next begins.
    #[must_use]
    pub fn rows(self) -> i64 {
        self.limit + 1
    }
}

/// A list without pages.
///
/// # Errors
/// 500 if the body has no form.
pub fn respond<T: Columns, B: Serialize>(
    request: &Request,
    rows: Vec<T>,
    body: impl FnOnce(Vec<T>) -> B,
) -> Result<Response<Body>, Problem> {
    if csv::is_wanted(request) {
        let (text, _) = csv::encode(&rows)?;
        return respond_csv(request, text, None);
    }
    list::respond(request, &body(rows)).map(vary)
}

/// One page of the rows that were read. `cursor_text` is what the cursor of a position carries, `body` makes the JSON.
///
/// # Errors
/// 500 if the body has no form.
pub fn respond_page<T: Columns, P, B: Serialize>(
    request: &Request,
    format: PageFormat,
    rows: Vec<Positioned<T, P>>,
    cursor_text: impl Fn(&P) -> String,
    body: impl FnOnce(Vec<T>, Option<String>) -> B,
) -> Result<Response<Body>, Problem> {
    let (mut rows, positions): (Vec<T>, Vec<P>) =
        rows.into_iter().map(|row| (row.row, row.position)).unzip();
    let cursor = |position: &P| list::encode_text(&cursor_text(position));
    let page_size = usize::try_from(format.limit).unwrap_or(usize::MAX);
    rows.truncate(page_size);
    if format.is_csv {
        let (text, count) = csv::encode(&rows)?;
        return respond_csv(request, text, positions.get(count).map(cursor));
    }
    let next_cursor = positions.get(page_size).map(cursor);
    list::respond(request, &body(rows, next_cursor)).map(vary)
}

fn respond_csv(
    request: &Request,
    text: String,
    next_cursor: Option<String>,
) -> Result<Response<Body>, Problem> {
    let response = Response::builder()
        .status(200)
        .header("content-type", "text/csv; charset=utf-8; header=present");
    let response = match next_cursor {
        Some(cursor) => response.header("link", next_link(request, &cursor)),
        None => response,
    };
    let response = response.body(Body::Text(text));
    let response = response.map_err(log_internal("response not built"))?;
    list::tagged(request, response).map(vary)
}

/// The same request with another cursor.
fn next_link(request: &Request, cursor: &str) -> String {
    let query = request.uri().query().unwrap_or_default();
    let parameters = query.split('&');
    let kept =
        parameters.filter(|parameter| !parameter.is_empty() && !parameter.starts_with("cursor="));
    let cursor = format!("cursor={cursor}");
    let query: Vec<&str> = kept.chain([cursor.as_str()]).collect();
    format!(
        "<{}?{}>; rel=\"next\"",
        request.raw_http_path(),
        query.join("&")
    )
}

/// The body depends on `Accept`, too.
fn vary(mut response: Response<Body>) -> Response<Body> {
    let accept = lambda_http::http::HeaderValue::from_static("Accept, Accept-Encoding");
    response.headers_mut().insert("vary", accept);
    response
}
