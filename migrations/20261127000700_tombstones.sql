-- What is left outside of an agent whose row was deleted: its container and volumes on its hosts, its database. Workers
-- remove it; the sweep sees to it. Whoever deletes an agent's row after removing all that deletes its tombstone, too.
SET LOCAL lock_timeout = '1s';

CREATE TABLE cloud.tombstones (
    agent_id uuid PRIMARY KEY,
    organization_id uuid NOT NULL,
    node_id text,
    former_nodes text[] NOT NULL,
    -- The container's slot on node_id is not free yet.
    holds_slot boolean NOT NULL,
    has_database boolean NOT NULL,
    neon_project_id text,
    -- A worker may still have been creating what the tombstone names.
    was_starting boolean NOT NULL,
    created_at timestamptz NOT NULL,
    -- The fence of its worker.
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL,
    error text
);
CREATE INDEX tombstones_due_idx ON cloud.tombstones (due_at);

-- The tombstone of an agent's row; none if nothing of the agent is outside.
CREATE FUNCTION cloud.tombstone_of(agent public.milady_sandboxes) RETURNS SETOF cloud.tombstones
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT agent.id, agent.organization_id, agent.node_id,
        array_remove(coalesce(agent.former_nodes, '{}'), NULL),
        agent.node_id IS NOT NULL AND agent.container_name IS NOT NULL
            AND agent.status NOT IN ('stopped', 'pending'),
        -- A database with another name is not ours to drop.
        agent.neon_project_id IS NOT NULL
            OR CASE WHEN agent.database_uri IS NULL THEN agent.database_status <> 'none'
                ELSE agent.database_uri LIKE '%agent\_' || replace(agent.id::text, '-', '') || '%' END,
        agent.neon_project_id, agent.status = 'provisioning', clock, 0, clock, NULL::text
    FROM cloud.billing_clock() AS clock
    WHERE agent.node_id IS NOT NULL OR agent.former_nodes IS NOT NULL OR agent.database_uri IS NOT NULL
        OR agent.database_status <> 'none' OR agent.neon_project_id IS NOT NULL
$$;

-- A failure becomes a warning, because it must not break other applications' deletions. An agent that was
-- restored and is deleted again adds to what its first tombstone names; a worker of that one loses its fence.
CREATE FUNCTION cloud.leave_tombstone() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO cloud.tombstones AS left_before SELECT * FROM cloud.tombstone_of(OLD)
    ON CONFLICT (agent_id) DO UPDATE SET node_id = excluded.node_id,
        former_nodes = array_remove(excluded.former_nodes || left_before.former_nodes
            || left_before.node_id, NULL),
        holds_slot = excluded.holds_slot,
        has_database = excluded.has_database OR left_before.has_database,
        neon_project_id = coalesce(excluded.neon_project_id, left_before.neon_project_id),
        was_starting = excluded.was_starting, created_at = excluded.created_at,
        attempts = left_before.attempts + 1, due_at = excluded.due_at;
    RETURN NULL;
EXCEPTION
-- The writer is told to repeat its transaction.
WHEN serialization_failure OR deadlock_detected THEN
    RAISE;
WHEN OTHERS THEN
    RAISE WARNING 'the tombstone of agent % was not written: %', OLD.id, SQLERRM;
    RETURN NULL;
END $$;

-- TRUNCATE calls no trigger of a row.
CREATE FUNCTION cloud.leave_all_tombstones() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO cloud.tombstones
    SELECT t.* FROM public.milady_sandboxes AS a, cloud.tombstone_of(a) AS t
    ON CONFLICT (agent_id) DO NOTHING;
    UPDATE cloud.usage_spans AS s SET ended_at = greatest(cloud.billing_clock(), cloud.open_span_mark(s))
    WHERE ended_at IS NULL;
    RETURN NULL;
EXCEPTION
-- The writer is told to repeat its transaction.
WHEN serialization_failure OR deadlock_detected THEN
    RAISE;
WHEN OTHERS THEN
    RAISE WARNING 'the tombstones of all agents were not written: %', SQLERRM;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION cloud.tombstone_of(public.milady_sandboxes), cloud.leave_tombstone(),
    cloud.leave_all_tombstones() FROM PUBLIC;

CREATE TRIGGER cloud_leave_tombstone AFTER DELETE ON public.milady_sandboxes
    FOR EACH ROW EXECUTE FUNCTION cloud.leave_tombstone();
CREATE TRIGGER cloud_leave_tombstones BEFORE TRUNCATE ON public.milady_sandboxes
    FOR EACH STATEMENT EXECUTE FUNCTION cloud.leave_all_tombstones();
