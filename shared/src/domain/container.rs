//! What an agent's container is given. Owns: its name, its ports inside, its environment, which images
//! may run and where their registries are. Does not own: the host's side (`placement`), the limits
//! (`hosts`).

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

/// Where an agent serves its pages and its health.
pub const WEB_PORT: u16 = 2_138;
/// Where an agent serves its bridge, its snapshots and restores.
pub const BRIDGE_PORT: u16 = 31_337;
/// The agent's own secret, kept over all its starts.
pub const JWT_SECRET: &str = "JWT_SECRET";
/// The key that paired browsers present to the agent.
pub const API_TOKEN: &str = "MILADY_API_TOKEN";

/// The name of an agent's container and of its volume.
#[must_use]
pub fn name(agent_id: Uuid) -> String {
    format!("milady-{agent_id}")
}

/// What the platform tells an agent.
#[derive(Clone, Debug)]
pub struct Given<'a> {
    /// Its name.
    pub agent_name: &'a str,
    /// Its configuration, a JSON object.
    pub config: Option<&'a Value>,
    /// Origins its pages may be embedded in and called from.
    pub origins: &'a [String],
    /// Its own database; none = it has none.
    pub database_uri: Option<&'a str>,
}

/// The environment as `NAME=value`: what the owner set, and over it what the platform says.
#[must_use]
pub fn environment(own: &Value, given: &Given<'_>) -> Vec<String> {
    let mut all: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in own.as_object().into_iter().flatten() {
        match value {
            Value::String(text) => all.insert(name, text.clone()),
            Value::Number(_) | Value::Bool(_) => all.insert(name, value.to_string()),
            // An older web app's row; an environment holds texts only.
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
    }
    all.insert("AGENT_NAME", given.agent_name.to_owned());
    all.insert("MILADY_PORT", WEB_PORT.to_string());
    all.insert("PORT", (WEB_PORT + 1).to_string());
    all.insert("BRIDGE_PORT", BRIDGE_PORT.to_string());
    all.insert("MILADY_ALLOWED_ORIGINS", given.origins.join(","));
    if let Some(config) = given.config {
        all.insert("MILADY_AGENT_CONFIG", config.to_string());
    }
    if let Some(uri) = given.database_uri {
        all.insert("DATABASE_URL", uri.to_owned());
    }
    let lines = all.iter().map(|(name, value)| format!("{name}={value}"));
    lines.collect()
}

/// Images that agents may run.
#[derive(Clone, Debug)]
pub struct Images {
    /// The one of agents that name none.
    pub default: String,
    /// What a name must begin with.
    pub allowed: Vec<String>,
}

impl Images {
    /// The image of an agent that asks for this one; none if it may not have it.
    #[must_use]
    pub fn choose<'a>(&'a self, asked: Option<&'a str>) -> Option<&'a str> {
        let image = asked.unwrap_or(&self.default);
        let allowed = |prefix: &String| image.starts_with(prefix.as_str());
        (image == self.default || self.allowed.iter().any(allowed)).then_some(image)
    }
}

/// The registry that an image comes from, as credentials are filed under it. As Docker has it: the
/// first part names one if it looks like a host.
#[must_use]
pub fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

/// The name with the tag it means: without one Docker would pull all there are.
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
    fn what_the_platform_says_stands_over_what_the_owner_set() {
        let own = json!({
            "A": "it's \"odd\" $(x)\nnext", "PORT": "1", "N": 5, "LIST": [1], "DATABASE_URL": "mine",
            "JWT_SECRET": "kept",
        });
        let config = json!({"bio": "line\nline"});
        let given = Given {
            agent_name: "a 'b'",
            config: Some(&config),
            origins: &["https://one".to_owned(), "https://two".to_owned()],
            database_uri: Some("postgres://x"),
        };
        assert_eq!(
            environment(&own, &given),
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
    fn images_are_taken_by_their_beginning() {
        let images = Images {
            default: "other/agent:1".to_owned(),
            allowed: vec!["milady/".to_owned(), "ghcr.io/milady/".to_owned()],
        };
        for (asked, chosen) in [
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
            assert_eq!(images.choose(asked), chosen, "{asked:?}");
        }
    }

    #[test]
    fn registries_and_tags_are_read_as_docker_reads_them() {
        for (image, from, meant) in [
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
            assert_eq!((registry(image), tagged(image).as_str()), (from, meant));
        }
    }
}
