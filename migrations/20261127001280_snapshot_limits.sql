-- How many snapshots an organization may request, counted before an agent is asked for its state.
SET LOCAL lock_timeout = '1s';

ALTER TABLE cloud.organization_limits
    ADD COLUMN running_snapshots integer CHECK (running_snapshots >= 0),
    ADD COLUMN snapshots_per_hour integer CHECK (snapshots_per_hour >= 0);

-- The snapshots that owners requested within the last hour, whether or not they succeeded. The row of a function that was
-- killed counts as running until its time is over. Unlogged: after a crash of the server nobody has any.
CREATE UNLOGGED TABLE cloud.snapshot_requests (
    organization_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    agent_id uuid NOT NULL,
    requested_at timestamptz NOT NULL,
    running_until timestamptz NOT NULL,
    PRIMARY KEY (organization_id, id)
);
