//! How the valid snapshot is read.

use std::sync::{Arc, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::client::{unavailable, unreadable};
use super::item::{
    BUFFER, EXPIRES_AT, FORMAT, HEAD, Item, PK, SK, SNAPSHOT, TOKEN, buffer_key, read_number,
    read_text, read_time, text,
};
use super::stored::SNAPSHOT_FORMAT;
use super::{Cache, CacheError, CachedSnapshot, parts};

/// A read is retried: while a slow reader reads one buffer, two runs can finish, and the second overwrites that
/// buffer.
const MAX_ATTEMPTS: usize = 3;

/// What the head says about the valid snapshot.
struct Head {
    format: u64,
    token: u64,
    buffer: u64,
    /// The number of items that hold the parts.
    items: usize,
    began_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

impl Cache {
    /// The valid snapshot. `None` if there is none, if it has expired, or if a function of another version
    /// wrote it.
    pub async fn snapshot(
        &self,
        now: DateTime<Utc>,
    ) -> Result<Option<Arc<CachedSnapshot>>, CacheError> {
        for _ in 0..MAX_ATTEMPTS {
            let Some(head) = self.head_item().await? else {
                return Ok(None);
            };
            let head = Head::read(&head).ok_or_else(|| unreadable("the head lacks fields"))?;
            if head.expires_at <= now || head.format != SNAPSHOT_FORMAT {
                return Ok(None);
            }
            if let Some(last_read) = self.last_read_if_current(&head) {
                return Ok(Some(last_read));
            }
            let Some(parts) = self.parts(&head).await? else {
                continue;
            };
            let cached = Arc::new(CachedSnapshot {
                snapshot: parts::join(&parts)?,
                token: head.token,
                began_at: head.began_at,
                expires_at: head.expires_at,
            });
            let mut last_read = self.last_read();
            *last_read = Some(Arc::clone(&cached));
            return Ok(Some(cached));
        }
        Err(unreadable("parts of the snapshot are missing"))
    }

    fn last_read_if_current(&self, head: &Head) -> Option<Arc<CachedSnapshot>> {
        let is_current = |cached: &&Arc<CachedSnapshot>| {
            (cached.token, cached.began_at, cached.expires_at)
                == (head.token, head.began_at, head.expires_at)
        };
        self.last_read().as_ref().filter(is_current).map(Arc::clone)
    }

    fn last_read(&self) -> MutexGuard<'_, Option<Arc<CachedSnapshot>>> {
        let last_read = self.last_read.lock();
        last_read.unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn head_item(&self) -> Result<Option<Item>, CacheError> {
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

    /// The parts that the head names, in order. `None` if some are missing because a run has begun to
    /// overwrite them.
    async fn parts(&self, head: &Head) -> Result<Option<Vec<Vec<u8>>>, CacheError> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let mut items = 0;
        let mut from = None;
        loop {
            let query = self.client().await.query();
            let query = query
                .table_name(&self.table)
                .key_condition_expression("#pk = :buffer")
                .expression_attribute_names("#pk", PK)
                .expression_attribute_values(":buffer", text(buffer_key(head.buffer)))
                .consistent_read(true)
                .set_exclusive_start_key(from);
            let page = Box::pin(query.send())
                .await
                .map_err(|error| unavailable(&error))?;
            for item in page.items.unwrap_or_default() {
                // Other items are left from an earlier snapshot, or belong to the next one.
                if read_number(&item, TOKEN) != Some(head.token) {
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
        Ok((items == head.items).then_some(parts))
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

impl Head {
    fn read(item: &Item) -> Option<Self> {
        let expires_at = read_number(item, EXPIRES_AT)?;
        Some(Self {
            // A head without a format is of a version before there were formats.
            format: read_number(item, FORMAT).unwrap_or_default(),
            token: read_number(item, TOKEN)?,
            buffer: read_number(item, BUFFER)?,
            items: read_number(item, "items")?,
            began_at: read_time(item, "began")?,
            expires_at: DateTime::from_timestamp(expires_at, 0)?,
        })
    }
}
