//! The requests to Neon's API. Owns: the shapes of requests and responses, and which requests may be repeated.

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

use crate::agent_databases::{DatabaseError, DatabaseErrorReason};
use crate::failure::with_reason;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const MAX_ATTEMPTS: u32 = 5;
/// The wait before the second attempt. It doubles with each further attempt.
const FIRST_RETRY_AFTER: Duration = Duration::from_millis(250);
/// If Neon asks for a longer wait, [`Session::send`] returns the response without another attempt: the wait would use
/// up most of the call's timeout.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(5);
/// The most that Neon lists in one response. One page is enough: names contain the agent's id, so a search matches
/// few.
const MAX_PROJECTS: &str = "400";
const MAX_RESPONSE_BYTES: usize = 2 << 20;
/// Neon's names for the database and the role of a new project.
const DEFAULT_DATABASE: &str = "neondb";
const DEFAULT_ROLE: &str = "neondb_owner";

#[derive(Deserialize)]
struct List {
    projects: Vec<Project>,
    /// Projects that exist, but whose details Neon could not read in time.
    #[serde(default)]
    unavailable_project_ids: Vec<String>,
}

#[derive(Deserialize)]
struct Project {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct CreateResponse {
    project: Project,
    #[serde(default)]
    connection_uris: Vec<ConnectionUri>,
}

#[derive(Deserialize)]
struct ConnectionUri {
    connection_uri: String,
}

/// The projects of one name.
pub(super) struct FoundProjects {
    /// Sorted: if there are several, every call takes the same one.
    pub(super) project_ids: Vec<String>,
    /// Whether Neon could read all projects. If not, there may be more of this name.
    pub(super) is_complete: bool,
}

/// A project that was just created.
pub(super) struct CreatedProject {
    pub(super) project_id: String,
    /// `None` if the response held no URI.
    pub(super) uri: Option<String>,
}

#[derive(Deserialize)]
struct Uri {
    uri: String,
}

#[derive(Deserialize)]
struct Branches {
    branches: Vec<Branch>,
}

#[derive(Deserialize)]
struct Branch {
    id: String,
    #[serde(default)]
    default: bool,
}

#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    code: String,
}

/// The requests of one call. They share one HTTP client and its connection.
pub(super) struct Session<'a> {
    base: &'a Url,
    authorization: &'a HeaderValue,
    client: Client,
}

impl<'a> Session<'a> {
    /// Connects to nothing yet.
    pub(super) fn new(
        base: &'a Url,
        authorization: &'a HeaderValue,
    ) -> Result<Self, DatabaseError> {
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent("milady-control-plane")
            .build()
            .map_err(with_reason(DatabaseErrorReason::Unreachable))?;
        Ok(Self {
            base,
            authorization,
            client,
        })
    }

    pub(super) async fn find(&self, name: &str) -> Result<FoundProjects, DatabaseError> {
        let mut url = self.url(&["projects"])?;
        url.query_pairs_mut()
            .extend_pairs([("search", name), ("limit", MAX_PROJECTS)]);
        let list: List = read_json(self.send(Method::GET, url, None).await?).await?;
        // The search also matches parts of names.
        let projects = list.projects.into_iter();
        let matching = projects.filter(|project| project.name == name);
        let mut project_ids: Vec<String> = matching.map(|project| project.id).collect();
        project_ids.sort();
        Ok(FoundProjects {
            project_ids,
            is_complete: list.unavailable_project_ids.is_empty(),
        })
    }

    pub(super) async fn create(
        &self,
        name: &str,
        max_bytes: Option<u64>,
    ) -> Result<CreatedProject, DatabaseError> {
        let url = self.url(&["projects"])?;
        let mut body = json!({"project": {"name": name}});
        if let Some(max_bytes) = max_bytes {
            body["project"]["settings"] = json!({"quota": {"logical_size_bytes": max_bytes}});
        }
        let response = self.send(Method::POST, url, Some(body.to_string())).await?;
        let created: CreateResponse = read_json(response).await?;
        let uri = created.connection_uris.into_iter().next();
        Ok(CreatedProject {
            project_id: created.project.id,
            uri: uri.map(|uri| uri.connection_uri),
        })
    }

    /// The connection URI of a project's default database.
    pub(super) async fn uri(&self, project_id: &str) -> Result<String, DatabaseError> {
        let mut url = self.url(&["projects", project_id, "connection_uri"])?;
        url.query_pairs_mut().extend_pairs([
            ("database_name", DEFAULT_DATABASE),
            ("role_name", DEFAULT_ROLE),
        ]);
        let uri: Uri = read_json(self.send(Method::GET, url, None).await?).await?;
        Ok(uri.uri)
    }

