//! Databases at Neon: a project for each agent, called `milady-<id>`. Owns: the calls, and which of them
//! may be repeated.
//!
//! The shapes are those of Neon's API reference (neon.com/docs/reference/api, "List projects", "Create
//! project", "Retrieve connection URI", "Delete project"). It says of errors: 423 and 503 can always be
//! tried again, a POST that failed in another way or was not answered must not be. Two projects may bear
//! one name. So a project is looked for before it is created, and a creation that may have happened is
//! left to the next call, which finds it.

use std::fmt;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::{sleep, timeout};
use tracing::warn;
use url::Url;
use uuid::Uuid;

use super::DatabaseError;

/// Where Neon's API is.
pub const BASE_URL: &str = "https://console.neon.tech/api/v2";
/// What one call of ours may take, with all its requests.
const WITHIN: Duration = Duration::from_secs(10);
/// Tries that a request gets, the wait after the first, which doubles, and the longest we wait.
const TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Projects in one answer at most, as the reference says. A name with an id in it is not borne by many.
const PROJECTS: &str = "400";
/// The longest answer that is read, in bytes.
const LONGEST: usize = 2 << 20;
/// What a new project's database and its owner are called when nothing else is said.
const DATABASE: &str = "neondb";
const ROLE: &str = "neondb_owner";

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

#[derive(Deserialize)]
struct List {
    projects: Vec<Project>,
    /// Projects that are there and of which Neon did not learn more in time.
    #[serde(default)]
    unavailable_project_ids: Vec<String>,
}

#[derive(Deserialize)]
struct Project {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Created {
    project: Project,
    #[serde(default)]
    connection_uris: Vec<CreatedUri>,
}

#[derive(Deserialize)]
struct CreatedUri {
    connection_uri: String,
}

#[derive(Deserialize)]
struct Uri {
    uri: String,
}

#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    code: String,
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
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(Duration::from_secs(3))
            .user_agent("milady-control-plane");
        let client = client.build().map_err(|_| DatabaseError::Unreachable)?;
        Ok(Session { neon: self, client })
    }
}

/// The requests of one call.
struct Session<'a> {
    neon: &'a Neon,
    client: Client,
}

