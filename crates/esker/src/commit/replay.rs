//! Logs back into memtables, by the same order rules that live writes follow.
//!
//! ```text
//!   manifest's logs:   log-4 ──────▶ log-7 ──────▶ log-9        each names the one before it:
//!                       ends at L4    origin (4, L4, last)       number, final length, last number
//! ```
//!
//! 1. A log that the manifest names must be there (F-37); so must everything that a durable mark, a
//!    durable successor or a clean close has promised (F-10, F-16, F-34).
//! 2. A log is replayed only if its predecessor ended exactly where the origin says. If the
//!    predecessor lost a tail that nobody promised, the successor and all behind it are dropped and
//!    reported: never is a replay across a hole.
//! 3. Frames at or below the manifest's flushed number are in segments already, and are skipped.
//! 4. Numbers, kinds and order go into the memtable as they stand in the log: replayed state equals
//!    live state (BLOB-15).

use crate::base::batch::{Op, Ops};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{FileId, SeqNo};
use crate::base::key::{Entry, Kind, split_full_key};
use crate::env::names::FileKind;
use crate::env::{Access, Env, path_in, read_whole};
use crate::log::marks::Previous;
use crate::log::reader::{End, Frame, LogReader, Promise};
use crate::memtable::Memtable;
use std::path::Path;
use std::sync::Arc;

/// What to replay.
pub struct Replay<'a> {
    /// The outside world.
    pub env: &'a dyn Env,
    /// The database folder.
    pub dir: &'a Path,
    /// How to read.
    pub access: Access,
    /// The logs that the manifest names, ascending.
    pub logs: &'a [FileId],
    /// How the newest of them ended, if the manifest promises it.
    pub promised: Option<Previous>,
    /// Everything up to here is in segments.
    pub flushed: SeqNo,
    /// Bytes of a memtable.
    pub slab_bytes: usize,
}

/// A memtable that is full of replayed operations.
#[derive(Debug)]
pub struct Full {
    /// The memtable.
    pub memtable: Arc<Memtable>,
    /// The last number in it.
    pub last: SeqNo,
    /// The first log that is still needed once it is flushed.
    pub logs_from: FileId,
}

/// The end of a log that was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The log.
    pub log: FileId,
    /// Where its good part ends.
    pub at: u64,
    /// Bytes dropped.
    pub bytes: u64,
}

/// What came back.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Memtables that filled up, oldest first.
    pub full: Vec<Full>,
    /// The last one, which has room; none if nothing was replayed since the last full one.
    pub memtable: Option<Arc<Memtable>>,
    /// The last number that was found, in logs or in segments.
    pub last: SeqNo,
    /// Where the newest log with operations ended.
    pub end: Option<Previous>,
    /// Logs that hold operations that are not in segments, ascending.
    pub kept: Vec<FileId>,
    /// What was dropped.
    pub dropped: Vec<Dropped>,
    /// Logs that were read.
    pub logs_read: u64,
    /// Operations that were put into memtables.
    pub operations: u64,
    /// Bytes of frames that were read.
    pub bytes: u64,
}

