-- What owners want to be told, which mails were sent to whom, and which addresses are dead.
SET LOCAL lock_timeout = '1s';

-- No foreign keys: see 20261127001000. An organization without a row has the defaults.
CREATE TABLE cloud.organization_settings (
    organization_id uuid PRIMARY KEY,
    -- The balance below which the owner is warned; null stands for the default, which depends on what agents cost.
    low_credit_mark numeric(16,6) CHECK (low_credit_mark >= 0 AND low_credit_mark <> 'NaN'),
    billing_email text,
    -- A name of the IANA time zone database.
    time_zone text NOT NULL DEFAULT 'UTC',
    automatic_resume boolean NOT NULL DEFAULT true,
    updated_at timestamptz NOT NULL,
    updated_by uuid NOT NULL
);

-- An attempt, repeated while it fails for now, to reach one recipient with the mail of one event. Committed before anything is sent.
CREATE TABLE cloud.mail_deliveries (
    -- Goes with the mail: as a tag at SES, and in the Message-ID.
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    event_id bigint NOT NULL,
    organization_id uuid NOT NULL,
    template text NOT NULL,
    -- Null in the row that says that nobody is left to address.
    recipient text,
    state text NOT NULL CHECK (state IN ('pending', 'sending', 'handed_over', 'delivered', 'bounced',
        'complained', 'unknown', 'failed', 'undeliverable')),
    -- The number of the last attempt. It is also the fence: an older attempt changes nothing.
    attempts integer NOT NULL DEFAULT 0,
    -- When something has to be done next; null if nothing has to be.
    due_at timestamptz,
    -- SES's own identifier of the mail.
    provider_id text,
    -- Why the last attempt failed, without addresses and without texts of servers.
    reason text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    -- An event that arrives twice sends one mail.
    UNIQUE NULLS NOT DISTINCT (event_id, template, recipient)
);
CREATE INDEX mail_deliveries_due_idx ON cloud.mail_deliveries (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX mail_deliveries_newest_idx ON cloud.mail_deliveries (created_at DESC, id DESC);

-- Addresses that take no mail, or whose owners called one spam. As they are: mail_deliveries and users have the same
-- texts, so a hash would protect nothing. In lower case.
CREATE TABLE cloud.mail_suppressions (
    address text PRIMARY KEY,
    reason text NOT NULL,
    created_at timestamptz NOT NULL
);

-- Events whose mail is not settled: read every minute.
CREATE INDEX outbox_events_unsettled_idx ON cloud.outbox_events (occurred_at)
    WHERE handed_over_at IS NULL AND undeliverable_at IS NULL;

-- When low credit was announced last, and whether the balance has stood above the mark since, so that it may be
-- announced again.
ALTER TABLE cloud.billing_accounts
    ADD COLUMN low_noticed_at timestamptz,
    ADD COLUMN low_armed boolean NOT NULL DEFAULT true;
UPDATE cloud.billing_accounts SET low_noticed_at = low_since, low_armed = false WHERE low_since IS NOT NULL;
