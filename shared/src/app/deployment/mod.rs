//! The steps that set a deployment up: migrations, the adoption of an existing database, prices, and the first organization.
//! These are the only use cases that hold SQL of their own.

pub mod adopt;
pub mod bootstrap;
pub mod migrate;
pub mod plain_secrets;
pub mod prices;
pub mod roles;
pub mod secrets;
pub mod super_admins;
