//! One change of the set of live files, and its lines.
//!
//! ```text
//! remove seg-N
//! add level=L run=R seg-N bytes=… entries=… deletes=… range-deletes=… seq=MIN..MAX setsum=… smallest=… largest=… [blob-bytes=…] [expiring=… first=… half=… last=…]
//! remove-blob blob-N
//! add-blob blob-N bytes=… values=… stored=… least=… setsum=… intervals=FIRST..LAST,…
//! dead blob-N bytes=… count=… addresses=…          values in it that nothing refers to any more
//! ticks blob-N up1=… up2=…                         only in the first transaction: one a blob file
//! tick N                                           likewise: edits before it; absent if 0
//! log N                                            logs below N are not needed any more
//! new-log N                                        log N is live; in a first transaction: each one
//! flushed SEQ                                      every number at or below is in segments
//! next-file N                                      numbers from N on were never used
//! balance WHY in=… out=… dropped=… [created=…]     WHY: flush, compaction, ingest, repair,
//!                                                  clean; created: if merge operands were folded
//! total … dropped=… [created=…]                    only in the first transaction of a file
//! closed log=N length=BYTES last=SEQ               a promise: log N is durable, and ends there
//! keep log=N length=BYTES last=SEQ                 log N, all of which is flushed, is kept-N from now on
//! forget SEQ                                       changes up to SEQ are not held any more; in a first
//!                                                  transaction only if SEQ is not the flushed number
//! bulk FIRST..LAST                                 only in the first transaction: not in any log
//! clean                                            only in the first one: closed by its last user
//! ```
//!
//! 1. Lines come in this order; fields in theirs. A word or field that is not known here is
//!    `Unsupported` and is named: a newer build wrote it.
//! 2. Writing and reading are inverse: what one writes the other reads as an equal edit.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::addresses::{parse_intervals, parse_list, write_intervals, write_list};
use super::blobs::LiveBlob;
use super::held::Bulk;
use super::line::{canonical, escape, unescape};
use crate::base::blob::Address;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{FileId, SeqNo};
use crate::base::setsum::Setsum;
use crate::base::time::Time;
use crate::blob::BlobMeta;
use crate::env::names::{FileKind, FileName};
use crate::segment::{Expiries, SegmentMeta};
use std::fmt;
use std::fmt::Write;

/// Bytes of one dead address in a line, about.
const DEAD_BYTES: u64 = 7;

/// A segment and its place in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Depth; 0 is youngest.
    pub level: u32,
    /// The run it belongs to.
    pub run: u64,
    /// The segment.
    pub meta: SegmentMeta,
}

/// Values in one blob file that nothing refers to any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// The file that answers for them.
    pub file: FileId,
    /// Their bytes, as stored.
    pub bytes: u64,
    /// Theirs: ascending, at least one.
    pub addresses: Vec<Address>,
}

impl Dead {
    /// Of the values `killed` in `file`, in any order, each with its stored bytes; none if there
    /// are none.
    pub fn of(file: FileId, mut killed: Vec<(Address, u32)>) -> Option<Self> {
        killed.sort_unstable_by_key(|(address, _)| *address);
        let bytes = killed.iter().map(|(_, stored)| u64::from(*stored));
        let bytes = bytes.fold(0, u64::saturating_add);
        let addresses: Vec<_> = killed.into_iter().map(|(address, _)| address).collect();
        (!addresses.is_empty()).then_some(Self { file, bytes, addresses })
    }
}

/// Why files changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A memtable became segments. Its input comes from outside the tree.
    Flush,
    /// Segments became others. Its input is what it removes.
    Compaction,
    /// Sorted data came in as segments. Its input comes from outside the tree.
    Ingest,
    /// Segments were found again. Its input comes from outside the tree.
    Repair,
    /// Live values of blob files went into others. Its input is what it removes, its sums are over
    /// values, not entries.
    Clean,
}

/// The proof that an edit lost nothing: input + created = output + dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Sum of every entry that went in.
    pub input: Setsum,
    /// Sum of the segments added; of a cleaning, of the blob files.
    pub output: Setsum,
    /// Sum of what no reader can see any more.
    pub dropped: Setsum,
    /// Sum of what merge operands were folded to; they are among what was dropped.
    pub created: Setsum,
    /// What was done.
    pub reason: Reason,
}

