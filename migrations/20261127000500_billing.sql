-- Billing's own tables. None has a foreign key: what was metered outlives the agent and the
-- organization.
SET LOCAL lock_timeout = '1s';

-- One row per stretch of time in which an agent was metered at one rate for one organization.
CREATE TABLE cloud.agent_usage_spans (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    agent_id uuid NOT NULL,
    agent_created_at timestamptz NOT NULL,
    organization_id uuid NOT NULL,
    user_id uuid NOT NULL,
    agent_name text,
    kind text NOT NULL CHECK (kind IN ('running', 'idle')),
    hourly_rate numeric(10,4),
    started_at timestamptz NOT NULL,
    ended_at timestamptz CHECK (ended_at >= started_at),
    billed_through timestamptz
        CHECK (billed_through >= started_at AND (ended_at IS NULL OR billed_through <= ended_at)),
    settled boolean NOT NULL DEFAULT false CHECK (NOT settled OR ended_at IS NOT NULL),
    closed_reason text
) WITH (fillfactor = 45);
CREATE UNIQUE INDEX agent_usage_spans_one_open_key ON cloud.agent_usage_spans (agent_id)
    WHERE ended_at IS NULL;
CREATE INDEX agent_usage_spans_agent_idx ON cloud.agent_usage_spans (agent_id, started_at);
CREATE INDEX agent_usage_spans_unsettled_idx ON cloud.agent_usage_spans (organization_id)
    WHERE NOT settled;

-- One row per organization: what the tick has decided, and what the audit starts from.
CREATE TABLE cloud.billing_accounts (
    organization_id uuid PRIMARY KEY,
    decided_through timestamptz,
    low_since timestamptz,
    opening_balance numeric(16,6) NOT NULL,
    opened_at timestamptz NOT NULL
) WITH (fillfactor = 45);

-- One row per tick.
CREATE TABLE cloud.billing_runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    period_end timestamptz NOT NULL,
    source text NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    complete boolean NOT NULL DEFAULT false,
    organizations integer NOT NULL DEFAULT 0,
    agents_processed integer NOT NULL DEFAULT 0,
    agents_billed integer NOT NULL DEFAULT 0,
    slices integer NOT NULL DEFAULT 0,
    warned integer NOT NULL DEFAULT 0,
    suspended integer NOT NULL DEFAULT 0,
    errors integer NOT NULL DEFAULT 0,
    repaired_spans integer NOT NULL DEFAULT 0,
    revenue numeric(18,6) NOT NULL DEFAULT 0,
    owed numeric(18,6) NOT NULL DEFAULT 0,
    written_off numeric(18,6) NOT NULL DEFAULT 0,
    uncollected numeric(18,6) NOT NULL DEFAULT 0
);
CREATE INDEX billing_runs_finished_idx ON cloud.billing_runs (finished_at DESC);

-- Events to be sent, committed with the change they tell of. handed_over_at: the mail provider took
-- it. undeliverable_at: there was nobody to address.
CREATE TABLE cloud.outbox_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL UNIQUE,
    type text NOT NULL,
    organization_id uuid NOT NULL,
    payload jsonb NOT NULL,
    occurred_at timestamptz NOT NULL,
    handed_over_at timestamptz,
    undeliverable_at timestamptz,
    -- EventBridge took the event.
    published_at timestamptz
);
-- Events that EventBridge has not taken: read every minute.
CREATE INDEX outbox_events_unpublished_idx ON cloud.outbox_events (id) WHERE published_at IS NULL;
CREATE INDEX outbox_events_organization_idx ON cloud.outbox_events (organization_id, type, occurred_at);
