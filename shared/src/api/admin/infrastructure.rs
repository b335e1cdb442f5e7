//! `GET /api/v1/admin/infrastructure`: the fleet as the last refresh run observed it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lambda_http::http::response::Builder;
use lambda_http::{Body, Request, Response};
use sha2::{Digest, Sha256};

use super::fleet_page::FleetQuery;
use super::fleet_view::FleetView;
use crate::api::auth::Auth;
use crate::api::encoding::Encoding;
use crate::api::list;
use crate::api::problem::{Problem, log_internal};
use crate::api::response::Data;
use crate::api::route::{CallerKind, Parameter, ResponseHeader, ResponseKind, Route, Tag};
use crate::api::schema::{Cursor, FleetPart};
use crate::app::fleet::snapshot::{SnapshotRead, fleet_snapshot};
use crate::cache::Cache;
use crate::db::Database;
use crate::events::Publisher;

pub const ROUTE: Route = Route {
    description: "The response is a cached snapshot: no host is asked. `Age` gives its age. From 90 seconds on the \
                  snapshot is `stale`, and the request causes another inspection. Before the first inspection, the \
                  request waits up to 20 seconds.\n\n\
                  The response is compressed with gzip if `Accept-Encoding` allows it. A response that would be too \
                  long for the gateway is `truncated`: it has at most the 1,000 worst incidents, and as many hosts \
                  as fit, each with its agents. `cursor` gets the rest.",
    caller: CallerKind::SuperAdmin,
    parameters: &[
        Parameter::query::<String>(
            "nodeId",
            "Only this host, with its agents and incidents. The totals are still those of the fleet.",
        )
        .example(r#""local""#),
        Parameter::query::<FleetPart>("view", "Omit hosts and agents.").example(r#""summary""#),
        Parameter::query::<Cursor>(
            "cursor",
            "The `cursor` of the previous response. Any other text is refused.",
        )
        .example(r#""WyJsb2NhbCIsbnVsbF0""#),
    ],
    responses: &[ResponseKind::json::<Data<FleetView<'static>>>(
        200,
        "The snapshot, or the requested part of it.",
    )
    .with_headers(&[ResponseHeader::ETag, ResponseHeader::Age])],
    refusals: &[400, 404],
    ..Route::get(
        "admin-infrastructure",
        "/api/v1/admin/infrastructure",
        Tag::Admin,
        "Get the fleet as the last inspection found it",
    )
};

/// No client of hosts: the route only reads the cache.
#[derive(Debug)]
pub struct Deps {
    pub pool: Database,
    pub auth: Auth,
    pub cache: Cache,
    /// For requesting a refresh run.
    pub publisher: Publisher,
}

/// Returns the cached snapshot, however old; `Age` and `stale` say how old. The refresh run has made and compressed its
/// JSON: here it is only put together. A stale or missing snapshot makes one of all callers request a refresh run. If
/// nothing is cached, the answer waits for the first snapshot.
///
/// # Errors
/// 400, 401, 403, 404 for a host that is not registered, 503 if nothing is cached or the cache is
/// unavailable.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.authenticate(&deps.pool, &request, ROUTE.caller);
    let now = caller.await?.now;
    let query = FleetQuery::read(&request)?;
    let read = fleet_snapshot(&deps.cache, &deps.publisher, now).await?;
    let read = read.ok_or_else(|| {
        Problem::unavailable_for(10, "The fleet has not been inspected yet, please try again")
    })?;
    let snapshot = &read.cached.snapshot;
    let stale = snapshot.overview.is_stale(read.read_at);
    let tag = tag(&read, &query, stale);
    if list::is_known(&request, &tag) {
        let response = with_headers(Response::builder().status(304), &read, &tag);
        return response
            .body(Body::Empty)
            .map_err(log_internal("response not built"));
    }
    let encoding = Encoding::of(&request);
    let body = query.answer(snapshot, stale, encoding)?;
    let mut response = with_headers(Response::builder(), &read, &tag);
    response = response.header("content-type", "application/json");
    if encoding == Encoding::Gzip {
        response = response.header("content-encoding", "gzip");
    }
    response
        .body(body)
        .map_err(log_internal("response not built"))
}

fn with_headers(response: Builder, read: &SnapshotRead, tag: &str) -> Builder {
    let age = read.read_at - read.cached.snapshot.overview.refreshed_at;
    response
        .header("age", age.num_seconds().max(0))
        .header("etag", tag)
        .header("cache-control", "private, no-cache")
        .header("vary", "accept-encoding")
}

/// A weak tag: the same for the plain and the compressed form.
fn tag(read: &SnapshotRead, query: &FleetQuery, stale: bool) -> String {
    let version = read.cached.version;
    let text = format!("{version} {stale} {}", query.tag());
    let digest = Sha256::digest(text);
    format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(&digest[..16]))
}
