//! The routes, through the binaries that ship.

mod credits;
mod cron;
