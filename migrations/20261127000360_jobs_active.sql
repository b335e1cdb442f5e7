-- no-transaction
-- What an organization has under way: read by the credit gate. The prefix stands for the kinds, so that a new kind needs no new index.
CREATE INDEX CONCURRENTLY IF NOT EXISTS cloud_jobs_active_idx ON public.jobs (organization_id) WHERE status IN ('pending', 'in_progress') AND type LIKE 'milady\_%';
