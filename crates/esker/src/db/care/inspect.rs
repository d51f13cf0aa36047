//! Looking into single files, without opening a database and without changing a byte.
//!
//! Works on files of a live database, on damaged ones and, for logs, on those that the `sst` crate
//! wrote: what is whole is shown, then the error that ends it.

mod blob;

use crate::base::codec::Codec;
use crate::base::coding::Decoder;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{CollectionId, FileId};
use crate::base::key::{Kind, split_full_key};
use crate::base::setsum::Setsum;
use crate::blob::{BlobMeta, BlobReader};
use crate::cache::BlockCache;
use crate::db::report::{Checksum, Damage};
use crate::env::names::{FileKind, FileName};
use crate::env::real::Real;
use crate::env::{Access, Env, Map, read_whole};
use crate::log::dump::{log_id, reader_for};
use crate::log::large::{blob_of, decode};
use crate::log::marks::{Mark, Previous, Says, is_mark};
use crate::log::reader::End;
use crate::manifest::{self, Balance, Dead, Edit, Reason, Step, describe};
use crate::segment::{Description, SegmentMeta, SegmentReader};
pub use blob::{BlobSummary, BlobValue, blob};
use std::borrow::Cow;
use std::collections::BTreeMap;
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
    /// The value, as it was given to the database; empty for a tombstone.
    pub value: &'a [u8],
    /// `raw`, or how a large value is packed: `lz4` or `zstd`.
    pub codec: &'static str,
    /// Bytes that the value takes in the file.
    pub stored: u64,
    /// When it expires, in milliseconds since the Unix epoch; none if never.
    pub expires: Option<u64>,
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
    let id = log_id(map.bytes());
    let native = id.is_some();
    let mut reader = reader_for(&path.display().to_string(), map);
    let mut summary = LogSummary { native, frames: 0, entries: 0, length: 0, torn_bytes: 0 };
    'frames: while let Some(frame) = reader.next()? {
        summary.frames += 1;
        for entry in frame.entries() {
            summary.entries += 1;
            let split = split_full_key(entry.key).filter(|_| native);
            let mark = if native && is_mark(entry.key) { Mark::decode(&entry) } else { None };
            // Of the rest, nothing is as long as that.
            let packed =
                id.map(|id| blob_of(id, &frame, &entry, usize::MAX)).transpose()?.flatten();
            let value = match &packed {
                Some(blob) => {
                    let name = FileKind::Log.name(blob.address.file());
                    decode(name, blob, blob.address.offset(), entry.value)?
                }
                None => Cow::Borrowed(entry.value),
            };
            let shown = Entry {
                at: frame.at,
                sequence: entry.seq.0,
                kind: if mark.is_some() { "mark" } else { kind_name(entry.kind) },
                collection: split.map(|(id, _)| id.0),
                key: split.map_or(entry.key, |(_, key)| key),
                value: &value,
                codec: packed.map_or(Codec::Raw, |blob| blob.codec).name(),
                stored: entry.value.len() as u64,
                expires: entry.expiry.map(|expiry| expiry.0),
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
        ("blobs", all.blobs.to_string()),
        ("expiring", meta.expiries.count.to_string()),
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

/// A segment and its place, as an edit names it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Placed {
    /// The file's name.
    pub file: String,
    /// Depth; 0 is youngest.
    pub level: u32,
    /// The run it belongs to.
    pub run: u64,
    /// The sum of its entries.
    pub checksum: Checksum,
}

/// A blob file, as an edit names it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlacedBlob {
    /// The file's name.
    pub file: String,
    /// Its values: of one that comes or goes, all that it had when it came; otherwise those that the
    /// edit killed in it.
    pub values: u64,
    /// Their bytes, as stored.
    pub stored_bytes: u64,
    /// The sum of those that it had when it came; none of those that were killed.
    pub checksum: Option<Checksum>,
}

/// One link of the chain: an edit of the manifest, and what holds after it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// Counted from 1; the first one of a manifest says all that there was.
    pub number: u64,
    /// Where it begins in the file.
    pub at: u64,
    /// `whole`, `flush`, `compaction`, `ingest`, `repair`, `clean` (of blob files, and its balance is
    /// of values), or `numbers` if no segment changed.
    pub reason: &'static str,
    /// Segments that went in, and are not live any more.
    pub removed: Vec<Placed>,
    /// Segments that came out.
    pub added: Vec<Placed>,
    /// Blob files that are not live any more.
    pub blobs_removed: Vec<PlacedBlob>,
    /// Blob files that came.
    pub blobs_added: Vec<PlacedBlob>,
    /// Values in blob files that died with it.
    pub blobs_died: Vec<PlacedBlob>,
    /// What went in, came out and was dropped, if segments changed, or of blob files in a `clean`.
    pub balance: Option<[Checksum; 3]>,
    /// The sum of what merge operands were folded to, if any were: in = out + dropped - created.
    pub created: Option<Checksum>,
    /// The sum of the live segments after it.
    pub present: Checksum,
    /// The sum of every operation ever flushed: what is present and what was dropped, without what
    /// operands were folded to.
    pub total: Checksum,
    /// What does not hold, if anything.
    pub broken: Option<String>,
}

