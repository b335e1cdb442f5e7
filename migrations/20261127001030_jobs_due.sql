-- no-transaction
-- Work that is due or under way: read every minute. The prefix stands for the kinds, so that a new kind needs no new index.
CREATE INDEX CONCURRENTLY IF NOT EXISTS cloud_jobs_due_idx ON public.jobs (scheduled_for) WHERE status IN ('pending', 'in_progress') AND type LIKE 'milady\_%';
