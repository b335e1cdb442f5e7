//! The stored form of a snapshot. Owns: the JSON of its head and of its digests, and the JSON at the beginning of its
//! parts, which says what follows it. A change here needs another [`SNAPSHOT_FORMAT`], so that a function of another
//! version does not read what it does not understand.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::finished::FinishedIncidents;
use super::piece::Piece;
use crate::domain::fleet::{IncidentStart, ShardRun};
use crate::domain::ids::AgentId;

/// The format of everything but the fences. A snapshot of another format reads as absent.
pub(super) const SNAPSHOT_FORMAT: u64 = 8;

/// What a snapshot consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeadContent {
    pub(super) runs: Vec<RunEntry>,
    pub(super) overview: OverviewEntry,
    /// The incidents of the fleet as a whole.
    pub(super) fleet_incidents: Vec<IncidentStart>,
}

/// What a run over a shard wrote, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunEntry {
    pub(super) run: ShardRun,
    pub(super) began_at: DateTime<Utc>,
    /// Which of the shard's buffers holds it.
    pub(super) buffer: u64,
    /// The number of items that hold the sections.
    pub(super) items: usize,
    /// The number of items that hold the digest.
    pub(super) digest_items: usize,
}

/// Where the overview is: in a buffer of the shard whose run wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OverviewEntry {
    pub(super) shard: i32,
    pub(super) buffer: u64,
    pub(super) items: usize,
}

/// The beginning of the overview.
#[derive(Serialize, Deserialize)]
pub(super) struct OverviewHeader {
    pub(super) refreshed_at: DateTime<Utc>,
    pub(super) is_whole: bool,
    pub(super) summary: PieceHeader,
    pub(super) incidents: Option<IncidentsHeader>,
}

/// The beginning of the part for one section.
#[derive(Serialize, Deserialize)]
pub(super) struct SectionHeader {
    pub(super) node_id: Option<String>,
    pub(super) end: AgentId,
    pub(super) host: Option<PieceHeader>,
    pub(super) agents: Option<PieceHeader>,
    pub(super) incidents: Option<IncidentsHeader>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct IncidentsHeader {
    pub(super) all: PieceHeader,
    pub(super) worst: Option<PieceHeader>,
}

/// A piece but for its blocks.
#[derive(Serialize, Deserialize)]
pub(super) struct PieceHeader {
    /// The length of the blocks.
    pub(super) bytes: usize,
    pub(super) crc: u32,
    pub(super) length: u64,
    pub(super) escaped_length: usize,
}

impl From<&Piece> for PieceHeader {
    fn from(piece: &Piece) -> Self {
        Self {
            bytes: piece.blocks.len(),
            crc: piece.crc,
            length: piece.length,
            escaped_length: piece.escaped_length,
        }
    }
}

impl From<&FinishedIncidents> for IncidentsHeader {
    fn from(incidents: &FinishedIncidents) -> Self {
        Self {
            all: (&incidents.all).into(),
            worst: incidents.worst.as_ref().map(Into::into),
        }
    }
}
