//! Hosts: one file per route, and how a host looks in JSON. All of them are for super admins. This is the
//! one place that tells where hosts are.

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
use sqlx::PgPool;

use super::auth::Auth;
use super::problem::Problem;
use crate::hosts::Fleet;

/// What a route needs that does not go to the hosts.
#[derive(Debug)]
pub struct Deps {
    /// One connection.
    pub pool: PgPool,
    /// Who may call.
    pub auth: Auth,
}

/// What a route needs that goes to one.
#[derive(Debug)]
pub struct ReachDeps {
    /// One connection.
    pub pool: PgPool,
    /// Who may call.
    pub auth: Auth,
    /// The way to the hosts.
    pub fleet: Fleet,
}

/// The host in the path. Older deployments may have named it in ways that we do not: what no host can be
/// called is not found.
fn node_id(request: &Request) -> Result<String, Problem> {
    let parameters = request.path_parameters_ref();
    let text = parameters.and_then(|parameters| parameters.first("nodeId"));
    text.filter(|text| !text.contains('\0'))
        .map(str::to_owned)
        .ok_or_else(|| Problem::not_found("Node not found"))
}
