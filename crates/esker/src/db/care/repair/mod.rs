//! Repair: a new database of all that can be read in a folder, whatever is lost or damaged.
//!
//! ```text
//!   opens and verifies whole?  ─ yes ─▶ nothing is changed
//!   bag       which files take part: what the manifest says, or all there are
//!   sources   segments as they are │ what is left of them │ logs, frame by frame
//!   union     every version of every key once ─▶ new segments ┐
//!   values    those that they refer to ─▶ new blob files      ├─ names durable
//!   aside     what is damaged gets a second name in `lost`    ┘
//!             ─▶ a new manifest ─▶ the old files go
//! ```
//!
//! 1. Nothing is taken away before the new manifest is durable, so a repair that was cut short is begun
//!    again, and what it has written is found once more: each (key, number) is taken once.
//! 2. Every entry of the new database was under a checksum that was right; every large value has its
//!    digest. Every version is kept, deletes and range deletes too: so no order of files is needed
//!    to know which is newer (`docs/decisions/0018-repair-merges-everything.md`).
//! 3. Where a large value cannot be read, its key is absent from there on: never has an older value
//!    its place. The keys are told.
//! 4. A file in which anything could not be read is moved to the folder `lost`, never removed; if a
//!    segment is, so are the blob files, for nobody knows which values the lost entries referred to.
//! 5. A database that is whole is left as it is; so a second repair changes nothing (HEST-17).
//!
//! SST-21 rebuilds an order of files from their ranges; here the entries are merged instead.

mod aside;
mod bag;
mod names;
mod union;

use super::checkpoint::write_manifest;
use crate::base::blob::{Address, BlobRef};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{FileId, SeqNo};
use crate::base::key::{Kind, split_full_key};
use crate::base::setsum::Setsum;
use crate::blob::{BlobMeta, BlobWriter, Values};
use crate::compaction::policy::LAST;
use crate::db::folder;
use crate::db::options::Options;
use crate::db::report::{Checksum, Damage};
use crate::env::{Env, path_in};
use crate::manifest::{Balance, Edit, Placed, Reason, State};
use crate::segment::{SegmentMeta, SegmentWriter, WriterOptions};
use bag::Bag;
use names::Names;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use union::{Owned, Union};

/// A new file is cut at this size.
const FILE_BYTES: u64 = 64 << 20;

/// A key whose newest value could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LostKey {
    /// The number of its collection.
    pub collection: u32,
    /// The key.
    pub key: Vec<u8>,
    /// The sequence number of the value.
    pub sequence: u64,
}

/// What a repair found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// Whether anything was changed: not if the database was whole.
    pub repaired: bool,
    /// What could not be read, and where.
    pub damages: Vec<Damage>,
    /// Keys that are absent now, because their newest value could not be read.
    pub lost_keys: Vec<LostKey>,
    /// Names that were given to collections whose own names could not be read.
    pub named: Vec<String>,
    /// Files that lie in `lost` now.
    pub moved: Vec<String>,
    /// Segments that were written.
    pub segments: u64,
    /// Entries in them.
    pub entries: u64,
    /// Large values that were kept.
    pub values: u64,
    /// The checksum of all entries that there are; of a database that was whole, that of
    /// [`Db::checksum`](crate::Db::checksum).
    pub checksum: Checksum,
}

impl Options {
    /// Makes a database of all that can be read in the folder `path`, where files are damaged or
    /// missing, the manifest too. Nobody may have it open. What is whole is left as it is.
    ///
    /// Nothing that can be read is lost: of a damaged segment all blocks but the damaged ones, of a
    /// log all frames but the damaged ones. What could not be read is in the report, and its files
    /// are in the folder `lost` in `path`. Without a manifest that can be trusted, entries may come
    /// back that were removed shortly before the files were left. Can be killed and begun again.
    ///
    /// Cost: reads everything, and writes all that it could read anew: as much space again while it
    /// runs. Errors: `Busy` if the database is open; `NotFound` if there is none; `Unsupported` if a
    /// file is of a newer format, and nothing is changed; `Io`: begin again.
    pub fn repair(&self, path: impl AsRef<Path>) -> Result<RepairReport> {
        self.repair_with(path, &mut |_, _| {})
    }

