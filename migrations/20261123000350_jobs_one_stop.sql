-- no-transaction
-- At most one stop job per agent.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS jobs_one_stop_key ON jobs (agent_id) WHERE agent_id IS NOT NULL AND status IN ('pending', 'in_progress') AND type IN ('milady_suspend', 'milady_delete');
