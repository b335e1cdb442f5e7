//! The parts of a snapshot: the overview, one for each section, and a digest per shard. A section can fill an item of
//! `DynamoDB`; a shard would not fit into one. A part is a line of JSON, and then the blocks of its pieces; a digest is
//! compressed JSON.

use std::io::{Read, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::CacheError;
use super::client::{unreadable, unreadable_by};
use super::finished::{FinishedIncidents, FinishedOverview, Section};
use super::piece::Piece;
use super::stored::{IncidentsHeader, OverviewHeader, PieceHeader, SectionHeader};
use crate::domain::fleet::ShardDigest;

/// For a digest when it is decompressed. Those that we write do not come near it; garbage must not fill the memory.
const MAX_DIGEST_BYTES: u64 = 64 << 20;

pub(super) fn pack_sections(sections: &[Section]) -> Result<Vec<Vec<u8>>, CacheError> {
    sections.iter().map(pack_section).collect()
}

fn pack_section(section: &Section) -> Result<Vec<u8>, CacheError> {
    let header = SectionHeader {
        node_id: section.node_id.clone(),
        end: section.end,
        host: section.host.as_ref().map(Into::into),
        agents: section.agents.as_ref().map(Into::into),
        incidents: section.incidents.as_ref().map(Into::into),
    };
    let pieces = section.host.iter().chain(&section.agents);
    pack(&header, pieces.chain(pieces_of(section.incidents.as_ref())))
}

/// The inverse of [`pack_sections`].
pub(super) fn unpack_sections(parts: &[Vec<u8>]) -> Result<Vec<Arc<Section>>, CacheError> {
    let sections = parts.iter().map(|part| unpack_section(part).map(Arc::new));
    sections.collect()
}

fn unpack_section(part: &[u8]) -> Result<Section, CacheError> {
    let (header, mut blocks): (SectionHeader, _) = unpack(part)?;
    let section = Section {
        host: blocks.optional_piece(header.host.as_ref())?,
        agents: blocks.optional_piece(header.agents.as_ref())?,
        incidents: blocks.incidents(header.incidents.as_ref())?,
        node_id: header.node_id,
        end: header.end,
    };
    blocks.finish()?;
    Ok(section)
}

pub(super) fn pack_overview(overview: &FinishedOverview) -> Result<Vec<u8>, CacheError> {
    let header = OverviewHeader {
        refreshed_at: overview.refreshed_at,
        is_whole: overview.is_whole,
        summary: (&overview.summary).into(),
        incidents: overview.incidents.as_ref().map(Into::into),
    };
    let pieces = Some(&overview.summary).into_iter();
    pack(
        &header,
        pieces.chain(pieces_of(overview.incidents.as_ref())),
    )
}

/// The inverse of [`pack_overview`].
pub(super) fn unpack_overview(parts: &[Vec<u8>]) -> Result<FinishedOverview, CacheError> {
    let [part] = parts else {
        return Err(unreadable("the overview is not one part"));
    };
    let (header, mut blocks): (OverviewHeader, _) = unpack(part)?;
    let overview = FinishedOverview {
        refreshed_at: header.refreshed_at,
        is_whole: header.is_whole,
        summary: blocks.piece(&header.summary)?,
        incidents: blocks.incidents(header.incidents.as_ref())?,
    };
    blocks.finish()?;
    Ok(overview)
}

fn pieces_of(incidents: Option<&FinishedIncidents>) -> impl Iterator<Item = &Piece> {
    incidents
        .into_iter()
        .flat_map(|incidents| Some(&incidents.all).into_iter().chain(&incidents.worst))
}

fn pack<'a>(
    header: &impl Serialize,
    pieces: impl Iterator<Item = &'a Piece>,
) -> Result<Vec<u8>, CacheError> {
    // Its texts are escaped, so it is one line.
    let mut part = serde_json::to_vec(header).map_err(unreadable_by("a part has no JSON form"))?;
    part.push(b'\n');
    for piece in pieces {
        part.extend_from_slice(&piece.blocks);
    }
    Ok(part)
}

fn unpack<H: DeserializeOwned>(part: &[u8]) -> Result<(H, Blocks<'_>), CacheError> {
    let end = part.iter().position(|byte| *byte == b'\n');
    let end = end.ok_or_else(|| unreadable("a part has no first line"))?;
    let header = serde_json::from_slice(&part[..end])
        .map_err(unreadable_by("a part is not in the stored form"))?;
    Ok((header, Blocks(&part[end + 1..])))
}

/// The blocks of a part that are not read yet.
struct Blocks<'a>(&'a [u8]);

impl Blocks<'_> {
    fn piece(&mut self, header: &PieceHeader) -> Result<Piece, CacheError> {
        let (blocks, rest) = self
            .0
            .split_at_checked(header.bytes)
            .ok_or_else(|| unreadable("a part is too short"))?;
        self.0 = rest;
        Ok(Piece {
            blocks: blocks.to_vec(),
            crc: header.crc,
            length: header.length,
            escaped_length: header.escaped_length,
        })
    }

    fn optional_piece(
        &mut self,
        header: Option<&PieceHeader>,
    ) -> Result<Option<Piece>, CacheError> {
        header.map(|header| self.piece(header)).transpose()
    }

    fn incidents(
        &mut self,
        header: Option<&IncidentsHeader>,
    ) -> Result<Option<FinishedIncidents>, CacheError> {
        let Some(header) = header else {
            return Ok(None);
        };
        Ok(Some(FinishedIncidents {
            all: self.piece(&header.all)?,
            worst: self.optional_piece(header.worst.as_ref())?,
        }))
    }

    fn finish(self) -> Result<(), CacheError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(unreadable("a part is too long"))
        }
    }
}

pub(super) fn pack_digest(digest: &ShardDigest) -> Result<Vec<u8>, CacheError> {
    let json = serde_json::to_vec(digest).map_err(unreadable_by("a digest has no JSON form"))?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let compressed = encoder.write_all(&json).and_then(|()| encoder.finish());
    compressed.map_err(unreadable_by("a digest cannot be compressed"))
}

/// The inverse of [`pack_digest`].
pub(super) fn unpack_digest(parts: &[Vec<u8>]) -> Result<ShardDigest, CacheError> {
    let [part] = parts else {
        return Err(unreadable("a digest is not one part"));
    };
    let mut json = Vec::new();
    let mut decoder = GzDecoder::new(part.as_slice()).take(MAX_DIGEST_BYTES + 1);
    let length = decoder.read_to_end(&mut json);
    let length = length.map_err(unreadable_by("a digest is not compressed"))?;
    if u64::try_from(length).is_ok_and(|length| length > MAX_DIGEST_BYTES) {
        return Err(unreadable("a digest is too long"));
    }
    serde_json::from_slice(&json).map_err(unreadable_by("a digest is not in the stored form"))
}