/// A promise that a log ended: its bytes up to `length` are durable, and there are no others. What
/// is missing of them is damage, not a torn tail (F-16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The log.
    pub log: FileId,
    /// Its length in bytes.
    pub length: u64,
    /// The last number in it.
    pub last: SeqNo,
}

/// What only the first transaction of a file says: what it carries over from the file before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Whole {
    /// Figures of the chain.
    pub(super) total: Option<Total>,
    /// Live logs, ascending.
    pub(super) logs: Vec<FileId>,
    /// Edits up to here.
    pub(super) tick: Option<u64>,
    /// When values died in each blob file.
    pub(super) ticks: Vec<Ticks>,
    /// Writes that never were in a log.
    pub(super) bulks: Vec<Bulk>,
    /// The database was closed by its last user.
    pub(super) clean: Option<()>,
}

/// When values last died in a blob file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticks {
    /// The file.
    pub(super) file: FileId,
    /// The last tick.
    pub(super) up1: u64,
    /// The last but one.
    pub(super) up2: u64,
}

/// The figures of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Total {
    /// Sum of every operation ever flushed: present + dropped - created.
    pub(super) all: Setsum,
    /// Sum of what was dropped.
    pub(super) dropped: Setsum,
    /// Sum of what merge operands were folded to.
    pub(super) created: Setsum,
}

/// A change of the set of live files. What is none or empty stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// Segments that are live from now on.
    pub add: Vec<Placed>,
    /// Segments that are not any more. Removed before `add` is added, so a segment that is in both
    /// moves.
    pub remove: Vec<FileId>,
    /// Blob files that are live from now on.
    pub add_blobs: Vec<BlobMeta>,
    /// Blob files that are not any more: nothing in them is live, or this is a cleaning.
    pub remove_blobs: Vec<FileId>,
    /// Values that died: in files that were live before, and in those that it adds.
    pub dead: Vec<Dead>,
    /// A log that is live from now on, above every other.
    pub add_log: Option<FileId>,
    /// Logs below are not needed any more.
    pub log_min: Option<FileId>,
    /// Every number at or below is in segments.
    pub flushed: Option<SeqNo>,
    /// Numbers from here on were never used.
    pub next_file: Option<FileId>,
    /// Required where segments change, blob files come, or `flushed` rises.
    pub balance: Option<Balance>,
    /// A promise about a live log; holds until the log is not needed any more.
    pub closed: Option<Closed>,
    /// Logs that were live before, and are kept for the change feed under another name.
    pub keep: Vec<Closed>,
    /// Changes up to here are not held any more; kept logs that end there or below are not needed.
    pub forget: Option<SeqNo>,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flush => "flush",
            Self::Compaction => "compaction",
            Self::Ingest => "ingest",
            Self::Repair => "repair",
            Self::Clean => "clean",
        })
    }
}

impl Edit {
    /// Its lines without checksums, in order; in a first transaction with those of `whole`.
    pub(super) fn lines(&self, whole: &Whole) -> Vec<String> {
        let mut lines = Vec::with_capacity(self.remove.len() + self.add.len() + 8);
        lines
            .extend(self.remove.iter().map(|id| format!("remove {}", FileKind::Segment.name(*id))));
        lines.extend(self.add.iter().map(add_line));
        let blob = |id: FileId| FileKind::Blob.name(id);
        lines.extend(self.remove_blobs.iter().map(|id| format!("remove-blob {}", blob(*id))));
        lines.extend(self.add_blobs.iter().map(add_blob_line));
        lines.extend(self.dead.iter().map(dead_line));
        lines.extend(
            whole.ticks.iter().map(|Ticks { file, up1, up2 }| {
                format!("ticks {} up1={up1} up2={up2}", blob(*file))
            }),
        );
        lines.extend(whole.tick.map(|tick| format!("tick {tick}")));
        lines.extend(self.log_min.map(|id| format!("log {id}")));
        lines.extend(whole.logs.iter().chain(&self.add_log).map(|id| format!("new-log {id}")));
        lines.extend(self.flushed.map(|seq| format!("flushed {seq}")));
        lines.extend(self.next_file.map(|id| format!("next-file {id}")));
        lines.extend(self.balance.map(|balance| {
            let Balance { input, output, dropped, created, reason } = balance;
            let created = created_field(created);
            format!("balance {reason} in={input} out={output} dropped={dropped}{created}")
        }));
        let total = |Total { all, dropped, created }| {
            format!("total {all} dropped={dropped}{}", created_field(created))
        };
        lines.extend(whole.total.map(total));
        let ends = |word: &str, Closed { log, length, last }: &Closed| {
            format!("{word} log={log} length={length} last={last}")
        };
        lines.extend(self.closed.iter().map(|closed| ends("closed", closed)));
        lines.extend(self.keep.iter().map(|log| ends("keep", log)));
        lines.extend(self.forget.map(|seq| format!("forget {seq}")));
        lines.extend(whole.bulks.iter().map(|(first, last)| format!("bulk {first}..{last}")));
        lines.extend(whole.clean.map(|()| "clean".to_owned()));
        lines
    }

