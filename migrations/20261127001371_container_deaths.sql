-- Containers of agents that end again and again, and what is kept of those that died.
SET LOCAL lock_timeout = '1s';

-- What a refresh run saw of a container that may be dying; the next run decides. No foreign keys: see 20261127001000.
CREATE TABLE cloud.ailing_containers (
    agent_id uuid PRIMARY KEY,
    organization_id uuid NOT NULL,
    -- Docker's id.
    container_id text NOT NULL,
    -- Since when its restarts are counted, and how many there had been before.
    began_at timestamptz NOT NULL,
    restarts_before bigint NOT NULL,
    observed_at timestamptz NOT NULL,
    has_ended boolean NOT NULL
);

-- The last container of each agent that died.
CREATE TABLE cloud.container_deaths (
    agent_id uuid PRIMARY KEY,
    organization_id uuid NOT NULL,
    node_id text NOT NULL,
    container_id text NOT NULL,
    died_at timestamptz NOT NULL,
    -- Null if Docker did not say.
    exit_code bigint,
    out_of_memory boolean NOT NULL,
    -- How often Docker had started it again.
    restarts bigint NOT NULL,
    -- The last lines that it wrote.
    log text NOT NULL,
    -- Docker goes on starting it: it is still to be stopped.
    to_stop boolean NOT NULL
);