impl Replay<'_> {
    /// Reads the logs. Memory: the memtables, and one log at a time where files are not mapped.
    ///
    /// Errors: `Corruption` naming file and offset; `Io`. Nothing on disk is changed.
    pub fn run(&self) -> Result<Replayed> {
        let mut out = Replayed { last: self.flushed, ..Replayed::default() };
        let promises = self.promises()?;
        let mut lengths: Vec<u64> = Vec::new();
        let mut hole = false;
        for (&log, promise) in self.logs.iter().zip(&promises) {
            hole = hole || self.is_behind_a_hole(log, &lengths)?;
            if hole {
                let bytes = self.open(log, Promise::default())?.1;
                out.dropped.push(Dropped { log, at: 0, bytes });
                continue;
            }
            lengths.push(self.replay_log(log, *promise, &mut out)?.length());
        }
        Ok(out)
    }

    fn open(&self, log: FileId, promise: Promise) -> Result<(LogReader, u64)> {
        let name = FileKind::Log.name(log);
        let path = path_in(self.dir, name);
        let file = self.env.open(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::new(
                ErrorKind::Corruption,
                format!("{name} is missing: the manifest names it and it is not flushed"),
            ),
            _ => Error::io(format!("open {name}"), error),
        })?;
        let map = read_whole(&*file, self.access)
            .map_err(|error| Error::io(format!("read {name}"), error))?;
        let bytes = map.bytes().len() as u64;
        Ok((LogReader::new(log, map, promise), bytes))
    }

    /// What is promised of each log: by the manifest, or by a successor that is itself durable. A
    /// durable mark anywhere in a later log promises all logs before it.
    fn promises(&self) -> Result<Vec<Promise>> {
        let mut promises = vec![Promise::default(); self.logs.len()];
        let mut durable = false;
        for (index, &log) in self.logs.iter().enumerate().rev() {
            if let Some(end) = self.promised.filter(|end| end.log == log)
                && let Some(promise) = promises.get_mut(index)
            {
                *promise = Promise { length: Some(end.length), last: Some(end.last) };
                durable = true;
            }
            if index == 0 {
                break;
            }
            let promise = promises.get(index).copied().unwrap_or_default();
            let (mut reader, _) = self.open(log, promise)?;
            while reader.next()?.is_some() {}
            durable |= reader.durable() > 0;
            let previous = reader.previous().filter(|_| durable);
            if let Some(Previous { log, length, last }) = previous
                && let Some(before) = self.logs.iter().position(|other| *other == log)
                && let Some(promise) = promises.get_mut(before)
            {
                *promise = Promise { length: Some(length), last: Some(last) };
            }
        }
        Ok(promises)
    }

    fn replay_log(&self, log: FileId, promise: Promise, out: &mut Replayed) -> Result<End> {
        let (mut reader, _) = self.open(log, promise)?;
        out.logs_read += 1;
        let mut first = true;
        loop {
            let Some(frame) = reader.next()? else { break };
            self.replay_frame(log, &frame, out)?;
            if std::mem::take(&mut first) {
                self.check_origin(log, reader.previous())?;
            }
        }
        let end = reader.end().unwrap_or(End::Clean { length: 0, last: SeqNo::ZERO });
        out.bytes += end.length();
        if end.length() > 0 {
            out.last = out.last.max(end.last());
            out.end = Some(Previous { log, length: end.length(), last: end.last() });
            out.kept.push(log);
        }
        if let End::Torn { at, dropped, .. } = end {
            out.dropped.push(Dropped { log, at, bytes: dropped });
        }
        Ok(end)
    }

    /// The log that the origin names must be flushed, or among those that are replayed.
    fn check_origin(&self, log: FileId, previous: Option<Previous>) -> Result<()> {
        let Some(previous) = previous else { return Ok(()) };
        if previous.last <= self.flushed || self.logs.contains(&previous.log) {
            return Ok(());
        }
        let missing = FileKind::Log.name(previous.log);
        let name = FileKind::Log.name(log);
        Err(Error::new(
            ErrorKind::Corruption,
            format!("{missing} is missing: {name} continues it and it is not flushed"),
        ))
    }

    /// Whether a log has a whole first frame. Errors: `Corruption` if that frame is another log's.
    pub fn is_written(&self, log: FileId) -> Result<bool> {
        Ok(self.open(log, Promise::default())?.0.next()?.is_some())
    }

    /// Whether `log` begins behind a tail that the log before it has lost; `lengths` are what was
    /// found of those before it. Logs in which nothing was ever written are no links of the chain.
    fn is_behind_a_hole(&self, log: FileId, lengths: &[u64]) -> Result<bool> {
        let (mut reader, _) = self.open(log, Promise::default())?;
        if !reader.next().is_ok_and(|frame| frame.is_some()) {
            return Ok(false);
        }
        let Some(previous) = reader.previous() else { return Ok(false) };
        let place = self.logs.iter().position(|other| *other == previous.log);
        let Some(&found) = place.and_then(|place| lengths.get(place)) else { return Ok(false) };
        if found > previous.length {
            return Err(Error::corruption(
                FileKind::Log.name(previous.log),
                previous.length,
                format!("the end of the log, as {} says", FileKind::Log.name(log)),
                format!("frames up to byte {found}"),
            ));
        }
        Ok(found < previous.length)
    }

    fn replay_frame(&self, log: FileId, frame: &Frame<'_>, out: &mut Replayed) -> Result<()> {
        if frame.last <= self.flushed {
            return Ok(());
        }
        let mut ops = FrameOps(Vec::new());
        for (entry, number) in frame.operations().zip(frame.first.0..) {
            if entry.seq.0 != number {
                return Err(Error::corruption(
                    FileKind::Log.name(log),
                    frame.at,
                    format!("operation {number}"),
                    entry.seq,
                ));
            }
            ops.0.push(op_of(&entry).ok_or_else(|| {
                let want = "a key with a collection id";
                Error::corruption(FileKind::Log.name(log), frame.at, want, "a shorter one")
            })?);
        }
        if ops.0.is_empty() {
            return Ok(());
        }
        let bytes = Memtable::need(&ops);
        let reserved = out.memtable.as_ref().and_then(|memtable| memtable.reserve(bytes));
        let slot = match reserved {
            Some(slot) => slot,
            None => {
                if let Some(memtable) = out.memtable.take() {
                    let last = SeqNo(frame.first.0 - 1);
                    out.full.push(Full { memtable, last, logs_from: log });
                }
                let fresh = Memtable::with_capacity(self.slab_bytes.max(bytes))?;
                let slot = fresh.reserve(bytes).ok_or_else(|| {
                    Error::new(ErrorKind::Io, "a memtable of its own size refused a batch")
                })?;
                out.memtable = Some(Arc::new(fresh));
                slot
            }
        };
        if let Some(memtable) = &out.memtable {
            memtable.fill(slot, &ops, frame.first);
        }
        out.operations += ops.0.len() as u64;
        Ok(())
    }
}

/// The operations of a frame.
struct FrameOps<'a>(Vec<Op<'a>>);

impl Ops for FrameOps<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn iter(&self) -> impl Iterator<Item = Op<'_>> {
        self.0.iter().copied()
    }
}

/// The operation that was logged as `entry`.
fn op_of<'a>(entry: &Entry<'a>) -> Option<Op<'a>> {
    let (collection, key) = split_full_key(entry.key)?;
    let value = match entry.kind {
        // The end of a range is logged as a full key; one of the next collection is an open end.
        Kind::RangeDelete => match split_full_key(entry.value)? {
            (id, end) if id == collection => end,
            _ => &[],
        },
        _ => entry.value,
    };
    Some(Op { kind: entry.kind, collection, key, value })
}
