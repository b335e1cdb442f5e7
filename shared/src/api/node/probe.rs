//! `POST /api/v1/admin/docker-nodes/probe`: looks at a host before it is registered.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::fields;
use crate::api::body::{self, Fields};
use crate::api::deps::HostDeps;
use crate::api::problem::Problem;
use crate::api::response::{self, Data};
use crate::api::route::{CallerKind, RequestBody, ResponseKind, Route, Tag};
use crate::api::schema::{HostKeyFingerprint, Hostname, SshUser};
use crate::app::node::probe::{HostAddress, ProbedHost, node_probe};

pub const ROUTE: Route = Route {
    description: "Connects to the host, accepts whatever key it presents, and stores nothing. To register the host with \
                  this key only, send `fingerprint` as `hostKeyFingerprint`. Takes 15 seconds at most.",
    caller: CallerKind::SuperAdmin,
    body: Some(RequestBody::required::<NodeProbeRequest>(EXAMPLE)),
    responses: &[ResponseKind::json::<Data<NodeProbe>>(
        200,
        "What the host presents.",
    )],
    ..Route::post(
        "node-probe",
        "/api/v1/admin/docker-nodes/probe",
        Tag::Admin,
        "Look at a host before registering it",
    )
};

const EXAMPLE: &str = r#"{"hostname": "no-such-host.invalid", "sshPort": 22, "sshUser": "root"}"#;

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct NodeProbeRequest {
    /// A host name, or an IPv4 or IPv6 address. It must be public, unless the deployment allows private addresses.
    hostname: Hostname,
    /// 22 by default.
    #[schemars(range(min = 1, max = 65_535))]
    ssh_port: Option<u16>,
    /// root by default.
    ssh_user: Option<SshUser>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct NodeProbe {
    /// The SHA-256 fingerprint of the key that the host presented. Null if the connection failed before that.
    #[schemars(with = "Option<HostKeyFingerprint>")]
    fingerprint: Option<String>,
    /// The type of that key, such as `ssh-ed25519`.
    key_type: Option<String>,
    /// Whether the host accepted our key.
    ssh_ok: bool,
    /// Why we cannot log in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    error: Option<String>,
    /// Absent if we cannot log in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ProbedEngine")]
    docker: Option<ProbedEngine>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct ProbedEngine {
    ok: bool,
    version: Option<String>,
    /// Why the Docker Engine cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    error: Option<String>,
}

impl From<ProbedHost> for NodeProbe {
    fn from(host: ProbedHost) -> Self {
        let (error, engine) = match host.engine {
            Ok(engine) => (None, Some(engine)),
            Err(error) => (Some(error.to_string()), None),
        };
        Self {
            fingerprint: host.fingerprint.map(|fingerprint| fingerprint.to_string()),
            key_type: host.key_type,
            ssh_ok: engine.is_some(),
            error,
            docker: engine.map(|engine| ProbedEngine {
                ok: engine.is_ok(),
                error: engine.as_ref().err().map(ToString::to_string),
                version: engine.unwrap_or_default(),
            }),
        }
    }
}

/// # Errors
/// 400, 401, 403, 415, 503.
pub async fn handle(deps: &HostDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let address = read(body::object(&request)?)?;
    let probed = Box::pin(node_probe(&deps.hosts, address)).await?;
    response::ok(NodeProbe::from(probed))
}

fn read(mut body: Fields) -> Result<HostAddress, Problem> {
    let hostname = body.text("hostname", fields::HOSTNAME_RULE, fields::is_hostname);
    let (ssh_port, ssh_user) = (fields::ssh_port(&mut body), fields::ssh_user(&mut body));
    body.finish()?;
    Ok(HostAddress {
        hostname: hostname.unwrap_or_default(),
        ssh_port: ssh_port.unwrap_or(fields::DEFAULT_SSH_PORT),
        ssh_user: ssh_user.unwrap_or_else(|| fields::DEFAULT_SSH_USER.to_owned()),
    })
}
