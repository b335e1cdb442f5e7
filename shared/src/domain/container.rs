//! What is inside an agent's container. Owns: its name, its ports, its environment, its limits, which images may run,
//! and how image names are read. Does not own: its ports on the host (`placement`), its rights (`hosts`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::ids::AgentId;
use crate::domain::words::words;

/// Where an agent serves its pages and its health.
pub const WEB_PORT: u16 = 2_138;
/// Where an agent serves its bridge, and where its state is read and restored.
pub const BRIDGE_PORT: u16 = 31_337;
/// The variable with the agent's own secret, which is made once and kept over all its starts.
pub const JWT_SECRET: &str = "JWT_SECRET";
/// The variable with the key that paired browsers present to the agent. It is kept too.
pub const API_TOKEN: &str = "MILADY_API_TOKEN";

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

/// The variables that the platform sets.
#[derive(Clone, Debug)]
pub struct PlatformVariables<'a> {
    pub agent_name: &'a str,
    /// A JSON object.
    pub config: Option<&'a Value>,
    /// Origins that may embed and call the agent's pages.
    pub origins: &'a [String],
    /// The agent's own database.
    pub database_uri: Option<&'a str>,
}

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
    /// The kind of an agent whose row names this image. An agent that has never run names none.
    #[must_use]
    pub fn of(image: Option<&str>, default_image: &str) -> Self {
        match image {
            Some(image) if image != default_image => Self::Custom,
            _ => Self::Managed,
        }
    }
}

/// Images that agents may run.
#[derive(Clone, Debug)]
pub struct Images {
    /// The image of agents that name none.
    pub default: String,
    /// A prefix of each image that agents may name.
    pub allowed: Vec<String>,
}

impl Images {
    /// The image of an agent that names this one; `None` if it is not allowed.
    #[must_use]
    pub fn choose<'a>(&'a self, requested: Option<&'a str>) -> Option<&'a str> {
        let image = requested.unwrap_or(&self.default);
        let matches = |prefix: &String| image.starts_with(prefix.as_str());
        (image == self.default || self.allowed.iter().any(matches)).then_some(image)
    }
}

/// The registry that an image comes from, by which our accounts are filed. Docker's rule: the part before the first
/// slash names a registry if it looks like a host name.
#[must_use]
pub fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

/// The image's name with its tag. Docker's API would pull all tags of a name without one.
#[must_use]
pub fn tagged(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) {
        image.to_owned()
    } else {
        format!("{image}:latest")
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

    #[test]
    fn an_image_is_allowed_by_its_prefix_or_as_the_default() {
        let images = Images {
            default: "other/agent:1".to_owned(),
            allowed: vec!["milady/".to_owned(), "ghcr.io/milady/".to_owned()],
        };
        for (requested, chosen) in [
            (None, Some("other/agent:1")),
            (Some("other/agent:1"), Some("other/agent:1")),
            (Some("other/agent:2"), None),
            (Some("milady/agent:x"), Some("milady/agent:x")),
            (Some("evil/milady/agent"), None),
            (Some("Milady/agent"), None),
            (
                Some("ghcr.io/milady/a@sha256:00"),
                Some("ghcr.io/milady/a@sha256:00"),
            ),
        ] {
            assert_eq!(images.choose(requested), chosen, "{requested:?}");
        }
    }

    #[test]
    fn registries_and_tags_are_read_as_docker_reads_them() {
        for (image, expected_registry, expected_name) in [
            ("milady/agent", "docker.io", "milady/agent:latest"),
            ("agent", "docker.io", "agent:latest"),
            ("ghcr.io/a/b:1", "ghcr.io", "ghcr.io/a/b:1"),
            (
                "127.0.0.1:5000/a",
                "127.0.0.1:5000",
                "127.0.0.1:5000/a:latest",
            ),
            ("localhost/a", "localhost", "localhost/a:latest"),
            ("a/b@sha256:00", "docker.io", "a/b@sha256:00"),
        ] {
            assert_eq!(registry(image), expected_registry);
            assert_eq!(tagged(image), expected_name);
        }
    }
}
