//! Sorted entries in, segments out, and the proof that nothing else happened.
//!
//! ```text
//!   cursor → Retain ─ keep ─▶ SegmentWriter … SegmentWriter     in = out + dropped, or nothing
//!                   └ drop ─▶ (summed)                          is published (law 6)
//! ```
//!
//! 1. Outputs are cut between keys, never between versions of one key: the segments of a run are
//!    disjoint in keys.
//! 2. `written` names every file that was begun, also after an error: the caller removes those that
//!    it does not publish.
//! 3. The sum of what came in is told by the source, not by this walk: a source that loses entries
//!    is found too.

use super::retain::{Keep, Retain};
use crate::base::cursor::Cursor;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::FileId;
use crate::base::setsum::Setsum;
use crate::env::Env;
use crate::segment::{SegmentMeta, SegmentWriter, WriterOptions};
use std::path::Path;
use std::sync::Arc;

/// How to write the outputs.
pub struct Rewrite<'a> {
    /// The outside world.
    pub env: &'a Arc<dyn Env>,
    /// The database folder.
    pub dir: &'a Path,
    /// Blocks, filters, compression.
    pub options: WriterOptions,
    /// A segment is cut when it has so many bytes.
    pub segment_bytes: u64,
    /// A segment is cut before the first key at or above each of these, too: ascending.
    pub borders: Vec<Box<[u8]>>,
    /// What must be kept.
    pub keep: &'a Keep,
    /// A number for each output.
    pub allocate: &'a dyn Fn() -> FileId,
    /// Told between entries now and then how far the job is: entries and bytes written. It may hold
    /// the job up; true stops it with `Interrupted`.
    pub tick: &'a dyn Fn(Progress) -> bool,
}

/// What a rewrite made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// The outputs, ascending and synced; their names are not yet durable.
    pub segments: Vec<SegmentMeta>,
    /// Sum of what came in.
    pub input: Setsum,
    /// Sum of what the outputs hold.
    pub output: Setsum,
    /// Sum of what no reader can see any more.
    pub dropped: Setsum,
    /// Entries that came in.
    pub entries: u64,
    /// Entries that were dropped.
    pub entries_dropped: u64,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Entries that it has written.
    pub entries: u64,
    /// Bytes that it has written, about.
    pub bytes: u64,
}

/// How often a job tells how far it is, in entries.
const TICK_EVERY: u64 = 512;

impl Rewrite<'_> {
    /// Writes what is to be kept of `cursor`, whose entries sum to `input`.
    ///
    /// The segments are synced; the folder is not. Cost: one pass. Errors: `Corruption` if the
    /// balance does not hold or an input block is damaged; `Io`; `Interrupted` when stopped.
    pub fn run(
        &self,
        cursor: impl Cursor,
        input: Setsum,
        written: &mut Vec<FileId>,
    ) -> Result<Rewritten> {
        let mut retain = Retain::new(cursor, self.keep);
        let mut segments = Vec::new();
        let mut writer: Option<SegmentWriter> = None;
        let mut last_key = Vec::new();
        let mut count = 0u64;
        let mut finished = 0u64;
        let mut borders = self.borders.as_slice();
        while let Some(entry) = retain.next_kept()? {
            count += 1;
            if count.is_multiple_of(TICK_EVERY) {
                let open = writer.as_ref().map_or(0, SegmentWriter::byte_count);
                if (self.tick)(Progress { entries: count, bytes: finished + open }) {
                    return Err(Error::new(ErrorKind::Interrupted, "the database is closing"));
                }
            }
            let mut full = writer.as_ref().is_some_and(|w| w.byte_count() >= self.segment_bytes);
            while let Some((border, rest)) = borders.split_first()
                && **border <= *entry.key
            {
                borders = rest;
                full = true;
            }
            if full && *last_key != *entry.key {
                let done = writer.take().map(SegmentWriter::finish).transpose()?;
                finished += done.as_ref().map_or(0, |meta| meta.bytes);
                segments.extend(done);
            }
            let open = match &mut writer {
                Some(open) => open,
                none => none.insert(self.begin(written)?),
            };
            open.add(&entry)?;
            last_key.clear();
            last_key.extend_from_slice(entry.key);
        }
        segments.extend(writer.map(SegmentWriter::finish).transpose()?);
        let tally = retain.tally();
        let output = segments.iter().fold(Setsum::ZERO, |sum, meta| sum + meta.setsum);
        let rewritten = Rewritten {
            segments,
            input,
            output,
            dropped: tally.dropped,
            entries: tally.entries,
            entries_dropped: tally.entries_dropped,
        };
        rewritten.check_balance(tally.input)?;
        Ok(rewritten)
    }

    fn begin(&self, written: &mut Vec<FileId>) -> Result<SegmentWriter> {
        let id = (self.allocate)();
        written.push(id);
        SegmentWriter::create(self.env, self.dir, id, self.options)
    }
}

impl Rewritten {
    fn check_balance(&self, walked: Setsum) -> Result<()> {
        if walked == self.input && self.input == self.output + self.dropped {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Corruption,
            format!(
                "a rewrite does not balance: want input {}, walked {walked}, wrote {}, dropped {}",
                self.input, self.output, self.dropped
            ),
        ))
    }
}
