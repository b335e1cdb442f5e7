//! Credit: balance and ledger for owners, grants for super admins.

pub mod get;
pub mod grant;
pub mod history;

use super::route::Route;

pub const ROUTES: &[Route] = &[get::ROUTE, history::ROUTE, grant::ROUTE];
