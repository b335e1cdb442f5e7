//! `GET /api/v1/admin/organizations/{organizationId}/users`: the users of an organization and their API keys, newest first.

use std::collections::HashMap;

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::deps::DatabaseDeps;
use crate::api::list::{self, Entries, Page};
use crate::api::parameters::{CURSOR, LIMIT};
use crate::api::path;
use crate::api::problem::Problem;
use crate::api::route::{CallerKind, ResponseKind, Route, Tag};
use crate::app::error::RequestError;
use crate::db::identity::api_keys::{ApiKeyRecord, MAX_LISTED_KEYS, api_keys_of_users};
use crate::db::identity::organizations::organization_name;
use crate::db::identity::users::{UserRecord, users_page};
use crate::db::page::PagePosition;
use crate::domain::access::{Permission, Permissions, Role};
use crate::domain::ids::{ApiKeyId, OrganizationId, UserId};
use crate::domain::mail::masked_address;
use crate::domain::timestamp::Timestamp;

pub const ROUTE: Route = Route {
    caller: CallerKind::SuperAdmin,
    parameters: &[LIMIT, CURSOR],
    responses: &[
        ResponseKind::json::<Page<Entries<UserJson>>>(200, "One page of users.").with_etag(),
    ],
    refusals: &[400, 404],
    ..Route::get(
        "organization-users",
        "/api/v1/admin/organizations/{organizationId}/users",
        Tag::Admin,
        "List the users of an organization and their API keys, newest first",
    )
};

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OrganizationUser")]
struct UserJson {
    id: UserId,
    /// Null for a user without a name.
    name: Option<String>,
    /// Enough of the mail address to recognize it, such as `a***@e***.com`. Null if there is none.
    email: Option<String>,
    /// What the user is in the organization now: `owner` also stands for admins, and for the oldest active user where
    /// nobody else owns it.
    role: Role,
    /// Whether the user's keys may permit `admin`.
    super_admin: bool,
    /// Whether user and organization may use the service.
    active: bool,
    created_at: Timestamp,
    /// Those that can be used, newest first.
    #[schemars(length(max = MAX_LISTED_KEYS))]
    api_keys: Vec<ApiKeyJson>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OrganizationApiKey")]
struct ApiKeyJson {
    id: ApiKeyId,
    name: String,
    /// How the key begins.
    prefix: String,
    permissions: Vec<Permission>,
    /// Null if it does not expire.
    expires_at: Option<Timestamp>,
    /// To the minute. Null if it was not used yet.
    last_used_at: Option<Timestamp>,
    created_at: Timestamp,
}

impl UserJson {
    fn new(user: UserRecord, api_keys: Vec<ApiKeyJson>) -> Self {
        Self {
            id: user.id,
            // Some identity providers put the mail address there.
            name: user.name.filter(|name| !name.contains('@')),
            email: user.email.as_deref().map(masked_address),
            role: user.role,
            super_admin: user.is_super_admin,
            active: user.is_active,
            created_at: Timestamp(user.created_at),
            api_keys,
        }
    }
}

impl From<ApiKeyRecord> for ApiKeyJson {
    fn from(key: ApiKeyRecord) -> Self {
        Self {
            id: key.id,
            name: key.name,
            prefix: key.key_prefix,
            permissions: Permissions::of_key(&key.permissions).as_slice().to_vec(),
            expires_at: key.expires_at.map(Timestamp),
            last_used_at: key.last_used_at.map(Timestamp),
            created_at: Timestamp(key.created_at),
        }
    }
}

/// # Errors
/// 400 if `limit` or `cursor` is not valid, 401, 403, 404, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let organization_id: OrganizationId = path::identifier(&request, "organizationId")?;
    let limit = list::limit(&request)?;
    let after = list::cursor(&request)?;
    let mut conn = deps.pool.statements();
    if organization_name(&mut conn, organization_id)
        .await?
        .is_none()
    {
        return Err(RequestError::ORGANIZATION_NOT_FOUND.into());
    }
    let users = users_page(&mut conn, organization_id, after, limit + 1).await?;
    let (users, next_cursor) = list::cut(users, limit, |user| PagePosition {
        created_at: user.created_at,
        id: user.id.uuid(),
    });
    let user_ids: Vec<UserId> = users.iter().map(|user| user.id).collect();
    let keys = api_keys_of_users(&mut conn, organization_id, &user_ids).await?;
    drop(conn);
    let mut keys_of: HashMap<UserId, Vec<ApiKeyJson>> = HashMap::new();
    for key in keys {
        keys_of.entry(key.user_id).or_default().push(key.into());
    }
    let users = users.into_iter().map(|user| {
        let keys = keys_of.remove(&user.id).unwrap_or_default();
        UserJson::new(user, keys)
    });
    list::respond(&request, &Page::new(Entries(users.collect()), next_cursor))
}
