//! One change of the set of live files, and its lines.
//!
//! ```text
//! remove seg-N
//! add level=L run=R seg-N bytes=… entries=… deletes=… range-deletes=… seq=MIN..MAX setsum=… smallest=… largest=…
//! log N                                            logs below N are not needed any more
//! new-log N                                        log N is live; in a first transaction: each one
//! flushed SEQ                                      every number at or below is in segments
//! next-file N                                      numbers from N on were never used
//! balance WHY in=… out=… dropped=…                 WHY: flush, compaction, ingest, repair
//! total … dropped=…                                only in the first transaction of a file
//! closed log=N length=BYTES last=SEQ               a promise: log N is durable, and ends there
//! clean                                            only in the first one: closed by its last user
//! ```
//!
//! 1. Lines come in this order; fields in theirs. A word or field that is not known here is
//!    `Unsupported` and is named: a newer build wrote it.
//! 2. Writing and reading are inverse: what one writes the other reads as an equal edit.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::line::{canonical, escape, unescape};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{FileId, SeqNo};
use crate::base::setsum::Setsum;
use crate::env::names::{FileKind, FileName};
use crate::segment::SegmentMeta;
use std::fmt;
use std::fmt::Write;

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

/// Why segments changed.
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
}

/// The proof that an edit lost nothing: input = output + dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Sum of every entry that went in.
    pub input: Setsum,
    /// Sum of the segments added.
    pub output: Setsum,
    /// Sum of what no reader can see any more.
    pub dropped: Setsum,
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
    /// The database was closed by its last user.
    pub(super) clean: Option<()>,
}

/// The figures of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Total {
    /// Sum of every operation ever flushed: present + dropped.
    pub(super) all: Setsum,
    /// Of these, what was dropped.
    pub(super) dropped: Setsum,
}

/// A change of the set of live files. What is none or empty stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// Segments that are live from now on.
    pub add: Vec<Placed>,
    /// Segments that are not any more. Removed before `add` is added, so a segment that is in both
    /// moves.
    pub remove: Vec<FileId>,
    /// A log that is live from now on, above every other.
    pub add_log: Option<FileId>,
    /// Logs below are not needed any more.
    pub log_min: Option<FileId>,
    /// Every number at or below is in segments.
    pub flushed: Option<SeqNo>,
    /// Numbers from here on were never used.
    pub next_file: Option<FileId>,
    /// Required where segments change or `flushed` rises.
    pub balance: Option<Balance>,
    /// A promise about a live log; holds until the log is not needed any more.
    pub closed: Option<Closed>,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flush => "flush",
            Self::Compaction => "compaction",
            Self::Ingest => "ingest",
            Self::Repair => "repair",
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
        lines.extend(self.log_min.map(|id| format!("log {id}")));
        lines.extend(whole.logs.iter().chain(&self.add_log).map(|id| format!("new-log {id}")));
        lines.extend(self.flushed.map(|seq| format!("flushed {seq}")));
        lines.extend(self.next_file.map(|id| format!("next-file {id}")));
        lines.extend(self.balance.map(|balance| {
            let Balance { input, output, dropped, reason } = balance;
            format!("balance {reason} in={input} out={output} dropped={dropped}")
        }));
        let total = |Total { all, dropped }| format!("total {all} dropped={dropped}");
        lines.extend(whole.total.map(total));
        lines.extend(self.closed.map(|Closed { log, length, last }| {
            format!("closed log={log} length={length} last={last}")
        }));
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
            "remove" => self.remove.push(fields.segment()?),
            "add" => {
                let placed = take_add(&mut fields)?;
                self.add.push(placed);
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
                once(&mut whole.total, Total { all, dropped }, text)?;
            }
            "closed" => {
                let log = parse_file_id(fields.named("log")?).ok_or_else(|| fields.bad())?;
                let (length, last) = (fields.number("length")?, fields.seq("last")?);
                once(&mut self.closed, Closed { log, length, last }, text)?;
            }
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
    line
}

fn take_add(fields: &mut Fields<'_>) -> Result<Placed> {
    let (level, run) = (fields.number("level")?, fields.number("run")?);
    let id = fields.segment()?;
    let (bytes, entries) = (fields.number("bytes")?, fields.number("entries")?);
    let (deletes, range_deletes) = (fields.number("deletes")?, fields.number("range-deletes")?);
    let (seq_min, seq_max) = fields
        .named("seq")?
        .split_once("..")
        .and_then(|(min, max)| Some((parse_seq(min)?, parse_seq(max)?)))
        .ok_or_else(|| fields.bad())?;
    let setsum = fields.setsum("setsum")?;
    let (smallest, largest) = (fields.key("smallest")?, fields.key("largest")?);
    let meta = SegmentMeta {
        id,
        bytes,
        entries,
        deletes,
        range_deletes,
        blob_bytes: 0,
        smallest,
        largest,
        seq_min,
        seq_max,
        setsum,
    };
    Ok(Placed { level, run, meta })
}

