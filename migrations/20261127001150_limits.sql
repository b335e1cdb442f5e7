-- What operators allow single organizations, and what is counted that is no row of another table.
SET LOCAL lock_timeout = '1s';

-- Null is the default, which the functions know. No foreign keys: see 20261127001000.
CREATE TABLE cloud.organization_limits (
    organization_id uuid PRIMARY KEY,
    agents integer CHECK (agents >= 0),
    active_starts integer CHECK (active_starts >= 0),
    running_starts integer CHECK (running_starts > 0),
    open_streams integer CHECK (open_streams >= 0),
    starts_per_agent_and_hour integer CHECK (starts_per_agent_and_hour >= 0),
    snapshots_per_agent_and_hour integer CHECK (snapshots_per_agent_and_hour >= 0),
    snapshots_per_agent_and_minute integer CHECK (snapshots_per_agent_and_minute >= 0),
    updated_at timestamptz NOT NULL,
    updated_by uuid NOT NULL
);

-- Streams that somebody reads. The row of a function that was killed counts until it expires. Unlogged: after a crash of
-- the server nobody has any.
CREATE UNLOGGED TABLE cloud.open_streams (
    organization_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, id)
);
