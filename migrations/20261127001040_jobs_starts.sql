-- no-transaction
-- The recent starts of an agent, which are limited.
CREATE INDEX CONCURRENTLY IF NOT EXISTS cloud_jobs_starts_idx ON public.jobs (agent_id, created_at) WHERE class = 'start';
