//! `DELETE /api/v1/admin/organizations/{organizationId}/api-keys/{keyId}`: a super admin revokes an API key.

use lambda_http::{Body, Request, Response};

use crate::api::deps::DatabaseDeps;
use crate::api::problem::Problem;
use crate::api::response::Done;
use crate::api::route::{CallerKind, ResponseKind, Route, Tag};
use crate::api::{path, response};
use crate::app::organization::key_revoke::{Revocation, key_revoke};

pub const ROUTE: Route = Route {
    description: "The key and the sessions that began with it end at once. The key with which the caller asks, or began \
                  the session, is refused with 409, and so is any key once that one is revoked. A key that is revoked \
                  already is a 404.",
    caller: CallerKind::SuperAdmin,
    responses: &[ResponseKind::json::<Done>(200, "The key is revoked.")],
    refusals: &[400, 404, 409],
    ..Route::delete(
        "organization-key-revoke",
        "/api/v1/admin/organizations/{organizationId}/api-keys/{keyId}",
        Tag::Admin,
        "Revoke an API key of a user of an organization",
    )
};

/// # Errors
/// 400, 401, 403, 404, 409, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let operator = deps
        .auth
        .authenticate(&deps.pool, &request, ROUTE.caller)
        .await?;
    let revocation = Revocation {
        admin_id: operator.caller.user_id,
        own_key_id: operator.key_id,
        organization_id: path::identifier(&request, "organizationId")?,
        key_id: path::identifier(&request, "keyId")?,
    };
    key_revoke(&deps.pool, revocation).await?;
    response::done()
}
