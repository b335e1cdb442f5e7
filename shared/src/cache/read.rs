//! Reading the snapshot that holds.

use std::sync::{Arc, PoisonError};

use chrono::{DateTime, Utc};

use super::client::{away, broken};
use super::item::{
    EXPIRES_AT, HEAD, Item, PK, SK, SNAPSHOT, TOKEN, place, read_moment, read_number, read_text,
    text,
};
use super::{Cache, CacheError, Cached, parts};

/// While it is read, the snapshot may be overwritten by the next but one.
const TRIES: usize = 3;

/// Which parts hold.
struct Head {
    token: u64,
    place: u64,
    items: usize,
    began: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

impl Cache {
    /// The snapshot that is cached. None: there is none, or it is too old to be kept.
    ///
    /// # Errors
    /// [`CacheError`].
    pub async fn snapshot(&self, now: DateTime<Utc>) -> Result<Option<Arc<Cached>>, CacheError> {
        for _ in 0..TRIES {
            let Some(head) = self.head_item().await? else {
                return Ok(None);
            };
            let head = Head::read(&head).ok_or_else(|| broken("the head is none"))?;
            if head.expires_at <= now {
                return Ok(None);
            }
            if let Some(copy) = self.copied(&head) {
                return Ok(Some(copy));
            }
            let Some(parts) = self.parts(&head).await? else {
                continue;
            };
            let cached = Arc::new(Cached {
                snapshot: parts::join(&parts)?,
                token: head.token,
                began: head.began,
                expires_at: head.expires_at,
            });
            let mut copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
            *copy = Some(Arc::clone(&cached));
            return Ok(Some(cached));
        }
        Err(broken("parts are missing"))
    }

    fn copied(&self, head: &Head) -> Option<Arc<Cached>> {
        let copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |copy: &&Arc<Cached>| {
            (copy.token, copy.began, copy.expires_at) == (head.token, head.began, head.expires_at)
        };
        copy.as_ref().filter(same).map(Arc::clone)
    }

    pub(super) async fn head_item(&self) -> Result<Option<Item>, CacheError> {
        let get = self.client().await.get_item();
        let get = get
            .table_name(&self.table)
            .key(PK, text(SNAPSHOT))
            .key(SK, text(HEAD))
            .consistent_read(true);
        let answer = Box::pin(get.send()).await.map_err(|error| away(&error))?;
        Ok(answer.item)
    }

    /// The parts that the head names, whole and in order; none if they are not all there (any more).
    async fn parts(&self, head: &Head) -> Result<Option<Vec<Vec<u8>>>, CacheError> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let mut items = 0;
        let mut from = None;
        loop {
            let query = self.client().await.query();
            let query = query
                .table_name(&self.table)
                .key_condition_expression("#pk = :place")
                .expression_attribute_names("#pk", PK)
                .expression_attribute_values(":place", text(place(head.place)))
                .consistent_read(true)
                .set_exclusive_start_key(from);
            let page = Box::pin(query.send()).await.map_err(|error| away(&error))?;
            for item in page.items.unwrap_or_default() {
                // Others are left from earlier snapshots, or are of the next one.
                if read_number(&item, TOKEN) != Some(head.token) {
                    continue;
                }
                items += 1;
                append(&mut parts, item).ok_or_else(|| broken("an item is no part"))?;
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                break;
            }
        }
        Ok((items == head.items).then_some(parts))
    }
}

/// Items come in the order of their parts, and of the chunks of each.
fn append(parts: &mut Vec<Vec<u8>>, mut item: Item) -> Option<()> {
    let (_, chunk) = read_text(&item, SK)?.split_once('#')?;
    let first = chunk.parse::<u64>().ok()? == 0;
    let bytes = item.remove("bytes")?;
    let bytes = bytes.as_b().ok()?.as_ref();
    if first {
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
            token: read_number(item, TOKEN)?,
            place: read_number(item, "place")?,
            items: read_number(item, "items")?,
            began: read_moment(item, "began")?,
            expires_at: DateTime::from_timestamp(expires_at, 0)?,
        })
    }
}
