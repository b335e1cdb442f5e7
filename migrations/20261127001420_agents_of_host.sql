-- no-transaction
-- The agents of a host: read every minute for each lost or drained host, and whenever a job of a host is claimed. The older application has it already, under this name.
CREATE INDEX CONCURRENTLY IF NOT EXISTS milady_sandboxes_node_id_idx ON public.milady_sandboxes (node_id);
