//! The integration tests, one binary. They mirror the library: `answers` tests what Docker, Podman and SSH servers
//! really answer, `api` mirrors the routes, `billing` tests the metering and charging, `cache` the snapshot cache,
//! `databases` agents' own databases, `deployment` what a deployment relies on, `derived` the files that are derived
//! from the code, `figures` what agents use, `hosts`, `refresh` and `repair` the inspection of hosts, `host_client` the
//! connections to hosts, `isolation` what agents reach from their hosts, `jobs` the work outside requests, `leases`
//! that one refresh run at a time works on a shard, `left_states` state on hosts that its agent has left, `mail` the
//! mails to owners, `lost_hosts` hosts that are lost or drained, `own_faults` refresh runs while the network or the
//! cache fails, `placement` which host a start takes, `previous_release` an earlier release on the newest tables,
//! `privileges` calls of AWS that every function makes, `roll_out` new versions of the default image for agents that
//! run, `roll_out_hosts` the same on hosts that are full, disabled or drained, `secrets` reading our secrets, `shards`
//! refresh runs over parts of the fleet, `sim` the simulated hosts, `upkeep` images and disks of hosts, `virtual_hour`
//! an hour of a failing fleet, `volume_copies` moves between hosts that fail, `webhooks` the webhooks of organizations.
//! `functions` starts each function.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that fails says where"
)]
#![expect(
    clippy::too_many_lines,
    reason = "answers are compared whole, and some have many lines"
)]

mod adoption_walk;
mod answers;
mod api;
mod billing;
mod cache;
mod connections;
mod databases;
mod deployment;
mod derived;
mod figures;
mod functions;
mod host_client;
mod hosts;
mod isolation;
mod jobs;
mod leases;
mod left_states;
mod lost_hosts;
mod mail;
mod migrations;
mod own_faults;
mod placement;
mod pooler;
mod previous_release;
mod privileges;
mod refresh;
mod repair;
mod roles;
mod roll_out;
mod roll_out_hosts;
mod secrets;
mod shards;
mod sim;
mod tidy;
mod tls;
mod upkeep;
mod virtual_hour;
mod volume_copies;
mod webhooks;
