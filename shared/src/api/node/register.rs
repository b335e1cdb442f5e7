//! `POST /api/v1/admin/docker-nodes`: registers a host.

use lambda_http::{Body, Request, Response};
use serde_json::json;

use super::fields;
use super::view::{HostJson, RegisteredHostJson};
use crate::api::body::{self, Fields};
use crate::api::deps::HostDeps;
use crate::api::problem::Problem;
use crate::api::{idempotency, response};
use crate::app::node::register::node_register;
use crate::db::hosts::registry::NewHost;
use crate::invocation::Invocation;

const DEFAULT_SSH_PORT: u16 = 22;
const DEFAULT_SSH_USER: &str = "root";
const DEFAULT_CAPACITY: i32 = 8;

/// Connects to the host once, to learn its key. A host that cannot be reached is registered with a warning.
///
/// # Errors
/// 400, 401, 403, 409, 415, 422, 503.
pub async fn handle(
    deps: &HostDeps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let key = idempotency::optional(&request, &admin, "node-register", &invocation)?;
    let host = read(body::object(&request)?)?;
    let registering = node_register(&deps.pool, &deps.hosts, admin.user_id, host, key);
    let registered = Box::pin(registering).await?;
    let data = RegisteredHostJson {
        host_key_fingerprint: registered.node.host_key_fingerprint.clone(),
        node: HostJson::new(registered.node),
        warning: registered.warning,
    };
    response::created(&json!({"success": true, "data": data}))
}

fn read(mut body: Fields) -> Result<NewHost, Problem> {
    let node_id = body.text("nodeId", fields::NODE_ID_RULE, fields::is_node_id);
    let hostname = body.text("hostname", fields::HOSTNAME_RULE, fields::is_hostname);
    let (ssh_port, ssh_user) = (fields::ssh_port(&mut body), fields::ssh_user(&mut body));
    let capacity = fields::capacity(&mut body);
    let host_key_fingerprint = fields::fingerprint(&mut body);
    body.finish()?;
    Ok(NewHost {
        node_id: node_id.unwrap_or_default(),
        hostname: hostname.unwrap_or_default(),
        ssh_port: ssh_port.unwrap_or(DEFAULT_SSH_PORT),
        ssh_user: ssh_user.unwrap_or_else(|| DEFAULT_SSH_USER.to_owned()),
        capacity: capacity.unwrap_or(DEFAULT_CAPACITY),
        host_key_fingerprint,
    })
}
