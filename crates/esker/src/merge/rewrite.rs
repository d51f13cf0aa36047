//! Sorted entries in, segments out, and the proof that nothing else happened.
//!
//! ```text
//!   cursor → Folded ─ keep, make ─▶ SegmentWriter …     in + created = out + dropped, or nothing
//!                   ├ drop ───────▶ (summed)            is published (law 6)
//!                   └ all ────────▶ Judge               no reader can tell, or nothing is
//! ```
//!
//! 1. Outputs are cut between keys, never between versions of one key: the segments of a run are
//!    disjoint in keys.
//! 2. `written` names every file that was begun, also after an error: the caller removes those that
//!    it does not publish.
//! 3. The sum of what came in is told by the source, not by this walk: a source that loses entries
//!    is found too. Of one part of a walk nobody can tell it: [`Rewritten::join`] holds the parts
//!    together against what all of them should have walked.
//! 4. A segment is written as the collection wants it with which it begins; it is cut where much of
//!    another comes that wants it otherwise. Collections that want the same share segments.
//! 5. The balance says that nothing was lost on the way; that what was dropped was free to go says
//!    [`Judge`], for every entry (SST-18).

use super::folded::Folded;
use super::judge::{Judge, Judgement};
use super::retain::{Judged, Keep, Tally, Verdict};
use super::rules::Rules;
use crate::base::blob::BlobRef;
use crate::base::cursor::Cursor;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{CollectionId, FileId};
use crate::base::key::{Entry, Kind, split_full_key};
use crate::base::setsum::Setsum;
use crate::env::Env;
use crate::segment::{SegmentMeta, SegmentWriter, WriterOptions};
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

/// How to write the outputs.
pub struct Rewrite<'a> {
    /// The outside world.
    pub env: &'a Arc<dyn Env>,
    /// The database folder.
    pub dir: &'a Path,
    /// Blocks, filters, compression, where a collection has no rule of its own for them.
    pub options: WriterOptions,
    /// What holds for each collection.
    pub rules: &'a Rules,
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
    /// A fault that a test plants; none anywhere else.
    pub plant: Option<&'a dyn Plant>,
    /// Whether to tell which large values stay, and not only which go.
    pub tells_kept: bool,
}

/// A fault planted in a rewrite, to see that it is caught.
pub trait Plant: Debug + Send + Sync {
    /// What the walk takes for [`Rewrite::keep`], if not that.
    fn keep(&self, _keep: &Keep) -> Option<Keep> {
        None
    }

    /// The keys that a part of a merge walks, if not those from `from` up to `to`.
    fn clip(&self, _from: Option<&[u8]>, _to: Option<&[u8]>) -> Option<Ends> {
        None
    }

