//! Pieces of SQL that several queries share. Owns: each piece once.
//!
//! No piece names a tenant's table: `tests/it/tidy` looks for the names of those tables in the function that queries
//! them.

/// Calls a query macro of sqlx. Its text is made of string literals and of the named pieces below:
///
/// ```text
/// sql!(query_as!(HostRecord, "SELECT " + HOST_COLUMNS + " FROM public.docker_nodes WHERE node_id = $1", node_id))
/// ```
///
/// The macros of sqlx accept literals only, so a piece cannot be a constant.
macro_rules! sql {
    (query_as!($record:ident, $($rest:tt)+)) => { sql!(@text query_as [$record,] [] $($rest)+) };
    ($query:ident!($($rest:tt)+)) => { sql!(@text $query [] [] $($rest)+) };

    // The text ends at the first comma; the arguments of the query follow.
    (@text $query:ident [$($record:tt)*] [$($text:tt)+] , $($arguments:tt)*) => {
        sqlx::$query!($($record)* $($text)+, $($arguments)*)
    };
    (@text $query:ident [$($record:tt)*] [$($text:tt)+]) => {
        sqlx::$query!($($record)* $($text)+)
    };

    // Jobs that wait for a worker or are in a worker's hands.
    (@text $query:ident $record:tt [$($text:tt)*] ACTIVE_STATUSES $($rest:tt)*) => {
        sql!(@text $query $record [$($text)* "('pending', 'in_progress')"] $($rest)*)
    };
    // After a column that holds the kind of a job. It says no more than a comparison with the names of kinds, but
    // Postgres uses the partial indexes of `jobs` only for queries that repeat their condition.
    (@text $query:ident $record:tt [$($text:tt)*] HAS_KIND_PREFIX $($rest:tt)*) => {
        sql!(@text $query $record [$($text)* " LIKE 'milady\\_%'"] $($rest)*)
    };
    // At the end of an INSERT: an agent has at most one active job of each class.
    (@text $query:ident $record:tt [$($text:tt)*] UNLESS_ONE_IS_ACTIVE $($rest:tt)*) => {
        sql!(@text $query $record [$($text)*
            "ON CONFLICT (agent_id, class) WHERE agent_id IS NOT NULL AND status IN "]
            + ACTIVE_STATUSES + " DO NOTHING" $($rest)*)
    };
    // Whether the job `j` is for the agent `a`. Jobs of an older web app name their agent in `data` only.
    (@text $query:ident $record:tt [$($text:tt)*] JOB_IS_FOR_AGENT $($rest:tt)*) => {
        sql!(@text $query $record [$($text)*
            "(j.agent_id = a.id OR j.data ->> 'agentId' = a.id::text)"] $($rest)*)
    };

    // Whether an agent `a` runs the default image ($1) in another version than this one ($2).
    (@text $query:ident $record:tt [$($text:tt)*] RUNS_OTHER_VERSION $($rest:tt)*) => {
        sql!(@text $query $record [$($text)*
            "a.status = 'running' AND a.stop_requested_at IS NULL AND coalesce(a.docker_image, $1) = $1
            AND a.image_digest IS DISTINCT FROM $2"] $($rest)*)
    };
    // Whether an agent's row names a container on a host.
    (@text $query:ident $record:tt [$($text:tt)*] NAMES_CONTAINER $($rest:tt)*) => {
        sql!(@text $query $record [$($text)*
            "node_id IS NOT NULL AND container_name IS NOT NULL"] $($rest)*)
    };
    // What an agent's row is metered as: `cloud.metered_kind`.
    (@text $query:ident $record:tt [$($text:tt)*] METERED_KIND $($rest:tt)*) => {
        sql!(@text $query $record [$($text)*
            "cloud.metered_kind(status, billing_status, stop_requested_at, last_backup_at, "]
            + NAMES_CONTAINER + ")" $($rest)*)
    };
    // Whether an agent `a`, with its metered `kind`, and its open span `s` do not match.
    (@text $query:ident $record:tt [$($text:tt)*] OPEN_SPAN_DIFFERS $($rest:tt)*) => {
        sql!(@text $query $record [$($text)*
            "(a.kind IS DISTINCT FROM s.kind
            OR (s.kind IS NOT NULL AND s.organization_id <> a.organization_id)
            OR (s.kind = 'running' AND (s.list_priced <> (cloud.own_rate('running', a.hourly_rate) IS NULL)
                OR NOT s.list_priced AND s.hourly_rate <> a.hourly_rate)))"] $($rest)*)
    };
    // How far a span `s` with its account `a` is charged.
    (@text $query:ident $record:tt [$($text:tt)*] SPAN_MARK $($rest:tt)*) => {
        sql!(@text $query $record [$($text)*
            "greatest(s.started_at, s.billed_through,
                CASE WHEN s.caught_up THEN least(a.charged_through, s.ended_at) END)"] $($rest)*)
    };
    // `mails::deliveries::DeliveryRecord`.
    (@text $query:ident $record:tt [$($text:tt)*] DELIVERY_COLUMNS $($rest:tt)*) => {
        sql!(@text $query $record [$($text)*
            "id, event_id, organization_id, template, recipient, state, attempts, due_at, reason, created_at,
            updated_at"] $($rest)*)
    };
    // `billing::history::others::OtherTransaction`.
    (@text $query:ident $record:tt [$($text:tt)*] OTHER_TRANSACTION_COLUMNS $($rest:tt)*) => {
        sql!(@text $query $record [$($text)*
            r#"id, amount, type AS row_type, description, created_at AT TIME ZONE 'UTC' AS "created_at!",
            metadata ->> 'sandbox_id' AS agent_id, metadata ->> 'billing_type' AS billing_type,
            metadata ->> 'hourly_rate' AS hourly_rate"#] $($rest)*)
    };
    // An agent without its addresses, for operators: `domain::fleet::AgentRow`.
    (@text $query:ident $record:tt [$($text:tt)*] AGENT_ROW_COLUMNS $($rest:tt)*) => {
        sql!(@text $query $record [$($text)*
            "id, sandbox_id, agent_name, organization_id, user_id, node_id, container_name, status,
            docker_image, last_heartbeat_at, error_message, error_count, created_at, updated_at"]
            $($rest)*)
    };
    // `agents::operator::OperatorAgent`.
    (@text $query:ident $record:tt [$($text:tt)*] OPERATOR_AGENT_COLUMNS $($rest:tt)*) => {
        sql!(@text $query $record [$($text)*] AGENT_ROW_COLUMNS
            + ", stop_reason, bridge_port, web_ui_port, headscale_ip, bridge_url, health_url,
            (SELECT o.name FROM public.organizations o WHERE o.id = organization_id) AS organization_name"
            $($rest)*)
    };
    // `agents::backups::Backup`, from `milady_sandbox_backups b`.
    (@text $query:ident $record:tt [$($text:tt)*] BACKUP_COLUMNS $($rest:tt)*) => {
        sql!(@text $query $record [$($text)*
            "b.id, b.snapshot_type, b.size_bytes, b.vercel_snapshot_id, b.created_at"] $($rest)*)
    };

    // Whether the row's `node_id` is in the shard that begins with $1 and ends before $2.
    (@text $query:ident $record:tt [$($text:tt)*] IN_SHARD $($rest:tt)*) => {
        sql!(@text $query $record [$($text)*
            r#"CASE WHEN node_id IS NULL THEN $1::text IS NULL
                ELSE ($1::text IS NULL OR node_id COLLATE "C" >= $1)
                    AND ($2::text IS NULL OR node_id COLLATE "C" < $2) END"#] $($rest)*)
    };

    // `hosts::coordinates::HostCoordinates`.
    (@text $query:ident $record:tt [$($text:tt)*] HOST_COORDINATES_COLUMNS $($rest:tt)*) => {
        sql!(@text $query $record [$($text)*
            r#"node_id, hostname, ssh_port, ssh_user, host_key_fingerprint, presented_host_key, metadata,
            node_id IN (SELECT w.node_id FROM cloud.host_withdrawals w WHERE w.kind = 'loss') AS "is_lost!""#]
            $($rest)*)
    };
    // `hosts::registry::HostRecord`.
    (@text $query:ident $record:tt [$($text:tt)*] HOST_COLUMNS $($rest:tt)*) => {
        sql!(@text $query $record [$($text)*] HOST_COORDINATES_COLUMNS
            + ", id, capacity, allocated_count, enabled, status, last_health_check, created_at, updated_at,
            (SELECT CASE w.kind WHEN 'loss' THEN CASE WHEN w.done_at IS NULL THEN 'lost' ELSE 'returned' END
                ELSE CASE WHEN w.done_at IS NULL THEN 'draining' ELSE 'drained' END END
                FROM cloud.host_withdrawals w WHERE w.node_id = docker_nodes.node_id) AS service" $($rest)*)
    };

    // An organization's balance; NULL if the row holds no valid amount.
    (@text $query:ident $record:tt [$($text:tt)*] VALID_BALANCE $($rest:tt)*) => {
        sql!(@text $query $record [$($text)*
            "CASE WHEN credit_balance >= 0 AND credit_balance <> 'NaN' THEN credit_balance END"]
            $($rest)*)
    };
    // The user `u`, their organization `o` and their admin role: `identity::principals::Principal`.
    (@text $query:ident $record:tt [$($text:tt)*] PRINCIPAL_COLUMNS $($rest:tt)*) => {
        sql!(@text $query $record [$($text)*
            r#"u.id AS user_id, o.id AS "organization_id?", "#] + USER_RIGHTS_COLUMNS $($rest)*)
    };
    // What the user `u` is in their organization `o` now, and their highest active admin role.
    (@text $query:ident $record:tt [$($text:tt)*] USER_RIGHTS_COLUMNS $($rest:tt)*) => {
        sql!(@text $query $record [$($text)*
            r#"u.is_active AND coalesce(o.is_active, true) AS "active!",
            (SELECT a.role::text FROM public.admin_users a
                WHERE a.is_active AND a.revoked_at IS NULL AND "#] + IS_ADMIN_OF_USER + r#"
                ORDER BY a.role LIMIT 1) AS admin_role,
            CASE
                WHEN coalesce(m.role, u.role) IN ('owner', 'admin') OR u.id = (
                    SELECT x.id FROM public.users x
                    LEFT JOIN cloud.member_roles r ON r.organization_id = x.organization_id AND r.user_id = x.id
                    WHERE x.organization_id = o.id AND x.is_active AND coalesce(r.role, 'owner') = 'owner'
                    ORDER BY coalesce(coalesce(r.role, x.role) IN ('owner', 'admin'), false) DESC,
                        x.created_at, x.id LIMIT 1
                ) THEN 'owner'
                WHEN coalesce(m.role, u.role) = 'viewer' THEN 'viewer'
                ELSE 'member'
            END AS "role!""# $($rest)*)
    };
    // Whether the row `a` of `admin_users` is of the user `u`. A wallet that nobody verified is only a text.
    (@text $query:ident $record:tt [$($text:tt)*] IS_ADMIN_OF_USER $($rest:tt)*) => {
        sql!(@text $query $record [$($text)*
            "(a.user_id = u.id OR u.wallet_verified AND lower(a.wallet_address) = lower(u.wallet_address))"]
            $($rest)*)
    };
    // Where the columns above come from, besides the user `u` itself.
    (@text $query:ident $record:tt [$($text:tt)*] PRINCIPAL_JOINS $($rest:tt)*) => {
        sql!(@text $query $record [$($text)*
            "LEFT JOIN public.organizations o ON o.id = u.organization_id
            LEFT JOIN cloud.member_roles m ON m.organization_id = o.id AND m.user_id = u.id"] $($rest)*)
    };
    // In ON CONFLICT of an INSERT into `cloud.request_counts AS c`.
    (@text $query:ident $record:tt [$($text:tt)*] COUNT_REQUEST $($rest:tt)*) => {
        sql!(@text $query $record [$($text)*
            "ON CONFLICT (subject) DO UPDATE SET minute = excluded.minute,
                requests = CASE WHEN c.minute = excluded.minute THEN c.requests + 1 ELSE 1 END
            RETURNING c.requests"] $($rest)*)
    };

    (@text $query:ident $record:tt [$($text:tt)*] $next:tt $($rest:tt)*) => {
        sql!(@text $query $record [$($text)* $next] $($rest)*)
    };
}
