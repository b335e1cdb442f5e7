//! Path parameters. Owns: that an id which is no UUID is a 400 that says so (F30).

use lambda_http::{Request, RequestExt};
use uuid::Uuid;

use super::body::is_uuid;
use super::problem::Problem;

/// The UUID in the path under this name.
///
/// # Errors
/// 400.
pub fn uuid(request: &Request, name: &'static str) -> Result<Uuid, Problem> {
    let parameters = request.path_parameters_ref();
    let text = parameters.and_then(|parameters| parameters.first(name));
    text.filter(|text| is_uuid(text))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Problem::field(name, "must be a UUID"))
}

/// The agent in a path `/api/v1/milady/agents/{agentId}/...`, for a function behind a URL of its own,
/// which is told no parameters.
///
/// # Errors
/// 400.
pub fn uuid_of_agent(request: &Request) -> Result<Uuid, Problem> {
    let path = request.raw_http_path();
    let after = path.strip_prefix("/api/v1/milady/agents/");
    let text = after.and_then(|rest| rest.split('/').next());
    text.filter(|text| is_uuid(text))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Problem::field("agentId", "must be a UUID"))
}