    /// Takes in one line. Logs go to `whole` in either case.
    ///
    /// Errors: `Unsupported` for an unknown word or field; `Corruption` for a bad value or a word
    /// that comes twice. Neither names the file: the caller knows it.
    pub(super) fn take(&mut self, text: &str, whole: &mut Whole) -> Result<()> {
        let mut fields = Fields::new(text);
        match fields.word {
            "remove" => self.remove.push(fields.file(FileKind::Segment)?),
            "add" => {
                let placed = take_add(&mut fields)?;
                self.add.push(placed);
            }
            "remove-blob" => self.remove_blobs.push(fields.file(FileKind::Blob)?),
            "add-blob" => self.add_blobs.push(take_add_blob(&mut fields)?),
            "dead" => self.dead.push(take_dead(&mut fields)?),
            "ticks" => {
                let file = fields.file(FileKind::Blob)?;
                let (up1, up2) = (fields.number("up1")?, fields.number("up2")?);
                whole.ticks.push(Ticks { file, up1, up2 });
            }
            "tick" => {
                let tick = fields.positive("")?;
                once(&mut whole.tick, tick, text)?;
            }
            "log" => once(&mut self.log_min, fields.file_id()?, text)?,
            "new-log" => whole.logs.push(fields.file_id()?),
            "clean" => once(&mut whole.clean, (), text)?,
            "flushed" => once(&mut self.flushed, fields.seq("")?, text)?,
            "next-file" => once(&mut self.next_file, fields.file_id()?, text)?,
            "balance" => {
                let balance = take_balance(&mut fields)?;
                once(&mut self.balance, balance, text)?;
            }
            "total" => {
                let (all, dropped) = (fields.setsum("")?, fields.setsum("dropped")?);
                let created = take_created(&mut fields)?;
                once(&mut whole.total, Total { all, dropped, created }, text)?;
            }
            "closed" => {
                let closed = take_closed(&mut fields)?;
                once(&mut self.closed, closed, text)?;
            }
            "keep" => self.keep.push(take_closed(&mut fields)?),
            "forget" => once(&mut self.forget, fields.seq("")?, text)?,
            "bulk" => whole.bulks.push(fields.seqs("")?),
            word => return Err(unsupported("line", word)),
        }
        fields.finish()
    }
}

/// Bytes that the line of a segment takes, about.
pub(super) fn add_line_bytes(meta: &SegmentMeta) -> u64 {
    let keys = meta.smallest.len().saturating_add(meta.largest.len());
    u64::try_from(keys).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(200)
}

fn add_line(placed: &Placed) -> String {
    let Placed { level, run, meta } = placed;
    let name = FileKind::Segment.name(meta.id);
    let SegmentMeta { bytes, entries, deletes, range_deletes, .. } = meta;
    let SegmentMeta { seq_min, seq_max, setsum, .. } = meta;
    let mut line = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        line,
        "add level={level} run={run} {name} bytes={bytes} entries={entries} deletes={deletes} \
         range-deletes={range_deletes} seq={seq_min}..{seq_max} setsum={setsum} smallest="
    );
    escape(&meta.smallest, &mut line);
    line.push_str(" largest=");
    escape(&meta.largest, &mut line);
    if meta.blob_bytes > 0 {
        let _ = write!(line, " blob-bytes={}", meta.blob_bytes);
    }
    let Expiries { count, first: Time(first), half: Time(half), last: Time(last) } = meta.expiries;
    if count > 0 {
        let _ = write!(line, " expiring={count} first={first} half={half} last={last}");
    }
    line
}

/// Bytes that the lines of a blob file take in a first transaction, about.
pub(super) fn blob_lines_bytes(blob: &LiveBlob) -> u64 {
    let intervals = u64::try_from(blob.meta.intervals.len()).unwrap_or(u64::MAX);
    let dead = blob.dead_values.saturating_mul(DEAD_BYTES);
    intervals.saturating_mul(40).saturating_add(300).saturating_add(dead)
}

