//! How the valid snapshot is read.

use std::sync::{Arc, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::client::{unavailable, unreadable, unreadable_by};
use super::item::{
    DIGEST, EXPIRES_AT, FORMAT, HEAD, Item, OVERVIEW, PK, SECTIONS, SK, SNAPSHOT, TOKEN, VERSION,
    buffer_key, read_number, read_text, text,
};
use super::stored::{HeadContent, RunEntry, SNAPSHOT_FORMAT};
use super::{
    Cache, CacheError, CachedRun, CachedSnapshot, FinishedSnapshot, SNAPSHOT_EXPIRES_AFTER,
    Section, parts,
};
use crate::domain::fleet::{IncidentStart, Shard, ShardDigest, ShardRuns};

/// A read is retried: while a slow reader reads a buffer, two runs over its shard can finish, and the second overwrites that
/// buffer.
const MAX_ATTEMPTS: usize = 5;

/// What the valid snapshot consists of.
struct Head {
    version: i64,
    expires_at: DateTime<Utc>,
    content: HeadContent,
}

/// The head as a writer finds it.
pub(super) struct PreviousHead {
    /// `None` if there is no head, or none that has a version.
    pub(super) version: Option<i64>,
    /// Empty if there is no valid snapshot.
    pub(super) runs: Vec<RunEntry>,
    /// The incidents of the fleet as a whole.
    pub(super) fleet_incidents: Vec<IncidentStart>,
}

impl Cache {
    /// The valid snapshot. `None` if there is none, if it has expired, or if a function of another version
    /// wrote it.
    pub async fn snapshot(
        &self,
        now: DateTime<Utc>,
    ) -> Result<Option<Arc<CachedSnapshot>>, CacheError> {
        for _ in 0..MAX_ATTEMPTS {
            let Some(head) = self.head(now).await? else {
                return Ok(None);
            };
            let last_read = self.last_read().clone();
            let is_current = |cached: &&Arc<CachedSnapshot>| {
                (cached.version, cached.expires_at) == (head.version, head.expires_at)
            };
            if let Some(current) = last_read.as_ref().filter(is_current) {
                return Ok(Some(Arc::clone(current)));
            }
            let Some(cached) = self.read_all(head, last_read.as_deref()).await? else {
                continue;
            };
            let cached = Arc::new(cached);
            *self.last_read() = Some(Arc::clone(&cached));
            return Ok(Some(cached));
        }
        Err(unreadable("parts of the snapshot are missing"))
    }

    /// When the last run over exactly this shard began that is part of the valid snapshot. `None` if there is none.
    pub async fn run_began_at(
        &self,
        shard: &Shard,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, CacheError> {
        let Some(head) = self.head(now).await? else {
            return Ok(None);
        };
        let runs = head.content.runs.iter();
        let of_shard = runs.filter(|entry| entry.run.shard == *shard);
        Ok(of_shard.map(|entry| entry.began_at).max())
    }

    /// Since when there are the incidents of hosts and agents in the valid snapshot.
    pub async fn incident_starts(
        &self,
        now: DateTime<Utc>,
    ) -> Result<Vec<IncidentStart>, CacheError> {
        let mut starts = Vec::new();
        for entry in &self.previous_head(now).await?.runs {
            if let Some(digest) = self.digest(entry).await? {
                starts.extend(digest.incident_starts());
            }
        }
        Ok(starts)
    }

    fn last_read(&self) -> MutexGuard<'_, Option<Arc<CachedSnapshot>>> {
        let last_read = self.last_read.lock();
        last_read.unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` if parts are missing because a run has begun to overwrite them.
    async fn read_all(
        &self,
        head: Head,
        last_read: Option<&CachedSnapshot>,
    ) -> Result<Option<CachedSnapshot>, CacheError> {
        let overview = &head.content.overview;
        let key = buffer_key(OVERVIEW, overview.shard, overview.buffer);
        let Some(overview) = self.parts(key, head.version, overview.items).await? else {
            return Ok(None);
        };
        let mut runs = Vec::with_capacity(head.content.runs.len());
        for entry in head.content.runs {
            let known = last_read.and_then(|last_read| last_read.sections_of(&entry));
            let sections = match known {
                Some(sections) => sections.to_vec(),
                None => match self.sections(&entry).await? {
                    Some(sections) => sections,
                    None => return Ok(None),
                },
            };
            runs.push(CachedRun { entry, sections });
        }
        Ok(Some(CachedSnapshot {
            snapshot: FinishedSnapshot {
                overview: parts::unpack_overview(&overview)?,
                sections: sections_that_count(&runs),
            },
            version: head.version,
            expires_at: head.expires_at,
            runs,
        }))
    }

    async fn sections(&self, entry: &RunEntry) -> Result<Option<Vec<Arc<Section>>>, CacheError> {
        let key = buffer_key(SECTIONS, entry.run.shard.number, entry.buffer);
        let parts = self.parts(key, entry.run.token, entry.items).await?;
        parts
            .map(|parts| parts::unpack_sections(&parts))
            .transpose()
    }

    /// `None` if it is missing or cannot be read: the next run over the shard replaces it.
    pub(super) async fn digest(&self, entry: &RunEntry) -> Result<Option<ShardDigest>, CacheError> {
        let key = buffer_key(DIGEST, entry.run.shard.number, entry.buffer);
        let parts = match self.parts(key, entry.run.token, entry.digest_items).await {
            Ok(parts) => parts,
            Err(CacheError::Unreadable) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(parts.and_then(|parts| parts::unpack_digest(&parts).ok()))
    }

    async fn head(&self, now: DateTime<Utc>) -> Result<Option<Head>, CacheError> {
        match self.head_item().await? {
            Some(item) => Head::read(&item, now),
            None => Ok(None),
        }
    }

    /// A head that cannot be read counts as none: the writer replaces it.
    pub(super) async fn previous_head(
        &self,
        now: DateTime<Utc>,
    ) -> Result<PreviousHead, CacheError> {
        let item = self.head_item().await?;
        let version = item.as_ref().and_then(|item| read_number(item, VERSION));
        let head = item.and_then(|item| Head::read(&item, now).ok().flatten());
        let content = head.map(|head| head.content);
        let (runs, fleet_incidents) = match content {
            Some(content) => (content.runs, content.fleet_incidents),
            None => (Vec::new(), Vec::new()),
        };
        Ok(PreviousHead {
            version,
            runs,
            fleet_incidents,
        })
    }

    async fn head_item(&self) -> Result<Option<Item>, CacheError> {
        let get = self.client().await.get_item();
        let get = get
            .table_name(&self.table)
            .key(PK, text(SNAPSHOT))
            .key(SK, text(HEAD))
            .consistent_read(true);
        let output = Box::pin(get.send())
            .await
            .map_err(|error| unavailable(&error))?;
        Ok(output.item)
    }

    /// The parts under a partition key that have this token, in order. They are in this many items. `None` if some are
    /// missing because a run has begun to overwrite them.
    async fn parts(
        &self,
        key: String,
        token: i64,
        expected_items: usize,
    ) -> Result<Option<Vec<Vec<u8>>>, CacheError> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let mut items = 0;
        let mut from = None;
        loop {
            let query = self.client().await.query();
            let query = query
                .table_name(&self.table)
                .key_condition_expression("#pk = :buffer")
                .expression_attribute_names("#pk", PK)
                .expression_attribute_values(":buffer", text(key.as_str()))
                .consistent_read(true)
                .set_exclusive_start_key(from);
            let page = Box::pin(query.send())
                .await
                .map_err(|error| unavailable(&error))?;
            for item in page.items.unwrap_or_default() {
                // Other items are left from an earlier run, or belong to the next one.
                if read_number(&item, TOKEN) != Some(token) {
                    continue;
                }
                items += 1;
                append(&mut parts, item)
                    .ok_or_else(|| unreadable("an item is not a chunk of a part"))?;
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                break;
            }
        }
        Ok((items == expected_items).then_some(parts))
    }
}

/// Appends a chunk. Chunks come in the order of their sort key, `<part>#<chunk>`.
fn append(parts: &mut Vec<Vec<u8>>, mut item: Item) -> Option<()> {
    let (_, chunk) = read_text(&item, SK)?.split_once('#')?;
    let is_first = chunk.parse::<u64>().ok()? == 0;
    let bytes = item.remove("bytes")?;
    let bytes = bytes.as_b().ok()?.as_ref();
    if is_first {
        parts.push(bytes.to_vec());
    } else {
        parts.last_mut()?.extend_from_slice(bytes);
    }
    Some(())
}

/// Of each host the sections of the run that counts for it, in order.
fn sections_that_count(runs: &[CachedRun]) -> Vec<Arc<Section>> {
    let newest = ShardRuns::of(runs.iter().map(|run| &run.entry.run));
    let mut sections: Vec<Arc<Section>> = Vec::new();
    for CachedRun {
        entry,
        sections: of_run,
    } in runs
    {
        let counts =
            |section: &&Arc<Section>| newest.counts(&entry.run, section.node_id.as_deref());
        sections.extend(of_run.iter().filter(counts).cloned());
    }
    sections.sort_by(|one, other| (&one.node_id, one.end).cmp(&(&other.node_id, other.end)));
    sections
}

impl CachedSnapshot {
    /// `None` if it is not of this run.
    fn sections_of(&self, entry: &RunEntry) -> Option<&[Arc<Section>]> {
        let run = self.runs.iter().find(|run| run.entry == *entry);
        run.map(|run| run.sections.as_slice())
    }
}

impl Head {
    /// `None` if it has expired, or if a function of another version wrote it.
    fn read(item: &Item, now: DateTime<Utc>) -> Result<Option<Self>, CacheError> {
        let lacking = || unreadable("the head lacks fields");
        let format: u64 = read_number(item, FORMAT).ok_or_else(lacking)?;
        let expires_at = read_number(item, EXPIRES_AT).ok_or_else(lacking)?;
        let expires_at = DateTime::from_timestamp(expires_at, 0).ok_or_else(lacking)?;
        if format != SNAPSHOT_FORMAT || expires_at <= now {
            return Ok(None);
        }
        let version = read_number(item, VERSION).ok_or_else(lacking)?;
        let content = read_text(item, "content").ok_or_else(lacking)?;
        let mut content: HeadContent = serde_json::from_str(content)
            .map_err(unreadable_by("the head is not in the stored form"))?;
        let kept_since = now - SNAPSHOT_EXPIRES_AFTER;
        content
            .runs
            .retain(|entry| entry.run.refreshed_at > kept_since);
        Ok(Some(Self {
            version,
            expires_at,
            content,
        }))
    }
}
