//! Sorted entries on their way into the tree, past log and memtable: written first, then placed.
//!
//! ```text
//!   add … add ─▶ finish: files and their names are durable, and no manifest names them
//!             ─▶ place: claim ─▶ flush what is older ─▶ edit ─▶ view ─▶ visible
//! ```
//!
//! 1. All entries have one number: so they become visible at once, and lie between the writes before
//!    the claim and those after it.
//! 2. The edit says that everything up to that number is in segments. It is recorded when all that is
//!    older was flushed; nothing newer can be flushed before, because it is not visible.
//! 3. Before the claim a failure leaves only files that nothing names; they are removed, now or at
//!    the next open (F-11). After it, it either poisons, because the manifest may name the files, or
//!    gives the place up with nothing in it, and the files are removed.
//! 4. The files are busy until their number is visible: a compaction that took them earlier could
//!    drop what a snapshot taken meanwhile still needs (F-43).
//! 5. A segment is written as the collection wants it with which it begins, and cut before one that
//!    wants it otherwise.

use crate::base::codec::Compression;
use crate::base::error::Result;
use crate::base::id::{CollectionId, FileId, SeqNo};
use crate::base::key::{Entry, Kind, split_full_key};
use crate::base::setsum::Setsum;
use crate::base::time::Time;
use crate::commit::ahead::Ahead;
use crate::compaction::policy::Policy;
use crate::db::core::{Core, Writing};
use crate::db::files::large::Outside;
use crate::env::names::FileKind;
use crate::manifest::{Balance, Edit, Placed, Reason};
use crate::segment::{SegmentMeta, SegmentWriter, WriterOptions};
use crate::tree::version::fresh;

/// How often the entries are interrupted to see whether the database closes.
const LOOK_EVERY: u64 = 512;

/// See the module. Segments that no manifest names yet: removed when dropped, unless they were placed.
pub(in crate::db) struct Sorted<'a> {
    core: &'a Core,
    writing: &'a Writing,
    number: SeqNo,
    segment_bytes: u64,
    writer: Option<SegmentWriter>,
    /// How the open segment is written.
    open: WriterOptions,
    /// How those of the last collection are written; from when on its values lie out of line, and how.
    wanted: WriterOptions,
    least: usize,
    compression: Compression,
    /// When what is put into the last collection expires, where it does not say.
    expires: Option<Time>,
    now: Time,
    collections: Vec<CollectionId>,
    entries: u64,
    input: Setsum,
    written: Vec<FileId>,
    segments: Vec<SegmentMeta>,
    large: Outside<'a>,
    /// The value at hand with its expiry behind it; kept from value to value.
    timed: Vec<u8>,
    placed: bool,
}

impl Drop for Sorted<'_> {
    fn drop(&mut self) {
        if self.placed || self.writing.committer.poison().is_set() {
            // Once poisoned, the manifest may name them.
            return;
        }
        for id in &self.written {
            self.core.remove(FileKind::Segment.name(*id));
        }
        for id in &self.large.written {
            self.core.remove(FileKind::Blob.name(*id));
        }
    }
}

impl<'a> Sorted<'a> {
    /// None yet; all will have this number.
    pub(in crate::db) fn new(core: &'a Core, writing: &'a Writing, number: SeqNo) -> Self {
        let policy = Policy { flush_bytes: core.options.slab() as u64, ..core.options.compaction };
        let view = core.views.load_full();
        let total_bytes = view.version.segments().map(|segment| segment.meta().bytes).sum();
        let common = core.writer_options();
        Self {
            core,
            writing,
            number,
            segment_bytes: policy.segment_bytes(total_bytes),
            writer: None,
            open: common,
            wanted: common,
            least: core.options.blob_threshold,
            compression: core.options.blob_compression,
            expires: None,
            now: core.now(),
            collections: Vec::new(),
            entries: 0,
            input: Setsum::ZERO,
            written: Vec::new(),
            segments: Vec::new(),
            large: Outside::new(core, writing),
            timed: Vec::new(),
            placed: false,
        }
    }

    /// How many there are.
    pub(in crate::db) fn entries(&self) -> u64 {
        self.entries
    }

    /// Whose they are.
    pub(in crate::db) fn collections(&self) -> &[CollectionId] {
        &self.collections
    }

    /// The files that were written.
    #[cfg(test)]
    pub(in crate::db) fn files(&self) -> Vec<FileId> {
        self.written.clone()
    }