fn take_balance(fields: &mut Fields<'_>) -> Result<Balance> {
    let reasons = [Reason::Flush, Reason::Compaction, Reason::Ingest, Reason::Repair];
    let word = fields.next().ok_or_else(|| fields.bad())?;
    let reason = reasons.into_iter().find(|reason| reason.to_string() == word);
    let reason = reason.ok_or_else(|| unsupported("balance", word))?;
    let (input, output) = (fields.setsum("in")?, fields.setsum("out")?);
    Ok(Balance { input, output, dropped: fields.setsum("dropped")?, reason })
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

    fn seq(&mut self, name: &str) -> Result<SeqNo> {
        parse_seq(self.named(name)?).ok_or_else(|| self.bad())
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

    fn segment(&mut self) -> Result<FileId> {
        let name = self.next().and_then(FileName::parse);
        let segment = name.filter(|name| name.kind == FileKind::Segment);
        segment.map(|name| name.id).ok_or_else(|| self.bad())
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
mod tests {
    use super::*;

    fn everything() -> (Edit, Whole) {
        let meta = SegmentMeta {
            id: FileId(12),
            bytes: 9310,
            entries: 100,
            deletes: 3,
            range_deletes: 1,
            blob_bytes: 0,
            smallest: (*b"\0\0\0\x01a b").into(),
            largest: (*b"\0\0\0\x01\xff").into(),
            seq_min: SeqNo(1),
            seq_max: SeqNo(99),
            setsum: Setsum(0xabc),
        };
        let balance = Balance {
            input: Setsum(3),
            output: Setsum(2),
            dropped: Setsum(1),
            reason: Reason::Compaction,
        };
        let edit = Edit {
            add: vec![Placed { level: 1, run: 17, meta }],
            remove: vec![FileId(3), FileId(1_000_000)],
            add_log: None,
            log_min: Some(FileId(7)),
            flushed: Some(SeqNo(99)),
            next_file: Some(FileId(43)),
            balance: Some(balance),
            closed: Some(Closed { log: FileId(9), length: 1234, last: SeqNo(150) }),
        };
        let total = Some(Total { all: Setsum(u128::MAX), dropped: Setsum(0) });
        (edit, Whole { total, logs: vec![FileId(7), FileId(9)], clean: Some(()) })
    }

    #[test]
    fn an_edit_with_everything_reads_back_equal() {
        let (edit, whole) = everything();
        let (mut again, mut whole_again) = (Edit::default(), Whole::default());
        for line in edit.lines(&whole) {
            again.take(&line, &mut whole_again).unwrap();
        }
        assert_eq!((again, whole_again), (edit, whole));
    }

    /// Golden lines: they are a format.
    #[test]
    fn the_lines_read_as_documented() {
        let (edit, whole) = everything();
        let zeros = "0".repeat(31);
        let want = [
            "remove seg-000003".to_owned(),
            "remove seg-1000000".to_owned(),
            format!(
                "add level=1 run=17 seg-000012 bytes=9310 entries=100 deletes=3 range-deletes=1 \
                 seq=1..99 setsum={}abc smallest=\\x00\\x00\\x00\\x01a\\x20b \
                 largest=\\x00\\x00\\x00\\x01\\xff",
                "0".repeat(29)
            ),
            "log 000007".to_owned(),
            "new-log 000007".to_owned(),
            "new-log 000009".to_owned(),
            "flushed 99".to_owned(),
            "next-file 000043".to_owned(),
            format!("balance compaction in={zeros}3 out={zeros}2 dropped={zeros}1"),
            format!("total {} dropped={zeros}0", "f".repeat(32)),
            "closed log=000009 length=1234 last=150".to_owned(),
            "clean".to_owned(),
        ];
        assert_eq!(edit.lines(&whole), want);
    }

    /// F-38.
    #[test]
    fn unknown_words_and_fields_are_unsupported_and_named() {
        let (edit, whole) = everything();
        let mut lines = edit.lines(&whole);
        lines.iter_mut().for_each(|line| line.push_str(" colour=red"));
        let renamed = lines.iter().filter(|line| line.contains("length=")).cloned();
        let mut odd: Vec<_> = renamed.map(|line| line.replace("length", "colour")).collect();
        odd.extend(lines);
        odd.push("colour red".into());
        odd.push("balance colour in=0".into());
        for line in odd {
            let error = Edit::default().take(&line, &mut Whole::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{line}: {error}");
            assert!(error.message().contains("colour"), "{line}: {error}");
        }
    }

    /// F-39: bad values, cut lines and repeated words are damage, never a panic.
    #[test]
    fn bad_values_are_corruption() {
        let (edit, whole) = everything();
        for line in edit.lines(&whole) {
            for cut in 0..line.len() {
                let cut = &line[..cut];
                let taken = Edit::default().take(cut, &mut Whole::default());
                let fits = cut.starts_with("add") && cut.contains("largest=");
                let number =
                    ["flushed 9", "remove seg-100000", "closed log=000009 length=1234 last=1"];
                let shorter = fits || number.iter().any(|front| cut.starts_with(front));
                assert!(taken.is_err() || shorter, "{cut}");
            }
        }
        let odd = ["flushed 72057594037927936", "log 7", "remove log-000003", "total zz dropped=0"];
        for line in odd {
            let error = Edit::default().take(line, &mut Whole::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "{line}");
        }
        let mut twice = Edit::default();
        twice.take("flushed 1", &mut Whole::default()).unwrap();
        assert_eq!(
            twice.take("flushed 1", &mut Whole::default()).unwrap_err().kind(),
            ErrorKind::Corruption
        );
    }
}
