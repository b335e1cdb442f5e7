-- Billing's own tables. None has a foreign key: what was metered and charged outlives the agent and the organization.
-- Bounds of days and months are UTC.
SET LOCAL lock_timeout = '1s';

-- The list prices in dollars per hour. db-migrate adds a row when its parameters differ; rows are never changed once
-- they are valid.
CREATE TABLE cloud.prices (
    valid_from timestamptz PRIMARY KEY,
    running numeric(10,4) NOT NULL CHECK (running >= 0 AND running <> 'NaN'),
    idle numeric(10,4) NOT NULL CHECK (idle >= 0 AND idle <> 'NaN')
);

-- One row per stretch of time in which an agent was metered at one rate for one organization.
CREATE TABLE cloud.usage_spans (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agent_id uuid NOT NULL,
    agent_created_at timestamptz NOT NULL,
    organization_id uuid NOT NULL,
    agent_name text,
    kind text NOT NULL CHECK (kind IN ('running', 'idle')),
    -- The price when the span began.
    hourly_rate numeric(10,4) NOT NULL CHECK (hourly_rate >= 0 AND hourly_rate <> 'NaN'),
    -- Whether the rate is the list price: such a span is cut where the list price changes.
    list_priced boolean NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz CHECK (ended_at >= started_at),
    -- Charged up to here, apart from what the account says of spans that have caught up.
    billed_through timestamptz CHECK (billed_through >= started_at AND (ended_at IS NULL OR billed_through <= ended_at)),
    -- Charged up to the account's charged_through.
    caught_up boolean NOT NULL DEFAULT false,
    -- The end of the last charge that a day's statement has counted.
    stated_through timestamptz,
    settled boolean NOT NULL DEFAULT false CHECK (NOT settled OR ended_at IS NOT NULL),
    closed_reason text
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX usage_spans_one_open_key ON cloud.usage_spans (agent_id) WHERE ended_at IS NULL;
CREATE INDEX usage_spans_agent_idx ON cloud.usage_spans (agent_id, started_at);
CREATE INDEX usage_spans_unsettled_idx ON cloud.usage_spans (organization_id) WHERE NOT settled;

-- One row per organization.
CREATE TABLE cloud.billing_accounts (
    organization_id uuid PRIMARY KEY,
    -- The last hour for which a run has decided the organization.
    decided_through timestamptz,
    -- Every span that has caught up is charged up to this full hour. It never goes back.
    charged_through timestamptz CHECK (charged_through = date_trunc('hour', charged_through, 'UTC')),
    -- The last day whose statement is written.
    stated_through date,
    low_since timestamptz,
    -- Refunds and disputes beyond the balance. Paid before anything else.
    carried_debt numeric(16,6) NOT NULL DEFAULT 0 CHECK (carried_debt >= 0 AND carried_debt <> 'NaN'),
    opening_balance numeric(16,6) NOT NULL,
    opened_at timestamptz NOT NULL
) WITH (fillfactor = 45);

CREATE INDEX billing_accounts_carried_debt_idx ON cloud.billing_accounts (organization_id) WHERE carried_debt > 0;

-- Orders the entries. Only the default names it: RDS Proxy keeps a session that calls a function of sequences.
CREATE SEQUENCE cloud.ledger_seq AS bigint CACHE 1;

-- Every change of a balance by us.
CREATE TABLE cloud.ledger_entries (
    seq bigint NOT NULL DEFAULT nextval('cloud.ledger_seq'),
    organization_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    type text NOT NULL CHECK (type IN
        ('usage', 'write_off', 'debt_payment', 'grant', 'top_up', 'refund', 'adjustment')),
    amount numeric(16,6) NOT NULL,
    balance_before numeric(16,6) NOT NULL,
    balance_after numeric(16,6) NOT NULL,
    period_start timestamptz,
    period_end timestamptz,
    -- How many agents a usage entry charges for.
    agents integer,
    -- Who, why, and what a write-off was worth. Null for usage.
    detail jsonb,
    CHECK (balance_after = balance_before + amount AND balance_after >= 0 AND balance_after <> 'NaN')
) PARTITION BY RANGE (created_at);
CREATE INDEX ledger_entries_history_idx ON cloud.ledger_entries (organization_id, seq);
-- A list of other entries does not read the usage between them.
CREATE INDEX ledger_entries_other_idx ON cloud.ledger_entries (organization_id, seq) WHERE type <> 'usage';

-- What a usage entry consists of: one row per slice of a span inside one clock hour.
CREATE TABLE cloud.usage_charges (
    entry bigint NOT NULL,
    span bigint NOT NULL,
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    amount numeric(16,6) NOT NULL,
    CHECK (period_end > period_start AND amount >= 0 AND amount <> 'NaN')
) PARTITION BY RANGE (period_start);
-- A slice is charged once. Time comes first, so that the rows of a run go to neighbouring pages.
CREATE UNIQUE INDEX usage_charges_slice_key ON cloud.usage_charges (period_start, span);
CREATE INDEX usage_charges_entry_idx ON cloud.usage_charges (entry);

-- What was used on a day, as far as it is paid and stated. Kept for ever.
CREATE TABLE cloud.usage_days (
    organization_id uuid NOT NULL,
    day date NOT NULL,
    agent_id uuid NOT NULL,
    kind text NOT NULL,
    seconds numeric(16,6) NOT NULL,
    amount numeric(16,6) NOT NULL,
    PRIMARY KEY (organization_id, day, agent_id, kind)
);

-- How a balance changed on a day. A day without a row changed nothing. Kept for ever.
CREATE TABLE cloud.ledger_days (
    organization_id uuid NOT NULL,
    day date NOT NULL,
    opening numeric(16,6) NOT NULL,
    charged numeric(16,6) NOT NULL,
    credited numeric(16,6) NOT NULL,
    -- By other applications.
    external numeric(16,6) NOT NULL,
    closing numeric(16,6) NOT NULL,
    PRIMARY KEY (organization_id, day)
);

-- One row per run.
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
    uncollected numeric(18,6) NOT NULL DEFAULT 0,
    -- The organizations that could not be decided, with the class of the error; at most 100.
    failures jsonb NOT NULL DEFAULT '[]',
    -- The organization that has waited longest, after the run.
    oldest_undecided timestamptz
);
CREATE INDEX billing_runs_finished_idx ON cloud.billing_runs (finished_at DESC);

-- What the audit found. One open row per kind and subject.
CREATE TABLE cloud.billing_findings (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    subject text NOT NULL,
    organization_id uuid,
    detail jsonb NOT NULL,
    found_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    resolved_at timestamptz
);
CREATE UNIQUE INDEX billing_findings_open_key ON cloud.billing_findings (kind, subject) WHERE resolved_at IS NULL;

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
