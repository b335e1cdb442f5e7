//! `POST /api/v1/milady/agents`: creates an agent. It does not run yet.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::api::auth::Auth;
use crate::api::body::{self, Fields, contains_nul, is_line};
use crate::api::parameters::IDEMPOTENCY_KEY;
use crate::api::problem::{Problem, log_internal};
use crate::api::response::Data;
use crate::api::route::{Link, RequestBody, ResponseKind, Route, Tag};
use crate::api::schema::{Json, PlainText, TextMap, VariableMap};
use crate::api::{idempotency, response};
use crate::app::agent::create::{CreateDeps, agent_create};
use crate::db::Database;
use crate::db::agents::records::NewAgent;
use crate::domain::agent::AgentStatus;
use crate::domain::container::{API_TOKEN, is_api_token, is_reserved_variable};
use crate::domain::encrypted::OlderApplication;
use crate::domain::ids::{AgentId, CharacterId};
use crate::domain::image::{ImageReference, Images};
use crate::domain::limits::{
    MAX_AGENT_NAME_CHARS, MAX_CONFIG_BYTES, MAX_ENVIRONMENT_BYTES, MAX_IMAGE_BYTES,
    MAX_VARIABLE_NAME_BYTES,
};
use crate::domain::pricing::Prices;
use crate::domain::timestamp::Timestamp;
use crate::encryption::EncryptionKeys;
use crate::invocation::Invocation;
use crate::random::random_bytes;

pub const ROUTE: Route = Route {
    description: "A new agent has the status `pending`. It does not run and costs nothing until it is provisioned. An \
                  organization may have only so many agents, in any state: a further one gets 409.",
    parameters: &[IDEMPOTENCY_KEY],
    body: Some(RequestBody::required::<AgentCreateRequest>(EXAMPLE)),
    responses: &[
        ResponseKind::json::<Data<AgentCreated>>(201, "The agent was created.").with_links(LINKS),
    ],
    refusals: &[402, 404, 409, 422],
    ..Route::post(
        "agent-create",
        "/api/v1/milady/agents",
        Tag::Agents,
        "Create an agent",
    )
};

const EXAMPLE: &str = r#"{
    "agentName": "Ada",
    "agentConfig": {"tokenName": "Ada", "tokenTicker": "ADA"},
    "environmentVars": {"LOG_LEVEL": "info"},
    "dockerImage": "milady/agent:cloud-full-ui"
}"#;

const LINKS: &[Link] = &[
    agent_link("get", "agent-get", "Get the new agent."),
    agent_link("provision", "agent-provision", "Start the new agent."),
    agent_link("delete", "agent-delete", "Delete the new agent."),
];

const fn agent_link(
    name: &'static str,
    operation: &'static str,
    description: &'static str,
) -> Link {
    Link {
        name,
        operation,
        parameter: "agentId",
        pointer: "/data/id",
        description,
    }
}

#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct AgentCreateRequest {
    #[schemars(with = "PlainText", extend("minLength" = 1, "maxLength" = MAX_AGENT_NAME_CHARS))]
    agent_name: String,
    /// The character that the agent plays. It must belong to the organization.
    character_id: Option<CharacterId>,
    /// The agent's own settings. Keys that start with `__milady` are dropped. At most 65,536 bytes.
    agent_config: Option<TextMap<Json>>,
    /// Environment variables of the agent's container, at most 65,536 bytes of names and values together. Variables that
    /// the platform sets, such as `PORT` and `DATABASE_URL`, and those that make a process load other code, such as
    /// `NODE_OPTIONS` and `LD_PRELOAD`, are refused with 400. `MILADY_API_TOKEN` may be set, but not to an empty text.
    environment_vars: Option<VariableMap>,
    /// The image that the agent runs, if it is not the default one. An image that the deployment does not allow
    /// is refused with 400. An agent whose image is the default when it starts counts as one that names none: it follows
    /// later changes of the default.
    #[schemars(length(min = 1, max = MAX_IMAGE_BYTES), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._/:@-]*$"))]
    docker_image: Option<String>,
}

/// The new agent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct AgentCreated {
    id: AgentId,
    agent_name: String,
    #[schemars(extend("const" = "pending"))]
    status: AgentStatus,
    created_at: Timestamp,
}

#[derive(Debug)]
pub struct Deps {
    pub pool: Database,
    pub auth: Auth,
    pub prices: Prices,
    /// The images that agents may run.
    pub images: Images,
    /// Encrypt the environment if no older application reads it.
    pub keys: EncryptionKeys,
    pub older_application: OlderApplication,
}

impl Deps {
    fn for_app(&self) -> CreateDeps<'_> {
        CreateDeps {
            pool: &self.pool,
            prices: &self.prices,
            keys: &self.keys,
            older_application: self.older_application,
        }
    }
}

