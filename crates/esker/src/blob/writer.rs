//! Writes a blob file with a table: values in, one file out.
//!
//! 1. Values come with strictly ascending addresses, as many bytes as their refs say; one that does
//!    not is refused, and nothing more is taken.
//! 2. A failed write is final: every later call repeats its error (law 9).
//! 3. After [`BlobWriter::finish`] the file's bytes are durable. Its name is when the caller has
//!    synced the folder. A writer that is dropped leaves a file that nothing names.
//! 4. In memory it keeps what was gathered to be written, and 40 bytes a value.

use super::BlobMeta;
use super::format::{Layout, Stored, Totals, checksum, covers, is_ascending, to_u64};
use crate::base::blob::{Address, BlobRef};
use crate::base::error::{Error, Result};
use crate::base::id::FileId;
use crate::env::names::FileKind;
use crate::env::{Env, File, path_in, write_all_at};
use crate::log::large::decode;
use std::path::Path;
use std::sync::Arc;

/// How much is gathered before it is written; what is longer is written as it is.
const BUFFER_BYTES: usize = 256 << 10;
/// How much is written before it is synced: others that sync meanwhile, commits above all, never
/// wait behind much more than this.
const SYNC_BYTES: u64 = 16 << 20;

/// Appends values to a new blob file.
#[derive(Debug)]
pub struct BlobWriter {
    file: Arc<dyn File>,
    id: FileId,
    failed: Option<Error>,
    /// What was added and not yet written; it belongs at `written`.
    out: Vec<u8>,
    written: u64,
    /// Up to here the file is durable.
    synced: u64,
    table: Vec<u8>,
    last: Option<Address>,
    totals: Totals,
}

impl BlobWriter {
    /// Creates the file, which must not exist. Its name is not durable before the folder is synced.
    pub fn create(env: &Arc<dyn Env>, dir: &Path, id: FileId) -> Result<Self> {
        let name = FileKind::Blob.name(id);
        let file = env
            .create(&path_in(dir, name))
            .map_err(|error| Error::io(format_args!("create {name}"), error))?;
        let (failed, out, table, last) = Default::default();
        let totals = Totals::default();
        Ok(Self { file, id, failed, out, written: 0, synced: 0, table, last, totals })
    }

    /// Adds the value that `blob` stands for, of which `stored` are the bytes as they are stored.
    /// What they say is not looked at: the ref was made of them. [`BlobWriter::copy`] looks.
    ///
    /// Cost: one checksum, and one copy if it is short. Errors: `InvalidArgument` if the address is
    /// not above the one before or the length not the ref's; `Io`. Either ends the file.
    pub fn add(&mut self, blob: &BlobRef, stored: &[u8]) -> Result<()> {
        self.check()?;
        let added = self.add_value(blob, stored);
        self.keep(added)
    }

    /// [`BlobWriter::add`] of bytes that come from elsewhere: they are verified to be the value here, at
    /// the last moment, so that nothing that went wrong on their way is kept.
    ///
    /// Cost: also its digest, and unpacking it. Errors: `Corruption` as well.
    pub fn copy(&mut self, blob: &BlobRef, stored: &[u8]) -> Result<()> {
        self.check()?;
        let verified = decode(FileKind::Blob.name(self.id), blob, self.at(), stored).map(drop);
        let added = verified.and_then(|()| self.add_value(blob, stored));
        self.keep(added)
    }

    /// Bytes of the file so far, if it were finished now without intervals and footer.
    pub fn byte_count(&self) -> u64 {
        self.at() + to_u64(self.table.len())
    }

    /// How many values were added.
    pub fn value_count(&self) -> u64 {
        self.totals.values
    }

    /// Writes table, intervals and footer, and syncs the file; not the folder. The intervals are
    /// those addresses that the file will answer for: ascending, disjoint, both ends included, and
    /// every value in one of them.
    ///
    /// Errors: `InvalidArgument` if they are not so; `Io`; what an earlier call has returned.
    pub fn finish(mut self, intervals: Vec<(Address, Address)>) -> Result<BlobMeta> {
        self.check()?;
        let name = FileKind::Blob.name(self.id);
        let addresses = self.table.chunks_exact(super::format::ENTRY_BYTES);
        let mut addresses = addresses.filter_map(|entry| super::format::entry(entry, 0));
        let all_in = addresses.all(|stored| covers(&intervals, stored.blob.address));
        if !is_ascending(&intervals) || !all_in {
            let message = format!("{name}: intervals must ascend and have every value in one");
            return Err(Error::invalid(message));
        }
        let table = std::mem::take(&mut self.table);
        let end = Layout::seal(self.id, self.at(), table, &intervals);
        self.write_out()?;
        self.write(&end)?;
        self.file.sync().map_err(|error| Error::io(format_args!("sync {name}"), error))?;
        let Totals { values, stored_bytes, setsum } = self.totals;
        let (id, bytes) = (self.id, self.written);
        Ok(BlobMeta { id, bytes, values, stored_bytes, least: 0, setsum, intervals })
    }

    /// Where the next value goes.
    fn at(&self) -> u64 {
        self.written + to_u64(self.out.len())
    }

    fn add_value(&mut self, blob: &BlobRef, stored: &[u8]) -> Result<()> {
        let refused = |message: String| {
            Err(Error::invalid(format!("{}: {message}", FileKind::Blob.name(self.id))))
        };
        if let Some(last) = self.last.filter(|&last| last >= blob.address) {
            return refused(format!("addresses must ascend: {} after {last}", blob.address));
        }
        if u64::from(blob.stored) != to_u64(stored.len()) {
            let (want, found) = (blob.stored, stored.len());
            return refused(format!("value {} has {want} bytes, not {found}", blob.address));
        }
        let at = self.at();
        Stored { blob: *blob, at, sum: checksum(stored, self.id, at) }.put(&mut self.table);
        self.last = Some(blob.address);
        self.totals.add(blob);
        if self.out.len() + stored.len() > BUFFER_BYTES {
            self.write_out()?;
        }
        if stored.len() >= BUFFER_BYTES {
            return self.write(stored);
        }
        self.out.extend_from_slice(stored);
        Ok(())
    }

    fn write_out(&mut self) -> Result<()> {
        let mut out = std::mem::take(&mut self.out);
        let written = self.write(&out);
        out.clear();
        self.out = out;
        written
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let name = FileKind::Blob.name(self.id);
        write_all_at(&*self.file, bytes, self.written)
            .map_err(|error| Error::io(format_args!("write {name}"), error))?;
        self.written += to_u64(bytes.len());
        if self.written - self.synced >= SYNC_BYTES {
            self.file.sync().map_err(|error| Error::io(format_args!("sync {name}"), error))?;
            self.synced = self.written;
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        self.failed.as_ref().map_or(Ok(()), |error| Err(error.clone()))
    }

    fn keep(&mut self, result: Result<()>) -> Result<()> {
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }
}
