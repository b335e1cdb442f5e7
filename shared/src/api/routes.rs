//! All routes. Owns: the list.

use super::route::Route;
use super::{
    admin, agent, billing, config, credit, job, limit, node, notice, openapi, organization,
    session, settings,
};

/// Every route, in the order of the document.
pub fn all() -> impl Iterator<Item = &'static Route> {
    [
        agent::ROUTES,
        config::ROUTES,
        job::ROUTES,
        credit::ROUTES,
        limit::ROUTES,
        settings::ROUTES,
        notice::ROUTES,
        session::ROUTES,
        node::ROUTES,
        admin::ROUTES,
        organization::ROUTES,
        billing::ROUTES,
        openapi::ROUTES,
    ]
    .into_iter()
    .flatten()
}
