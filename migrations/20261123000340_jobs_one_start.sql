-- no-transaction
-- At most one start job per agent.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS jobs_one_start_key ON jobs (agent_id) WHERE agent_id IS NOT NULL AND status IN ('pending', 'in_progress') AND type IN ('milady_provision', 'milady_restore');
