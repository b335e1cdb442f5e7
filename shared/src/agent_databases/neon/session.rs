//! The requests to Neon's API. Owns: their shapes, and which of them may be repeated.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::sleep;
use tracing::warn;
use url::Url;

use super::super::DatabaseError;

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

/// The requests of one call of ours: one client, one connection as long as it holds.
pub(super) struct Session<'a> {
    base: &'a Url,
    authorization: &'a HeaderValue,
    client: Client,
}

impl<'a> Session<'a> {
    /// Opens nothing yet.
    pub(super) fn new(
        base: &'a Url,
        authorization: &'a HeaderValue,
    ) -> Result<Self, DatabaseError> {
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(Duration::from_secs(3))
            .user_agent("milady-control-plane")
            .build()
            .map_err(|_| DatabaseError::Unreachable)?;
        Ok(Self {
            base,
            authorization,
            client,
        })
    }

    /// The ids of all projects of a name.
    pub(super) async fn find(&self, name: &str) -> Result<Vec<String>, DatabaseError> {
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

    /// A new project's id, and its address where the answer holds one.
    pub(super) async fn create(
        &self,
        name: &str,
    ) -> Result<(String, Option<String>), DatabaseError> {
        let url = self.url(&["projects"])?;
        let body = json!({"project": {"name": name}}).to_string();
        let created: Created = read(self.send(Method::POST, url, Some(body)).await?).await?;
        let uri = created.connection_uris.into_iter().next();
        Ok((created.project.id, uri.map(|uri| uri.connection_uri)))
    }

    /// A project's address.
    pub(super) async fn uri(&self, project_id: &str) -> Result<String, DatabaseError> {
        let mut url = self.url(&["projects", project_id, "connection_uri"])?;
        url.query_pairs_mut()
            .extend_pairs([("database_name", DATABASE), ("role_name", ROLE)]);
        let uri: Uri = read(self.send(Method::GET, url, None).await?).await?;
        Ok(uri.uri)
    }

    /// Deletes a project, which may be gone.
    pub(super) async fn delete(&self, project_id: &str) -> Result<(), DatabaseError> {
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
        let mut url = self.base.clone();
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
        let (mut tried, mut wait) = (1, FIRST_WAIT);
        loop {
            let mut request = self
                .client
                .request(method.clone(), url.clone())
                .header(AUTHORIZATION, self.authorization.clone());
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
            (tried, wait) = (tried + 1, wait * 2);
        }
    }
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
    #[test]
    fn no_path_is_left() {
        let base: Url = "https://db.example/api/v2/".parse().expect("a URL");
        let key = HeaderValue::from_static("word");
        let session = Session::new(&base, &key).expect("a client");
        let url = session.url(&["projects", "a-b-1"]).expect("a URL");
        assert_eq!(url.as_str(), "https://db.example/api/v2/projects/a-b-1");
        for id in ["", "..", "a/b", "a?b"] {
            assert!(session.url(&["projects", id]).is_err(), "{id}");
        }
    }
}
