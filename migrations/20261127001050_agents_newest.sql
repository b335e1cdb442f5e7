-- no-transaction
-- An organization's agents, newest first. None of its columns is one that the hourly run writes.
CREATE INDEX CONCURRENTLY IF NOT EXISTS cloud_milady_sandboxes_newest_idx ON public.milady_sandboxes (organization_id, created_at DESC, id DESC);
