//! Databases at Neon: one project per agent, named `milady-<id>`. Owns: when a project is looked up, created
//! and deleted. Does not own: the requests (`session`).
//!
//! Source: Neon's API reference, neon.com/docs/reference/api ("List projects", "Create project", "Retrieve
//! connection URI", "Delete project", "List branches", "Reset role password") and neon.com/docs/guides/consumption-limits (quotas). A request answered with
//! 423, 429 or 503 can always be repeated. A POST that
//! failed otherwise, or got no response, must not be: two projects may have the same name. So a project is
//! looked up before it is created, and a creation with an unknown outcome is left to the next call, which finds
//! the project.

mod session;

use std::fmt;
use std::time::Duration;

use reqwest::header::HeaderValue;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use url::Url;

use self::session::Session;
use super::{DatabaseError, DatabaseErrorReason};
use crate::domain::ids::AgentId;

pub const BASE_URL: &str = "https://console.neon.tech/api/v2";
/// For one call with all its requests.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Neon's API, with the key of an organization there.
#[derive(Clone)]
pub struct Neon {
    base: Url,
    authorization: HeaderValue,
    /// Neon suspends a project that holds more. `None`: Neon's own limit.
    max_bytes: Option<u64>,
}

/// Shows nothing of the key.
impl fmt::Debug for Neon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Neon")
    }
}

/// An agent's project.
#[derive(Clone, PartialEq, Eq)]
pub struct NeonProject {
    pub project_id: String,
    /// The URI under which the agent finds its database. It is a secret.
    pub uri: String,
}

/// Leaves out the URI.
impl fmt::Debug for NeonProject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("NeonProject");
        debug.field("project_id", &self.project_id);
        debug.finish_non_exhaustive()
    }
}

impl Neon {
    /// `None` if the key is not one line of text, or if the address is neither https nor http on this machine:
    /// the key must not travel in the clear.
    #[must_use]
    pub fn new(key: &str, base: &str) -> Option<Self> {
        let base: Url = base.parse().ok()?;
        let is_local = matches!(base.host_str(), Some("127.0.0.1" | "localhost"));
        let is_safe = base.scheme() == "https" || (base.scheme() == "http" && is_local);
        let authorization = HeaderValue::from_str(&format!("Bearer {key}"));
        let mut authorization = authorization.ok().filter(|_| is_safe && !key.is_empty())?;
        authorization.set_sensitive(true);
        Some(Self {
            base,
            authorization,
            max_bytes: None,
        })
    }

    /// Gives the projects that are created from now on a limit of their size. Neon suspends the compute of a project
    /// that reaches it, until the quota is raised: until then the agent can neither read nor delete anything there.
    #[must_use]
    pub fn with_quota(mut self, max_bytes: u64) -> Self {
        self.max_bytes = Some(max_bytes);
        self
    }

    /// An agent's project. Creates it if it does not exist. Concurrent calls for the same agent may create
    /// two: the caller must not provision the same agent concurrently.
    pub async fn ensure(&self, agent_id: AgentId) -> Result<NeonProject, DatabaseError> {
        let name = name(agent_id);
        with_timeout(async {
            let session = self.session()?;
            let found = session.find(&name).await?;
            let (project_id, uri) = match found.project_ids.into_iter().next() {
                Some(project_id) => (project_id, None),
                // Treating a project that may exist as missing would create a second one.
                None if !found.is_complete => return Err(DatabaseErrorReason::Unavailable.into()),
                None => {
                    let created = session.create(&name, self.max_bytes).await?;
                    (created.project_id, created.uri)
                }
            };
            let uri = match uri {
                Some(uri) => uri,
                None => session.uri(&project_id).await?,
            };
            if !uri.starts_with("postgres://") && !uri.starts_with("postgresql://") {
                return Err(DatabaseErrorReason::Protocol.into());
            }
            Ok(NeonProject { project_id, uri })
        })
        .await
    }

    /// Gives the agent of a project a new password, and returns the project with its new URI. Neon ends the sessions that
    /// the old one began. A repeated call makes another password.
    pub async fn reset_password(&self, project_id: &str) -> Result<NeonProject, DatabaseError> {
        with_timeout(async {
            let session = self.session()?;
            session.reset_password(project_id).await?;
            Ok(NeonProject {
                project_id: project_id.to_owned(),
                uri: session.uri(project_id).await?,
            })
        })
        .await
    }

    /// Removes an agent's project, which need not exist. Without `project_id` all projects of the agent's name
    /// are removed.
    pub async fn delete(
        &self,
        agent_id: AgentId,
        project_id: Option<&str>,
    ) -> Result<(), DatabaseError> {
        with_timeout(async {
            let session = self.session()?;
            if let Some(project_id) = project_id {
                return session.delete(project_id).await;
            }
            let found = session.find(&name(agent_id)).await?;
            for project_id in &found.project_ids {
                session.delete(project_id).await?;
            }
            if found.is_complete {
                Ok(())
            } else {
                // One of the projects that Neon could not read may have the name, too.
                Err(DatabaseErrorReason::Unavailable.into())
            }
        })
        .await
    }

    fn session(&self) -> Result<Session<'_>, DatabaseError> {
        Session::new(&self.base, &self.authorization)
    }
}

fn name(agent_id: AgentId) -> String {
    format!("milady-{agent_id}")
}

async fn with_timeout<T>(
    call: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    timeout(CALL_TIMEOUT, Box::pin(call))
        .await
        .map_err(|_: Elapsed| DatabaseErrorReason::TimedOut)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_only_sent_over_https_or_to_this_machine() {
        for (key, base, accepted) in [
            ("k", BASE_URL, true),
            ("k", "http://127.0.0.1:9/api/v2", true),
            ("k", "http://console.neon.tech/api/v2", false),
            ("k", "console.neon.tech", false),
            ("", BASE_URL, false),
            ("two\nlines", BASE_URL, false),
        ] {
            assert_eq!(Neon::new(key, base).is_some(), accepted, "{key:?} {base}");
        }
    }

    #[test]
    fn debug_shows_neither_key_nor_uri() {
        let neon = Neon::new("word", BASE_URL).expect("a key");
        assert_eq!(format!("{neon:?}"), "Neon");
        let project = NeonProject {
            project_id: "p".to_owned(),
            uri: "postgres://word".to_owned(),
        };
        assert_eq!(
            format!("{project:?}"),
            "NeonProject { project_id: \"p\", .. }"
        );
    }
}
