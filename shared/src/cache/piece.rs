//! Texts that are compressed once and then become part of many responses. Owns: the compressed form of a text, and putting
//! a body together from it without compressing or decompressing anything.
//!
//! The gzip form of a body is a header, blocks of deflate, and a checksum. The blocks of a piece end at a whole byte and
//! refer to nothing before them, so they can stand anywhere in a body. Its checksum follows from those of the pieces.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::mem;

use crc32fast::Hasher;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::DeflateEncoder;

use crate::domain::payload::escaped_length;

/// Deflate, without a name, a time or a system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// An empty block without compression, marked as the last one.
const LAST_BLOCK: [u8; 5] = [1, 0, 0, 0xff, 0xff];
/// A block without compression is at most this long.
const MAX_STORED_BYTES: usize = 0xffff;

/// A text and its compressed form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Blocks of deflate, none of which is marked as the last one.
    pub(super) blocks: Vec<u8>,
    /// The checksum of the text.
    pub(super) crc: u32,
    /// The length of the text.
    pub(super) length: u64,
    /// The length of the text as a JSON string.
    pub(super) escaped_length: usize,
}

impl Piece {
    /// # Errors
    /// The library cannot compress the text.
    pub fn compress(text: &str) -> io::Result<Self> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes())?;
        // Ends the last block at a whole byte, without marking it as the last one.
        encoder.flush()?;
        let blocks = mem::take(encoder.get_mut());
        let mut checksum = Hasher::new();
        checksum.update(text.as_bytes());
        Ok(Self {
            blocks,
            length: checksum.total_len(),
            crc: checksum.finalize(),
            escaped_length: escaped_length(text),
        })
    }

    #[must_use]
    pub fn compressed_length(&self) -> usize {
        self.blocks.len()
    }

    /// The length of the text in a JSON string.
    #[must_use]
    pub fn escaped_length(&self) -> usize {
        self.escaped_length
    }
}

/// A body that consists of pieces, and of short texts between them.
#[derive(Clone, Debug, Default)]
pub struct PiecedBody<'a> {
    elements: Vec<Element<'a>>,
}

#[derive(Clone, Debug)]
enum Element<'a> {
    Text(Cow<'static, str>),
    Piece(&'a Piece),
}

impl<'a> PiecedBody<'a> {
    /// Appends a text. It is not compressed.
    pub fn text(&mut self, text: impl Into<Cow<'static, str>>) {
        self.elements.push(Element::Text(text.into()));
    }

    pub fn piece(&mut self, piece: &'a Piece) {
        self.elements.push(Element::Piece(piece));
    }

    /// The body in gzip's format.
    #[must_use]
    pub fn to_gzip(&self) -> Vec<u8> {
        let lengths = self.elements.iter().map(|element| match element {
            Element::Text(text) => text.len() + 5,
            Element::Piece(piece) => piece.blocks.len(),
        });
        let mut gzip = Vec::with_capacity(lengths.sum::<usize>() + 23);
        gzip.extend_from_slice(&GZIP_HEADER);
        let mut checksum = Hasher::new();
        for element in &self.elements {
            match element {
                Element::Text(text) => {
                    for stored in text.as_bytes().chunks(MAX_STORED_BYTES) {
                        // A chunk is never longer.
                        let length = u16::try_from(stored.len()).unwrap_or(u16::MAX);
                        gzip.push(0);
                        gzip.extend_from_slice(&length.to_le_bytes());
                        gzip.extend_from_slice(&(!length).to_le_bytes());
                        gzip.extend_from_slice(stored);
                    }
                    checksum.update(text.as_bytes());
                }
                Element::Piece(piece) => {
                    gzip.extend_from_slice(&piece.blocks);
                    checksum.combine(&Hasher::new_with_initial_len(piece.crc, piece.length));
                }
            }
        }
        gzip.extend_from_slice(&LAST_BLOCK);
        let length = checksum.total_len();
        gzip.extend_from_slice(&checksum.finalize().to_le_bytes());
        // The lowest 32 bits.
        gzip.extend_from_slice(&length.to_le_bytes()[..4]);
        gzip
    }

    /// The body as text, for a client that does not accept gzip.
    ///
    /// # Errors
    /// A piece is damaged.
    pub fn to_text(&self) -> io::Result<String> {
        let mut text = String::new();
        GzDecoder::new(self.to_gzip().as_slice()).read_to_string(&mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str) -> Piece {
        Piece::compress(text).expect("a piece")
    }

    #[test]
    fn pieces_and_texts_make_one_gzip_body_in_any_order() {
        let long = "0123456789 \"ünïcödé\" \n".repeat(9_000);
        let texts = ["", "{", "a text", "a text", "\u{1f600}", &long];
        let pieces = texts.map(piece);
        for first in 0..pieces.len() {
            let mut body = PiecedBody::default();
            let mut expected = String::new();
            for n in (first..pieces.len()).chain(0..first) {
                body.piece(&pieces[n]);
                body.text(",");
                body.text(texts[n].to_owned());
                expected.push_str(texts[n]);
                expected.push(',');
                expected.push_str(texts[n]);
            }
            // The decoder checks the checksum and the length, too.
            assert_eq!(body.to_text().expect("a text"), expected, "{first}");
        }
        assert_eq!(PiecedBody::default().to_text().expect("a text"), "");
    }

    #[test]
    fn a_piece_knows_its_lengths_and_is_shorter_than_its_text() {
        let text = "\"quoted\" ".repeat(1_000);
        let piece = piece(&text);
        assert_eq!(piece.escaped_length(), 11_000);
        assert!(piece.compressed_length() < 200, "{piece:?}");
    }

    #[test]
    fn a_damaged_piece_is_noticed_when_it_is_decompressed() {
        let mut damaged = piece("a text");
        damaged.crc ^= 1;
        let mut body = PiecedBody::default();
        body.piece(&damaged);
        assert!(body.to_text().is_err());
    }
}