impl Session<'_> {
    /// The ids of all projects of a name.
    async fn find(&self, name: &str) -> Result<Vec<String>, DatabaseError> {
        let mut url = self.url(&["projects"])?;
        url.query_pairs_mut()
            .extend_pairs([("search", name), ("limit", PROJECTS)]);
        let list: List = read(self.send(Method::GET, url, None).await?).await?;
        // The search also finds parts of names.
        let named = list.projects.into_iter().filter(|found| found.name == name);
        let mut ids: Vec<String> = named.map(|project| project.id).collect();
        if ids.is_empty() && !list.unavailable_project_ids.is_empty() {
            // It may be among those: not seen is not absent.
            return Err(DatabaseError::Unavailable);
        }
        // Should there be several, it is always the same.
        ids.sort();
        Ok(ids)
    }

    async fn create(&self, name: &str) -> Result<(String, Option<String>), DatabaseError> {
        let url = self.url(&["projects"])?;
        let body = json!({"project": {"name": name}}).to_string();
        let created: Created = read(self.send(Method::POST, url, Some(body)).await?).await?;
        let uri = created.connection_uris.into_iter().next();
        Ok((created.project.id, uri.map(|uri| uri.connection_uri)))
    }

    async fn uri(&self, project_id: &str) -> Result<String, DatabaseError> {
        let mut url = self.url(&["projects", project_id, "connection_uri"])?;
        url.query_pairs_mut()
            .extend_pairs([("database_name", DATABASE), ("role_name", ROLE)]);
        let uri: Uri = read(self.send(Method::GET, url, None).await?).await?;
        Ok(uri.uri)
    }

    async fn delete(&self, project_id: &str) -> Result<(), DatabaseError> {
        let url = self.url(&["projects", project_id])?;
        let answer = self.send(Method::DELETE, url, None).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(());
        }
        accepted(answer).await.map(drop)
    }

    fn url(&self, path: &[&str]) -> Result<Url, DatabaseError> {
        // "..", for one, would lead elsewhere.
        let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        if path
            .iter()
            .any(|part| part.is_empty() || !part.bytes().all(plain))
        {
            return Err(DatabaseError::Protocol);
        }
        let mut url = self.neon.base.clone();
        let segments = url.path_segments_mut();
        segments
            .map_err(|()| DatabaseError::Protocol)?
            .pop_if_empty()
            .extend(path);
        Ok(url)
    }

    /// Sends a request, again while Neon says that it may be tried again.
    async fn send(
        &self,
        method: Method,
        url: Url,
        body: Option<String>,
    ) -> Result<Response, DatabaseError> {
        let mut wait = FIRST_WAIT;
        for tried in 1.. {
            let mut request = self
                .client
                .request(method.clone(), url.clone())
                .header(AUTHORIZATION, self.neon.authorization.clone());
            if let Some(body) = &body {
                request = request
                    .header(CONTENT_TYPE, "application/json")
                    .body(body.clone());
            }
            let answer = request.send().await.map_err(|error| kind(&error))?;
            let wait_now = asked_wait(&answer).unwrap_or_default().max(wait);
            let again = may_repeat(&method, answer.status());
            if !again || tried == TRIES || wait_now > LONGEST_WAIT {
                return Ok(answer);
            }
            sleep(wait_now).await;
            wait *= 2;
        }
        Err(DatabaseError::Unavailable)
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

/// Whether a request was not done, or does no more when it is done twice.
fn may_repeat(method: &Method, status: StatusCode) -> bool {
    matches!(status.as_u16(), 423 | 429 | 503)
        || (status.is_server_error() && *method != Method::POST)
}

/// The wait that the answer asks for, when it does so in seconds.
fn asked_wait(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// An answer that says yes.
async fn accepted(answer: Response) -> Result<Response, DatabaseError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let refusal: Refusal = match body(answer).await {
        Ok(body) => serde_json::from_slice(&body).unwrap_or_default(),
        Err(_) => Refusal::default(),
    };
    // A word of theirs, no sentence.
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let is_word = refusal.code.len() <= 64 && refusal.code.bytes().all(word);
    let code = if is_word { refusal.code.as_str() } else { "" };
    let status = status.as_u16();
    warn!(status, code, "Neon refused a request");
    Err(match status {
        423 | 429 | 500.. => DatabaseError::Unavailable,
        400..500 => DatabaseError::Refused,
        _ => DatabaseError::Protocol,
    })
}

async fn read<T: DeserializeOwned>(answer: Response) -> Result<T, DatabaseError> {
    let body = body(accepted(answer).await?).await?;
    serde_json::from_slice(&body).map_err(|_| DatabaseError::Protocol)
}

async fn body(mut answer: Response) -> Result<Vec<u8>, DatabaseError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| kind(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST {
            return Err(DatabaseError::Protocol);
        }
    }
    Ok(body)
}

fn kind(error: &reqwest::Error) -> DatabaseError {
    // An answer that got lost on the way counts as none.
    if error.is_timeout() {
        DatabaseError::TimedOut
    } else {
        DatabaseError::Unreachable
    }
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
    fn nothing_is_shown_and_no_path_is_left() {
        let neon = Neon::new("word", &format!("{BASE_URL}/")).expect("a key");
        assert_eq!(format!("{neon:?}"), "Neon");
        let session = neon.session().expect("a client");
        let url = session.url(&["projects", "a-b-1"]).expect("a URL");
        assert_eq!(url.as_str(), format!("{BASE_URL}/projects/a-b-1"));
        for id in ["", "..", "a/b", "a?b"] {
            assert!(session.url(&["projects", id]).is_err(), "{id}");
        }
        let project = NeonProject {
            project_id: "p".to_owned(),
            uri: "postgres://word".to_owned(),
        };
        assert_eq!(
            format!("{project:?}"),
            "NeonProject { project_id: \"p\", .. }"
        );
    }

    #[test]
    fn only_what_does_no_harm_twice_is_repeated() {
        for (method, statuses, repeated) in [
            (Method::GET, vec![423, 429, 500, 502, 503, 504], true),
            (Method::DELETE, vec![423, 429, 500, 503], true),
            (Method::POST, vec![423, 429, 503], true),
            (Method::POST, vec![500, 502, 504], false),
            (Method::GET, vec![200, 302, 400, 401, 403, 404], false),
        ] {
            for status in statuses {
                let status = StatusCode::from_u16(status).expect("a status");
                assert_eq!(may_repeat(&method, status), repeated, "{method} {status}");
            }
        }
    }
}
