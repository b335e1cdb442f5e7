//! `GET /api/v1/settings`: the settings of the caller's organization.

use lambda_http::{Body, Request, Response};

use super::view::SettingsJson;
use crate::api::deps::DatabaseDeps;
use crate::api::list;
use crate::api::problem::Problem;
use crate::api::response::Data;
use crate::api::route::{ResponseKind, Route, Tag};
use crate::db::identity::settings::settings_find;

pub const ROUTE: Route = Route {
    responses: &[ResponseKind::json::<Data<SettingsJson>>(200, "The settings.").with_etag()],
    ..Route::get(
        "settings-get",
        "/api/v1/settings",
        Tag::Credits,
        "Get the settings of the organization",
    )
};

/// # Errors
/// 401, 403, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let mut conn = deps.pool.statements();
    let organization_id = caller.organization_id;
    let settings = settings_find(&mut conn, organization_id).await?;
    let settings = SettingsJson::read(&mut conn, organization_id, settings, caller.role).await?;
    list::respond(&request, &Data::new(settings))
}
