//! An open blob file: single values by their refs, and all of them in order.
//!
//! ```text
//! a log taken over    ref ─▶ the offset in its address       ─▶ one positioned read ─▶ digest
//! a file with table   ref ─▶ binary search ─▶ the same ref?  ─▶ one positioned read ─▶ digest
//! ```
//!
//! 1. Opening reads footer, table and intervals and checks them against each other, the file's
//!    length and the manifest; of a log it looks at the length. The table is in a map, or in memory.
//! 2. A value is read by a system call into memory of its own, and verified: nobody who holds one
//!    keeps a file open, or faults on a page that cannot be read (F-28).
//! 3. Nothing is read or allocated beyond the file's length, whatever a ref says (F-39).
//! 4. A walk verifies every checksum of the file, every digest, and the sums of the manifest.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::BlobMeta;
use super::format::{
    FOOTER_BYTES, Layout, Stored, Totals, checksum, damaged, entry, find, to_u64, to_usize,
};
use crate::base::blob::{BlobRef, Codec};
use crate::base::error::{Error, Result};
use crate::base::id::FileId;
use crate::base::value::Value;
use crate::cache::open::Seat;
use crate::env::names::{FileKind, FileName};
use crate::env::{Access, Env, File, Map, path_in, read_exact_at, read_whole};
use crate::log::large::{blob_of, decode, read_into, read_part, read_stored, read_value};
use crate::log::reader::{LogReader, Promise};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// How much of the values is read at once by a walk, if they are shorter.
const WALK_BYTES: u64 = 1 << 20;

/// An open blob file. Any thread may read.
#[derive(Debug)]
pub struct BlobReader {
    file: Arc<dyn File>,
    meta: BlobMeta,
    access: Access,
    /// None in a log that was taken over.
    table: Option<Table>,
    _seat: Option<Seat>,
}

/// Where the values lie.
#[derive(Debug)]
struct Table {
    layout: Layout,
    bytes: TableBytes,
}

#[derive(Debug)]
enum TableBytes {
    /// In a map of the whole file.
    Mapped(Arc<dyn Map>, Range<usize>),
    Read(Vec<u8>),
}

impl Table {
    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            TableBytes::Mapped(map, range) => map.bytes().get(range.clone()).unwrap_or_default(),
            TableBytes::Read(bytes) => bytes,
        }
    }
}

impl BlobReader {
    /// Opens the file that the manifest describes so.
    ///
    /// Cost: of a file with a table, one pass over it: 40 bytes a value. Errors: `Corruption` if
    /// the file is not what the manifest says; `Unsupported` for a newer format; `Io`.
    pub fn open(env: &Arc<dyn Env>, dir: &Path, meta: &BlobMeta, access: Access) -> Result<Self> {
        let name = FileKind::Blob.name(meta.id);
        let io = |error| Error::io(format_args!("open {name}"), error);
        let file = env.open(&path_in(dir, name)).map_err(io)?;
        let length = file.byte_count().map_err(io)?;
        if length != meta.bytes {
            let want = format_args!("a file of {} bytes", meta.bytes);
            return Err(damaged(meta.id, length.min(meta.bytes), want, length));
        }
        file.advise_random(true);
        let table = match meta.is_adopted() {
            true => None,
            false => Some(open_table(&*file, meta, access)?),
        };
        Ok(Self { file, meta: meta.clone(), access, table, _seat: None })
    }

    /// Opens a file of `bytes` bytes without a manifest: what it says of itself is what is checked.
    /// Without `id` the file itself says its number. None if it has no footer: it may be a log.
    ///
    /// Errors: as of [`BlobReader::open`].
    pub fn open_alone(
        file: &Arc<dyn File>,
        bytes: u64,
        id: Option<FileId>,
    ) -> Result<Option<Self>> {
        let footer = bytes.min(to_u64(FOOTER_BYTES));
        let name = FileKind::Blob.name(id.unwrap_or_default());
        let last = read_stored(&**file, name, bytes - footer, to_usize(footer))?;
        let Some(own) = Layout::file_of(&last) else { return Ok(None) };
        let id = id.unwrap_or(own);
        let layout = Layout::decode(&last, bytes, id)?;
        let len = layout.footer_at() - layout.table_at;
        let mut tables =
            read_stored(&**file, FileKind::Blob.name(id), layout.table_at, to_usize(len))?;
        let meta = layout.describe(&tables, id, bytes)?;
        layout.check(&tables, &meta)?;
        tables.truncate(to_usize(layout.intervals_at() - layout.table_at));
        let table = Some(Table { layout, bytes: TableBytes::Read(tables) });
        let file = file.clone();
        Ok(Some(Self { file, meta, access: Access::Positioned, table, _seat: None }))
    }