    /// [`Options::repair`], telling `progress` how many bytes of how many were read.
    pub fn repair_with(
        &self,
        path: impl AsRef<Path>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<RepairReport> {
        let (env, dir) = (self.world(), path.as_ref());
        if let Some(whole) = self.whole(dir)? {
            return Ok(whole);
        }
        let _lock = folder::lock(&*env, dir)?;
        let bag = Bag::look(self, &env, dir, progress)?;
        Repair { options: self, env, dir, next: bag.next_file, report: RepairReport::default() }
            .run(bag)
    }

    /// What is to be said of a database that needs no repair.
    fn whole(&self, dir: &Path) -> Result<Option<RepairReport>> {
        let opened = self.clone().read_only(true).create_if_missing(false).open(dir);
        let db = match opened {
            Ok(db) => db,
            Err(error) => match error.kind() {
                ErrorKind::Corruption | ErrorKind::Io => return Ok(None),
                _ => return Err(error),
            },
        };
        match db.verify() {
            Ok(report) if report.is_whole() => {
                let checksum = db.checksum()?;
                Ok(Some(RepairReport { checksum, ..RepairReport::default() }))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == ErrorKind::Io => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A repair under way.
struct Repair<'a> {
    options: &'a Options,
    env: Arc<dyn Env>,
    dir: &'a Path,
    next: FileId,
    report: RepairReport,
}

/// The first and the last address in a blob file, by the file that they name.
type Intervals = BTreeMap<FileId, (Address, Address)>;

/// What was written anew.
#[derive(Default)]
struct Written {
    segments: Vec<SegmentMeta>,
    /// A segment above those, of records that the catalog lacked.
    catalog: Option<SegmentMeta>,
    blobs: Vec<BlobMeta>,
    /// The highest number of an entry.
    last: SeqNo,
    /// The highest number of a file in an address: no log may ever have it again.
    addressed: FileId,
}

impl Repair<'_> {
    fn run(mut self, mut bag: Bag) -> Result<RepairReport> {
        let union = Union::new(std::mem::take(&mut bag.sources));
        let (mut written, refs) = self.write_segments(union, &mut bag.values)?;
        written.blobs = self.write_blobs(refs, &mut bag.values)?;
        folder::sync(&*self.env, self.dir)?;
        self.report.damages = std::mem::take(&mut bag.damages);
        self.report.moved = aside::link(&self.env, self.dir, &bag.aside())?;
        let state = self.state(written, bag.flushed)?;
        self.report.checksum = state.total();
        self.report.repaired = true;
        write_manifest(&self.env, self.dir, state)?;
        // All that they had is in the new files, or lies in `lost`.
        for name in bag.all {
            let removed = self.env.remove(&path_in(self.dir, name));
            removed.map_err(|error| Error::io(format!("remove {name}"), error))?;
        }
        folder::sync(&*self.env, self.dir)?;
        Ok(self.report)
    }

    fn allocate(&mut self) -> FileId {
        let id = self.next;
        self.next = id.next();
        id
    }

    /// Writes every entry into new segments; answers what they refer to.
    fn write_segments(
        &mut self,
        mut union: Union,
        values: &mut Values,
    ) -> Result<(Written, Vec<BlobRef>)> {
        let (mut written, mut refs) = (Written::default(), Vec::new());
        let mut names = Names::new(self.options.clock_of(&self.env).now());
        let mut open: Option<SegmentWriter> = None;
        let mut last_key: Vec<u8> = Vec::new();
        while let Some(mut owned) = union.next(values)? {
            let is_newest = *last_key != *owned.key;
            if let Some(blob) = owned.blob() {
                match values.read(&blob)? {
                    Some(_) => {
                        written.addressed = written.addressed.max(blob.address.file());
                        refs.push(blob);
                    }
                    None => self.lose(&mut owned, is_newest),
                }
            }
            let is_full = open.as_ref().is_some_and(|open| open.byte_count() >= FILE_BYTES);
            if is_full && is_newest {
                written.segments.extend(open.take().map(SegmentWriter::finish).transpose()?);
            }
            let writer = match &mut open {
                Some(writer) => writer,
                none => none.insert(self.begin_segment()?),
            };
            writer.add(&owned.entry())?;
            names.see(&owned)?;
            written.last = written.last.max(owned.seq);
            self.report.entries += 1;
            last_key = owned.key;
        }
        written.segments.extend(open.map(SegmentWriter::finish).transpose()?);
        self.write_names(names, &mut written)?;
        self.report.segments = (written.segments.len() + written.catalog.iter().len()) as u64;
        Ok((written, refs))
    }

    fn begin_segment(&mut self) -> Result<SegmentWriter> {
        let options = WriterOptions {
            compression: self.options.compression,
            prefix_filter: self.options.prefix_filter,
            ..WriterOptions::default()
        };
        let id = self.allocate();
        SegmentWriter::create(&self.env, self.dir, id, options)
    }

    /// Writes the records that the catalog lacks.
    fn write_names(&mut self, names: Names, written: &mut Written) -> Result<()> {
        let missing = names.missing(written.last.next())?;
        let Some(last) = missing.records.last() else { return Ok(()) };
        written.last = last.seq;
        let mut writer = self.begin_segment()?;
        missing.records.iter().try_for_each(|record| writer.add(&record.entry()))?;
        written.catalog = Some(writer.finish()?);
        self.report.named = missing.names;
        Ok(())
    }

    /// Puts a delete in the place of a value that no file has.
    fn lose(&mut self, owned: &mut Owned, is_newest: bool) {
        owned.kind = Kind::Delete;
        owned.value.clear();
        if let Some((collection, key)) = split_full_key(&owned.key).filter(|_| is_newest) {
            let (collection, key) = (collection.0, key.to_vec());
            self.report.lost_keys.push(LostKey { collection, key, sequence: owned.seq.0 });
        }
    }

    /// Copies values into new files, by address.
    fn write_blobs(
        &mut self,
        mut refs: Vec<BlobRef>,
        values: &mut Values,
    ) -> Result<Vec<BlobMeta>> {
        refs.sort_unstable_by_key(|blob| blob.address);
        refs.dedup();
        self.report.values = refs.len() as u64;
        let mut metas = Vec::new();
        let mut open: Option<(BlobWriter, Intervals)> = None;
        for blob in &refs {
            let stored = values.read(blob)?.ok_or_else(|| {
                let message = format!("value {} was there and is not", blob.address);
                Error::new(ErrorKind::Io, message)
            })?;
            let (writer, intervals) = match &mut open {
                Some(open) => open,
                none => {
                    let id = self.allocate();
                    none.insert((BlobWriter::create(&self.env, self.dir, id)?, Intervals::new()))
                }
            };
            writer.add(blob, &stored)?;
            let address = blob.address;
            intervals.entry(address.file()).or_insert((address, address)).1 = address;
            if writer.byte_count() >= FILE_BYTES
                && let Some((writer, intervals)) = open.take()
            {
                metas.push(writer.finish(intervals.into_values().collect())?);
            }
        }
        if let Some((writer, intervals)) = open {
            metas.push(writer.finish(intervals.into_values().collect())?);
        }
        Ok(metas)
    }

    /// What the new manifest says: one run of all segments, and numbers above all that were seen.
    fn state(&mut self, written: Written, flushed: SeqNo) -> Result<State> {
        let [run, above] = [self.allocate().0, self.allocate().0];
        let Written { segments, catalog, blobs, last, addressed } = written;
        let sum = segments.iter().chain(&catalog);
        let sum = sum.fold(Setsum::ZERO, |sum, meta| sum + meta.setsum);
        let segments = segments.into_iter().map(|meta| Placed { level: LAST, run, meta });
        let catalog = catalog.map(|meta| Placed { level: 0, run: above, meta });
        let edit = Edit {
            add: segments.chain(catalog).collect(),
            add_blobs: blobs,
            flushed: Some(last.max(flushed)),
            forget: Some(last.max(flushed)),
            next_file: Some(self.next.max(addressed.next())),
            balance: Some(Balance {
                input: sum,
                output: sum,
                dropped: Setsum::ZERO,
                created: Setsum::ZERO,
                reason: Reason::Repair,
            }),
            ..Edit::default()
        };
        // Not clean: the open jumps over numbers that may have been given out and were lost (F-12).
        let mut state = State::default();
        state.apply(&edit)?;
        state.log_min = state.next_file;
        Ok(state)
    }
}
