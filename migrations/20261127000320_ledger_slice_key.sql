-- no-transaction
-- A slice (the part of a usage span inside one clock hour) is charged once. Time comes first so that a tick's rows go to neighbouring pages of the index.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS cloud_credit_transactions_slice_key ON public.credit_transactions (period_start, usage_span_id) WHERE usage_span_id IS NOT NULL;