    /// Replaces the password of a project's default role.
    pub(super) async fn reset_password(&self, project_id: &str) -> Result<(), DatabaseError> {
        let url = self.url(&["projects", project_id, "branches"])?;
        let list: Branches = read_json(self.send(Method::GET, url, None).await?).await?;
        let branches = list.branches.into_iter();
        // Agents' projects have one branch, unless somebody made another one.
        let branch = branches.min_by_key(|branch| !branch.default);
        let branch = branch.ok_or(DatabaseErrorReason::Protocol)?.id;
        let path = [
            "projects",
            project_id,
            "branches",
            &branch,
            "roles",
            DEFAULT_ROLE,
            "reset_password",
        ];
        let response = self.send(Method::POST, self.url(&path)?, None).await?;
        check_status(response).await.map(drop)
    }

    /// Deletes a project. A project that is gone is no error.
    pub(super) async fn delete(&self, project_id: &str) -> Result<(), DatabaseError> {
        let url = self.url(&["projects", project_id])?;
        let response = self.send(Method::DELETE, url, None).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(());
        }
        check_status(response).await.map(drop)
    }

    fn url(&self, path: &[&str]) -> Result<Url, DatabaseError> {
        // An id comes from Neon or from the database. One like `..` must not lead to another path.
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        if path
            .iter()
            .any(|segment| segment.is_empty() || !segment.bytes().all(is_plain))
        {
            return Err(DatabaseErrorReason::Protocol.into());
        }
        let mut url = self.base.clone();
        let segments = url.path_segments_mut();
        segments
            .map_err(|()| DatabaseErrorReason::Protocol)?
            .pop_if_empty()
            .extend(path);
        Ok(url)
    }

    /// Sends a request, and repeats it while Neon's response allows that.
    async fn send(
        &self,
        method: Method,
        url: Url,
        body: Option<String>,
    ) -> Result<Response, DatabaseError> {
        let (mut attempt, mut backoff) = (1, FIRST_RETRY_AFTER);
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
            let response = request.send().await.map_err(classify)?;
            let wait = retry_after(&response).unwrap_or_default().max(backoff);
            let may_repeat = may_repeat(&method, response.status());
            if !may_repeat || attempt == MAX_ATTEMPTS || wait > MAX_RETRY_AFTER {
                return Ok(response);
            }
            sleep(wait).await;
            (attempt, backoff) = (attempt + 1, backoff * 2);
        }
    }
}

/// Whether the request can be repeated: it had no effect, or it is idempotent.
fn may_repeat(method: &Method, status: StatusCode) -> bool {
    matches!(status.as_u16(), 423 | 429 | 503)
        || (status.is_server_error() && *method != Method::POST)
}

/// The wait that the response asks for, if it does so in seconds. Neon sends no dates.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// Turns a response that is not a success into an error.
async fn check_status(response: Response) -> Result<Response, DatabaseError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let refusal: Refusal = match read_body(response).await {
        Ok(body) => serde_json::from_slice(&body).unwrap_or_default(),
        Err(_) => Refusal::default(),
    };
    // Only the error code is logged, never the message, which could quote what we sent.
    let is_code_char = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let is_code = refusal.code.len() <= 64 && refusal.code.bytes().all(is_code_char);
    let code = if is_code { refusal.code.as_str() } else { "" };
    let status = status.as_u16();
    warn!(status, code, "Neon refused a request");
    let reason = match status {
        423 | 429 | 500.. => DatabaseErrorReason::Unavailable,
        400..500 => DatabaseErrorReason::Refused,
        _ => DatabaseErrorReason::Protocol,
    };
    Err(reason.into())
}

async fn read_json<T: DeserializeOwned>(response: Response) -> Result<T, DatabaseError> {
    let body = read_body(check_status(response).await?).await?;
    serde_json::from_slice(&body).map_err(with_reason(DatabaseErrorReason::Protocol))
}

async fn read_body(mut response: Response) -> Result<Vec<u8>, DatabaseError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(classify)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_RESPONSE_BYTES {
            return Err(DatabaseErrorReason::Protocol.into());
        }
    }
    Ok(body)
}

fn classify(error: reqwest::Error) -> DatabaseError {
    // A response that broke off counts as unreachable: the work may have been done all the same.
    let reason = if error.is_timeout() {
        DatabaseErrorReason::TimedOut
    } else {
        DatabaseErrorReason::Unreachable
    };
    DatabaseError::new(reason).with_cause(error.without_url())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_is_repeated_only_if_it_had_no_effect() {
        for (method, statuses, is_repeated) in [
            (Method::GET, vec![423, 429, 500, 502, 503, 504], true),
            (Method::DELETE, vec![423, 429, 500, 503], true),
            (Method::POST, vec![423, 429, 503], true),
            (Method::POST, vec![500, 502, 504], false),
            (Method::GET, vec![200, 302, 400, 401, 403, 404], false),
        ] {
            for status in statuses {
                let status = StatusCode::from_u16(status).expect("a status");
                assert_eq!(
                    may_repeat(&method, status),
                    is_repeated,
                    "{method} {status}"
                );
            }
        }
    }

    #[test]
    fn an_id_cannot_leave_its_path_segment() {
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
