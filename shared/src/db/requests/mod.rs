//! What belongs to requests: idempotency keys, open streams, the outbox and the audit log.

pub mod audit_log;
pub mod idempotency;
pub mod open_streams;
pub mod outbox;
