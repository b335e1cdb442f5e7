//! Credit: balance, ledger, use and history for owners, changes of balance and ledger for super admins.

pub mod charges;
mod cursors;
mod fields;
pub mod get;
pub mod grant;
pub mod history;
pub mod refund;
pub mod series;
mod transaction;
pub mod usage;
pub mod write_off;

use super::route::Route;

pub const ROUTES: &[Route] = &[
    get::ROUTE,
    history::ROUTE,
    charges::ROUTE,
    usage::ROUTE,
    series::ROUTE,
    grant::ROUTE,
    refund::ROUTE,
    write_off::ROUTE,
];
