//! Hosts, for super admins: one file per route. The only responses that hold the addresses of hosts, except the
//! audit's.

pub mod check;
mod fields;
pub mod get;
pub mod list;
pub mod register;
pub mod remove;
pub mod sync;
pub mod update;
mod view;

use lambda_http::{Request, RequestExt};

use super::problem::Problem;

/// The host's name in the path. Older deployments may have registered names that [`fields::is_node_id`] refuses,
/// so only names that no row can hold are refused here, with 404.
fn node_id(request: &Request) -> Result<String, Problem> {
    let parameters = request.path_parameters_ref();
    let text = parameters.and_then(|parameters| parameters.first("nodeId"));
    text.filter(|text| !text.contains('\0'))
        .map(str::to_owned)
        .ok_or_else(|| Problem::not_found("Node not found"))
}
