-- no-transaction
-- A slice (the start of a metered span's part inside one clock hour) is charged once.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS credit_transactions_slice_key ON credit_transactions (usage_span_id, period_start) WHERE usage_span_id IS NOT NULL;
