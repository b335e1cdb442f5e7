-- Daily backups of running agents, and the objects of a bucket that hold the states of backups.
SET LOCAL lock_timeout = '1s';

-- When each agent's next daily backup is due. No foreign keys: see 20261127001000. Rows of agents that are gone are deleted
-- by the function that makes the backups.
CREATE TABLE cloud.daily_backups (
    agent_id uuid PRIMARY KEY,
    organization_id uuid NOT NULL,
    due_at timestamptz NOT NULL,
    -- How many attempts in a row have failed, and why the last one did; null after one that succeeded.
    failures integer NOT NULL DEFAULT 0,
    error text
);
CREATE INDEX daily_backups_due_idx ON cloud.daily_backups (due_at);

-- Written before the object. One without a row in milady_sandbox_backups is deleted with its object: its backup was deleted,
-- by whomever, or the upload or its transaction failed.
CREATE TABLE cloud.backup_objects (
    backup_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX backup_objects_created_idx ON cloud.backup_objects (created_at);
