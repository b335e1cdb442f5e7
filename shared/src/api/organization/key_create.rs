//! `POST /api/v1/admin/organizations/{organizationId}/api-keys`: a super admin makes an API key for a user.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::fields::{self, MAX_NAME_CHARS};
use crate::api::body::{self, Fields};
use crate::api::deps::DatabaseDeps;
use crate::api::problem::{Problem, log_internal};
use crate::api::response::Data;
use crate::api::route::{CallerKind, RequestBody, ResponseKind, Route, Tag};
use crate::api::schema::PlainText;
use crate::api::{path, response};
use crate::app::organization::key_create::{KeyRequest, key_create};
use crate::domain::access::{Permission, Permissions};
use crate::domain::ids::{ApiKeyId, UserId};
use crate::random::random_bytes;

pub const ROUTE: Route = Route {
    description: "Only this response shows the key: the database has its digest. There is no `Idempotency-Key`, because \
                  the key would be stored with it; a request whose response was lost has made a key that nobody knows. \
                  `admin` opens the routes of operators, and is refused with 409 unless the user is a super admin.",
    caller: CallerKind::SuperAdmin,
    body: Some(RequestBody::required::<ApiKeyRequest>(
        r#"{"userId": "44444444-5555-4666-8777-888888888888", "name": "laptop", "permissions": ["read", "agents"]}"#,
    )),
    responses: &[ResponseKind::json::<Data<ApiKeyCreated>>(
        201,
        "The key. It is shown only in this response.",
    )],
    refusals: &[404, 409],
    ..Route::post(
        "organization-key-create",
        "/api/v1/admin/organizations/{organizationId}/api-keys",
        Tag::Admin,
        "Make an API key for a user of an organization",
    )
};

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct ApiKeyRequest {
    /// A user of the organization. What the user's role does not allow, the key does not either.
    user_id: UserId,
    /// What the key is for.
    #[schemars(with = "PlainText", extend("minLength" = 1, "maxLength" = MAX_NAME_CHARS))]
    name: String,
    /// What the key may be used for, besides reading. Everything but `admin` if it is left out.
    #[schemars(extend("minItems" = 1))]
    permissions: Option<Vec<Permission>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct ApiKeyCreated {
    /// By which the key is revoked.
    id: ApiKeyId,
    #[schemars(extend("pattern" = "^eliza_[0-9a-f]{64}$"))]
    api_key: String,
}

/// # Errors
/// 400, 401, 403, 404, 409, 415, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let organization_id = path::identifier(&request, "organizationId")?;
    let mut fields = body::object(&request)?;
    let user_id = fields.identifier("userId");
    let name = fields::name(&mut fields, "name");
    let permissions = permissions(&mut fields);
    fields.finish()?;
    let asked = KeyRequest {
        admin_id: admin.user_id,
        organization_id,
        user_id: user_id.ok_or_else(|| Problem::field("userId", "is required"))?,
        name: name.unwrap_or_default(),
        permissions,
        secret: random_bytes().map_err(log_internal("API key not made"))?,
    };
    let created = key_create(&deps.pool, &asked).await?;
    response::created(ApiKeyCreated {
        id: created.id,
        api_key: created.api_key,
    })
}

fn permissions(fields: &mut Fields) -> Permissions {
    let Some(value) = fields.take("permissions") else {
        return Permissions::unrestricted();
    };
    let words = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let named = words.iter().map(|word| Permission::parse(word.as_str()?));
    let named: Option<Vec<Permission>> = named.collect();
    let named = named.filter(|named| !named.is_empty());
    if named.is_none() {
        let rule = "must be a list of at least one of read, agents, billing and admin";
        fields.refuse("permissions", rule);
    }
    Permissions::of_new_key(&named.unwrap_or_default())
}
