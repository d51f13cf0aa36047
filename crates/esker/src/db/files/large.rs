//! Where large values stay: those of a flush, and those that come past the log.
//!
//! ```text
//!   flush   mostly live?  ─ yes ─▶ log-N synced ─▶ second name blob-N      nothing is written
//!                         └ no ──▶ live values ─▶ a new blob file
//!   past the log     value by value ────▶ a new blob file, or several
//! ```
//!
//! 1. A log keeps its first name until the edit that makes it a blob file is durable: a crash before
//!    that leaves a second name, which the next open removes (law 5).
//! 2. What was replayed is copied, never taken over: it may have been read from memory that a failed
//!    sync has left without a copy on the disk (F-19). So is all where a file cannot have two names.

use crate::base::blob::{Address, BlobRef, Codec};
use crate::base::codec::Compression;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::FileId;
use crate::base::key::{Entry, Kind, hash_full_key};
use crate::blob::{BlobMeta, BlobWriter};
use crate::commit::generation::Sealed;
use crate::commit::outline::pack;
use crate::db::core::{Core, Writing};
use crate::env::names::{FileKind, FileName};
use crate::env::path_in;
use crate::log::large::read_stored;
use crate::manifest::Dead;
use crate::merge::run::segment_for;
use std::collections::BTreeMap;

/// A log becomes a blob file if so much of it are values that live, in hundredths.
const ADOPT_PERCENT: u64 = 70;

/// Of so many large values that are flushed one key is looked for, and of so many at most.
const SAMPLE_EVERY: usize = 16;
const SAMPLES_MAX: usize = 500;
/// Above so much in files, in hundredths of what lives in them, a flush waits for cleanings.
const DEBT_PERCENT: u64 = 125;
/// Each so much more makes it wait for as many bytes again as it brings.
const DEBT_STEP: u64 = 10;
const DEBT_FACTOR_MAX: u64 = 4;

/// What an edit says of the large values of a job.
#[derive(Debug, Default)]
pub struct Large {
    pub(in crate::db) add: Vec<BlobMeta>,
    pub(in crate::db) dead: Vec<Dead>,
}

impl Core {
    /// Puts the large values of a flush where they stay: those that are `kept`, beside those that
    /// nobody needs any more. `written` names what was begun, also after an error.
    ///
    /// The file and its name are durable on return. Errors: `Io`; of the sync of a log, which is
    /// final (law 9).
    pub(in crate::db) fn keep_large(
        &self,
        writing: &Writing,
        sealed: &Sealed,
        (kept, killed): (&[BlobRef], &[BlobRef]),
        written: &mut Vec<FileId>,
    ) -> Result<Large> {
        if kept.is_empty() {
            return Ok(Large::default());
        }
        let live: u64 = kept.iter().map(|blob| u64::from(blob.stored)).sum();
        self.sample_overwrites(writing, sealed);
        self.repay_space(writing, live);
        let own = sealed.log.as_ref().filter(|log| {
            let id = log.name().id;
            let mut all = kept.iter().chain(killed);
            let is_own = all.all(|blob| blob.address.file() == id);
            is_own && live.saturating_mul(100) >= sealed.log_bytes.saturating_mul(ADOPT_PERCENT)
        });
        let adopted = match own {
            Some(log) => {
                // An earlier try may have left the name, and that it is to be removed.
                writing.background.forget_late(FileKind::Blob.name(log.name().id));
                sealed.sync().inspect_err(|error| writing.committer.fail(error))?;
                self.adopt(sealed, log.name().id, (kept, killed), written)
            }
            None => None,
        };
        let is_adopted = adopted.is_some();
        let large = match adopted {
            Some(large) => large,
            None => Large { add: vec![self.copy(writing, sealed, kept, written)?], dead: vec![] },
        };
        self.sync_names()?;
        let counters = &self.counters;
        if is_adopted { &counters.logs_adopted } else { &counters.logs_copied }.add(1);
        Ok(large)
    }

