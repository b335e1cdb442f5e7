//! What belongs to requests: idempotency keys, open streams, requests for snapshots, the outbox and the audit log.

pub mod audit_log;
pub mod idempotency;
pub mod open_streams;
pub mod outbox;
pub mod product_events;
pub mod snapshot_requests;
