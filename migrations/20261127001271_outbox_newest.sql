-- no-transaction
-- What an organization was told, newest first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS outbox_events_newest_idx ON cloud.outbox_events (organization_id, id DESC);
