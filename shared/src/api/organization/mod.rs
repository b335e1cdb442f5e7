//! The organizations, their users and their API keys, for super admins.

pub mod create;
mod fields;
pub mod key_create;
pub mod key_revoke;
pub mod list;
pub mod user_create;
pub mod users;

use super::route::Route;

pub const ROUTES: &[Route] = &[
    list::ROUTE,
    create::ROUTE,
    users::ROUTE,
    user_create::ROUTE,
    key_create::ROUTE,
    key_revoke::ROUTE,
];
