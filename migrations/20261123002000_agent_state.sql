-- What a backup holds that JSONB cannot: compressed with gzip; state_data is then an empty object.
SET LOCAL lock_timeout = '5s';
ALTER TABLE milady_sandbox_backups ADD COLUMN IF NOT EXISTS state_bytes bytea;

-- unsaved_since: the volume on node_id holds state that no backup does; the agent is not started
-- elsewhere. data_bind: a directory of the host that an older deployment mounted at /app/data; it is
-- kept. former_nodes: where volumes of earlier stays may be left.
ALTER TABLE milady_sandboxes
    ADD COLUMN IF NOT EXISTS unsaved_since timestamptz,
    ADD COLUMN IF NOT EXISTS data_bind text,
    ADD COLUMN IF NOT EXISTS former_nodes text[];