/// What [`audit`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditReport {
    /// Edits of the manifest.
    pub edits: u64,
    /// Live segments whose bytes were summed.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Live blob files, whose values were verified and summed.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// The sum of what the segments hold, from their bytes.
    pub present: Checksum,
    /// The sum of every operation ever flushed.
    pub total: Checksum,
    /// What does not hold; empty if the proof does.
    pub damages: Vec<Damage>,
}

/// Goes along the chain of balances of the newest manifest in the folder `dir`, edit by edit, then
/// sums each live segment and blob file from its bytes and compares.
///
/// For a database that nobody writes meanwhile. Cost: reads every byte of every live segment and blob file.
/// Errors: `NotFound` if there is no database; `Io`; what `each` returns. Damage is reported, not
/// returned.
pub fn audit(dir: &Path, each: &mut dyn FnMut(&Link) -> Result<()>) -> Result<AuditReport> {
    let env: Arc<dyn Env> = Real::new();
    let listed =
        env.list(dir).map_err(|error| Error::io(format!("list {}", dir.display()), error))?;
    let mut chain = Chain::default();
    let mut told = Ok(());
    let mut report = AuditReport::default();
    let walked = manifest::audit(&env, dir, &listed, &mut |step| {
        // The file with the highest number may be incomplete: the one that wins comes last.
        if step.ordinal == 1 {
            (chain, report) = Default::default();
        }
        let link = chain.link(step);
        report.edits += 1;
        if let Some(message) = &link.broken {
            let file = format!("edit {}", link.number);
            report.damages.push(Damage { file, message: message.clone() });
        }
        if told.is_ok() {
            told = each(&link);
        }
    });
    told?;
    match walked {
        Ok(Some(_)) => {}
        Ok(None) => {
            let message = format!("{}: no database", dir.display());
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        Err(error) => {
            let newest = listed.iter().filter_map(|l| FileName::parse(&l.name));
            let newest = newest.filter(|name| name.kind == FileKind::Manifest).max();
            note(&mut report, newest.map(|name| name.to_string()).unwrap_or_default(), error)?;
        }
    }
    let cache = Arc::new(BlockCache::new(1 << 20));
    for meta in chain.live.values().map(|(_, meta)| meta) {
        let opened = SegmentReader::open(&env, dir, meta, Access::Mapped, &cache);
        match opened.and_then(|reader| reader.verify(&mut |_| {})) {
            Ok(sum) => report.present += sum,
            Err(error) => {
                note(&mut report, FileKind::Segment.name(meta.id).to_string(), error)?;
            }
        }
        report.segments += 1;
        report.bytes += meta.bytes;
    }
    for meta in chain.blobs.values() {
        let opened = BlobReader::open(&env, dir, meta, Access::Mapped);
        if let Err(error) = opened.and_then(|reader| reader.walk(|_, _| Ok(()))) {
            note(&mut report, FileKind::Blob.name(meta.id).to_string(), error)?;
        }
        report.blobs += 1;
        report.blob_bytes += meta.bytes;
    }
    report.total = chain.total();
    if report.damages.is_empty() && report.present != chain.present {
        let message = format!("sum to {}, want {}", report.present, chain.present);
        report.damages.push(Damage { file: "the live segments".to_owned(), message });
    }
    Ok(report)
}

/// Notes damage. Errors: `Io`, which is none.
fn note(report: &mut AuditReport, file: String, error: Error) -> Result<()> {
    if error.kind() == ErrorKind::Io {
        return Err(error);
    }
    report.damages.push(Damage { file, message: error.message().to_owned() });
    Ok(())
}

/// The chain, added up here once more from what the edits say.
#[derive(Default)]
struct Chain {
    live: BTreeMap<FileId, (Placed, SegmentMeta)>,
    present: Setsum,
    dropped: Setsum,
    created: Setsum,
    /// Live blob files.
    blobs: BTreeMap<FileId, BlobMeta>,
}

impl Chain {
    /// The sum of every operation ever flushed.
    fn total(&self) -> Setsum {
        self.present + self.dropped - self.created
    }

    /// The blob files that `edit` removes and adds.
    fn link_blobs(&mut self, edit: &Edit) -> (Vec<PlacedBlob>, Vec<PlacedBlob>) {
        let gone = edit.remove_blobs.iter().filter_map(|id| self.blobs.remove(id));
        let removed = gone.map(|meta| placed_blob(&meta)).collect();
        self.blobs.extend(edit.add_blobs.iter().map(|meta| (meta.id, meta.clone())));
        (removed, edit.add_blobs.iter().map(placed_blob).collect())
    }

    fn link(&mut self, step: &Step<'_>) -> Link {
        let Edit { add, remove, balance, .. } = step.edit;
        let sum = |all: &[Placed]| all.iter().fold(Setsum::ZERO, |sum, one| sum + one.checksum);
        let before = self.total();
        let gone = remove.iter().filter_map(|id| self.live.remove(id));
        let removed: Vec<Placed> = gone.map(|(placed, _)| placed).collect();
        let added: Vec<Placed> = add.iter().map(placed).collect();
        for (place, shown) in add.iter().zip(&added) {
            self.live.insert(place.meta.id, (shown.clone(), place.meta.clone()));
        }
        let (sum_in, sum_out) = (sum(&removed), sum(&added));
        self.present += sum_out;
        self.present -= sum_in;
        let (blobs_removed, blobs_added) = self.link_blobs(step.edit);
        let sum_blobs = |all: &[PlacedBlob]| {
            all.iter().filter_map(|one| one.checksum).fold(Setsum::ZERO, |sum, one| sum + one)
        };
        let (blobs_in, blobs_out) = (sum_blobs(&blobs_removed), sum_blobs(&blobs_added));
        let mut odd = Vec::new();
        let mut demand = |what: &str, found: Setsum, want: Setsum| {
            if found != want {
                odd.push(format!("{what}: want {want}, found {found}"));
            }
        };
        match balance {
            None if step.ordinal == 1 => {
                (self.dropped, self.created) = (step.state.dropped, step.state.created);
            }
            None => demand("segments changed without a balance", sum_out, sum_in),
            Some(Balance { input, output, dropped, reason: Reason::Clean, .. }) => {
                demand("in = out + dropped", *output + *dropped, *input);
                demand("out = what was added", blobs_out, *output);
                demand("in = what was removed", blobs_in, *input);
                demand("segments changed in a cleaning", sum_out, sum_in);
            }
            Some(Balance { input, output, dropped, created, reason }) => {
                self.dropped += *dropped;
                self.created += *created;
                demand("in = out + dropped - created", *output + *dropped - *created, *input);
                demand("out = what was added", sum_out, *output);
                let from_outside = match reason {
                    Reason::Compaction => {
                        demand("in = what was removed", sum_in, *input);
                        Setsum::ZERO
                    }
                    _ => *input,
                };
                demand("the total after", self.total(), before + from_outside);
            }
        }
        demand("present", self.present, step.state.present);
        demand("total", self.total(), step.state.total());
        Link {
            number: step.ordinal,
            at: step.at,
            reason: reason_name(step),
            removed,
            added,
            blobs_removed,
            blobs_added,
            blobs_died: step.edit.dead.iter().map(died).collect(),
            balance: balance.map(|balance| [balance.input, balance.output, balance.dropped]),
            created: balance.map(|balance| balance.created).filter(|sum| *sum != Setsum::ZERO),
            present: self.present,
            total: self.total(),
            broken: (!odd.is_empty()).then(|| odd.join("; ")),
        }
    }
}

fn reason_name(step: &Step<'_>) -> &'static str {
    match &step.edit.balance {
        Some(balance) => match balance.reason {
            Reason::Flush => "flush",
            Reason::Compaction => "compaction",
            Reason::Ingest => "ingest",
            Reason::Repair => "repair",
            Reason::Clean => "clean",
        },
        None if step.ordinal == 1 => "whole",
        None => "numbers",
    }
}

fn placed_blob(meta: &BlobMeta) -> PlacedBlob {
    let BlobMeta { id, values, stored_bytes, setsum, .. } = meta;
    let file = FileKind::Blob.name(*id).to_string();
    let (values, stored_bytes, checksum) = (*values, *stored_bytes, Some(*setsum));
    PlacedBlob { file, values, stored_bytes, checksum }
}

fn died(dead: &Dead) -> PlacedBlob {
    let Dead { file, bytes, addresses } = dead;
    let (file, values) = (FileKind::Blob.name(*file).to_string(), addresses.len() as u64);
    PlacedBlob { file, values, stored_bytes: *bytes, checksum: None }
}

fn placed(placed: &manifest::Placed) -> Placed {
    let manifest::Placed { level, run, meta } = placed;
    let file = FileKind::Segment.name(meta.id).to_string();
    Placed { file, level: *level, run: *run, checksum: meta.setsum }
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
        Kind::Blob => "blob",
        Kind::Expiring => "expiring",
    }
}
