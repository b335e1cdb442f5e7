//! `PATCH /api/v1/admin/docker-nodes/{nodeId}`: changes the settings of a host.

use lambda_http::{Body, Request, Response};
use serde_json::json;
use sqlx::PgPool;

use super::view::HostJson;
use super::{fields, node_id};
use crate::api::auth::Auth;
use crate::api::body::{self, Fields};
use crate::api::problem::Problem;
use crate::api::response;
use crate::app::node::update::node_update;
use crate::db::hosts::registry::HostChanges;
use crate::domain::address::AddressPolicy;

#[derive(Debug)]
pub struct Deps {
    pub pool: PgPool,
    pub auth: Auth,
    /// Which addresses hosts may have.
    pub address_policy: AddressPolicy,
}

/// # Errors
/// 400, 401, 403, 404, 415, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let node_id = node_id(&request)?;
    let changes = read(body::object(&request)?)?;
    let (pool, admin_id) = (&deps.pool, admin.user_id);
    let node = node_update(pool, deps.address_policy, admin_id, &node_id, &changes).await?;
    response::ok(&json!({"success": true, "data": HostJson::new(node)}))
}

fn read(mut body: Fields) -> Result<HostChanges, Problem> {
    let removes_pin = body.is_null("hostKeyFingerprint");
    let pin = fields::fingerprint(&mut body);
    let changes = HostChanges {
        hostname: body.optional_text("hostname", fields::HOSTNAME_RULE, fields::is_hostname),
        ssh_port: fields::ssh_port(&mut body),
        ssh_user: fields::ssh_user(&mut body),
        capacity: fields::capacity(&mut body),
        enabled: body.optional_flag("enabled"),
        metadata: fields::metadata(&mut body),
        host_key_fingerprint: (removes_pin || pin.is_some()).then_some(pin),
    };
    body.finish()?;
    if changes == HostChanges::default() {
        return Err(Problem::field("body", "must hold something to change"));
    }
    Ok(changes)
}
