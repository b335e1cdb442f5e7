//! The settings of an organization, which everybody of it sees and its owner changes.

pub mod get;
pub mod update;
mod view;
pub mod webhook_test;

use super::route::Route;

pub const ROUTES: &[Route] = &[get::ROUTE, update::ROUTE, webhook_test::ROUTE];
