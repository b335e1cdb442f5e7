-- Events for product analytics that EventBridge has not taken yet.
SET LOCAL lock_timeout = '1s';

-- Up to fifty events in one row, so that a run over many organizations writes few rows. A row is deleted once EventBridge
-- has taken it.
CREATE TABLE cloud.product_event_batches (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch jsonb NOT NULL,
    written_at timestamptz NOT NULL
);
