-- no-transaction
-- An agent's jobs, newest first. Rows of other job types and of an older web app have no class.
CREATE INDEX CONCURRENTLY IF NOT EXISTS cloud_jobs_of_agent_idx ON public.jobs (agent_id, created_at DESC, id DESC) WHERE class IS NOT NULL;
