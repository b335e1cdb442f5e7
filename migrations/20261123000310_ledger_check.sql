-- Every row there is has a null usage_span_id: this only reads, and blocks no writer.
SET LOCAL lock_timeout = '5s';
ALTER TABLE credit_transactions VALIDATE CONSTRAINT credit_transactions_slice_check;
