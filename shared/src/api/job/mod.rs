//! Jobs: their state for clients, and the functions that run and sweep them.

pub mod get;
pub mod run;
pub mod sweep;
pub(in crate::api) mod view;

use super::route::Route;

pub const ROUTES: &[Route] = &[get::ROUTE];
