-- Starts that failed on a host: a job does not try that host again, and starts of several agents that failed there set
-- the host aside.
SET LOCAL lock_timeout = '1s';

-- No foreign keys: see 20261127001000. Rows are deleted after a day.
CREATE TABLE cloud.failed_starts (
    job_id uuid NOT NULL,
    node_id text NOT NULL,
    organization_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    -- Whether the host failed, and not perhaps the agent's image.
    is_hosts_fault boolean NOT NULL,
    failed_at timestamptz NOT NULL,
    -- Whether a start has succeeded there since, or an operator has checked the host. It still binds the job.
    forgiven boolean NOT NULL DEFAULT false,
    PRIMARY KEY (job_id, node_id)
);
CREATE INDEX failed_starts_time_idx ON cloud.failed_starts (failed_at);
CREATE INDEX failed_starts_host_idx ON cloud.failed_starts (node_id) WHERE NOT forgiven;
