-- Every row there is has a null usage_span_id: this only reads, and blocks no writer.
SET LOCAL lock_timeout = '1s';
ALTER TABLE public.credit_transactions VALIDATE CONSTRAINT cloud_credit_transactions_slice_check;
