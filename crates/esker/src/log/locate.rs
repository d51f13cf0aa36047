//! Finds frames in a file's bytes and checks them: the hostile side of [`frame`](super::frame).
//!
//! 1. A size is judged by the rest of the file before anything is done with it; nothing here
//!    allocates but the text of a [`Fault`].
//! 2. Headers are read either exactly as Esker writes them ([`Rules::Esker`]) or as the crate's
//!    reader tolerates them ([`Rules::Foreign`]).
//! 3. What pads a block is never looked at in Esker's logs: no frame of theirs can begin there
//!    (frame invariant 2), so a flipped bit in it is harmless (F-33).
//! 4. A FIRST frame must have the exact length that its position gives it, and its SECOND frame
//!    begin exactly at the border.
//!
//! Source: SST-8, SST-9; the rules of refusal are SST-10's.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::frame::{FIRST, SECOND, WHOLE};
use crate::base::coding::Decoder;
use crate::base::entry::{Field, Taken, take_field};
use std::ops::Range;

const BLOCK: usize = 1 << 20;
const HEADER_MAX: usize = 19;
/// The largest payload that the crate's reader accepts.
const FOREIGN_BYTES_MAX: u64 = 1_006_632_960;

/// Whose writer made the log that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Esker's: only what [`place`](super::frame::place) and [`seal`](super::frame::seal) make.
    Esker,
    /// The `sst` crate's, or a tool's: what the crate's reader takes (SST-8, SST-9).
    Foreign,
}

/// A frame, or a FIRST and SECOND pair, that was found with its checksums right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Where it begins.
    pub at: usize,
    /// Where its payload, or the first part of it, lies in the file.
    pub payload: Range<usize>,
    /// The second part.
    pub second: Option<Range<usize>>,
    /// Where it ends.
    pub end: usize,
}

/// What is wrong with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where the bad frame begins.
    pub at: usize,
    /// What must be there.
    pub want: String,
    /// What is.
    pub found: String,
}

fn fault<T>(at: usize, want: impl Into<String>, found: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { at, want: want.into(), found: found.into() })
}

struct Part {
    at: usize,
    discriminant: u8,
    payload: Range<usize>,
}

/// The frame at or behind `position`; none at the end of the log.
///
/// The end is the end of the file; for Esker's logs also the beginning of nothing but zeros, which
/// is what was allocated ahead. Cost: one checksum of the payload, no allocation.
pub fn locate(bytes: &[u8], position: usize, rules: Rules) -> Result<Option<Located>, Fault> {
    let Some(first) = part(bytes, position, rules)? else { return Ok(None) };
    let Part { at, discriminant, payload } = first;
    let end = payload.end;
    let joined = match discriminant {
        WHOLE => Located { at, payload, second: None, end },
        FIRST => {
            let border = border_behind(end).filter(|border| border - end <= HEADER_MAX);
            let Some(border) = border else {
                return fault(at, "a FIRST frame that ends before a border", "one that does not");
            };
            let exact = (BLOCK - at % BLOCK).checked_sub(HEADER_MAX);
            if rules == Rules::Esker && exact != Some(payload.len()) {
                return fault(at, "a FIRST frame as long as its block", "another length");
            }
            let second = part(bytes, border, rules).map_err(|fault| Fault { at, ..fault })?;
            match second {
                Some(Part { discriminant: SECOND, at: start, payload: second }) => {
                    if rules == Rules::Esker && start != border {
                        return fault(at, "a SECOND frame at the border", "padding");
                    }
                    Located { at, payload, end: second.end, second: Some(second) }
                }
                Some(_) => return fault(at, "a SECOND frame at the border", "another frame"),
                None => return fault(at, "a SECOND frame at the border", "the end of the log"),
            }
        }
        _ => return fault(at, "a WHOLE or FIRST frame", format!("discriminant {discriminant}")),
    };
    let empty = joined.payload.is_empty() && joined.second.as_ref().is_none_or(Range::is_empty);
    if empty {
        return fault(at, "at least one entry", "an empty batch");
    }
    Ok(Some(joined))
}

/// The border at or above `offset`.
fn border_behind(offset: usize) -> Option<usize> {
    offset.checked_next_multiple_of(BLOCK)
}

/// Whether `bytes` are all zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks.iter().all(|chunk| *chunk == [0; 64]) && rest.iter().all(|&byte| byte == 0)
}

