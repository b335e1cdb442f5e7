-- Hosts that are drained or lost, agents that are moved, and what agents of lost hosts need at their next start.
-- No foreign keys: see 20261127001000.
SET LOCAL lock_timeout = '1s';

-- Hosts whose containers the last inspection could not read.
CREATE TABLE cloud.unread_hosts (
    node_id text PRIMARY KEY,
    -- The inspection before the first of the failed ones.
    last_read_at timestamptz NOT NULL,
    -- The first failed inspection in a row, and the last one.
    since timestamptz NOT NULL,
    checked_at timestamptz NOT NULL
);

-- Hosts that take no agents because an operator drains them or has declared them lost.
CREATE TABLE cloud.host_withdrawals (
    node_id text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('drain', 'loss')),
    requested_by uuid NOT NULL,
    requested_at timestamptz NOT NULL,
    -- How many agents a drain moves at the same time.
    moves_at_once integer NOT NULL CHECK (moves_at_once > 0),
    -- Whether the host is enabled when the withdrawal ends.
    was_enabled boolean NOT NULL,
    -- When a lost host was read last.
    last_read_at timestamptz,
    -- When a drained host was empty, or a lost host answered again.
    done_at timestamptz
);

-- The last move of an agent away from a host.
CREATE TABLE cloud.agent_moves (
    agent_id uuid PRIMARY KEY,
    organization_id uuid NOT NULL,
    from_node text NOT NULL,
    requested_by uuid NOT NULL,
    requested_at timestamptz NOT NULL,
    -- The next start is not attempted before.
    start_due_at timestamptz NOT NULL,
    -- Why an open move waits, or why an ended one failed.
    error text,
    done_at timestamptz
);
CREATE INDEX agent_moves_host_idx ON cloud.agent_moves (from_node);

-- Agents whose host was lost, until their next start has made new secrets: the copy on the lost host knows the old ones.
CREATE TABLE cloud.lost_agents (
    agent_id uuid PRIMARY KEY,
    organization_id uuid NOT NULL,
    node_id text NOT NULL,
    lost_at timestamptz NOT NULL,
    database_rotated boolean NOT NULL DEFAULT false
);
