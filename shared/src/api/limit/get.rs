//! `GET /api/v1/admin/organizations/{organizationId}/limits`: the limits of an organization, for super admins.

use lambda_http::{Body, Request, Response};

use super::view::OrganizationLimitsJson;
use crate::api::deps::DatabaseDeps;
use crate::api::problem::Problem;
use crate::api::response::Data;
use crate::api::route::{CallerKind, ResponseKind, Route, Tag};
use crate::api::{list, path};
use crate::app::limit::usage::organization_usage;
use crate::domain::ids::OrganizationId;

pub const ROUTE: Route = Route {
    caller: CallerKind::SuperAdmin,
    responses: &[
        ResponseKind::json::<Data<OrganizationLimitsJson>>(200, "The limits.").with_etag(),
    ],
    refusals: &[400, 404],
    ..Route::get(
        "limit-get",
        "/api/v1/admin/organizations/{organizationId}/limits",
        Tag::Admin,
        "Get the limits of an organization, and what it uses of them",
    )
};

/// # Errors
/// 400, 401, 403, 404, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let organization_id: OrganizationId = path::identifier(&request, "organizationId")?;
    let usage = organization_usage(&deps.pool, organization_id).await?;
    let limits = OrganizationLimitsJson::from(usage);
    list::respond(&request, &Data::new(limits))
}
