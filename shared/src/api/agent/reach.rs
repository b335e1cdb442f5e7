//! What the routes that talk to a running agent have in common.

use sqlx::PgPool;

use crate::api::auth::Auth;
use crate::hosts::Fleet;

/// What they need.
#[derive(Debug)]
pub struct Deps {
    /// One connection.
    pub pool: PgPool,
    /// Who may call.
    pub auth: Auth,
    /// The connections to hosts.
    pub fleet: Fleet,
}