    /// What operands are folded to, if not `value`.
    fn fold(&self, _value: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// Hands `entry` on to the writer, or something else, or nothing. Errors: those of `write`.
    fn write(
        &self,
        entry: &Entry<'_>,
        write: &mut dyn FnMut(&Entry<'_>) -> Result<()>,
    ) -> Result<()> {
        write(entry)
    }

    /// Hands a large value that a cleaning copies on to the writer, or something else, or nothing.
    /// Errors: those of `write`.
    fn copy(
        &self,
        blob: &BlobRef,
        stored: &[u8],
        write: &mut dyn FnMut(&BlobRef, &[u8]) -> Result<()>,
    ) -> Result<()> {
        write(blob, stored)
    }
}

/// The keys between which something lies: the first full key, and the first one above; none where
/// there is no end.
pub type Ends = (Option<Box<[u8]>>, Option<Box<[u8]>>);

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
    /// Sum of what operands were folded to.
    pub created: Setsum,
    /// Entries that came in.
    pub entries: u64,
    /// Entries that were dropped.
    pub entries_dropped: u64,
    /// The large values that stay, where that was asked for, in the order of keys.
    pub kept: Vec<BlobRef>,
    /// The large values that nobody needs any more: dead, once this is published.
    pub killed: Vec<BlobRef>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Entries that it has written.
    pub entries: u64,
    /// Bytes that it has written, about; never fewer than it told before.
    pub bytes: u64,
    /// Whether that is all: what is left is to sync it.
    pub is_written: bool,
}

/// How often a job tells how far it is, in entries.
const TICK_EVERY: u64 = 512;

impl Rewrite<'_> {
    /// Writes what is to be kept of `cursor`, whose entries sum to `input`; without a sum it is a
    /// part, which must be joined with the others.
    ///
    /// The segments are synced; the folder is not. Cost: one pass. Errors: `Corruption` if the
    /// balance does not hold or an input block is damaged; `Io`; `Interrupted` when stopped.
    pub fn run(
        &self,
        cursor: impl Cursor,
        input: Option<Setsum>,
        written: &mut Vec<FileId>,
    ) -> Result<Rewritten> {
        let planted = self.plant.and_then(|plant| plant.keep(self.keep));
        let keep = planted.as_ref().unwrap_or(self.keep);
        let rules = self.rules.as_of_now();
        let mut folded = Folded::new(cursor, keep, &rules, self.plant);
        let mut judge = Judge::new(self.keep, &rules);
        let mut blobs = Blobs { tells_kept: self.tells_kept, ..Blobs::default() };
        let mut segments = Vec::new();
        let mut writer: Option<SegmentWriter> = None;
        let mut last_key = Vec::new();
        let mut count = 0u64;
        let (mut finished, mut bytes) = (0u64, 0u64);
        let mut borders = self.borders.as_slice();
        let mut style = Style::new(&rules, self.options);
        while let Some(Judged { entry, verdict }) = folded.judge_next()? {
            judge.see(&entry, verdict)?;
            if entry.kind == Kind::Blob {
                blobs.note(&entry, verdict)?;
            }
            if verdict == Verdict::Drop {
                continue;
            }
            count += 1;
            let open = writer.as_ref().map_or(0, SegmentWriter::byte_count);
            if count.is_multiple_of(TICK_EVERY) {
                // A file that is finished may be smaller than it was thought to become.
                bytes = bytes.max(finished + open);
                self.tell(Progress { entries: count, bytes, is_written: false })?;
            }
            let mut full = open >= self.segment_bytes || style.differs(entry.key, open);
            while let Some((border, rest)) = borders.split_first()
                && **border <= *entry.key
            {
                borders = rest;
                full = true;
            }
            if full && *last_key != *entry.key {
                let done = blobs.finish(writer.take())?;
                finished += done.as_ref().map_or(0, |meta| meta.bytes);
                segments.extend(done);
            }
            let open = match &mut writer {
                Some(open) => open,
                none => none.insert(self.begin(written, style.begin())?),
            };
            match self.plant {
                None => open.add(&entry)?,
                Some(plant) => plant.write(&entry, &mut |entry| open.add(entry))?,
            }
            last_key.clear();
            last_key.extend_from_slice(entry.key);
        }
        let open = writer.as_ref().map_or(0, SegmentWriter::byte_count);
        bytes = bytes.max(finished + open);
        self.tell(Progress { entries: count, bytes, is_written: true })?;
        segments.extend(blobs.finish(writer)?);
        blobs.check()?;
        let tally = folded.tally();
        let output = segments.iter().fold(Setsum::ZERO, |sum, meta| sum + meta.setsum);
        let Blobs { kept, killed, .. } = blobs;
        let input = input.unwrap_or(tally.input);
        let rewritten =
            Rewritten { segments, input, output, kept, killed, ..Rewritten::of(&tally) };
        rewritten.check_balance(tally.input)?;
        check_judged(&tally, judge.finish()?)?;
        Ok(rewritten)
    }

    fn tell(&self, progress: Progress) -> Result<()> {
        if !(self.tick)(progress) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Interrupted, "the database is closing"))
    }

    fn begin(&self, written: &mut Vec<FileId>, options: WriterOptions) -> Result<SegmentWriter> {
        let id = (self.allocate)();
        written.push(id);
        SegmentWriter::create(self.env, self.dir, id, options)
    }
}

/// So many bytes of a collection may lie in a segment that is written as its neighbour wants it: of
/// small collections that all want another thing, each would have a file.
const GUEST_BYTES_MAX: u64 = 64 << 10;

/// How segments are to be written, collection by collection.
struct Style<'a> {
    rules: &'a Rules,
    common: WriterOptions,
    collection: Option<CollectionId>,
    wanted: WriterOptions,
    /// How the open segment is written.
    open: WriterOptions,
    /// How long the open segment was when the collection began.
    from: u64,
}

impl<'a> Style<'a> {
    fn new(rules: &'a Rules, common: WriterOptions) -> Self {
        Self { rules, common, collection: None, wanted: common, open: common, from: 0 }
    }