    /// The same, counted for as long as it lives.
    pub(super) fn seated(self, seat: Seat) -> Self {
        Self { _seat: Some(seat), ..self }
    }

    /// What the manifest says of it.
    pub fn meta(&self) -> &BlobMeta {
        &self.meta
    }

    /// The value of `blob`, in memory of its own.
    ///
    /// Cost: one system call, one pass over the value; before that, where there is a table, a
    /// search of log2 of its length. Errors: `Corruption` if the file does not have that value, or
    /// has other bytes in its place: verify, restore or repair; `Unsupported`; `Io`.
    pub fn read(&self, blob: &BlobRef) -> Result<Value> {
        let at = self.locate(blob)?;
        read_value(&*self.file, self.name(), self.meta.bytes, blob, at)
    }

    /// The bytes of `blob` as they are stored: what the disk gave. Who copies them verifies them.
    ///
    /// Cost and errors: as of [`BlobReader::read`], but that nothing is passed over.
    pub fn read_stored(&self, blob: &BlobRef) -> Result<Vec<u8>> {
        let at = self.locate(blob)?;
        read_stored(&*self.file, self.name(), at, to_usize(u64::from(blob.stored)))
    }

    /// Bytes `range` of the value of `blob`, as far as it has them, without reading the rest.
    ///
    /// No checksum covers a part: what comes is what the disk gave, and only [`BlobReader::read`]
    /// can tell whether that is what was written.
    ///
    /// Cost: as of [`BlobReader::read`], for the part alone. Errors: `InvalidArgument` if the value
    /// is compressed: read it whole; otherwise as of [`BlobReader::read`].
    pub fn read_part(&self, blob: &BlobRef, range: Range<u64>) -> Result<Value> {
        let at = self.locate_raw(blob)?;
        read_part(&*self.file, self.name(), blob, at, range)
    }

    /// The bytes of the value of `blob` from byte `from` of it on, as many as `buffer` takes or there
    /// are; answers how many. Otherwise [`BlobReader::read_part`].
    pub fn read_into(&self, blob: &BlobRef, buffer: &mut [u8], from: u64) -> Result<usize> {
        let at = self.locate_raw(blob)?;
        read_into(&*self.file, self.name(), blob, at, buffer, from)
    }

    /// Gives every value, in order of addresses, with its bytes as they are stored: dead or not.
    /// Every checksum, every digest and the sums of the manifest have been verified when it returns;
    /// before each call, those of that value.
    ///
    /// Cost: reads the file once; a log is mapped, or read into memory whole. The table is the one
    /// that opening has read. Errors: those of `each`, which end it; `Corruption` and others as of
    /// [`BlobReader::read`].
    pub fn walk(&self, each: impl FnMut(&BlobRef, &[u8]) -> Result<()>) -> Result<()> {
        let mut totals = Totals::default();
        // A map takes the advice of its file: without read-ahead every page would be waited for.
        self.file.advise_random(false);
        let walked = match &self.table {
            None => self.walk_log(&mut totals, each),
            Some(table) => self.walk_table(table, &mut totals, each),
        };
        self.file.advise_random(true);
        walked?;
        totals.check(&self.meta)
    }

    /// Gives the ref of every value, in order of addresses, dead or not. They sum to what the manifest
    /// says; the values of a file with a table are not looked at.
    ///
    /// Cost: of a file with a table none, since opening has read it; of a log that of a walk. Errors:
    /// as of [`BlobReader::walk`].
    pub fn refs(&self, mut each: impl FnMut(&BlobRef) -> Result<()>) -> Result<()> {
        match &self.table {
            None => self.walk(|blob, _| each(blob)),
            Some(table) => {
                let mut entries = (0..).map_while(|index| entry(table.bytes(), index));
                entries.try_for_each(|stored| each(&stored.blob))
            }
        }
    }

    fn name(&self) -> FileName {
        FileKind::Blob.name(self.meta.id)
    }

    /// Where the bytes of `blob` lie as they are.
    fn locate_raw(&self, blob: &BlobRef) -> Result<u64> {
        if blob.codec != Codec::Raw {
            let message = format!("{}: value {} is compressed", self.name(), blob.address);
            return Err(Error::invalid(message));
        }
        self.locate(blob)
    }

    /// Where the stored bytes of `blob` lie; they end inside the file.
    fn locate(&self, blob: &BlobRef) -> Result<u64> {
        let (meta, address) = (&self.meta, blob.address);
        let Some(table) = &self.table else {
            let (at, stored) = (address.offset(), u64::from(blob.stored));
            let inside = at.checked_add(stored).is_some_and(|end| end <= meta.bytes);
            if address.file() != meta.id || !inside {
                let want = format_args!("value {address} of {stored} bytes");
                let found = format_args!("a log of {} bytes", meta.bytes);
                return Err(damaged(meta.id, at, want, found));
            }
            return Ok(at);
        };
        let found = find(table.bytes(), address);
        let want = format_args!("value {address}: {blob:?}");
        match found {
            Some(stored) if stored.blob == *blob && stored.end() <= table.layout.table_at => {
                Ok(stored.at)
            }
            Some(stored) => {
                Err(damaged(meta.id, stored.at, want, format_args!("{:?}", stored.blob)))
            }
            None => {
                Err(damaged(meta.id, table.layout.table_at, want, "no such value in its table"))
            }
        }
    }

