-- A billing status nobody knows was never more than active: it neither exempted nor suspended.
SET LOCAL lock_timeout = '5s';
UPDATE milady_sandboxes SET billing_status = 'active'
WHERE billing_status NOT IN ('active', 'warning', 'suspended', 'shutdown_pending', 'exempt');
ALTER TABLE milady_sandboxes VALIDATE CONSTRAINT milady_sandboxes_billing_status_check;
