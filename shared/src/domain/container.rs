//! What is inside an agent's container. Owns: its name, the ports it listens on, its environment, its limits. Does not
//! own: its image (`image`), the ports of the host that lead to it (`placement`), its rights (`hosts`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::ids::AgentId;
use crate::domain::redacted::debug_without_secrets;
use crate::domain::words::words;

/// Where an agent serves its pages and its health.
pub const WEB_PORT: u16 = 2_138;
/// Where an agent serves its bridge, and where its state is read and restored.
pub const BRIDGE_PORT: u16 = 31_337;
/// The variable with the agent's own secret, which is made once and kept over all its starts.
pub const JWT_SECRET: &str = "JWT_SECRET";
/// The variable with the key that paired browsers present to the agent. It is kept too.
pub const API_TOKEN: &str = "MILADY_API_TOKEN";

/// The variables that [`environment`] sets, and the secret that we make.
const PLATFORM_VARIABLES: [&str; 8] = [
    "AGENT_NAME",
    "BRIDGE_PORT",
    "DATABASE_URL",
    JWT_SECRET,
    "MILADY_AGENT_CONFIG",
    "MILADY_ALLOWED_ORIGINS",
    "MILADY_PORT",
    "PORT",
];
/// Variables by which a process is made to run code or to take another program, before the agent's own begins: of
/// the dynamic linker, shells, Node.js, Bun, Python, Perl, Ruby and Java, from their manuals.
const LOADER_VARIABLES: [&str; 33] = [
    "BASHOPTS",
    "BASH_ENV",
    "BUN_OPTIONS",
    "CDPATH",
    "CLASSPATH",
    "ENV",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "IFS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LOCPATH",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_REPL_EXTERNAL_MODULE",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "PATH",
    "PERL5DB",
    "PERL5LIB",
    "PERL5OPT",
    "PERLLIB",
    "PROMPT_COMMAND",
    "PS4",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "RUBYLIB",
    "RUBYOPT",
    "SHELLOPTS",
    "_JAVA_OPTIONS",
];
const LOADER_PREFIXES: [&str; 3] = ["BASH_FUNC_", "DYLD_", "LD_"];

/// Whether an owner may not set this variable (F52).
#[must_use]
pub fn is_reserved_variable(name: &str) -> bool {
    PLATFORM_VARIABLES.contains(&name)
        || LOADER_VARIABLES.contains(&name)
        || LOADER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        // npm reads its settings from variables in any case.
        || name.to_ascii_lowercase().starts_with("npm_config_")
}

/// Whether a text can be [`API_TOKEN`]: an empty one would let everybody in, and others must fit into a header.
#[must_use]
pub fn is_api_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What a container may use of its host. `None` if there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceLimits {
    pub memory_bytes: Option<i64>,
    /// Billionths of a processor.
    pub nano_cpus: Option<i64>,
    /// Processes and threads.
    pub pids: Option<i64>,
}

/// What each agent's container may use: 2 GiB, two processors, 512 processes.
pub const AGENT_LIMITS: ResourceLimits = ResourceLimits {
    memory_bytes: Some(2 << 30),
    nano_cpus: Some(2_000_000_000),
    pids: Some(512),
};

/// The name of an agent's container and of its volume.
#[must_use]
pub fn name(agent_id: AgentId) -> String {
    format!("milady-{agent_id}")
}

/// The name of the container through which an agent's volume is read while it is copied. It is not the name of an agent's
/// container, so an inspection of the fleet does not take it for one.
#[must_use]
pub fn reader_name(agent_id: AgentId) -> String {
    format!("milady-copy-{agent_id}")
}

/// The variables that the platform sets.
#[derive(Clone)]
pub struct PlatformVariables<'a> {
    pub agent_name: &'a str,
    /// A JSON object.
    pub config: Option<&'a Value>,
    /// Origins that may embed and call the agent's pages.
    pub origins: &'a [String],
    /// The agent's own database.
    pub database_uri: Option<&'a str>,
}

debug_without_secrets!(PlatformVariables<'_>: agent_name, origins);

/// The environment as `NAME=value`. The platform's variables replace the owner's of the same name.
#[must_use]
pub fn environment(owners: &Value, platform: &PlatformVariables<'_>) -> Vec<String> {
    let mut variables: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in owners.as_object().into_iter().flatten() {
        match value {
            Value::String(text) => variables.insert(name, text.clone()),
            Value::Number(_) | Value::Bool(_) => variables.insert(name, value.to_string()),
            // Only the older web app wrote such values. An environment holds texts only.
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
    }
    variables.insert("AGENT_NAME", platform.agent_name.to_owned());
    variables.insert("MILADY_PORT", WEB_PORT.to_string());
    variables.insert("PORT", (WEB_PORT + 1).to_string());
    variables.insert("BRIDGE_PORT", BRIDGE_PORT.to_string());
    variables.insert("MILADY_ALLOWED_ORIGINS", platform.origins.join(","));
    if let Some(config) = platform.config {
        variables.insert("MILADY_AGENT_CONFIG", config.to_string());
    }
    if let Some(uri) = platform.database_uri {
        variables.insert("DATABASE_URL", uri.to_owned());
    }
    let lines = variables
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    lines.collect()
}

words! {
    /// What an agent runs.
    pub enum ContainerKind {
        /// The deployment's default image.
        Managed = "managed",
        /// Another image.
        Custom = "custom",
    }
}

impl ContainerKind {
    /// The kind of an agent whose row names this image. An agent that asked for none names none.
    #[must_use]
    pub fn of(image: Option<&str>, default_image: &str) -> Self {
        match image {
            Some(image) if image != default_image => Self::Custom,
            _ => Self::Managed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_platforms_variables_replace_the_owners() {
        let owners = json!({
            "A": "it's \"odd\" $(x)\nnext", "PORT": "1", "N": 5, "LIST": [1], "DATABASE_URL": "mine",
            "JWT_SECRET": "kept",
        });
        let config = json!({"bio": "line\nline"});
        let platform = PlatformVariables {
            agent_name: "a 'b'",
            config: Some(&config),
            origins: &["https://one".to_owned(), "https://two".to_owned()],
            database_uri: Some("postgres://x"),
        };
        assert_eq!(
            environment(&owners, &platform),
            [
                "A=it's \"odd\" $(x)\nnext",
                "AGENT_NAME=a 'b'",
                "BRIDGE_PORT=31337",
                "DATABASE_URL=postgres://x",
                "JWT_SECRET=kept",
                "MILADY_AGENT_CONFIG={\"bio\":\"line\\nline\"}",
                "MILADY_ALLOWED_ORIGINS=https://one,https://two",
                "MILADY_PORT=2138",
                "N=5",
                "PORT=2139",
            ]
        );
    }
}