fn add_blob_line(meta: &BlobMeta) -> String {
    let name = FileKind::Blob.name(meta.id);
    let BlobMeta { bytes, values, stored_bytes, least, setsum, intervals, .. } = meta;
    let mut line = format!(
        "add-blob {name} bytes={bytes} values={values} stored={stored_bytes} least={least} \
         setsum={setsum} intervals="
    );
    write_intervals(intervals, &mut line);
    line
}

fn take_add_blob(fields: &mut Fields<'_>) -> Result<BlobMeta> {
    let id = fields.file(FileKind::Blob)?;
    let (bytes, values) = (fields.number("bytes")?, fields.number("values")?);
    let (stored_bytes, least) = (fields.number("stored")?, fields.number("least")?);
    let setsum = fields.setsum("setsum")?;
    let intervals = parse_intervals(fields.named("intervals")?).ok_or_else(|| fields.bad())?;
    Ok(BlobMeta { id, bytes, values, stored_bytes, least, setsum, intervals })
}

fn dead_line(dead: &Dead) -> String {
    let Dead { file, bytes, addresses } = dead;
    let (name, count) = (FileKind::Blob.name(*file), addresses.len());
    let mut line = format!("dead {name} bytes={bytes} count={count} addresses=");
    write_list(addresses, &mut line);
    line
}

fn take_dead(fields: &mut Fields<'_>) -> Result<Dead> {
    let file = fields.file(FileKind::Blob)?;
    let (bytes, count) = (fields.number("bytes")?, fields.number::<usize>("count")?);
    let addresses = parse_list(fields.named("addresses")?).ok_or_else(|| fields.bad())?;
    if addresses.len() != count {
        return Err(fields.bad());
    }
    Ok(Dead { file, bytes, addresses })
}

fn take_add(fields: &mut Fields<'_>) -> Result<Placed> {
    let (level, run) = (fields.number("level")?, fields.number("run")?);
    let id = fields.file(FileKind::Segment)?;
    let (bytes, entries) = (fields.number("bytes")?, fields.number("entries")?);
    let (deletes, range_deletes) = (fields.number("deletes")?, fields.number("range-deletes")?);
    let (seq_min, seq_max) = fields.seqs("seq")?;
    let setsum = fields.setsum("setsum")?;
    let (smallest, largest) = (fields.key("smallest")?, fields.key("largest")?);
    let blob_bytes = if fields.is_next("blob-bytes") { fields.positive("blob-bytes")? } else { 0 };
    let is_timed = fields.is_next("expiring");
    let expiries = if is_timed { take_expiries(fields)? } else { Expiries::default() };
    let meta = SegmentMeta {
        id,
        bytes,
        entries,
        deletes,
        range_deletes,
        blob_bytes,
        expiries,
        smallest,
        largest,
        seq_min,
        seq_max,
        setsum,
    };
    Ok(Placed { level, run, meta })
}

/// Written only where something expires.
fn take_expiries(fields: &mut Fields<'_>) -> Result<Expiries> {
    let count = fields.positive("expiring")?;
    let mut time = |name| fields.number(name).map(Time);
    Ok(Expiries { count, first: time("first")?, half: time("half")?, last: time("last")? })
}

fn take_closed(fields: &mut Fields<'_>) -> Result<Closed> {
    let log = parse_file_id(fields.named("log")?).ok_or_else(|| fields.bad())?;
    let (length, last) = (fields.number("length")?, fields.seq("last")?);
    Ok(Closed { log, length, last })
}

fn take_balance(fields: &mut Fields<'_>) -> Result<Balance> {
    use Reason::{Clean, Compaction, Flush, Ingest, Repair};
    let reasons = [Flush, Compaction, Ingest, Repair, Clean];
    let word = fields.next().ok_or_else(|| fields.bad())?;
    let reason = reasons.into_iter().find(|reason| reason.to_string() == word);
    let reason = reason.ok_or_else(|| unsupported("balance", word))?;
    let (input, output) = (fields.setsum("in")?, fields.setsum("out")?);
    let (dropped, created) = (fields.setsum("dropped")?, take_created(fields)?);
    Ok(Balance { input, output, dropped, created, reason })
}

/// Written only where something was created.
fn created_field(created: Setsum) -> String {
    if created == Setsum::ZERO { String::new() } else { format!(" created={created}") }
}

