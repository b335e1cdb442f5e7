-- What there is of ours in the tables that other applications share, as it was made. Each billing run compares.
SET LOCAL lock_timeout = '1s';

-- As it is now. Also what others could add there to hide rows from us or to act in our place.
CREATE VIEW cloud.shared_objects AS
WITH shared AS (
    SELECT c.oid, c.relname, c.relowner, c.relrowsecurity FROM pg_catalog.pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN ('organizations', 'users', 'api_keys',
        'admin_users', 'milady_sandboxes', 'milady_sandbox_backups', 'docker_nodes', 'jobs',
        'credit_transactions', 'milady_pairing_tokens'))
SELECT 'trigger ' || t.tgname || ' on ' || s.relname AS name,
    pg_catalog.pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text AS definition
FROM pg_catalog.pg_trigger t JOIN shared s ON s.oid = t.tgrelid WHERE t.tgname LIKE 'cloud\_%'
UNION ALL
SELECT 'constraint ' || k.conname || ' on ' || s.relname, pg_catalog.pg_get_constraintdef(k.oid)
FROM pg_catalog.pg_constraint k JOIN shared s ON s.oid = k.conrelid WHERE k.conname LIKE 'cloud\_%'
UNION ALL
SELECT 'index ' || c.relname || ' on ' || s.relname,
    pg_catalog.pg_get_indexdef(i.indexrelid) || ' ' || i.indisvalid
FROM pg_catalog.pg_index i JOIN shared s ON s.oid = i.indrelid
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid WHERE c.relname LIKE 'cloud\_%'
UNION ALL
SELECT 'column ' || a.attname || ' on ' || s.relname, pg_catalog.format_type(a.atttypid, a.atttypmod)
FROM pg_catalog.pg_attribute a JOIN shared s ON s.oid = a.attrelid
WHERE a.attnum > 0 AND NOT a.attisdropped AND (s.relname, a.attname) IN (
    ('milady_sandboxes', 'stop_requested_at'), ('milady_sandboxes', 'compute_started_at'),
    ('milady_sandboxes', 'unsaved_since'),
    ('milady_sandboxes', 'data_bind'), ('milady_sandboxes', 'former_nodes'),
    ('milady_sandboxes', 'total_billed'), ('milady_sandbox_backups', 'state_bytes'),
    ('jobs', 'agent_id'), ('jobs', 'class'), ('jobs', 'steps'), ('jobs', 'webhook_secret'),
    ('jobs', 'webhook_attempts'), ('jobs', 'webhook_due_at'),
    ('credit_transactions', 'seq'))
UNION ALL
SELECT 'row security of ' || relname, 'on' FROM shared WHERE relrowsecurity
UNION ALL
SELECT 'rule ' || r.rulename || ' on ' || s.relname, pg_catalog.pg_get_ruledef(r.oid)
FROM pg_catalog.pg_rewrite r JOIN shared s ON s.oid = r.ev_class
UNION ALL
-- It runs with the rights of whoever writes the table, also with ours.
SELECT 'trigger ' || t.tgname || ' on ' || s.relname || ' of another role', p.proname
FROM pg_catalog.pg_trigger t JOIN shared s ON s.oid = t.tgrelid JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
JOIN pg_catalog.pg_roles r ON r.oid = p.proowner
WHERE NOT t.tgisinternal AND p.proowner <> s.relowner AND NOT r.rolsuper;

CREATE TABLE cloud.shared_objects_made (
    name text PRIMARY KEY,
    definition text NOT NULL
);
INSERT INTO cloud.shared_objects_made SELECT name, definition FROM cloud.shared_objects;
