//! The settings of an organization, which everybody of it sees and its owner changes.

pub mod get;
pub mod update;
mod view;

use super::route::Route;

pub const ROUTES: &[Route] = &[get::ROUTE, update::ROUTE];
