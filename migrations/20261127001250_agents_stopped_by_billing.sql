-- no-transaction
-- The agents that are started again after a top-up: few, in a table that is large, and read every minute.
CREATE INDEX CONCURRENTLY IF NOT EXISTS cloud_milady_sandboxes_stopped_by_billing_idx ON public.milady_sandboxes (organization_id) WHERE stop_reason = 'billing';
