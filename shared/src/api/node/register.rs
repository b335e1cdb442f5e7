//! `POST /api/v1/admin/docker-nodes`: registers a host.

use lambda_http::{Body, Request, Response};
use serde_json::json;

use super::view::NodeJson;
use super::{ReachDeps, fields, view};
use crate::api::body::{self, Fields};
use crate::api::problem::Problem;
use crate::api::{idempotency, json};
use crate::app::node::register::node_register;
use crate::db::hosts::operator::NewNode;
use crate::lambda::Invocation;

const SSH_PORT: u16 = 22;
const SSH_USER: &str = "root";
const CAPACITY: i32 = 8;

/// Meets a host and registers it.
///
/// # Errors
/// 400, 401, 403, 409, 415, 422, 503.
pub async fn handle(
    deps: &ReachDeps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let repeatable = idempotency::optional(&request, &admin, "node-register", &invocation)?;
    let node = read(body::object(&request)?)?;
    let registering = node_register(&deps.pool, &deps.fleet, admin.user_id, node, repeatable);
    let registered = Box::pin(registering).await?;
    let data = view::RegisteredJson {
        host_key_fingerprint: registered.node.host_key_fingerprint.clone(),
        node: NodeJson::new(registered.node),
        warning: registered.warning,
    };
    json::created(&json!({"success": true, "data": data}))
}

fn read(mut body: Fields) -> Result<NewNode, Problem> {
    let node_id = body.text("nodeId", fields::NODE_ID, fields::is_node_id);
    let hostname = body.text("hostname", fields::HOSTNAME, fields::is_hostname);
    let (ssh_port, ssh_user) = (fields::ssh_port(&mut body), fields::ssh_user(&mut body));
    let capacity = fields::capacity(&mut body);
    let host_key_fingerprint = fields::fingerprint(&mut body);
    body.finish()?;
    Ok(NewNode {
        node_id: node_id.unwrap_or_default(),
        hostname: hostname.unwrap_or_default(),
        ssh_port: ssh_port.unwrap_or(SSH_PORT),
        ssh_user: ssh_user.unwrap_or_else(|| SSH_USER.to_owned()),
        capacity: capacity.unwrap_or(CAPACITY),
        host_key_fingerprint,
    })
}
