-- no-transaction
-- The moves that failed: each refresh run counts them for every host.
CREATE INDEX CONCURRENTLY IF NOT EXISTS agent_moves_failed_idx ON cloud.agent_moves (from_node) WHERE error IS NOT NULL AND done_at IS NOT NULL;
