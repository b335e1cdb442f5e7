-- no-transaction
-- Events that EventBridge has not taken: read every minute.
CREATE INDEX CONCURRENTLY IF NOT EXISTS outbox_events_unpublished_idx ON outbox_events (id) WHERE published_at IS NULL;
