//! `PATCH /api/v1/admin/docker-nodes/{nodeId}`: changes the settings of a host.

use lambda_http::{Body, Request, Response};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::fields::{self, MAX_CAPACITY};
use super::path::node_id;
use super::view::HostJson;
use crate::api::auth::Auth;
use crate::api::body::{self, Fields};
use crate::api::problem::Problem;
use crate::api::response::{self, Data};
use crate::api::route::{CallerKind, RequestBody, ResponseKind, Route, Tag};
use crate::api::schema::{HostKeyFingerprint, Hostname, Json, SshUser, Text};
use crate::app::node::update::node_update;
use crate::db::Database;
use crate::db::hosts::registry::HostChanges;
use crate::domain::address::AddressPolicy;

pub const ROUTE: Route = Route {
    description: "A host whose capacity is below its allocated slots gets no new agents. A host whose address changes \
                  keeps its pinned key, unless the request clears or replaces the key. A host that is drained or \
                  declared lost is not enabled: 409.",
    caller: CallerKind::SuperAdmin,
    body: Some(RequestBody::required::<NodeUpdateRequest>(
        r#"{"capacity": 12, "enabled": true}"#,
    )),
    responses: &[ResponseKind::json::<Data<HostJson>>(
        200,
        "The changed host.",
    )],
    refusals: &[404, 409],
    ..Route::patch(
        "node-update",
        "/api/v1/admin/docker-nodes/{nodeId}",
        Tag::Admin,
        "Change the settings of a host",
    )
};

/// At least one of the fields. A field that is null is not changed, except the fingerprint.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", extend("anyOf" = one_change()))]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct NodeUpdateRequest {
    hostname: Option<Hostname>,
    enabled: Option<bool>,
    #[schemars(range(min = 1, max = MAX_CAPACITY))]
    capacity: Option<i32>,
    #[schemars(range(min = 1, max = 65_535))]
    ssh_port: Option<u16>,
    ssh_user: Option<SshUser>,
    /// The key to pin. Null pins the key that the host presents next.
    host_key_fingerprint: Option<HostKeyFingerprint>,
    /// Replaces all metadata. At most 16,384 bytes.
    metadata: Option<NewMetadata>,
}

/// That at least one field is there and says something.
fn one_change() -> Value {
    let not_null = |field: &str, kind: &str| {
        let mut properties = serde_json::Map::new();
        properties.insert(field.to_owned(), json!({"type": kind}));
        json!({"required": [field], "properties": properties})
    };
    json!([
        not_null("hostname", "string"),
        not_null("enabled", "boolean"),
        not_null("capacity", "integer"),
        not_null("sshPort", "integer"),
        not_null("sshUser", "string"),
        {"required": ["hostKeyFingerprint"]},
        not_null("metadata", "object"),
    ])
}

struct NewMetadata;

impl JsonSchema for NewMetadata {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NewMetadata".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": generator.subschema_for::<Text>(),
            "additionalProperties": generator.subschema_for::<Json>(),
            "properties": {
                "dockerSocket": {
                    "type": ["string", "null"], "pattern": "^/[ -~]{0,106}$",
                    "description": "The socket of the host's Docker Engine; /var/run/docker.sock by default.",
                },
                "publishAddress": {
                    "description": "The address at which agents' web ports are published; 0.0.0.0 by default.",
                    "anyOf": [
                        {"type": "null"},
                        {"type": "string", "format": "ipv4"},
                        {"type": "string", "format": "ipv6"},
                    ],
                },
                "agentDiskBytes": {
                    "type": ["integer", "null"], "minimum": fields::MIN_DISK_BYTES,
                    "description": "How much an agent's container and its volume may each hold. Only for hosts whose \
                                    Docker has quotas: overlay2 on XFS with pquota.",
                },
            },
        })
    }
}

#[derive(Debug)]
pub struct Deps {
    pub pool: Database,
    pub auth: Auth,
    /// Which addresses hosts may have.
    pub address_policy: AddressPolicy,
}

/// # Errors
/// 400, 401, 403, 404, 409, 415, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let node_id = node_id(&request)?;
    let changes = read(body::object(&request)?)?;
    let (pool, admin_id) = (&deps.pool, admin.user_id);
    let node = node_update(pool, deps.address_policy, admin_id, &node_id, &changes).await?;
    response::ok(HostJson::new(node))
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
