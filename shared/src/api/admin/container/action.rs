//! `POST /api/v1/admin/infrastructure/containers/actions`: an operator does something with one container.

use lambda_http::{Body, Request, Response};
use serde_json::json;
use sqlx::PgPool;

use crate::api::auth::{Auth, Caller};
use crate::api::body::{self, Fields, is_line};
use crate::api::json::Date;
use crate::api::problem::Problem;
use crate::api::{idempotency, json, log_part};
use crate::app::container::action::{Asked, Ports, Told, container_act};
use crate::app::error::RequestError;
use crate::app::idempotency::Repeatable;
use crate::domain::container::Images;
use crate::domain::fleet::Act;
use crate::hosts::Fleet;
use crate::lambda::Invocation;
use crate::secrets::{Secret, Secrets};

/// What the route needs.
#[derive(Debug)]
pub struct Deps {
    /// One connection.
    pub pool: PgPool,
    /// Who may call.
    pub auth: Auth,
    /// The connections to hosts.
    pub fleet: Fleet,
    /// The images that agents may run.
    pub images: Images,
    /// The accounts at registries.
    pub registries: Option<Secret>,
    /// Where secrets are read.
    pub secrets: Secrets,
}

const LONGEST_NODE: usize = 64;
const LONGEST_CONTAINER: usize = 255;

/// Does it, and writes down that it did.
///
/// # Errors
/// 400, 401, 403, 404, 409, 415, 422, 502 for a host that cannot be worked on, 503.
pub async fn handle(
    deps: &Deps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let asked = asked(&admin, body::object(&request)?)?;
    // What only looks is looked at again; and what a container wrote is kept nowhere else.
    let repeatable = if asked.act.is_look() {
        Repeatable::default()
    } else {
        idempotency::optional(&request, &admin, "container-action", &invocation)?
    };
    let ports = Ports {
        pool: &deps.pool,
        fleet: &deps.fleet,
        images: &deps.images,
        registries: deps.registries.as_ref(),
        secrets: &deps.secrets,
    };
    let acted = container_act(ports, &asked, repeatable).await;
    let acted = acted.map_err(|error| match error {
        RequestError::Away(text) => Problem::bad_gateway(&text),
        error => error.into(),
    })?;
    let mut data = json!({
        "action": asked.act, "nodeId": asked.node_id, "containerName": asked.container_name,
        "containerId": acted.container_id, "performedAt": Date(acted.performed_at),
    });
    match acted.told {
        Told::Nothing => {}
        Told::Logs(text) => {
            data["logs"] = json!(text);
            data["lines"] = json!(asked.part.tail);
        }
        Told::Detail(detail) => data["container"] = json!(detail),
        Told::Image(image) => data["image"] = json!(image),
    }
    json::ok(&json!({"success": true, "data": data}))
}

fn asked(admin: &Caller, mut fields: Fields) -> Result<Asked, Problem> {
    let rule = "must be logs, restart, stop, start, inspect, pull-image or remove-ghost";
    let act = fields.text("action", rule, |word| Act::parse(word).is_some());
    let act = act.and_then(|word| Act::parse(&word));
    let rule = "must be 1 to 64 characters without control characters";
    let node_id = fields.text("nodeId", rule, |text| is_line(text, LONGEST_NODE));
    let rule = "must be letters, digits, dots, underscores and dashes, not one of the latter first";
    let container_name = fields.text("containerName", rule, is_container_name);
    let rule = "must be 64 hexadecimal digits in lower case";
    let container_id = if act == Some(Act::RemoveGhost) {
        fields.text("containerId", rule, is_container_id)
    } else {
        fields.optional_text("containerId", rule, is_container_id)
    };
    let part = log_part::of_body(&mut fields);
    fields.finish()?;
    Ok(Asked {
        admin_id: admin.user_id,
        act: act.unwrap_or(Act::Inspect),
        node_id: node_id.unwrap_or_default(),
        container_name: container_name.unwrap_or_default(),
        container_id,
        part,
    })
}

/// As Docker names containers.
fn is_container_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    text.len() <= LONGEST_CONTAINER
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(plain)
}

/// As Docker names them itself.
fn is_container_id(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
}
