-- no-transaction
-- The agents whose status a billing run may change: few, in a table that is large.
CREATE INDEX CONCURRENTLY IF NOT EXISTS cloud_milady_sandboxes_dunning_idx ON public.milady_sandboxes (organization_id) WHERE billing_status IN ('warning', 'shutdown_pending');
