-- Where organizations have events sent beside mails: to a server of their own and to Slack.
SET LOCAL lock_timeout = '1s';

-- No foreign keys: see 20261127001000.
CREATE TABLE cloud.organization_webhooks (
    organization_id uuid NOT NULL,
    -- A word of the functions. No check: an earlier version leaves a word alone that it does not know.
    kind text NOT NULL,
    -- What may be shown. Slack's URL is a secret as a whole, so only its host is here.
    url text NOT NULL,
    -- Encrypted, as jobs.webhook_secret is: the key that signs, or Slack's URL.
    secret text NOT NULL,
    -- The number of the last attempt. It is also the fence: an older attempt changes nothing.
    attempts integer NOT NULL DEFAULT 0,
    -- How many attempts have failed since the last one that succeeded, since when, and why the last one did.
    failures integer NOT NULL DEFAULT 0,
    failing_since timestamptz,
    reason text,
    -- No attempt before: a worker is at it, or the receiver is left alone after a failure.
    due_at timestamptz NOT NULL,
    -- Events before are not sent.
    active_since timestamptz NOT NULL,
    -- Nothing is sent from then on.
    switched_off_at timestamptz,
    tested_at timestamptz,
    updated_by uuid NOT NULL,
    PRIMARY KEY (organization_id, kind)
);

-- One event for one webhook.
CREATE TABLE cloud.webhook_deliveries (
    -- Goes with the event, so that the receiver recognizes a repetition.
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    event_id bigint NOT NULL,
    organization_id uuid NOT NULL,
    kind text NOT NULL,
    -- The type of the event.
    template text NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    -- The event's.
    occurred_at timestamptz NOT NULL,
    -- An event that arrives twice is sent once.
    UNIQUE (event_id, kind)
);
CREATE INDEX webhook_deliveries_pending_idx ON cloud.webhook_deliveries (organization_id, kind, attempts, event_id)
    WHERE state = 'pending';
CREATE INDEX webhook_deliveries_oldest_idx ON cloud.webhook_deliveries (occurred_at);