/// Configuration keys with this prefix belong to the platform. Those of a client are dropped.
const RESERVED_PREFIX: &str = "__milady";
/// A refusal names at most this many variables.
const MAX_NAMED_VARIABLES: usize = 10;

/// # Errors
/// 400, 401, 402, 403, 404 if the character is unknown, 409, 415, 422, 503.
pub async fn handle(
    deps: &Deps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let key = idempotency::optional(&request, &caller, "agent-create", &invocation)?;
    let agent = read(body::object(&request)?, &deps.images)?;
    let created = agent_create(
        deps.for_app(),
        caller.organization_id,
        caller.user_id,
        &agent,
        key,
    )
    .await?;
    response::created(AgentCreated {
        id: created.id,
        agent_name: created.name,
        status: AgentStatus::Pending,
        created_at: Timestamp(created.created_at),
    })
}

fn read(mut fields: Fields, images: &Images) -> Result<NewAgent, Problem> {
    let rule = "must be 1 to 100 characters without control characters, not all blank";
    let name = fields.text("agentName", rule, |text| {
        is_line(text, MAX_AGENT_NAME_CHARS)
    });
    let character_id = fields.optional_identifier("characterId");
    let config = config(&mut fields);
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

fn config(fields: &mut Fields) -> Option<Value> {
    const FIELD: &str = "agentConfig";
    let mut config = fields.optional_map(FIELD)?;
    config.retain(|key, _| !key.starts_with(RESERVED_PREFIX));
    let config = Value::Object(config);
    if config.to_string().len() > MAX_CONFIG_BYTES {
        fields.refuse(FIELD, "must have at most 65,536 bytes");
    }
    if contains_nul(&config) {
        fields.refuse(FIELD, "must not hold the character U+0000");
    }
    Some(config)
}

fn environment(fields: &mut Fields) -> Map<String, Value> {
    const FIELD: &str = "environmentVars";
    let variables = fields.optional_map(FIELD).unwrap_or_default();
    if !variables.keys().all(|key| is_variable_name(key)) {
        fields.refuse(
            FIELD,
            "names must match [A-Za-z_][A-Za-z0-9_]* and have at most 128 characters",
        );
    }
    let mut reserved = variables.keys().filter(|name| is_reserved_variable(name));
    let first: Vec<&str> = reserved
        .by_ref()
        .take(MAX_NAMED_VARIABLES)
        .map(String::as_str)
        .collect();
    if !first.is_empty() {
        let more = if reserved.next().is_some() {
            " and others"
        } else {
            ""
        };
        let names = first.join(", ");
        fields.refuse(FIELD, format!("must not set {names}{more}"));
    }
    if variables
        .get(API_TOKEN)
        .and_then(Value::as_str)
        .is_some_and(|token| !is_api_token(token))
    {
        let message = "MILADY_API_TOKEN must be visible ASCII characters, at least one";
        fields.refuse(FIELD, message);
    }
    if !variables.values().all(Value::is_string) {
        fields.refuse(FIELD, "values must be strings");
    }
    let bytes: usize = variables
        .iter()
        .map(|(name, value)| name.len() + value.as_str().map_or(0, str::len))
        .sum();
    if bytes > MAX_ENVIRONMENT_BYTES {
        fields.refuse(
            FIELD,
            "names and values must have at most 65,536 bytes together",
        );
    }
    if variables.values().any(contains_nul) {
        fields.refuse(FIELD, "values must not hold the character U+0000");
    }
    variables
}

/// Adds a random key for the agent's API, unless the owner has set one.
fn with_api_token(mut environment: Map<String, Value>) -> Result<Value, Problem> {
    if !environment.contains_key(API_TOKEN) {
        let token: [u8; 32] = random_bytes().map_err(log_internal("API token not made"))?;
        environment.insert(API_TOKEN.to_owned(), json!(hex::encode(token)));
    }
    Ok(Value::Object(environment))
}

fn is_variable_name(name: &str) -> bool {
    let mut characters = name.chars();
    let first = characters.next();
    first.is_some_and(|first| first == '_' || first.is_ascii_alphabetic())
        && characters.all(|c| c == '_' || c.is_ascii_alphanumeric())
        && name.len() <= MAX_VARIABLE_NAME_BYTES
}

fn is_image(text: &str) -> bool {
    text.len() <= MAX_IMAGE_BYTES && ImageReference::parse(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_variables_are_checked() {
        for (name, is_valid) in [
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
            assert_eq!(is_variable_name(name), is_valid, "{name}");
        }
        assert!(!is_variable_name(&"A".repeat(129)));
    }
}
