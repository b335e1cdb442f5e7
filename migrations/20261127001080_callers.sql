-- What callers may do beside what the tables of other applications say, and how much they ask.
SET LOCAL lock_timeout = '1s';

-- Replaces users.role, which other applications write. No foreign keys: see 20261127001000.
CREATE TABLE cloud.member_roles (
    organization_id uuid NOT NULL,
    user_id uuid NOT NULL,
    role text NOT NULL CHECK (role IN ('owner', 'member', 'viewer')),
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, user_id)
);

-- Sessions that were signed out before their cookies expire.
CREATE TABLE cloud.ended_sessions (
    session_id uuid PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
CREATE INDEX ended_sessions_expiry_idx ON cloud.ended_sessions (expires_at);

-- Requests of a key, or of a user without one, in the minute of its last request. Unlogged: after a crash of the server
-- everybody begins at none.
CREATE UNLOGGED TABLE cloud.request_counts (
    subject uuid PRIMARY KEY,
    minute timestamptz NOT NULL,
    requests integer NOT NULL
) WITH (fillfactor = 50);
