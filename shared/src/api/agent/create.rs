//! `POST /api/v1/milady/agents`.

use lambda_http::{Body, Request, Response};
use serde_json::{Map, Value, json};
use sqlx::PgPool;

use crate::api::auth::Auth;
use crate::api::body::{self, Fields, holds_nul, is_line};
use crate::api::json::Date;
use crate::api::problem::Problem;
use crate::api::{idempotency, json};
use crate::app::agent::create::agent_create;
use crate::db::agents::owner::NewAgent;
use crate::domain::container::{API_TOKEN, Images};
use crate::domain::pricing::Prices;
use crate::lambda::{Invocation, random_bytes};

/// What the route needs.
#[derive(Debug)]
pub struct Deps {
    /// One connection.
    pub pool: PgPool,
    /// Who may call.
    pub auth: Auth,
    /// The price list.
    pub prices: Prices,
    /// The images that agents may run.
    pub images: Images,
}

/// Keys of the configuration that are the platform's own; what a client sends under them is dropped.
const RESERVED: &str = "__milady";
const LONGEST_NAME: usize = 100;
const LONGEST_KEY: usize = 128;
/// Linux starts no process with a variable of 128 KiB or more, its name and the end included.
const LONGEST_VALUE: usize = 120_000;
/// The configuration is a variable too.
const LONGEST_CONFIG: usize = 100_000;
const LONGEST_IMAGE: usize = 255;

/// Creates an agent.
///
/// # Errors
/// 400, 401, 402, 403, 404 for an unknown character, 409, 415, 422, 503.
pub async fn handle(
    deps: &Deps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let repeatable = idempotency::optional(&request, &caller, "agent-create", &invocation)?;
    let agent = read(body::object(&request)?, &deps.images)?;
    let owner = (caller.organization_id, caller.user_id);
    let created = agent_create(&deps.pool, &deps.prices, owner, &agent, repeatable).await?;
    let data = json!({
        "id": created.id, "agentName": created.name, "status": "pending",
        "createdAt": Date(created.created_at),
    });
    json::created(&json!({"success": true, "data": data}))
}

fn read(mut fields: Fields, images: &Images) -> Result<NewAgent, Problem> {
    let rule = "must be 1 to 100 characters without control characters, not all blank";
    let name = fields.text("agentName", rule, |text| is_line(text, LONGEST_NAME));
    let character_id = fields.optional_uuid("characterId");
    let config = fields.optional_map("agentConfig").map(own_keys);
    if config
        .as_ref()
        .is_some_and(|config| config.to_string().len() > LONGEST_CONFIG)
    {
        fields.refuse("agentConfig", "must have at most 100,000 bytes");
    }
    if config.as_ref().is_some_and(holds_nul) {
        fields.refuse("agentConfig", "must not hold the character U+0000");
    }
    let environment = environment(&mut fields);
    let docker_image = fields.optional_text("dockerImage", "must be an image reference", is_image);
    if let Some(image) = &docker_image
        && images.choose(Some(image)).is_none()
    {
        fields.refuse("dockerImage", "is not an image that agents may run");
    }
    fields.finish()?;
    Ok(NewAgent {
        name: name.unwrap_or_default(),
        character_id,
        config,
        environment: with_api_token(environment)?,
        docker_image,
    })
}

fn own_keys(mut config: Map<String, Value>) -> Value {
    config.retain(|key, _| !key.starts_with(RESERVED));
    Value::Object(config)
}

fn environment(fields: &mut Fields) -> Map<String, Value> {
    const FIELD: &str = "environmentVars";
    let variables = fields.optional_map(FIELD).unwrap_or_default();
    if !variables.keys().all(|key| is_variable(key)) {
        fields.refuse(
            FIELD,
            "names must match [A-Za-z_][A-Za-z0-9_]* and have at most 128 characters",
        );
    }
    if !variables.values().all(Value::is_string) {
        fields.refuse(FIELD, "values must be strings");
    }
    let long = |value: &Value| {
        value
            .as_str()
            .is_some_and(|text| text.len() > LONGEST_VALUE)
    };
    if variables.values().any(long) {
        fields.refuse(FIELD, "values must have at most 120,000 bytes");
    }
    if variables.values().any(holds_nul) {
        fields.refuse(FIELD, "values must not hold the character U+0000");
    }
    variables
}

/// Every agent has a key of its own, unless its owner chose one.
fn with_api_token(mut environment: Map<String, Value>) -> Result<Value, Problem> {
    if !environment.contains_key(API_TOKEN) {
        let token: [u8; 32] = random_bytes().map_err(|_| Problem::internal())?;
        environment.insert(API_TOKEN.to_owned(), json!(hex::encode(token)));
    }
    Ok(Value::Object(environment))
}

fn is_variable(name: &str) -> bool {
    let mut characters = name.chars();
    let first = characters.next();
    first.is_some_and(|first| first == '_' || first.is_ascii_alphabetic())
        && characters.all(|c| c == '_' || c.is_ascii_alphanumeric())
        && name.len() <= LONGEST_KEY
}

fn is_image(reference: &str) -> bool {
    let first = reference.bytes().next();
    first.is_some_and(|first| first.is_ascii_alphanumeric())
        && reference.len() <= LONGEST_IMAGE
        && reference
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._/:@-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_variables_and_images_are_taken_or_refused() {
        for (name, taken) in [
            ("A", true),
            ("_", true),
            ("OPENAI_API_KEY2", true),
            ("a1", true),
            ("", false),
            ("1A", false),
            ("A-B", false),
            ("A B", false),
            ("A=B", false),
            ("É", false),
            ("A\n", false),
        ] {
            assert_eq!(is_variable(name), taken, "{name}");
        }
        assert!(!is_variable(&"A".repeat(129)));
        for (image, taken) in [
            ("milady/agent:cloud-full-ui", true),
            ("ghcr.io:443/a/b@sha256:00ff", true),
            ("", false),
            ("-rm", false),
            ("a b", false),
            ("a;rm", false),
            ("$(x)", false),
            ("a\n", false),
        ] {
            assert_eq!(is_image(image), taken, "{image}");
        }
    }
}
