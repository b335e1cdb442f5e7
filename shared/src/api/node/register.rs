//! `POST /api/v1/admin/docker-nodes`: registers a host.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde_json::json;

use super::fields::{self, MAX_CAPACITY};
use super::view::{HostJson, RegisteredHostJson};
use crate::api::body::{self, Fields};
use crate::api::deps::HostDeps;
use crate::api::parameters::IDEMPOTENCY_KEY;
use crate::api::problem::Problem;
use crate::api::response::Data;
use crate::api::route::{CallerKind, Link, RequestBody, ResponseKind, Route, Tag};
use crate::api::schema::{HostKeyFingerprint, Hostname, NodeId, SshUser};
use crate::api::{idempotency, response};
use crate::app::node::register::node_register;
use crate::db::hosts::registry::NewHost;
use crate::invocation::Invocation;

pub const ROUTE: Route = Route {
    description: "We connect to the host first and pin the key it presents. A host that cannot be reached or refuses \
                  our key is registered with a warning. A host that presents another key than the given one is not \
                  registered.",
    caller: CallerKind::SuperAdmin,
    parameters: &[IDEMPOTENCY_KEY],
    body: Some(RequestBody::required::<NodeRegisterRequest>(EXAMPLE)),
    responses: &[
        ResponseKind::json::<Data<RegisteredHostJson>>(201, "The host was registered.")
            .with_links(&[NODE_LINK]),
    ],
    refusals: &[409, 422],
    ..Route::post(
        "node-register",
        "/api/v1/admin/docker-nodes",
        Tag::Admin,
        "Register a host",
    )
};

const EXAMPLE: &str = r#"{
    "nodeId": "eu-1",
    "hostname": "no-such-host.invalid",
    "sshPort": 22,
    "capacity": 8,
    "sshUser": "root"
}"#;

const NODE_LINK: Link = Link {
    name: "get",
    operation: "node-get",
    parameter: "nodeId",
    pointer: "/data/nodeId",
    description: "Get the new host.",
};

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct NodeRegisterRequest {
    #[schemars(extend("not" = json!({"const": "sync"})))]
    node_id: NodeId,
    /// A host name, or an IPv4 or IPv6 address. It must be public, unless the deployment allows private addresses.
    hostname: Hostname,
    /// 22 by default.
    #[schemars(range(min = 1, max = 65_535))]
    ssh_port: Option<u16>,
    /// The number of agents the host has room for; 8 by default.
    #[schemars(range(min = 1, max = MAX_CAPACITY))]
    capacity: Option<i32>,
    /// root by default.
    ssh_user: Option<SshUser>,
    /// The SHA-256 fingerprint of the host's key as OpenSSH prints it. A host that presents another key is not
    /// registered.
    host_key_fingerprint: Option<HostKeyFingerprint>,
}

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
    response::created(data)
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
        ssh_port: ssh_port.unwrap_or(fields::DEFAULT_SSH_PORT),
        ssh_user: ssh_user.unwrap_or_else(|| fields::DEFAULT_SSH_USER.to_owned()),
        capacity: capacity.unwrap_or(DEFAULT_CAPACITY),
        host_key_fingerprint,
    })
}