fn part(bytes: &[u8], position: usize, rules: Rules) -> Result<Option<Part>, Fault> {
    let mut at = position;
    let len = loop {
        let room = BLOCK - at % BLOCK;
        if rules == Rules::Esker && room <= HEADER_MAX {
            at += room;
        }
        let Some(&len) = bytes.get(at) else { return Ok(None) };
        if len != 0 {
            break usize::from(len);
        }
        let rest = bytes.get(at..).unwrap_or_default();
        match (rules, border_behind(at + 1)) {
            (Rules::Esker, _) if is_zero(rest) => return Ok(None),
            (Rules::Foreign, Some(border)) if border - at - 1 <= HEADER_MAX => at = border,
            _ => return fault(at, "a frame", "zeros"),
        }
    };
    if len > HEADER_MAX {
        return fault(at, "a header of at most 19 bytes", format!("{len} bytes"));
    }
    let start = at + 1 + len;
    let Some(header) = bytes.get(at + 1..start) else {
        return fault(at, format!("a header of {len} bytes"), "the end of the file");
    };
    let decoded = match rules {
        Rules::Esker => exact_header(header),
        Rules::Foreign => tolerant_header(header),
    };
    let Some((size, discriminant, want)) = decoded else {
        return fault(at, "a frame's header", "other bytes");
    };
    let left = bytes.len() - start;
    let size = match usize::try_from(size) {
        Ok(size) if size <= left => size,
        _ => return fault(at, format!("{size} bytes of payload"), format!("{left} bytes left")),
    };
    let payload = start..start + size;
    let found = crc32c::crc32c(bytes.get(payload.clone()).unwrap_or_default());
    if found != want {
        return fault(at, format!("crc32c {want:08x}"), format!("{found:08x}"));
    }
    Ok(Some(Part { at, discriminant, payload }))
}

/// Size, discriminant and checksum of a header that is exactly as Esker writes it.
fn exact_header(header: &[u8]) -> Option<(u64, u8, u32)> {
    let mut input = Decoder::new(header);
    let tag = input.u8()?;
    let size = input.minimal_varint()?;
    let (second, discriminant, third) = (input.u8()?, input.u8()?, input.u8()?);
    let crc = input.u32()?;
    let exact = (tag, second, third) == (0x50, 0x58, 0x65) && input.is_empty();
    exact.then_some((size, discriminant, crc))
}

/// The same of any header that the crate's reader takes.
fn tolerant_header(header: &[u8]) -> Option<(u64, u8, u32)> {
    let (mut size, mut discriminant, mut crc) = (0, 0, 0);
    let mut input = Decoder::new(header);
    while !input.is_empty() {
        let Taken { number, field, is_short } = take_field(&mut input)?;
        match (number, field) {
            (10, Field::Varint(n)) => size = n,
            (11, Field::Varint(n)) => discriminant = u8::try_from(n).ok()?,
            (12, Field::Fixed32(n)) => crc = n,
            _ => continue,
        }
        if !is_short {
            return None;
        }
    }
    (size <= FOREIGN_BYTES_MAX).then_some((size, discriminant, crc))
}

/// Finds the next frame of Esker's behind damage, byte by byte.
///
/// Checksums of candidates cost at most eight times the file in all, so that a hostile file cannot
/// make the search quadratic (F-39).
#[derive(Clone, Debug)]
pub struct Resync {
    budget: usize,
}

impl Resync {
    /// For a file of `file_bytes`.
    pub const fn new(file_bytes: usize) -> Self {
        Self { budget: file_bytes.saturating_mul(8).saturating_add(BLOCK) }
    }

    /// The first whole frame at or above `from`. Errors: where it gave up, the budget being spent.
    pub fn next(&mut self, bytes: &[u8], from: usize) -> Result<Option<Located>, usize> {
        let mut at = from;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            // The length byte, and the tag of the size.
            let plausible = |pair: &[u8]| matches!(pair, [9..=14, 0x50]);
            let Some(skip) = rest.windows(2).position(plausible) else { return Ok(None) };
            at += skip;
            if let Some(cost) = bytes.get(at + 1..).and_then(candidate_cost) {
                self.budget = self.budget.checked_sub(cost).ok_or(at)?;
                match locate(bytes, at, Rules::Esker) {
                    Ok(Some(found)) if found.at == at => return Ok(Some(found)),
                    _ => {}
                }
            }
            at += 1;
        }
    }
}

/// How many bytes a checksum would read, if this can be a frame's header.
fn candidate_cost(header: &[u8]) -> Option<usize> {
    let mut input = Decoder::new(header);
    let (tag, size) = (input.u8()?, usize::try_from(input.minimal_varint()?).ok()?);
    let (second, discriminant) = (input.u8()?, input.u8()?);
    let fits = (tag, second) == (0x50, 0x58) && size <= header.len();
    match discriminant {
        WHOLE if fits => Some(size),
        // Its SECOND frame is at most a block, and its header claims no more than the file has.
        FIRST if fits => Some(size + BLOCK.min(header.len())),
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::as_conversions, reason = "tests know their numbers")]
mod tests;