    /// Adds a key, above all before it, with its value and when that expires, or none for what its
    /// collection says; or, without a value, that it is absent.
    ///
    /// Errors: `Io`, and no more can be added; `Interrupted` if the database closes.
    pub(in crate::db) fn add(
        &mut self,
        full_key: &[u8],
        value: Option<(&[u8], Option<Time>)>,
    ) -> Result<()> {
        if self.entries.is_multiple_of(LOOK_EVERY) {
            self.core.refuse_if_stopping(self.writing)?;
        }
        let collection = split_full_key(full_key).map(|(collection, _)| collection);
        if collection != self.collections.last().copied() {
            self.turn_to(collection.unwrap_or_default());
        }
        let is_full = |open: &SegmentWriter| open.byte_count() >= self.segment_bytes;
        if self.writer.as_ref().is_some_and(is_full) || self.open != self.wanted {
            self.segments.extend(self.writer.take().map(SegmentWriter::finish).transpose()?);
        }
        let open = match &mut self.writer {
            Some(open) => open,
            none => {
                let id = self.writing.ledger.allocate();
                self.written.push(id);
                self.open = self.wanted;
                none.insert(SegmentWriter::create(&self.core.env, &self.core.dir, id, self.open)?)
            }
        };
        let blob;
        let expiry = value.and_then(|(_, expires)| expires.or(self.expires));
        let expiry = expiry.filter(|expiry| *expiry != Time::NEVER);
        let (kind, value) = match value {
            None => (Kind::Delete, &[][..]),
            Some((value, _)) if value.len() >= self.least => {
                blob = self.large.put(value, self.compression)?.encode();
                (Kind::Blob, &blob[..])
            }
            Some((value, _)) if expiry.is_some() => (Kind::Expiring, value),
            Some((value, _)) => (Kind::Put, value),
        };
        self.timed.clear();
        let value = match expiry {
            Some(Time(expiry)) => {
                self.timed.extend_from_slice(value);
                self.timed.extend_from_slice(&expiry.to_le_bytes());
                &self.timed
            }
            None => value,
        };
        let entry = Entry { key: full_key, seq: self.number, kind, value };
        open.add(&entry)?;
        self.input += Setsum::of(&entry);
        self.entries += 1;
        Ok(())
    }

    fn turn_to(&mut self, collection: CollectionId) {
        let rule = self.core.rules.of(collection);
        self.wanted = rule.writer(self.core.writer_options());
        self.least = rule.blob_threshold.unwrap_or(self.core.options.blob_threshold);
        self.compression = rule.blob_compression.unwrap_or(self.core.options.blob_compression);
        self.expires = rule.time_to_live.map(|time| self.now.after(time));
        self.collections.push(collection);
    }

    /// Makes them and their names durable.
    pub(in crate::db) fn finish(&mut self) -> Result<()> {
        if self.entries == 0 {
            return Ok(());
        }
        // Values first: what a segment refers to that was written to its end is there, for a repair too.
        self.large.finish()?;
        self.segments.extend(self.writer.take().map(SegmentWriter::finish).transpose()?);
        self.core.sync_names()
    }

    /// Makes the segments part of the database, at the place of their number, which `claim` claims.
    pub(in crate::db) fn place<'c>(
        &mut self,
        claim: impl FnOnce() -> Result<Ahead<'c>>,
    ) -> Result<()> {
        let Self { core, writing, number, .. } = *self;
        let committer = &writing.committer;
        let fresh = fresh(&self.segments, &core.shelves.segments)?;
        let claim = claim()?;
        let _held = writing.steps.hold(&self.written);
        let placed = core.wait_flushed(writing, number).and_then(|()| {
            let mut ledger = writing.ledger.lock();
            // Numbered under the lock: no run of level 0 is newer.
            let edit = self.edit(writing.ledger.allocate().0);
            core.publish(writing, &mut ledger, edit, &fresh, None)?;
            self.placed = true;
            Ok(())
        });
        if let Err(error) = &placed
            && committer.poison().is_set()
        {
            committer.fail(error);
            return placed;
        }
        // Placed, or given up: then the number stands for nothing.
        claim.finish();
        placed?;
        committer.wait_visible(number)?;
        committer.note_flushed(number);
        Ok(())
    }

    fn edit(&self, run: u64) -> Edit {
        let place = |meta: &SegmentMeta| Placed { level: 0, run, meta: meta.clone() };
        let output = self.segments.iter().fold(Setsum::ZERO, |sum, meta| sum + meta.setsum);
        Edit {
            add: self.segments.iter().map(place).collect(),
            add_blobs: self.large.done.clone(),
            flushed: Some(self.number),
            balance: Some(Balance {
                reason: Reason::Ingest,
                input: self.input,
                output,
                dropped: Setsum::ZERO,
                created: Setsum::ZERO,
            }),
            ..Edit::default()
        }
    }
}
