//! `POST /api/v1/admin/infrastructure/containers/actions`: an operator's action on one container.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::auth::{Auth, Caller};
use crate::api::body::{self, Fields, is_line};
use crate::api::log_part::MAX_LINES;
use crate::api::parameters::IDEMPOTENCY_KEY;
use crate::api::problem::Problem;
use crate::api::response::Data;
use crate::api::route::{CallerKind, RequestBody, ResponseKind, Route, Tag};
use crate::api::schema::{DockerId, LogSince, NodeName};
use crate::api::{idempotency, log_part, response};
use crate::app::container::action::{ActionDeps, ActionRequest, ActionResult, container_act};
use crate::app::error::RequestError;
use crate::app::idempotency::IdempotencyKey;
use crate::db::Database;
use crate::domain::container::ResourceLimits;
use crate::domain::fleet::{ContainerAction, ContainerDetail, DockerHealth};
use crate::domain::image::Images;
use crate::domain::timestamp::Timestamp;
use crate::hosts::HostClient;
use crate::invocation::Invocation;
use crate::secrets::KeptSecret;

pub const ROUTE: Route = Route {
    description: "Only containers of agents are found. A 409 with the reason refuses to start an agent that would run \
                  without being charged, to stop an agent that is being charged, and to remove a container that an \
                  agent has or that is younger than 15 minutes. The audit log records each action before it begins, \
                  and its result afterwards.",
    caller: CallerKind::SuperAdmin,
    parameters: &[IDEMPOTENCY_KEY],
    body: Some(RequestBody::required::<ContainerActionRequest>(EXAMPLE)),
    responses: &[ResponseKind::json::<Data<ContainerActed>>(
        200,
        "The action was performed.",
    )],
    refusals: &[404, 409, 422, 502],
    ..Route::post(
        "container-action",
        "/api/v1/admin/infrastructure/containers/actions",
        Tag::Admin,
        "Perform an action on a container",
    )
};

const EXAMPLE: &str = r#"{
    "action": "inspect",
    "nodeId": "node-1",
    "containerName": "milady-11111111-2222-4333-8444-555555555555"
}"#;

#[derive(JsonSchema)]
#[schemars(
    rename_all = "camelCase",
    extend("if" = removal()),
    extend("then" = with_container_id())
)]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct ContainerActionRequest {
    action: ContainerAction,
    node_id: NodeName,
    #[schemars(
        length(min = 1, max = MAX_CONTAINER_NAME_BYTES),
        regex(pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    )]
    container_name: String,
    #[schemars(
        description = "If given, the container with this name must have this id. Required for `remove-ghost`."
    )]
    container_id: Option<DockerId>,
    #[schemars(range(min = 1, max = MAX_LINES))]
    lines: Option<i32>,
    /// For `logs`. Excludes lines older than this date, or than this age in seconds, minutes, hours or days.
    since: Option<LogSince>,
}

fn removal() -> Value {
    json!({
        "required": ["action"],
        "properties": {"action": {"const": ContainerAction::RemoveGhost}},
    })
}

