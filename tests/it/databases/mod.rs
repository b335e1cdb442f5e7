//! Agents' own databases, on a real Postgres server and at a stand-in for Neon.

mod limits;
mod neon;
mod removal;
mod rotation;
mod server;
