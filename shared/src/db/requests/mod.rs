//! What belongs to requests: idempotency keys, the outbox and the audit log.

pub mod audit_log;
pub mod idempotency;
pub mod outbox;