    fn walk_table(
        &self,
        table: &Table,
        totals: &mut Totals,
        mut each: impl FnMut(&BlobRef, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let (entries, mut buffer, mut index) = (table.bytes(), Vec::new(), 0);
        while let Some((end, part)) = piece(entries, index) {
            let (at, len, name) = (part.start, part.end - part.start, self.name());
            buffer.resize(to_usize(len), 0);
            read_exact_at(&*self.file, &mut buffer, at).map_err(|error| {
                Error::io(format_args!("read {len} bytes of {name} at byte {at}"), error)
            })?;
            for stored in (index..end).filter_map(|index| entry(entries, index)) {
                let range = to_usize(stored.at - at)..to_usize(stored.end() - at);
                let bytes = buffer.get(range).unwrap_or_default();
                self.verify(&stored, bytes)?;
                each(&stored.blob, bytes)?;
                totals.add(&stored.blob);
            }
            index = end;
        }
        Ok(())
    }

    /// Checks the stored bytes of a value, and that they are the value.
    fn verify(&self, stored: &Stored, bytes: &[u8]) -> Result<()> {
        let (file, at) = (self.meta.id, stored.at);
        let found = checksum(bytes, file, at);
        if found != stored.sum {
            let (len, sum) = (bytes.len(), stored.sum);
            let want = format_args!("{len} bytes with checksum {sum:#018x}");
            return Err(damaged(file, at, want, format_args!("{found:#018x}")));
        }
        decode(self.name(), &stored.blob, at, bytes).map(drop)
    }

    fn walk_log(
        &self,
        totals: &mut Totals,
        mut each: impl FnMut(&BlobRef, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let (meta, name) = (&self.meta, self.name());
        let least = to_usize(meta.least.into());
        let map = read_whole(&*self.file, self.access)
            .map_err(|error| Error::io(format_args!("read {name}"), error))?;
        let promise = Promise { length: Some(meta.bytes), last: None };
        let mut log = LogReader::new(meta.id, map, promise);
        let damaged_log = |error: Error| error.context(format_args!("{name}, a log taken over"));
        while let Some(frame) = log.next().map_err(damaged_log)? {
            for put in frame.operations() {
                let Some(blob) = blob_of(meta.id, &frame, &put, least)? else { continue };
                if put.packed.is_some() {
                    decode(name, &blob, blob.address.offset(), put.value)?;
                }
                each(&blob, put.value)?;
                totals.add(&blob);
            }
        }
        Ok(())
    }
}

/// The values from `index` on that are read at once: up to which one, and where they lie. None at
/// the end of the table, whose offsets have been checked.
fn piece(table: &[u8], index: usize) -> Option<(usize, Range<u64>)> {
    let first = entry(table, index)?;
    let (mut end, mut part) = (index + 1, first.at..first.end());
    while let Some(next) = entry(table, end).filter(|next| next.end() - first.at <= WALK_BYTES) {
        (end, part.end) = (end + 1, next.end());
    }
    Some((end, part))
}

/// Reads and checks footer, table and intervals.
fn open_table(file: &dyn File, meta: &BlobMeta, access: Access) -> Result<Table> {
    let name = FileKind::Blob.name(meta.id);
    let footer = meta.bytes.min(to_u64(FOOTER_BYTES));
    let last = read_stored(file, name, meta.bytes - footer, to_usize(footer))?;
    let layout = Layout::decode(&last, meta.bytes, meta.id)?;
    let (start, end) = (to_usize(layout.table_at), to_usize(layout.footer_at()));
    let cut = to_usize(layout.intervals_at() - layout.table_at);
    let map = match access {
        Access::Mapped => {
            file.map().map_err(|error| Error::io(format_args!("map {name}"), error))?
        }
        Access::Positioned => None,
    };
    let bytes = match map {
        Some(map) => {
            layout.check(map.bytes().get(start..end).unwrap_or_default(), meta)?;
            TableBytes::Mapped(map, start..start + cut)
        }
        None => {
            let mut tables = read_stored(file, name, layout.table_at, end - start)?;
            layout.check(&tables, meta)?;
            tables.truncate(cut);
            TableBytes::Read(tables)
        }
    };
    Ok(Table { layout, bytes })
}
