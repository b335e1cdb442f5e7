//! `PATCH /api/v1/admin/organizations/{organizationId}/limits`: a super admin changes the limits of an organization.

use std::borrow::Cow;

use lambda_http::{Body, Request, Response};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::view::OrganizationLimitsJson;
use crate::api::body::{self, Fields};
use crate::api::deps::DatabaseDeps;
use crate::api::path;
use crate::api::problem::Problem;
use crate::api::response::{self, Data};
use crate::api::route::{CallerKind, RequestBody, ResponseKind, Route, Tag};
use crate::app::limit::update::{NewLimit, limit_update};
use crate::domain::ids::OrganizationId;
use crate::domain::limits::LimitName;

pub const ROUTE: Route = Route {
    description: "The limits that the body names hold from now on. What exceeds a lower one stays as it is; only what \
                  comes on top of it is refused.",
    caller: CallerKind::SuperAdmin,
    body: Some(RequestBody::required::<LimitsRequest>(
        r#"{"agents": 500, "openStreams": null}"#,
    )),
    responses: &[ResponseKind::json::<Data<OrganizationLimitsJson>>(
        200,
        "The limits from now on.",
    )],
    refusals: &[404],
    ..Route::patch(
        "limit-update",
        "/api/v1/admin/organizations/{organizationId}/limits",
        Tag::Admin,
        "Change the limits of an organization",
    )
};

/// Describes the body, which `Fields` reads: an optional member for each limit, at least one of them.
#[derive(Clone, Copy, Debug)]
pub struct LimitsRequest;

impl JsonSchema for LimitsRequest {
    fn schema_name() -> Cow<'static, str> {
        "LimitsRequest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let property = |limit: &LimitName| {
            let bounds = limit.bounds();
            let schema = json!({
                "type": ["integer", "null"], "minimum": bounds.start(), "maximum": bounds.end(),
            });
            (limit.as_str().to_owned(), schema)
        };
        let properties: Map<String, Value> = LimitName::ALL.iter().map(property).collect();
        let required = LimitName::ALL
            .iter()
            .map(|limit| json!({"required": [limit.as_str()]}));
        json_schema!({
            "type": "object",
            "description": "At least one of the limits. Null stands for the default.",
            "properties": properties,
            "anyOf": required.collect::<Vec<_>>(),
        })
    }
}

/// # Errors
/// 400, 401, 403, 404, 415, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let organization_id: OrganizationId = path::identifier(&request, "organizationId")?;
    let new_limits = read(body::object(&request)?)?;
    let usage = limit_update(&deps.pool, admin.user_id, organization_id, &new_limits).await?;
    response::ok(OrganizationLimitsJson::from(usage))
}

fn read(mut fields: Fields) -> Result<Vec<NewLimit>, Problem> {
    let mut new_limits = Vec::new();
    for limit in LimitName::ALL.iter().copied() {
        let field = limit.as_str();
        let (is_null, bounds) = (fields.is_null(field), limit.bounds());
        let rule = format!(
            "must be a whole number from {} to {}, or null",
            bounds.start(),
            bounds.end()
        );
        let value = fields.optional_integer(field, rule, bounds);
        if is_null || value.is_some() {
            new_limits.push(NewLimit { limit, value });
        }
    }
    fields.finish()?;
    if new_limits.is_empty() {
        return Err(Problem::field("body", "must name at least one limit"));
    }
    Ok(new_limits)
}