    /// Whether a segment of `len` bytes is to be cut before `key`. Cost: a comparison, most times.
    #[inline]
    fn differs(&mut self, key: &[u8], len: u64) -> bool {
        let collection = split_full_key(key).map(|(collection, _)| collection);
        if collection != self.collection {
            self.collection = collection;
            self.from = len;
            self.wanted =
                collection.map_or(self.common, |it| self.rules.of(it).writer(self.common));
        }
        self.wanted != self.open && len.saturating_sub(self.from) >= GUEST_BYTES_MAX
    }

    /// How a segment is written that begins with the last key.
    fn begin(&mut self) -> WriterOptions {
        (self.open, self.from) = (self.wanted, 0);
        self.open
    }
}

/// What becomes of large values.
#[derive(Debug, Default)]
struct Blobs {
    tells_kept: bool,
    /// The sum of all refs that stay, addresses included: the sum of entries is that of the values,
    /// wherever they lie.
    refs: Setsum,
    /// The sum of those that were written.
    written: Setsum,
    kept: Vec<BlobRef>,
    killed: Vec<BlobRef>,
}

impl Blobs {
    /// Completes a segment, if there is one.
    fn finish(&mut self, writer: Option<SegmentWriter>) -> Result<Option<SegmentMeta>> {
        self.written += writer.as_ref().map_or(Setsum::ZERO, SegmentWriter::refs);
        writer.map(SegmentWriter::finish).transpose()
    }

    /// Errors: `Corruption` if a ref was lost or altered between the walk and the writer.
    fn check(&self) -> Result<()> {
        if self.refs == self.written {
            return Ok(());
        }
        let Self { refs, written, .. } = self;
        let message = format!("a rewrite of large values: want refs {refs}, wrote {written}");
        Err(Error::new(ErrorKind::Corruption, message))
    }

    fn note(&mut self, entry: &Entry<'_>, verdict: Verdict) -> Result<()> {
        let blob = BlobRef::of(entry)?;
        if verdict == Verdict::Drop {
            self.killed.push(blob);
            return Ok(());
        }
        self.refs += Setsum::of_blob(&blob);
        if self.tells_kept {
            self.kept.push(blob);
        }
        Ok(())
    }
}

/// Whether every entry that was walked came with a verdict.
fn check_judged(tally: &Tally, judged: Judgement) -> Result<()> {
    let Tally { entries, entries_dropped: dropped, entries_created: made, .. } = *tally;
    if judged == (Judgement { entries, dropped, made }) {
        return Ok(());
    }
    let message = format!(
        "a rewrite walked {entries} entries, dropped {dropped} and made {made}, judged {} and {} and {}",
        judged.entries, judged.dropped, judged.made
    );
    Err(Error::new(ErrorKind::Corruption, message))
}

impl Rewritten {
    /// What the figures of a walk say; nothing of what was written.
    fn of(tally: &Tally) -> Self {
        let Tally { input, dropped, created, entries, entries_dropped, .. } = *tally;
        Self { input, dropped, created, entries, entries_dropped, ..Self::default() }
    }

    /// Puts together what the parts of one walk made, in their order; all that was to be walked sums
    /// to `input`.
    ///
    /// Errors: `Corruption` if something was left out, or walked twice, or two parts share a key.
    pub fn join(parts: Vec<Self>, input: Setsum) -> Result<Self> {
        let mut all = Self { input, ..Self::default() };
        let mut walked = Setsum::ZERO;
        for part in parts {
            walked += part.input;
            all.output += part.output;
            all.dropped += part.dropped;
            all.created += part.created;
            all.entries += part.entries;
            all.entries_dropped += part.entries_dropped;
            all.segments.extend(part.segments);
            all.kept.extend(part.kept);
            all.killed.extend(part.killed);
        }
        all.check_balance(walked)?;
        let shared = all.segments.windows(2).find_map(|pair| match pair {
            [one, next] if one.largest >= next.smallest => Some((one, next)),
            _ => None,
        });
        let Some((one, next)) = shared else { return Ok(all) };
        let message = format!(
            "a rewrite is out of order: one output ends at key \"{}\", the next begins at \"{}\"",
            one.largest.escape_ascii(),
            next.smallest.escape_ascii()
        );
        Err(Error::new(ErrorKind::Corruption, message))
    }

    fn check_balance(&self, walked: Setsum) -> Result<()> {
        if walked == self.input && self.input + self.created == self.output + self.dropped {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Corruption,
            format!(
                "a rewrite does not balance: want input {}, walked {walked}, made {}, wrote {}, \
                 dropped {}",
                self.input, self.created, self.output, self.dropped
            ),
        ))
    }
}
