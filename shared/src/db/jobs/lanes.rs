//! `jobs` as lanes see them. Owns: the lock and the counts that decide whether there is room for one more job, which due
//! jobs and which due webhooks are announced, and the backlog. Does not own: how much room there is (`domain::lane`).

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::ids::{JobId, OrganizationId};
use crate::domain::job::{DueJob, JobClass, JobKind};
use crate::domain::lane::{
    ANNOUNCE_AGAIN_AFTER, Backlog, LaneBacklog, MAX_ANNOUNCED, MAX_RUNNING_ON_HOST,
    MAX_WEBHOOKS_ANNOUNCED, RunningJobs, default_max_running,
};

/// A due job that no worker has.
#[derive(Clone, Debug)]
pub struct WaitingJob {
    pub lane: JobClass,
    pub organization_id: OrganizationId,
    /// The host of its agent, if it has one already.
    pub node_id: Option<String>,
}

/// `None` if the job is not due, or is a job of another application.
pub async fn job_waiting_of_any_organization(
    conn: &mut Connection,
    job_id: JobId,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<WaitingJob>> {
    let row = sqlx::query!(
        r#"SELECT j.type AS kind, j.organization_id, a.node_id AS "node_id?"
        FROM public.jobs j LEFT JOIN public.milady_sandboxes a
            ON a.id = j.agent_id AND a.organization_id = j.organization_id
        WHERE j.id = $1 AND j.status = 'pending' AND j.scheduled_for <= $2"#,
        job_id.uuid(),
        now.naive_utc()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.and_then(|row| {
        Some(WaitingJob {
            lane: JobKind::parse(&row.kind)?.class(),
            organization_id: row.organization_id,
            node_id: row.node_id,
        })
    }))
}

/// Waits for other workers that claim a job of this lane for the organization or for the host. Everybody takes the lock of
/// the organization first. The locks end with the transaction.
pub async fn lane_lock(conn: &mut Connection, job: &WaitingJob) -> sqlx::Result<()> {
    let lane = job.lane.as_str();
    let organization = format!("{lane} jobs of {}", job.organization_id);
    let host = job.node_id.as_ref();
    let host = host.map(|node_id| format!("{lane} jobs on {node_id}"));
    for name in [Some(organization), host].into_iter().flatten() {
        sqlx::query("SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))")
            .bind(name)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// How many jobs of the lane run of the organization and on the host of a job that waits.
pub async fn jobs_running_of_any_organization(
    conn: &mut Connection,
    job: &WaitingJob,
) -> sqlx::Result<RunningJobs> {
    sql!(query_as!(
        RunningJobs,
        r#"SELECT (SELECT count(*) FROM public.jobs
                WHERE organization_id = $1 AND status = 'in_progress' AND type = ANY($3) AND type"#
            + HAS_KIND_PREFIX
            + r#") AS "of_organization!",
            (SELECT count(*) FROM public.milady_sandboxes a JOIN public.jobs j ON j.agent_id = a.id
                WHERE a.node_id = $2 AND j.status = 'in_progress' AND j.type = ANY($3)) AS "on_host!""#,
        job.organization_id.uuid(),
        job.node_id,
        &job.lane.kind_names() as &[&str]
    ))
    .fetch_one(conn)
    .await
}

/// Records that there was no room for a job. It stays due.
pub async fn job_turn_away_of_any_organization(
    conn: &mut Connection,
    job_id: JobId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.jobs SET turned_away_at = $2, announced_at = NULL
        WHERE id = $1 AND status = 'pending'",
        job_id.uuid(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Which due jobs are announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announce {
    All,
    /// One job that was turned away before.
    OneTurnedAway,
}

/// The due jobs of a lane for which there is room and which are not announced already; records that they are announced
/// now. Organizations take turns, those with the fewest running jobs first, and within an organization the oldest job.
pub async fn jobs_announce_of_any_organization(
    conn: &mut Connection,
    lane: JobClass,
    announce: Announce,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<DueJob>> {
    let limit = match announce {
        Announce::All => MAX_ANNOUNCED,
        Announce::OneTurnedAway => 1,
    };
    // The jobs are locked in the order of their ids, so that two sweeps cannot deadlock. A job that a worker is claiming is
    // skipped.
    let mut rows = sql!(query!(
        "WITH running AS (
            SELECT r.organization_id, a.node_id FROM public.jobs r LEFT JOIN public.milady_sandboxes a
                ON a.id = r.agent_id AND a.organization_id = r.organization_id
            WHERE r.status = 'in_progress' AND r.type = ANY($2) AND r.type"
            + HAS_KIND_PREFIX
            + "
        ), running_of AS (
            SELECT organization_id, count(*) AS n FROM running GROUP BY organization_id
        ), running_on AS (
            SELECT node_id, count(*) AS n FROM running WHERE node_id IS NOT NULL GROUP BY node_id
        ), by_organization AS (
            SELECT j.id, j.scheduled_for, j.announced_at, j.turned_away_at, j.organization_id, a.node_id,
                coalesce(r.n, 0) + row_number() OVER (
                    PARTITION BY j.organization_id ORDER BY j.scheduled_for, j.id) AS turn
            FROM public.jobs j LEFT JOIN public.milady_sandboxes a
                ON a.id = j.agent_id AND a.organization_id = j.organization_id
            LEFT JOIN running_of r ON r.organization_id = j.organization_id
            WHERE j.status = 'pending' AND j.scheduled_for <= $1 AND j.type = ANY($2) AND j.type"
            + HAS_KIND_PREFIX
            + "
        ), by_host AS (
            SELECT o.id, o.scheduled_for, o.announced_at, o.turned_away_at, o.turn, o.node_id,
                coalesce(r.n, 0) + row_number() OVER (
                    PARTITION BY o.node_id ORDER BY o.turn, o.scheduled_for, o.id) AS turn_on_host
            FROM by_organization o LEFT JOIN running_on r ON r.node_id = o.node_id
            LEFT JOIN cloud.organization_limits l ON l.organization_id = o.organization_id
            WHERE o.turn <= coalesce(CASE WHEN $3 THEN l.running_starts END, $4)
        ), chosen AS (
            SELECT id, turn FROM by_host
            WHERE (node_id IS NULL OR turn_on_host <= $5)
                AND (announced_at IS NULL OR announced_at <= $6)
                AND (NOT $7 OR turned_away_at IS NOT NULL)
            ORDER BY turn, scheduled_for, id LIMIT $8
        ), locked AS (
            SELECT id FROM public.jobs WHERE id IN (SELECT id FROM chosen) AND status = 'pending'
            ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE public.jobs j SET announced_at = $9 FROM chosen c JOIN locked USING (id) WHERE j.id = c.id"
            + r#" RETURNING j.id AS "id!: JobId", j.scheduled_for AS "scheduled_for!", c.turn AS "turn!""#,
        now.naive_utc(),
        &lane.kind_names() as &[&str],
        lane == JobClass::Start,
        default_max_running(lane),
        i64::from(MAX_RUNNING_ON_HOST),
        now - ANNOUNCE_AGAIN_AFTER,
        announce == Announce::OneTurnedAway,
        limit,
        now
    ))
    .fetch_all(conn)
    .await?;
    rows.sort_by_key(|row| (row.turn, row.scheduled_for, row.id));
    let jobs = rows.into_iter().map(|row| DueJob { id: row.id, lane });
    Ok(jobs.collect())
}

/// Ended jobs whose webhook is due and which are not announced already; records that they are announced now. Organizations
/// take turns, and within an organization the webhook that is due longest. Of each organization only the first few are
/// announced, so that one with many due webhooks fills no queue.
pub async fn webhooks_announce_of_any_organization(
    conn: &mut Connection,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<DueJob>> {
    // Locked as in `jobs_announce_of_any_organization`.
    let mut rows = sqlx::query!(
        r#"WITH by_organization AS (
            SELECT id, webhook_due_at, announced_at, row_number() OVER (
                PARTITION BY organization_id ORDER BY webhook_due_at, id) AS turn
            FROM public.jobs WHERE webhook_due_at <= $1
        ), chosen AS (
            SELECT id, turn FROM by_organization
            WHERE turn <= $2 AND (announced_at IS NULL OR announced_at <= $3)
            ORDER BY turn, webhook_due_at, id LIMIT $4
        ), locked AS (
            SELECT id FROM public.jobs WHERE id IN (SELECT id FROM chosen) AND webhook_due_at <= $1
            ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE public.jobs j SET announced_at = $1 FROM chosen c JOIN locked USING (id) WHERE j.id = c.id
        RETURNING j.id AS "id!: JobId", j.type AS "kind!", j.webhook_due_at AS "webhook_due_at!", c.turn AS "turn!""#,
        now,
        MAX_WEBHOOKS_ANNOUNCED,
        now - ANNOUNCE_AGAIN_AFTER,
        MAX_ANNOUNCED
    )
    .fetch_all(conn)
    .await?;
    rows.sort_by_key(|row| (row.turn, row.webhook_due_at, row.id));
    let jobs = rows.into_iter().map(|row| DueJob {
        id: row.id,
        // A job of a kind that this version does not know can have a webhook, too.
        lane: JobKind::parse(&row.kind).map_or(JobClass::Start, JobKind::class),
    });
    Ok(jobs.collect())
}

/// Records that these jobs are not announced after all: their events were not accepted.
pub async fn jobs_unannounce_of_any_organization(
    conn: &mut Connection,
    job_ids: &[JobId],
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.jobs SET announced_at = NULL WHERE id IN (
            SELECT id FROM public.jobs WHERE id = ANY($1) AND (status = 'pending' OR webhook_due_at IS NOT NULL)
            ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)",
        job_ids as &[JobId]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What waits and runs in the lanes.
pub async fn backlog_of_any_organization(
    conn: &mut Connection,
    now: DateTime<Utc>,
) -> sqlx::Result<Backlog> {
    Ok(Backlog {
        stops: lane_backlog_of_any_organization(conn, JobClass::Stop, now).await?,
        starts: lane_backlog_of_any_organization(conn, JobClass::Start, now).await?,
    })
}

async fn lane_backlog_of_any_organization(
    conn: &mut Connection,
    lane: JobClass,
    now: DateTime<Utc>,
) -> sqlx::Result<LaneBacklog> {
    let row = sql!(query!(
        r#"SELECT count(*) FILTER (WHERE status = 'pending' AND scheduled_for <= $1) AS "due!",
            count(*) FILTER (WHERE status = 'in_progress') AS "running!",
            min(scheduled_for) FILTER (WHERE status = 'pending' AND scheduled_for <= $1) AS oldest_due_at
        FROM public.jobs WHERE type = ANY($2) AND type"#
            + HAS_KIND_PREFIX
            + " AND status IN "
            + ACTIVE_STATUSES,
        now.naive_utc(),
        &lane.kind_names() as &[&str]
    ))
    .fetch_one(conn)
    .await?;
    Ok(LaneBacklog {
        due: u64::try_from(row.due).unwrap_or_default(),
        running: u64::try_from(row.running).unwrap_or_default(),
        oldest_due_at: row.oldest_due_at.map(|at| at.and_utc()),
    })
}
