//! Databases at Neon: a project for each agent, called `milady-<id>`. Owns: when a project is looked for,
//! made and deleted. Does not own: the requests (`session`).
//!
//! The shapes are those of Neon's API reference (neon.com/docs/reference/api: "List projects", "Create
//! project", "Retrieve connection URI", "Delete project"). It says of errors: what 423 and 503 answered
//! can always be tried again; a POST that failed in another way, or was not answered, must not be. Two
//! projects may bear one name. So a project is looked for before it is made, and a creation that may
//! have happened is left to the next call, which finds it.

mod session;

use std::fmt;
use std::time::Duration;

use reqwest::header::HeaderValue;
use tokio::time::timeout;
use url::Url;
use uuid::Uuid;

use self::session::Session;
use super::DatabaseError;

/// Where Neon's API is.
pub const BASE_URL: &str = "https://console.neon.tech/api/v2";
/// What one call of ours may take, with all its requests.
const WITHIN: Duration = Duration::from_secs(10);

/// Neon, and the key of an organization there.
#[derive(Clone)]
pub struct Neon {
    base: Url,
    authorization: HeaderValue,
}

/// Nothing of the key.
impl fmt::Debug for Neon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Neon")
    }
}

/// An agent's project.
#[derive(Clone, PartialEq, Eq)]
pub struct NeonProject {
    /// Neon's id of it.
    pub project_id: String,
    /// Where the agent finds its database. Keep it secret.
    pub uri: String,
}

/// Without the URI.
impl fmt::Debug for NeonProject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("NeonProject");
        shown.field("project_id", &self.project_id);
        shown.finish_non_exhaustive()
    }
}

impl Neon {
    /// Neon's API at `base` with a key; none for a key that is no text of one line, and for an address
    /// that is neither https nor http on this machine.
    #[must_use]
    pub fn new(key: &str, base: &str) -> Option<Self> {
        let base: Url = base.parse().ok()?;
        let local = matches!(base.host_str(), Some("127.0.0.1" | "localhost"));
        let safe = base.scheme() == "https" || (base.scheme() == "http" && local);
        let authorization = HeaderValue::from_str(&format!("Bearer {key}"));
        let mut authorization = authorization.ok().filter(|_| safe && !key.is_empty())?;
        authorization.set_sensitive(true);
        Some(Self {
            base,
            authorization,
        })
    }

    /// An agent's project, made if it is not there. Twice at once may make two: the caller sees to it
    /// that an agent is provisioned once at a time.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn ensure(&self, agent_id: Uuid) -> Result<NeonProject, DatabaseError> {
        let name = name(agent_id);
        within(async {
            let session = self.session()?;
            let (project_id, uri) = match session.find(&name).await?.into_iter().next() {
                Some(project_id) => (project_id, None),
                None => session.create(&name).await?,
            };
            let uri = match uri {
                Some(uri) => uri,
                None => session.uri(&project_id).await?,
            };
            if !uri.starts_with("postgres://") && !uri.starts_with("postgresql://") {
                return Err(DatabaseError::Protocol);
            }
            Ok(NeonProject { project_id, uri })
        })
        .await
    }

    /// Removes an agent's project; there may be none. Without its id all of its name are removed.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn drop(
        &self,
        agent_id: Uuid,
        project_id: Option<&str>,
    ) -> Result<(), DatabaseError> {
        within(async {
            let session = self.session()?;
            let projects = match project_id {
                Some(project_id) => vec![project_id.to_owned()],
                None => session.find(&name(agent_id)).await?,
            };
            for project_id in projects {
                session.delete(&project_id).await?;
            }
            Ok(())
        })
        .await
    }

    fn session(&self) -> Result<Session<'_>, DatabaseError> {
        Session::new(&self.base, &self.authorization)
    }
}

fn name(agent_id: Uuid) -> String {
    format!("milady-{agent_id}")
}

async fn within<T>(
    work: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    let done = timeout(WITHIN, Box::pin(work)).await;
    done.unwrap_or(Err(DatabaseError::TimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_to_https_or_stays_here() {
        for (key, base, taken) in [
            ("k", BASE_URL, true),
            ("k", "http://127.0.0.1:9/api/v2", true),
            ("k", "http://console.neon.tech/api/v2", false),
            ("k", "console.neon.tech", false),
            ("", BASE_URL, false),
            ("two\nlines", BASE_URL, false),
        ] {
            assert_eq!(Neon::new(key, base).is_some(), taken, "{key:?} {base}");
        }
    }

    #[test]
    fn nothing_is_shown() {
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
