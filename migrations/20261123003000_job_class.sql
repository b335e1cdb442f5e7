-- 'start' or 'stop'. Written together with agent_id, so it is null in jobs of other applications. A generated column
-- would rewrite the table.
SET LOCAL lock_timeout = '5s';
ALTER TABLE jobs ADD COLUMN IF NOT EXISTS class text;

UPDATE jobs SET class = CASE WHEN type IN ('milady_provision', 'milady_restore') THEN 'start' ELSE 'stop' END
    WHERE agent_id IS NOT NULL AND class IS NULL AND status IN ('pending', 'in_progress')
        AND type IN ('milady_provision', 'milady_restore', 'milady_suspend', 'milady_delete');