fn take_created(fields: &mut Fields<'_>) -> Result<Setsum> {
    if fields.is_done() {
        return Ok(Setsum::ZERO);
    }
    let created = fields.setsum("created")?;
    if created == Setsum::ZERO { Err(fields.bad()) } else { Ok(created) }
}

fn once<T>(slot: &mut Option<T>, value: T, text: &str) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(Error::new(ErrorKind::Corruption, format!("\"{text}\" comes twice")));
    }
    Ok(())
}

fn unsupported(what: &str, word: &str) -> Error {
    let word: String = word.chars().take(40).collect();
    Error::new(ErrorKind::Unsupported, format!("{what} \"{word}\": written by a newer version"))
}

fn parse_seq(text: &str) -> Option<SeqNo> {
    canonical(text).map(SeqNo).filter(|seq| *seq <= SeqNo::MAX)
}

/// A file number as `Display` writes it: at least six digits.
pub(super) fn parse_file_id(text: &str) -> Option<FileId> {
    let id = FileId(text.parse().ok()?);
    (id.to_string() == text).then_some(id)
}

/// Takes the fields of a line in order.
struct Fields<'a> {
    text: &'a str,
    word: &'a str,
    rest: std::str::Split<'a, char>,
}

impl<'a> Fields<'a> {
    fn new(text: &'a str) -> Self {
        let mut rest = text.split(' ');
        Self { text, word: rest.next().unwrap_or_default(), rest }
    }

    fn next(&mut self) -> Option<&'a str> {
        self.rest.next()
    }

    fn bad(&self) -> Error {
        let shown: String = self.text.chars().take(80).collect();
        Error::new(ErrorKind::Corruption, format!("\"{shown}\" is not a line of {}", self.word))
    }

    /// The value of the next field, which must be `name`; a bare field if that is empty.
    fn named(&mut self, name: &str) -> Result<&'a str> {
        let field = self.next().ok_or_else(|| self.bad())?;
        if name.is_empty() {
            return Ok(field);
        }
        match field.split_once('=') {
            Some((found, value)) if found == name => Ok(value),
            Some((found, _)) => Err(unsupported(self.word, found)),
            None => Err(self.bad()),
        }
    }

    fn number<T: std::str::FromStr + fmt::Display>(&mut self, name: &str) -> Result<T> {
        canonical(self.named(name)?).ok_or_else(|| self.bad())
    }

    /// A number that is written only if it is not zero.
    fn positive(&mut self, name: &str) -> Result<u64> {
        self.number(name).and_then(|n| if n > 0 { Ok(n) } else { Err(self.bad()) })
    }

    fn seq(&mut self, name: &str) -> Result<SeqNo> {
        parse_seq(self.named(name)?).ok_or_else(|| self.bad())
    }

    fn seqs(&mut self, name: &str) -> Result<(SeqNo, SeqNo)> {
        let seqs = self.named(name)?.split_once("..");
        let seqs = seqs.and_then(|(first, last)| Some((parse_seq(first)?, parse_seq(last)?)));
        seqs.ok_or_else(|| self.bad())
    }

    fn setsum(&mut self, name: &str) -> Result<Setsum> {
        let text = self.named(name)?;
        let setsum = Setsum::from_hex(text).filter(|setsum| setsum.to_string() == text);
        setsum.ok_or_else(|| self.bad())
    }

    fn key(&mut self, name: &str) -> Result<Box<[u8]>> {
        unescape(self.named(name)?).ok_or_else(|| self.bad())
    }

    fn file_id(&mut self) -> Result<FileId> {
        parse_file_id(self.named("")?).ok_or_else(|| self.bad())
    }

    fn file(&mut self, kind: FileKind) -> Result<FileId> {
        let name = self.next().and_then(FileName::parse);
        let of_kind = name.filter(|name| name.kind == kind);
        of_kind.map(|name| name.id).ok_or_else(|| self.bad())
    }

    /// Whether the next field has this name.
    fn is_next(&self, name: &str) -> bool {
        let next = self.rest.clone().next().and_then(|field| field.split_once('='));
        next.is_some_and(|(found, _)| found == name)
    }

    fn is_done(&self) -> bool {
        self.rest.clone().next().is_none()
    }

    fn finish(mut self) -> Result<()> {
        match self.next() {
            None => Ok(()),
            Some(field) => {
                Err(unsupported(self.word, field.split_once('=').map_or(field, |(name, _)| name)))
            }
        }
    }
}

#[cfg(test)]
mod tests;
