-- no-transaction
-- The recent starts of an organization, which are limited.
CREATE INDEX CONCURRENTLY IF NOT EXISTS cloud_jobs_starts_of_organization_idx ON public.jobs (organization_id, created_at) WHERE class = 'start';