    /// Asks the filters for some keys of large values: what is there already will be garbage. So
    /// merges can come in time, and a load of new keys costs no more than it must.
    fn sample_overwrites(&self, writing: &Writing, sealed: &Sealed) {
        let version = self.views.load_full().version.clone();
        let is_known = |entry: &Entry<'_>| {
            let hash = hash_full_key(entry.key);
            version.runs.iter().any(|run| {
                let segment = segment_for(&run.segments, entry.key);
                // One that cannot be read is the reader's to tell.
                segment.is_some_and(|segment| {
                    segment.read(|reader| reader.may_contain(hash)).unwrap_or(false)
                })
            })
        };
        let large = sealed.memtable.entries().filter(|entry| entry.kind == Kind::Blob);
        let (mut asked, mut known) = (0, 0);
        for entry in large.step_by(SAMPLE_EVERY).take(SAMPLES_MAX) {
            asked += 1;
            known += u64::from(is_known(&entry));
        }
        writing.steps.note_overwrites(asked, known);
    }

    /// Gives a log its second name; none if it cannot have one: not every file system has them.
    fn adopt(
        &self,
        sealed: &Sealed,
        id: FileId,
        (kept, killed): (&[BlobRef], &[BlobRef]),
        written: &mut Vec<FileId>,
    ) -> Option<Large> {
        let (log, blob) = (FileKind::Log.name(id), FileKind::Blob.name(id));
        written.push(id);
        let (from, to) = (path_in(&self.dir, log), path_in(&self.dir, blob));
        // Of an earlier try that failed after this.
        let _ = self.env.remove(&to);
        if let Err(error) = self.env.link(&from, &to) {
            tracing::debug!("link {log} as {blob}: {error}; its values are copied");
            self.remove(blob);
            return None;
        }
        let refs = [kept, killed].concat();
        let least = u32::try_from(self.options.blob_threshold).unwrap_or(u32::MAX);
        let meta = BlobMeta::adopted(id, sealed.log_bytes, least, &refs);
        Some(Large { add: vec![meta], dead: Dead::of(id, stored(killed)).into_iter().collect() })
    }

    /// Copies values out of logs into a file of their own.
    fn copy(
        &self,
        writing: &Writing,
        sealed: &Sealed,
        kept: &[BlobRef],
        written: &mut Vec<FileId>,
    ) -> Result<BlobMeta> {
        let id = writing.ledger.allocate();
        written.push(id);
        let mut writer = BlobWriter::create(&self.env, &self.dir, id)?;
        let mut kept = kept.to_vec();
        kept.sort_unstable_by_key(|blob| blob.address);
        let mut intervals: BTreeMap<FileId, (Address, Address)> = BTreeMap::new();
        for blob in &kept {
            let (log, at) = (blob.address.file(), blob.address.offset());
            let name = FileKind::Log.name(log);
            let file = sealed.memtable.log(log).ok_or_else(|| {
                let message = format!("{name}: value {} is not there", blob.address);
                Error::new(ErrorKind::Corruption, message)
            })?;
            let bytes = read_stored(&*file, name, at, blob.stored as usize)?;
            writer.copy(blob, &bytes).map_err(|error| copied_from(name, error))?;
            intervals.entry(log).or_insert((blob.address, blob.address)).1 = blob.address;
        }
        writer.finish(intervals.into_values().collect())
    }

    /// Holds a flush that brings `bytes` of large values until cleanings have written their part, so
    /// that space stays within bounds; nothing while it does.
    fn repay_space(&self, writing: &Writing, bytes: u64) {
        if !self.options.background {
            return;
        }
        let blobs = writing.ledger.lock().state().blobs.clone();
        let live: u64 = blobs.iter().map(|blob| blob.live_bytes()).sum();
        let all: u64 = blobs.iter().map(|blob| blob.meta.bytes).sum();
        let percent = all.saturating_mul(100) / live.max(1);
        let factor = percent.saturating_sub(DEBT_PERCENT).div_ceil(DEBT_STEP).min(DEBT_FACTOR_MAX);
        let pace = writing.committer.pace();
        if factor > 0 {
            let ended = || self.has_no_job(writing);
            pace.repay(&*self.env, pace.compacted(), bytes * factor, ended);
        }
    }
}

/// Large values that come past the log: they are written in the order of their keys.
pub(in crate::db) struct Outside<'a> {
    core: &'a Core,
    writing: &'a Writing,
    open: Option<Begun>,
    /// The value at hand, packed; kept from value to value.
    packed: Vec<u8>,
    /// Files that are complete.
    pub(in crate::db) done: Vec<BlobMeta>,
    /// Every file that was begun.
    pub(in crate::db) written: Vec<FileId>,
}

struct Begun {
    writer: BlobWriter,
    id: FileId,
    /// What lies before the next value: its offset, as its address has it.
    stored: u64,
    ends: Option<(Address, Address)>,
}

impl<'a> Outside<'a> {
    pub(in crate::db) fn new(core: &'a Core, writing: &'a Writing) -> Self {
        let (packed, done, written) = Default::default();
        Self { core, writing, open: None, packed, done, written }
    }

    /// Writes `value`, packed so if that is worth it; what takes its place. Errors: `Io`, and none can
    /// be written any more.
    pub(in crate::db) fn put(&mut self, value: &[u8], compression: Compression) -> Result<BlobRef> {
        if self.open.as_ref().is_some_and(|open| open.stored >= self.core.options.log_bytes()) {
            self.finish()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let id = self.writing.ledger.allocate();
                self.written.push(id);
                let writer = BlobWriter::create(&self.core.env, &self.core.dir, id)?;
                none.insert(Begun { writer, id, stored: 0, ends: None })
            }
        };
        let address = Address::new(open.id, open.stored).ok_or_else(no_addresses)?;
        self.packed.clear();
        let blob = pack(value, compression, &mut self.packed);
        let stored = if blob.codec == Codec::Raw { value } else { &self.packed };
        let blob = BlobRef { address, ..blob };
        open.writer.add(&blob, stored)?;
        open.stored += u64::from(blob.stored);
        open.ends.get_or_insert((address, address)).1 = address;
        Ok(blob)
    }

    /// Completes the file that is written: its bytes are durable, its name is not.
    pub(in crate::db) fn finish(&mut self) -> Result<()> {
        if let Some(Begun { writer, ends, .. }) = self.open.take() {
            self.done.push(writer.finish(ends.into_iter().collect())?);
        }
        Ok(())
    }
}

/// Every number of a file, but the last few, has addresses.
pub(in crate::db) fn no_addresses() -> Error {
    let message = "no file numbers are left: load the data into a new database";
    Error::new(ErrorKind::Unsupported, message)
}

/// The error of a copy of a value from the file `name`.
pub(in crate::db) fn copied_from(name: FileName, error: Error) -> Error {
    error.context(format_args!("a copy from {name}"))
}

/// What an edit needs to know of values that die.
pub(in crate::db) fn stored(killed: &[BlobRef]) -> Vec<(Address, u32)> {
    killed.iter().map(|blob| (blob.address, blob.stored)).collect()
}

#[cfg(test)]
mod tests;
