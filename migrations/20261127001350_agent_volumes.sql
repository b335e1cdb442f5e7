-- Which volume holds an agent's state, and which volumes hold states that were left behind.
SET LOCAL lock_timeout = '1s';

-- state_node_id: the agent ran with the volume on this host, so a start there keeps it. A volume that a failed start
-- created does not count. left_nodes: hosts of an earlier stay whose volumes hold state that no backup does. They are
-- removed with the agent, or by an operator, and by nobody else.
ALTER TABLE public.milady_sandboxes
    ADD COLUMN IF NOT EXISTS state_node_id text,
    ADD COLUMN IF NOT EXISTS left_nodes text[];
