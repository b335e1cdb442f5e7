-- no-transaction
-- What an organization has under way: read by the credit gate.
CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_active_agent_work_idx ON jobs (organization_id) WHERE status IN ('pending', 'in_progress') AND type IN ('milady_provision', 'milady_restore', 'milady_suspend', 'milady_delete');
