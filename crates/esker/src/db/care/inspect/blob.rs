//! Looking into one file of large values.
//!
//! ```text
//!   a manifest beside it names it      its figures are held against those; the dead are known
//!   none does: a footer                the figures are those that its table adds up to
//!              the origin of a log     every value that is packed, or from the usual threshold on,
//!                                      is taken for large
//! ```
//!
//! 1. Every byte of it is read and checked, whichever it is; a value is shown after it was verified.

use super::Checksum;
use crate::base::blob::{Address, BlobRef};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::FileId;
use crate::base::setsum::Setsum;
use crate::blob::{BlobMeta, BlobReader};
use crate::db::options::Options;
use crate::env::names::{FileKind, FileName};
use crate::env::real::Real;
use crate::env::{Access, Env, read_whole};
use crate::log::dump::log_id;
use crate::log::large::{blob_of, decode};
use crate::log::reader::{LogReader, Promise};
use crate::manifest::{LiveBlob, Store};
use std::path::Path;
use std::sync::Arc;

/// A value of a blob file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlobValue {
    /// Its name for ever: the file it was first written to, and the offset there.
    pub address: String,
    /// Where it lies in this file.
    pub offset: u64,
    /// Bytes of the value.
    pub length: u64,
    /// Bytes that it takes in the file.
    pub stored: u64,
    /// `raw`, `lz4` or `zstd`.
    pub codec: &'static str,
    /// xxh3-64 of the value.
    pub digest: u64,
    /// Whether nothing refers to it any more; none if no manifest tells.
    pub dead: Option<bool>,
}

/// What a blob file is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlobSummary {
    /// Its name, by the number that it has.
    pub file: String,
    /// `log`, one that was taken over, or `table`.
    pub kind: &'static str,
    /// Its length.
    pub bytes: u64,
    /// Values, dead or not.
    pub values: u64,
    /// Their bytes, as stored.
    pub stored_bytes: u64,
    /// In a log: the least length of a value that is taken for large; 0 in a file with a table.
    pub least: u64,
    /// The sum of all values.
    pub checksum: Checksum,
    /// The addresses that it answers for, both ends included.
    pub intervals: Vec<(String, String)>,
    /// How many of its values are dead; none if no manifest beside it names it.
    pub dead_values: Option<u64>,
    /// Their bytes, as stored.
    pub dead_bytes: Option<u64>,
}

/// Reads every byte of the blob file `path`, checks it, and shows each value to `each`, in order of
/// addresses. If a manifest in the same folder names the file, it is held against that.
///
/// Cost: one pass over the file; a log is mapped, of others the table is in memory, and a value.
/// Errors: `Corruption` at the first damage, after the values before it were shown; `NotFound`; `Io`;
/// what `each` returns.
pub fn blob(path: &Path, each: &mut dyn FnMut(&BlobValue) -> Result<()>) -> Result<BlobSummary> {
    let env: Arc<dyn Env> = Real::new();
    let name = path.file_name().and_then(|name| FileName::parse(name.to_str()?));
    let id = name.filter(|name| name.kind == FileKind::Blob).map(|name| name.id);
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let live = id.and_then(|id| named(&env, dir, id));
    if let Some(live) = live {
        let reader = BlobReader::open(&env, dir, &live.meta, Access::Mapped)?;
        show(&reader, Some(&live), each)?;
        return Ok(summary(&live.meta, Some(&live)));
    }
    let opened = env.open(path).and_then(|file| Ok((file.byte_count()?, file)));
    let (bytes, file) = opened.map_err(|error| {
        let is_missing = error.kind() == std::io::ErrorKind::NotFound;
        let error = Error::io(format_args!("open {}", path.display()), error);
        if is_missing { error.with_kind(ErrorKind::NotFound) } else { error }
    })?;
    if let Some(reader) = BlobReader::open_alone(&file, bytes, id)? {
        show(&reader, None, each)?;
        return Ok(summary(reader.meta(), None));
    }
    let map = read_whole(&*file, Access::Mapped)
        .map_err(|error| Error::io(format!("read {}", path.display()), error))?;
    let Some(id) = log_id(map.bytes()) else {
        let want = "a footer that ends in eskerBLB, or the origin of a log at byte 0";
        let at = bytes.saturating_sub(1);
        return Err(Error::corruption(path.display(), at, want, "other bytes"));
    };
    let least = u32::try_from(Options::default().blob_threshold).unwrap_or(u32::MAX);
    let promise = Promise { length: Some(bytes), last: None };
    let mut refs = Vec::new();
    let mut log = LogReader::new(id, map, promise);
    while let Some(frame) = log.next()? {
        for put in frame.operations() {
            if let Some(blob) = blob_of(id, &frame, &put, least as usize)? {
                let at = blob.address.offset();
                if put.packed.is_some() {
                    decode(FileKind::Blob.name(id), &blob, at, put.value)?;
                }
                each(&value(&blob, at, None))?;
                refs.push(blob);
            }
        }
    }
    Ok(summary(&BlobMeta::adopted(id, bytes, least, &refs), None))
}

/// What the manifest in `dir` says of the blob file `id`. One that is damaged says nothing.
fn named(env: &Arc<dyn Env>, dir: &Path, id: FileId) -> Option<Arc<LiveBlob>> {
    let listed = env.list(dir).ok()?;
    let (state, _) = Store::read(env, dir, &listed).ok()??;
    state.blobs.get(id).cloned()
}

fn show(
    reader: &BlobReader,
    live: Option<&Arc<LiveBlob>>,
    each: &mut dyn FnMut(&BlobValue) -> Result<()>,
) -> Result<()> {
    let mut end = 0;
    reader.walk(|blob, _| {
        // In a table file they lie back to back, which the walk has checked.
        let at = if reader.meta().is_adopted() { blob.address.offset() } else { end };
        end = at + u64::from(blob.stored);
        each(&value(blob, at, live.map(|live| live.dead.contains(blob.address.0))))
    })
}

fn value(blob: &BlobRef, offset: u64, dead: Option<bool>) -> BlobValue {
    BlobValue {
        address: blob.address.to_string(),
        offset,
        length: blob.len.into(),
        stored: blob.stored.into(),
        codec: blob.codec.name(),
        digest: blob.digest,
        dead,
    }
}

fn summary(meta: &BlobMeta, live: Option<&Arc<LiveBlob>>) -> BlobSummary {
    let text = |&(first, last): &(Address, Address)| (first.to_string(), last.to_string());
    let checksum: Setsum = meta.setsum;
    BlobSummary {
        file: FileKind::Blob.name(meta.id).to_string(),
        kind: if meta.is_adopted() { "log" } else { "table" },
        bytes: meta.bytes,
        values: meta.values,
        stored_bytes: meta.stored_bytes,
        least: meta.least.into(),
        checksum,
        intervals: meta.intervals.iter().map(text).collect(),
        dead_values: live.map(|live| live.dead_values),
        dead_bytes: live.map(|live| live.dead_bytes),
    }
}
