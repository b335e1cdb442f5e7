//! Samples of agents' figures. Owns: their items, one per host and five minutes, and when these expire.
//!
//! An item is written once and holds every agent of the host, 72 bytes each: 24 agents fill 1.8 KB, two write units, and
//! 1,000 agents 72 KB, far below the 400 KB that an item may have. Numbers that have nothing in common are not compressed.
//! A day of a host with 24 agents is 288 items, about 530 KB, which one query reads. An item per hour would be rewritten
//! twelve times, each time for as many units as it has grown to.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use uuid::Uuid;

use super::client::unavailable;
use super::item::{EXPIRES_AT, FORMAT, Item, PK, SK, number, read_number, text};
use super::{Cache, CacheError};
use crate::domain::figures::{AgentFigures, ContainerFigures, HostSample, interval_number};
use crate::domain::ids::AgentId;

/// The format of a sample.
const FIGURES_FORMAT: u64 = 1;
/// `DynamoDB` may delete a sample when it is as old as this. It does so within days; readers say how far they look back.
const EXPIRES_AFTER: TimeDelta = TimeDelta::hours(25);
const MAX_CONCURRENT_PUTS: usize = 32;
const BYTES: &str = "bytes";
const AGENT_BYTES: usize = 16 + 7 * 8;
/// A figure that is not known. None is as large.
const UNKNOWN: u64 = u64::MAX;

/// The sample of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenSample {
    pub node_id: String,
    pub sample: HostSample,
}

impl Cache {
    /// Writes these samples. A later one of a host in the same five minutes replaces the one before.
    ///
    /// # Errors
    /// At least one was not written.
    pub async fn figures_write(&self, samples: &[TakenSample]) -> Result<(), CacheError> {
        let client = self.client().await;
        let items: Vec<Item> = samples.iter().map(item_of).collect();
        let puts = items.into_iter().map(|item| {
            let put = client.put_item().table_name(&self.table);
            Box::pin(put.set_item(Some(item)).send())
        });
        let mut puts = stream::iter(puts).buffer_unordered(MAX_CONCURRENT_PUTS);
        let mut result = Ok(());
        while let Some(put) = puts.next().await {
            result = result.and(put.map(drop).map_err(|error| unavailable(&error)));
        }
        result
    }

    /// The samples of a host since a time, oldest first. One that cannot be read is left out.
    pub async fn figures(
        &self,
        node_id: &str,
        since: DateTime<Utc>,
    ) -> Result<Vec<HostSample>, CacheError> {
        let mut samples = Vec::new();
        let mut from = None;
        loop {
            let query = self.client().await.query();
            let query = query
                .table_name(&self.table)
                .key_condition_expression("#pk = :host AND #sk >= :since")
                .expression_attribute_names("#pk", PK)
                .expression_attribute_names("#sk", SK)
                .expression_attribute_values(":host", text(partition_key(node_id)))
                .expression_attribute_values(":since", text(sort_key(node_id, since)))
                .set_exclusive_start_key(from);
            let page = Box::pin(query.send())
                .await
                .map_err(|error| unavailable(&error))?;
            let items = page.items.unwrap_or_default();
            samples.extend(items.iter().filter_map(sample_of));
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(samples);
            }
        }
    }
}

fn partition_key(node_id: &str) -> String {
    format!("figures#{node_id}")
}

fn sort_key(node_id: &str, at: DateTime<Utc>) -> String {
    format!("{:012}", interval_number(node_id, at))
}

fn item_of(taken: &TakenSample) -> Item {
    let TakenSample { node_id, sample } = taken;
    let bytes = Blob::new(encoded(sample));
    let expires_at = (sample.at + EXPIRES_AFTER).timestamp();
    Item::from([
        (PK.to_owned(), text(partition_key(node_id))),
        (SK.to_owned(), text(sort_key(node_id, sample.at))),
        (FORMAT.to_owned(), number(FIGURES_FORMAT)),
        (EXPIRES_AT.to_owned(), number(expires_at)),
        (BYTES.to_owned(), AttributeValue::B(bytes)),
    ])
}

/// `None` for a sample of another format, and for one that cannot be read.
fn sample_of(item: &Item) -> Option<HostSample> {
    if read_number(item, FORMAT) != Some(FIGURES_FORMAT) {
        return None;
    }
    decoded(item.get(BYTES)?.as_b().ok()?.as_ref())
}

