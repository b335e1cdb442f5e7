-- What a refresh run observed that must not be. It is resolved when the next run observes it, too. In Postgres, because
-- what is done about it must not depend on a cache.
SET LOCAL lock_timeout = '1s';

-- No foreign keys: see 20261127001000.
CREATE TABLE cloud.fleet_discrepancies (
    -- A word of the functions.
    kind text NOT NULL,
    agent_id uuid NOT NULL,
    organization_id uuid NOT NULL,
    -- What the agent's row named, and Docker's id. An observation of another host or container is another discrepancy.
    node_id text,
    container_id text,
    first_observed_at timestamptz NOT NULL,
    observed_at timestamptz NOT NULL,
    PRIMARY KEY (kind, agent_id)
);
