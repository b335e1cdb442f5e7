//! What an organization was told.

pub mod list;

use super::route::Route;

pub const ROUTES: &[Route] = &[list::ROUTE];
