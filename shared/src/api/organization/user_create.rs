//! `POST /api/v1/admin/organizations/{organizationId}/users`: a super admin adds a user to an organization.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::fields::{self, MAX_NAME_CHARS};
use crate::api::deps::DatabaseDeps;
use crate::api::parameters::IDEMPOTENCY_KEY;
use crate::api::problem::Problem;
use crate::api::response::Data;
use crate::api::route::{CallerKind, RequestBody, ResponseKind, Route, Tag};
use crate::api::schema::{MailAddress, PlainText};
use crate::api::{body, idempotency, path, response};
use crate::app::organization::user_create::{UserRequest, user_create};
use crate::domain::access::Role;
use crate::domain::ids::UserId;
use crate::invocation::Invocation;

pub const ROUTE: Route = Route {
    description: "The user needs an API key to sign in. Refused with 409 if the mail address is taken.",
    caller: CallerKind::SuperAdmin,
    parameters: &[IDEMPOTENCY_KEY.required().example(r#""5f0c7a1e-user""#)],
    body: Some(RequestBody::required::<OrganizationUserRequest>(
        r#"{"email": "bob@acme.example", "name": "Bob", "role": "member"}"#,
    )),
    responses: &[ResponseKind::json::<Data<UserCreated>>(
        201,
        "The user was added.",
    )],
    refusals: &[404, 409, 422],
    ..Route::post(
        "organization-user-create",
        "/api/v1/admin/organizations/{organizationId}/users",
        Tag::Admin,
        "Add a user to an organization",
    )
};

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct OrganizationUserRequest {
    /// No other user has it, in any case of letters.
    email: MailAddress,
    #[schemars(with = "Option<PlainText>", extend("maxLength" = MAX_NAME_CHARS))]
    name: Option<String>,
    /// What the user may do in the organization.
    role: Role,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct UserCreated {
    id: UserId,
}

/// # Errors
/// 400, 401, 403, 404, 409, 415, 422, 503.
pub async fn handle(
    deps: &DatabaseDeps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let organization_id = path::identifier(&request, "organizationId")?;
    let key = idempotency::required(&request, &admin, "organization-user-create", &invocation)?;
    let mut fields = body::object(&request)?;
    let email = fields::mail_address(&mut fields, "email");
    let name = fields::optional_name(&mut fields, "name");
    let choices = "must be owner, member or viewer";
    let word = fields.text("role", choices, |word| Role::parse(word).is_some());
    fields.finish()?;
    let role = word.and_then(|word| Role::parse(&word));
    let asked = UserRequest {
        admin_id: admin.user_id,
        organization_id,
        email: email.unwrap_or_default(),
        name,
        role: role.ok_or_else(|| Problem::field("role", "is required"))?,
    };
    let id = user_create(&deps.pool, &asked, key).await?;
    response::created(UserCreated { id })
}
