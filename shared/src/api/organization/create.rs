//! `POST /api/v1/admin/organizations`: a super admin adds an organization and its first owner.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::fields::{self, MAX_NAME_CHARS};
use crate::api::body::{self, Fields};
use crate::api::deps::DatabaseDeps;
use crate::api::parameters::IDEMPOTENCY_KEY;
use crate::api::problem::Problem;
use crate::api::response::Data;
use crate::api::route::{CallerKind, RequestBody, ResponseKind, Route, Tag};
use crate::api::schema::{MailAddress, PlainText, Slug};
use crate::api::{idempotency, response};
use crate::app::organization::create::{OrganizationRequest, organization_create};
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::slug::{is_slug, slug_of};
use crate::invocation::Invocation;

pub const ROUTE: Route = Route {
    description: "The organization has no credit. Its owner needs an API key to sign in. Refused with 409 if the slug or \
                  the mail address is taken.",
    caller: CallerKind::SuperAdmin,
    parameters: &[IDEMPOTENCY_KEY
        .required()
        .example(r#""5f0c7a1e-organization""#)],
    body: Some(RequestBody::required::<OrganizationCreateRequest>(
        r#"{"name": "Acme", "slug": "acme", "ownerEmail": "ada@acme.example", "ownerName": "Ada"}"#,
    )),
    responses: &[ResponseKind::json::<Data<OrganizationCreated>>(
        201,
        "The organization and its owner.",
    )],
    refusals: &[409, 422],
    ..Route::post(
        "organization-create",
        "/api/v1/admin/organizations",
        Tag::Admin,
        "Add an organization and its first owner",
    )
};

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct OrganizationCreateRequest {
    #[schemars(with = "PlainText", extend("minLength" = 1, "maxLength" = MAX_NAME_CHARS))]
    name: String,
    /// No other organization has it. Made of the name if it is left out.
    slug: Option<Slug>,
    /// No other user has it, in any case of letters. Mails about credit go there.
    owner_email: MailAddress,
    #[schemars(with = "Option<PlainText>", extend("maxLength" = MAX_NAME_CHARS))]
    owner_name: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct OrganizationCreated {
    id: OrganizationId,
    owner_id: UserId,
}

/// # Errors
/// 400, 401, 403, 409, 415, 422, 503.
pub async fn handle(
    deps: &DatabaseDeps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let key = idempotency::required(&request, &admin, "organization-create", &invocation)?;
    let asked = read(admin.user_id, body::object(&request)?)?;
    let created = organization_create(&deps.pool, &asked, key).await?;
    response::created(OrganizationCreated {
        id: created.organization_id,
        owner_id: created.owner_id,
    })
}

fn read(admin_id: UserId, mut fields: Fields) -> Result<OrganizationRequest, Problem> {
    let name = fields::name(&mut fields, "name");
    let rule = "must be lower-case letters and digits, joined by single dashes, 100 at most";
    let slug = fields.optional_text("slug", rule, is_slug);
    let owner_email = fields::mail_address(&mut fields, "ownerEmail");
    let owner_name = fields::optional_name(&mut fields, "ownerName");
    fields.finish()?;
    let name = name.unwrap_or_default();
    Ok(OrganizationRequest {
        admin_id,
        slug: slug.unwrap_or_else(|| slug_of(&name)),
        name,
        owner_email: owner_email.unwrap_or_default(),
        owner_name,
    })
}
