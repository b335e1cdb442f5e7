//! The limits of an organization, for its members, and for super admins, who change them.

pub mod get;
pub mod list;
pub mod update;
mod view;

use super::route::Route;

pub const ROUTES: &[Route] = &[list::ROUTE, get::ROUTE, update::ROUTE];
