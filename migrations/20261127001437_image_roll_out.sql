-- The roll-out of a new version of the default image to the agents that run another one.
SET LOCAL lock_timeout = '1s';

-- The last roll-out: at most one row. No foreign keys: see 20261127001000.
CREATE TABLE cloud.image_roll_outs (
    is_last boolean PRIMARY KEY DEFAULT true CHECK (is_last),
    -- The default image when the roll-out was started, and the version that is rolled out: `sha256:...`.
    image text NOT NULL,
    digest text NOT NULL,
    requested_by uuid NOT NULL,
    requested_at timestamptz NOT NULL,
    -- How many agents are restarted at the same time.
    restarts_at_once integer NOT NULL CHECK (restarts_at_once > 0),
    state text NOT NULL CHECK (state IN ('running', 'paused', 'cancelled', 'done')),
    -- Why the roll-out paused by itself. Null if an operator paused it.
    pause_reason text,
    -- Restarts that failed before this time do not pause it.
    resumed_at timestamptz NOT NULL,
    -- When it was cancelled, or had no agent left to restart.
    done_at timestamptz
);

-- The agents that the last roll-out restarts or restarted.
CREATE TABLE cloud.image_restarts (
    agent_id uuid PRIMARY KEY,
    organization_id uuid NOT NULL,
    begun_at timestamptz NOT NULL,
    -- What the agent ran before: the engine's id of the image, and the version. The id is null until the agent's state is
    -- saved and its container is about to be stopped.
    previous_image text,
    previous_digest text,
    -- The next start is not attempted before.
    start_due_at timestamptz NOT NULL,
    -- How many starts were requested, with either image: a restart whose starts fail again and again ends.
    starts integer NOT NULL DEFAULT 0,
    -- Null while the new version is attempted.
    outcome text CHECK (outcome IN ('restarted', 'failed', 'skipped')),
    decided_at timestamptz,
    -- Why the agent failed or was skipped.
    error text,
    -- When nothing was left to do. Until then an agent that failed is being put back on its previous image.
    done_at timestamptz
);
