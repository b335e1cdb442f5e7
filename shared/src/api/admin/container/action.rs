//! `POST /api/v1/admin/infrastructure/containers/actions`: an operator's action on one container.

use lambda_http::{Body, Request, Response};
use serde_json::json;
use sqlx::PgPool;

use crate::api::auth::{Auth, Caller};
use crate::api::body::{self, Fields, is_line};
use crate::api::problem::Problem;
use crate::api::{idempotency, log_part, response};
use crate::app::container::action::{ActionDeps, ActionRequest, ActionResult, container_act};
use crate::app::error::RequestError;
use crate::app::idempotency::IdempotencyKey;
use crate::domain::container::Images;
use crate::domain::fleet::ContainerAction;
use crate::domain::timestamp::Timestamp;
use crate::hosts::HostClient;
use crate::invocation::Invocation;
use crate::secrets::{Secret, Secrets};

#[derive(Debug)]
pub struct Deps {
    pub pool: PgPool,
    pub auth: Auth,
    pub hosts: HostClient,
    /// The images that agents may run.
    pub images: Images,
    /// Our accounts at registries.
    pub registries: Option<Secret>,
    pub secrets: Secrets,
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
        secrets: &deps.secrets,
    };
    let outcome = container_act(action_deps, &action, key).await;
    let outcome = outcome.map_err(|error| match error {
        RequestError::HostUnavailable(error) => Problem::host_failed(&error),
        error => error.into(),
    })?;
    let mut data = json!({
        "action": action.action, "nodeId": action.node_id,
        "containerName": action.container_name, "containerId": outcome.container_id,
        "performedAt": Timestamp(outcome.performed_at),
    });
    match outcome.result {
        ActionResult::Done => {}
        ActionResult::Logs(text) => {
            data["logs"] = json!(text);
            data["lines"] = json!(action.log_part.tail);
        }
        ActionResult::Detail(detail) => data["container"] = json!(detail),
        ActionResult::PulledImage(image) => data["image"] = json!(image),
    }
    response::ok(&json!({"success": true, "data": data}))
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
