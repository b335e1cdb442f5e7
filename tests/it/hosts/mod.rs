//! Agents on real hosts: requests from the first to the last step, and what remains when a step fails. On a
//! machine that cannot start a host, the tests print that and pass.

mod backups;
mod containers;
mod encrypted;
mod failures;
mod images;
mod inspection;
mod known_failures;
mod legacy;
mod lifecycle;
mod metering;
mod moves;
mod owner_text;
mod refresh_runs;
mod registry;
mod stalled_workers;
mod state;
mod step_failures;
mod stream;
mod timeouts;
mod tombstones;
mod two_engines;
mod volume_copies;
