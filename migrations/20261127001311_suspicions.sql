-- What a refresh run observed that an agent's loss follows from if a later run observes it again: a row per suspicion, none
-- for what is well.
SET LOCAL lock_timeout = '1s';

-- observed_at: when the last run began that could not read the host.
CREATE TABLE cloud.host_suspicions (
    node_id text PRIMARY KEY,
    observed_at timestamptz NOT NULL
);

-- A running agent whose container was gone from its host, or had ended. No foreign keys: see 20261127001000.
CREATE TABLE cloud.container_suspicions (
    agent_id uuid PRIMARY KEY,
    organization_id uuid NOT NULL,
    node_id text NOT NULL,
    container_name text NOT NULL,
    observed_at timestamptz NOT NULL
);
