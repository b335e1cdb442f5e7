//! Path parameters. Owns: that an id that is not a UUID is a 400 with a message (F30).

use std::str::FromStr;

use lambda_http::{Request, RequestExt};

use super::body::is_uuid;
use super::older_paths;
use super::problem::Problem;
use crate::domain::ids::AgentId;

/// The UUID in the path parameter of this name.
///
/// # Errors
/// 400.
pub fn identifier<T: FromStr>(request: &Request, name: &'static str) -> Result<T, Problem> {
    let parameters = request.path_parameters_ref();
    let text = parameters.and_then(|parameters| parameters.first(name));
    parse(name, text)
}

/// The agent's id in `/api/v1/milady/agents/{agentId}/...`, for a function behind a URL of its own, which gets
/// no path parameters.
///
/// # Errors
/// 400.
pub fn agent_id(request: &Request) -> Result<AgentId, Problem> {
    let path = older_paths::current(request.raw_http_path());
    let rest = path.strip_prefix("/api/v1/milady/agents/");
    parse("agentId", rest.and_then(|rest| rest.split('/').next()))
}

fn parse<T: FromStr>(name: &'static str, text: Option<&str>) -> Result<T, Problem> {
    text.filter(|text| is_uuid(text))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Problem::field(name, "must be a UUID"))
}
