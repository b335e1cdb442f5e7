-- Secrets of agents, encrypted with keys that the database does not have. An agent without a row here has its secrets in
-- milady_sandboxes, where the older application wrote them.
SET LOCAL lock_timeout = '1s';

-- No foreign keys: see 20261127001000. The rows stay as long as a tombstone may lead back to the agent.
CREATE TABLE cloud.agent_databases (
    agent_id uuid PRIMARY KEY,
    -- The address of the agent's database.
    ciphertext bytea NOT NULL,
    key_id text NOT NULL,
    -- Whether this product created the database, and so removes it.
    is_own boolean NOT NULL
);

CREATE TABLE cloud.agent_environments (
    agent_id uuid PRIMARY KEY,
    -- The variables, as a JSON object. environment_vars keeps their names.
    ciphertext bytea NOT NULL,
    key_id text NOT NULL
);

-- As before, and with addresses in cloud.agent_databases.
CREATE OR REPLACE FUNCTION cloud.tombstone_of(agent public.milady_sandboxes) RETURNS SETOF cloud.tombstones
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT agent.id, agent.organization_id, agent.node_id,
        array_remove(coalesce(agent.former_nodes, '{}'), NULL),
        agent.node_id IS NOT NULL AND agent.container_name IS NOT NULL
            AND agent.status NOT IN ('stopped', 'pending'),
        -- A database with another name is not ours to drop.
        agent.neon_project_id IS NOT NULL OR coalesce(
            (SELECT d.is_own FROM cloud.agent_databases d WHERE d.agent_id = agent.id),
            CASE WHEN agent.database_uri IS NULL THEN agent.database_status <> 'none'
                ELSE agent.database_uri LIKE '%agent\_' || replace(agent.id::text, '-', '') || '%' END),
        agent.neon_project_id, agent.status = 'provisioning', clock, 0, clock, NULL::text
    FROM cloud.billing_clock() AS clock
    WHERE agent.node_id IS NOT NULL OR agent.former_nodes IS NOT NULL OR agent.database_uri IS NOT NULL
        OR agent.database_status <> 'none' OR agent.neon_project_id IS NOT NULL
        OR EXISTS (SELECT FROM cloud.agent_databases d WHERE d.agent_id = agent.id)
$$;

-- As before; an agent that leaves no tombstone leaves no secrets either.
CREATE OR REPLACE FUNCTION cloud.leave_tombstone() RETURNS trigger
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
    IF NOT FOUND THEN
        DELETE FROM cloud.agent_environments WHERE agent_id = OLD.id;
    END IF;
    RETURN NULL;
EXCEPTION
-- The writer is told to repeat its transaction.
WHEN serialization_failure OR deadlock_detected THEN
    RAISE;
WHEN OTHERS THEN
    RAISE WARNING 'the tombstone of agent % was not written: %', OLD.id, SQLERRM;
    RETURN NULL;
END $$;

-- As before, with the secrets of agents that leave no tombstone.
CREATE OR REPLACE FUNCTION cloud.leave_all_tombstones() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO cloud.tombstones
    SELECT t.* FROM public.milady_sandboxes AS a, cloud.tombstone_of(a) AS t
    ON CONFLICT (agent_id) DO NOTHING;
    DELETE FROM cloud.agent_environments e
    WHERE NOT EXISTS (SELECT FROM cloud.tombstones t WHERE t.agent_id = e.agent_id);
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

-- A tombstone goes when everything outside is removed, or when the agent's row is there again: then it keeps its secrets.
CREATE FUNCTION cloud.delete_agent_secrets() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM public.milady_sandboxes WHERE id = OLD.agent_id) THEN
        DELETE FROM cloud.agent_databases WHERE agent_id = OLD.agent_id;
        DELETE FROM cloud.agent_environments WHERE agent_id = OLD.agent_id;
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION cloud.delete_agent_secrets() FROM PUBLIC;

CREATE TRIGGER delete_agent_secrets AFTER DELETE ON cloud.tombstones
    FOR EACH ROW EXECUTE FUNCTION cloud.delete_agent_secrets();
