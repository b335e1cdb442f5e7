-- Again, for what was written meanwhile.
SET LOCAL lock_timeout = '1s';
UPDATE public.milady_sandboxes SET billing_status = 'active'
WHERE billing_status NOT IN ('active', 'warning', 'suspended', 'shutdown_pending', 'exempt');
ALTER TABLE public.milady_sandboxes VALIDATE CONSTRAINT cloud_milady_sandboxes_billing_status_check;
ALTER TABLE public.milady_sandboxes VALIDATE CONSTRAINT cloud_milady_sandboxes_times_check;
