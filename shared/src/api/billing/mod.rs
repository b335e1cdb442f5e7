//! The two ways to start a billing run, the hourly schedule and a request, and the daily audit.

pub mod audit;
pub mod hourly;
mod result;
pub mod trigger;

use super::route::Route;

pub use result::RunResult;

pub const ROUTES: &[Route] = trigger::ROUTES;
