//! The host that a path names.

use lambda_http::{Request, RequestExt};

use crate::api::problem::Problem;

/// The host's name in the path. Older deployments may have registered names that [`super::fields::is_node_id`] refuses,
/// so only names that no row can hold are refused here, with 404.
pub(super) fn node_id(request: &Request) -> Result<String, Problem> {
    let parameters = request.path_parameters_ref();
    let text = parameters.and_then(|parameters| parameters.first("nodeId"));
    text.filter(|text| !text.contains('\0'))
        .map(str::to_owned)
        .ok_or_else(|| Problem::not_found("Node not found"))
}
