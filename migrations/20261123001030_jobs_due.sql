-- no-transaction
-- Work that is due or under way: read every minute.
CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_due_idx ON jobs (scheduled_for) WHERE status IN ('pending', 'in_progress') AND type IN ('milady_provision', 'milady_restore', 'milady_suspend', 'milady_delete');
