-- no-transaction
-- At most one active job of each class per agent. Only jobs of ours have an agent_id.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS cloud_jobs_one_active_key ON public.jobs (agent_id, class) WHERE agent_id IS NOT NULL AND status IN ('pending', 'in_progress');