/// The time in milliseconds since 1970; then each agent: its id, and its figures in the order of their fields. Of 8 bytes
/// each, with the least significant one first.
fn encoded(sample: &HostSample) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + sample.agents.len() * AGENT_BYTES);
    bytes.extend(sample.at.timestamp_millis().to_le_bytes());
    for AgentFigures { agent_id, figures } in &sample.agents {
        let ContainerFigures {
            cpu_nanos,
            memory_bytes,
            memory_limit_bytes,
            received_bytes,
            sent_bytes,
            read_bytes,
            written_bytes,
        } = figures;
        bytes.extend(agent_id.uuid().as_bytes());
        for figure in [
            cpu_nanos,
            memory_bytes,
            memory_limit_bytes,
            received_bytes,
            sent_bytes,
            read_bytes,
            written_bytes,
        ] {
            bytes.extend(figure.unwrap_or(UNKNOWN).to_le_bytes());
        }
    }
    bytes
}

/// The inverse of [`encoded`].
fn decoded(bytes: &[u8]) -> Option<HostSample> {
    let (at, agents) = bytes.split_first_chunk::<8>()?;
    let agents = agents.chunks(AGENT_BYTES).map(decoded_agent);
    Some(HostSample {
        at: DateTime::from_timestamp_millis(i64::from_le_bytes(*at))?,
        agents: agents.collect::<Option<_>>()?,
    })
}

fn decoded_agent(bytes: &[u8]) -> Option<AgentFigures> {
    if bytes.len() != AGENT_BYTES {
        return None;
    }
    let (id, figures) = bytes.split_first_chunk::<16>()?;
    let mut figures = figures.chunks_exact(8);
    let mut next = || {
        let figure = u64::from_le_bytes(figures.next()?.try_into().ok()?);
        (figure != UNKNOWN).then_some(figure)
    };
    Some(AgentFigures {
        agent_id: AgentId::new(Uuid::from_bytes(*id)),
        figures: ContainerFigures {
            cpu_nanos: next(),
            memory_bytes: next(),
            memory_limit_bytes: next(),
            received_bytes: next(),
            sent_bytes: next(),
            read_bytes: next(),
            written_bytes: next(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(agents: u64) -> TakenSample {
        let agents = (0..agents).map(|number| AgentFigures {
            agent_id: AgentId::new(Uuid::from_u128(u128::from(number) << 64)),
            figures: ContainerFigures {
                cpu_nanos: Some(10_000_000_000_000 + number),
                memory_bytes: Some(300_000_000),
                memory_limit_bytes: Some(2 << 30),
                received_bytes: Some(0),
                sent_bytes: None,
                read_bytes: Some(1),
                written_bytes: Some(u64::MAX - 1),
            },
        });
        TakenSample {
            node_id: "eu-central-0123".to_owned(),
            sample: HostSample {
                at: DateTime::UNIX_EPOCH + TimeDelta::days(20_000),
                agents: agents.collect(),
            },
        }
    }

    /// As `DynamoDB` counts them: names and values, of which a number has at most 21.
    fn bytes(item: &Item) -> usize {
        let attributes = item.iter().map(|(name, value)| {
            let value = match value {
                AttributeValue::S(text) => text.len(),
                AttributeValue::B(bytes) => bytes.as_ref().len(),
                _ => 21,
            };
            name.len() + value
        });
        attributes.sum()
    }

    #[test]
    fn a_sample_is_small_and_is_read_as_it_was_written() {
        const UNIT: usize = 1_024;
        for (agents, units) in [(0, 1), (24, 2), (60, 5), (1_000, 71)] {
            let taken = taken(agents);
            let item = item_of(&taken);
            let size = bytes(&item);
            assert_eq!(size.div_ceil(UNIT), units, "{agents} agents: {size} bytes");
            assert_eq!(sample_of(&item), Some(taken.sample));
        }
    }

    #[test]
    fn what_this_version_does_not_write_is_not_read() {
        let whole = encoded(&taken(2).sample);
        let blob = |bytes: &[u8]| AttributeValue::B(Blob::new(bytes));
        for (name, value) in [
            (FORMAT, number(FIGURES_FORMAT + 1)),
            (BYTES, blob(&[])),
            (BYTES, blob(&[255; 7])),
            (BYTES, blob(&whole[..whole.len() - 1])),
            (BYTES, blob(&[&whole[..], &[0]].concat())),
            (BYTES, text("no bytes")),
        ] {
            let mut item = item_of(&taken(2));
            item.insert(name.to_owned(), value);
            assert_eq!(sample_of(&item), None, "{name}");
        }
        assert_eq!(sample_of(&Item::new()), None);
    }
}
