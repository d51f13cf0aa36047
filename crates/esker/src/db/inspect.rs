//! Looking into single files, without opening a database and without changing a byte.
//!
//! Works on files of a live database, on damaged ones and, for logs, on those that the `sst` crate
//! wrote: what is whole is shown, then the error that ends it.

use crate::base::coding::Decoder;
use crate::base::error::{Error, Result};
use crate::base::id::CollectionId;
use crate::base::key::{Kind, split_full_key};
use crate::cache::BlockCache;
use crate::env::names::FileKind;
use crate::env::real::Real;
use crate::env::{Access, Env, Map, read_whole};
use crate::log::dump::{log_id, reader_for};
use crate::log::marks::{Mark, Previous, Says, is_mark};
use crate::log::reader::End;
use crate::manifest::describe;
use crate::segment::{Description, SegmentReader};
use std::path::Path;
use std::sync::Arc;

/// One entry of a log or segment, lent to the caller.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry<'a> {
    /// Where its frame begins in the file; 0 in a segment.
    pub at: u64,
    /// Its number.
    pub sequence: u64,
    /// `put`, `delete`, `merge`, `range-delete` or, in a log, `mark`.
    pub kind: &'static str,
    /// The collection; none in a log that is not Esker's.
    pub collection: Option<u32>,
    /// The key without the collection's prefix.
    pub key: &'a [u8],
    /// The value; empty for a tombstone.
    pub value: &'a [u8],
    /// What a mark says, in words.
    pub note: Option<String>,
}

/// How a log ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogSummary {
    /// Whether it is a log of Esker's; else one of the `sst` crate.
    pub native: bool,
    /// Frames.
    pub frames: u64,
    /// Entries, marks among them.
    pub entries: u64,
    /// Where its last whole frame ends.
    pub length: u64,
    /// Bytes of a torn tail behind that.
    pub torn_bytes: u64,
}

/// Shows every entry of the log `path` to `each`, which may stop by returning false.
///
/// Errors: `Corruption` at the first damage, after what lies before it was shown; `Io`; what `each`
/// returns.
pub fn log(path: &Path, each: &mut dyn FnMut(&Entry<'_>) -> Result<bool>) -> Result<LogSummary> {
    let map = read(path)?;
    let native = log_id(map.bytes()).is_some();
    let mut reader = reader_for(&path.display().to_string(), map);
    let mut summary = LogSummary { native, frames: 0, entries: 0, length: 0, torn_bytes: 0 };
    'frames: while let Some(frame) = reader.next()? {
        summary.frames += 1;
        for entry in frame.entries() {
            summary.entries += 1;
            let split = split_full_key(entry.key).filter(|_| native);
            let mark = if native && is_mark(entry.key) { Mark::decode(&entry) } else { None };
            let shown = Entry {
                at: frame.at,
                sequence: entry.seq.0,
                kind: if mark.is_some() { "mark" } else { kind_name(entry.kind) },
                collection: split.map(|(id, _)| id.0),
                key: split.map_or(entry.key, |(_, key)| key),
                value: entry.value,
                note: mark.map(|mark| words(&mark.says)),
            };
            if !each(&shown)? {
                break 'frames;
            }
        }
    }
    summary.length = reader.position();
    if let Some(End::Torn { dropped, .. }) = reader.end() {
        summary.torn_bytes = dropped;
    }
    Ok(summary)
}

/// What the properties of the segment `path` say, as names and values.
///
/// Errors: `Corruption` if its footer or properties are damaged; `Io`.
pub fn segment(path: &Path) -> Result<Vec<(&'static str, String)>> {
    let (_, all) = open_segment(path)?;
    let meta = &all.meta;
    let key = |key: &[u8]| key.escape_ascii().to_string();
    Ok(vec![
        ("file", meta.id.to_string()),
        ("bytes", meta.bytes.to_string()),
        ("entries", meta.entries.to_string()),
        ("keys", all.keys.to_string()),
        ("puts", all.puts.to_string()),
        ("deletes", meta.deletes.to_string()),
        ("merges", all.merges.to_string()),
        ("range_deletes", meta.range_deletes.to_string()),
        ("smallest", key(&meta.smallest)),
        ("largest", key(&meta.largest)),
        ("sequence_min", meta.seq_min.to_string()),
        ("sequence_max", meta.seq_max.to_string()),
        ("setsum", meta.setsum.to_string()),
        ("data_blocks", all.data_blocks.to_string()),
        ("data_bytes", all.data_bytes.to_string()),
        ("raw_bytes", all.raw_bytes.to_string()),
        ("index_partitions", all.index_partitions.to_string()),
        ("index_bytes", all.index_bytes.to_string()),
        ("filter_bytes", all.filter_bytes.to_string()),
    ])
}

/// Reads every byte of the segment `path` and checks it. Errors as of [`segment`].
pub fn verify_segment(path: &Path) -> Result<()> {
    open_segment(path)?.0.verify(&mut |_| {})?;
    Ok(())
}

fn open_segment(path: &Path) -> Result<(Arc<SegmentReader>, Description)> {
    let env: Arc<dyn Env> = Real::new();
    let cache = Arc::new(BlockCache::new(1 << 20));
    let (reader, _) = SegmentReader::open_alone(&env, path, Access::Mapped, &cache)?;
    let description = reader.describe();
    Ok((Arc::new(reader), description))
}

/// The lines of the newest manifest in the folder `dir`, with what they mean.
///
/// Errors: `NotFound` if there is none; `Corruption` at the first damage; `Io`.
pub fn manifest(dir: &Path) -> Result<Vec<String>> {
    let env: Arc<dyn Env> = Real::new();
    let listed =
        env.list(dir).map_err(|error| Error::io(format!("list {}", dir.display()), error))?;
    describe(&env, dir, &listed)
}

/// The name and id of a collection, if `entry` is the record that made it.
pub fn catalog_record(collection: u32, key: &[u8], value: &[u8]) -> Option<(String, u32)> {
    let name = key.strip_prefix(b"collection/").filter(|_| collection == CollectionId::SYSTEM.0)?;
    let mut input = Decoder::new(value);
    input.u8()?;
    Some((String::from_utf8(name.to_vec()).ok()?, input.u32()?))
}

fn read(path: &Path) -> Result<Arc<dyn Map>> {
    let file = Real::new().open(path);
    file.and_then(|file| read_whole(&*file, Access::Mapped))
        .map_err(|error| Error::io(format!("read {}", path.display()), error))
}

fn words(says: &Says) -> String {
    match says {
        Says::Origin(None) => "the first log of its database".to_owned(),
        Says::Origin(Some(Previous { log, length, last })) => {
            let log = FileKind::Log.name(*log);
            format!("follows {log}, which ends at byte {length} with number {last}")
        }
        Says::Durable(offset) => format!("durable below byte {offset}, and all earlier logs"),
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Put => "put",
        Kind::Delete => "delete",
        Kind::Merge => "merge",
        Kind::RangeDelete => "range-delete",
    }
}
