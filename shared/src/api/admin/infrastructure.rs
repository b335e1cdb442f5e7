//! `GET /api/v1/admin/infrastructure`: the fleet as the last pass over its hosts found it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lambda_http::http::response::Builder;
use lambda_http::{Body, Request, Response};
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use super::fleet_page::Asked;
use crate::api::auth::Auth;
use crate::api::encoding::Encoding;
use crate::api::list;
use crate::api::problem::Problem;
use crate::app::fleet::snapshot::{Seen, fleet_snapshot};
use crate::cache::Cache;
use crate::db::clock::billing_clock;
use crate::events::Publisher;

/// What the route needs. Nothing of it opens a host.
#[derive(Debug)]
pub struct Deps {
    /// One connection.
    pub pool: PgPool,
    /// Who may call.
    pub auth: Auth,
    /// Where the snapshot is.
    pub cache: Cache,
    /// Tells that another one is wanted.
    pub publisher: Publisher,
}

/// Answers what is cached, however old: `Age` and `stale` say so. A stale snapshot makes one of all
/// callers ask for another one. Where none is cached, the answer waits for the first.
///
/// # Errors
/// 400, 401, 403, 404 for a host that is not registered, 503 when nothing is cached or the cache is away.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let asked = Asked::read(&request)?;
    // The connection is given back before anything else is waited for.
    let now = billing_clock(&mut *deps.pool.acquire().await?).await?;
    let seen = fleet_snapshot(&deps.cache, &deps.publisher, now).await?;
    let seen = seen.ok_or_else(|| {
        Problem::unavailable_for(10, "The fleet has not been inspected yet, please try again")
    })?;
    let snapshot = &seen.cached.snapshot;
    let stale = snapshot.is_stale(seen.at);
    let tag = tag(&seen, &asked, stale);
    if list::is_known(&request, &tag) {
        let response = headers(Response::builder().status(304), &seen, &tag);
        return response.body(Body::Empty).map_err(|_| Problem::internal());
    }
    let encoding = Encoding::of(&request);
    let body = asked.answer(snapshot, stale, encoding)?;
    let mut response = headers(Response::builder(), &seen, &tag);
    response = response.header("content-type", "application/json");
    if encoding == Encoding::Gzip {
        response = response.header("content-encoding", "gzip");
    }
    response.body(body).map_err(|_| Problem::internal())
}

fn headers(response: Builder, seen: &Seen, tag: &str) -> Builder {
    let age = seen.at - seen.cached.snapshot.refreshed_at.0;
    response
        .header("age", age.num_seconds().max(0))
        .header("etag", tag)
        .header("cache-control", "private, no-cache")
        .header("vary", "accept-encoding")
}

/// Weak, for it says what is told and not in which bytes.
fn tag(seen: &Seen, asked: &Asked, stale: bool) -> String {
    let refreshed_at = seen.cached.snapshot.refreshed_at.0.timestamp_millis();
    let text = format!(
        "{} {refreshed_at} {stale} {}",
        seen.cached.token,
        asked.tag()
    );
    let digest = Sha256::digest(text);
    format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(&digest[..16]))
}