fn with_container_id() -> Value {
    json!({"required": ["containerId"], "properties": {"containerId": {"type": "string"}}})
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ContainerActed {
    action: ContainerAction,
    node_id: String,
    container_name: String,
    #[schemars(with = "DockerId")]
    container_id: String,
    /// The log, for `logs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    logs: Option<String>,
    /// The requested number of lines, for `logs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    lines: Option<u32>,
    /// The image that was pulled, for `pull-image`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    image: Option<String>,
    /// For `inspect`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DetailJson")]
    container: Option<DetailJson>,
    performed_at: Timestamp,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ContainerDetail")]
struct DetailJson {
    #[schemars(with = "DockerId")]
    id: String,
    name: String,
    image: String,
    state: String,
    status: String,
    health: Option<DockerHealth>,
    /// By the host's clock.
    created_at: Timestamp,
    #[schemars(range(min = 0))]
    restart_count: i64,
    limits: LimitsJson,
}

/// Null if there is no limit.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct LimitsJson {
    memory_bytes: Option<i64>,
    nano_cpus: Option<i64>,
    pids: Option<i64>,
}

impl From<ContainerDetail> for DetailJson {
    fn from(detail: ContainerDetail) -> Self {
        let ResourceLimits {
            memory_bytes,
            nano_cpus,
            pids,
        } = detail.limits;
        Self {
            id: detail.id,
            name: detail.name,
            image: detail.image,
            state: detail.state,
            status: detail.status,
            health: detail.health,
            created_at: detail.created_at,
            restart_count: detail.restart_count,
            limits: LimitsJson {
                memory_bytes,
                nano_cpus,
                pids,
            },
        }
    }
}

#[derive(Debug)]
pub struct Deps {
    pub pool: Database,
    pub auth: Auth,
    pub hosts: HostClient,
    /// The images that agents may run.
    pub images: Images,
    /// Our accounts at registries.
    pub registries: Option<KeptSecret>,
}

const MAX_NODE_ID_CHARS: usize = 64;
const MAX_CONTAINER_NAME_BYTES: usize = 255;
const CONTAINER_ID_BYTES: usize = 64;

/// # Errors
/// 400, 401, 403, 404, 409, 415, 422, 502 if the host cannot be worked on, 503.
pub async fn handle(
    deps: &Deps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let action = read(&admin, body::object(&request)?)?;
    // A read-only action takes no key: repeating it is harmless, and a recorded result would keep an agent's log
    // in the database.
    let key = if action.action.is_read_only() {
        IdempotencyKey::default()
    } else {
        idempotency::optional(&request, &admin, "container-action", &invocation)?
    };
    let action_deps = ActionDeps {
        pool: &deps.pool,
        hosts: &deps.hosts,
        images: &deps.images,
        registries: deps.registries.as_ref(),
    };
    let outcome = container_act(action_deps, &action, key).await;
    let outcome = outcome.map_err(|error| match error {
        RequestError::HostUnavailable(error) => Problem::host_failed(&error),
        error => error.into(),
    })?;
    let mut data = ContainerActed {
        action: action.action,
        node_id: action.node_id,
        container_name: action.container_name,
        container_id: outcome.container_id,
        logs: None,
        lines: None,
        image: None,
        container: None,
        performed_at: Timestamp(outcome.performed_at),
    };
    match outcome.result {
        ActionResult::Done => {}
        ActionResult::Logs(text) => {
            data.logs = Some(text);
            data.lines = Some(action.log_part.tail);
        }
        ActionResult::Detail(detail) => data.container = Some((*detail).into()),
        ActionResult::PulledImage(image) => data.image = Some(image),
    }
    response::ok(data)
}

fn read(admin: &Caller, mut fields: Fields) -> Result<ActionRequest, Problem> {
    let rule = "must be logs, restart, stop, start, inspect, pull-image or remove-ghost";
    let is_action = |word: &str| ContainerAction::parse(word).is_some();
    let action = fields.text("action", rule, is_action);
    let action = action.and_then(|word| ContainerAction::parse(&word));
    let rule = "must be 1 to 64 characters without control characters";
    let node_id = fields.text("nodeId", rule, |text| is_line(text, MAX_NODE_ID_CHARS));
    let rule =
        "must be letters, digits, dots, underscores and dashes, and begin with a letter or a digit";
    let container_name = fields.text("containerName", rule, is_container_name);
    let rule = "must be 64 hexadecimal digits in lower case";
    let container_id = if action == Some(ContainerAction::RemoveGhost) {
        fields.text("containerId", rule, is_container_id)
    } else {
        fields.optional_text("containerId", rule, is_container_id)
    };
    let log_part = log_part::of_body(&mut fields);
    fields.finish()?;
    Ok(ActionRequest {
        admin_id: admin.user_id,
        action: action.unwrap_or(ContainerAction::Inspect),
        node_id: node_id.unwrap_or_default(),
        container_name: container_name.unwrap_or_default(),
        container_id,
        log_part,
    })
}

/// Docker's rule for names of containers.
fn is_container_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    text.len() <= MAX_CONTAINER_NAME_BYTES
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(is_plain)
}

/// The form of Docker's full ids.
fn is_container_id(text: &str) -> bool {
    let is_hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    text.len() == CONTAINER_ID_BYTES && text.bytes().all(is_hex)
}
