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
//! 4. Each log is read once. What a later log promises of an earlier one is looked up only when the
//!    earlier one ends too soon: then it tells a lost tail from damage.
//! 5. Reading and filling memtables go side by side: see [`fill`](super::fill).

use super::fill::{Filling, Source};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{FileId, SeqNo};
use crate::env::names::FileKind;
use crate::env::{Access, Env, path_in, read_whole};
use crate::log::marks::Previous;
use crate::log::reader::{End, LogReader, Promise};
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
    /// Values from this length on stay in the log, out of line.
    pub blob_threshold: usize,
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
    /// Where each log ended that holds anything, ascending.
    pub ends: Vec<Previous>,
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
    /// Reads the logs, each once, while another thread fills memtables. Memory: the memtables, and
    /// one log at a time where files are not mapped.
    ///
    /// Errors: `Corruption` naming file and offset; `Io`. Nothing on disk is changed.
    pub fn run(&self) -> Result<Replayed> {
        let mut out = Replayed { last: self.flushed, ..Replayed::default() };
        let mut filling = Filling::start(self.env, self.slab_bytes, self.blob_threshold)?;
        let mut ends: Vec<End> = Vec::new();
        for (index, &log) in self.logs.iter().enumerate() {
            let (source, mut reader) = self.open(log, self.promise(log))?;
            // The first frame tells of the log before; an error in it comes again below.
            let begins = reader.next().is_ok_and(|frame| frame.is_some());
            if begins && self.is_behind_a_hole(log, reader.previous(), &ends)? {
                self.refuse_if_promised()?;
                self.drop_from(index, &mut out)?;
                break;
            }
            let end = self.replay_log(&source, &mut filling, &mut out)?;
            ends.push(end);
        }
        let filled = filling.finish()?;
        (out.full, out.memtable, out.operations) =
            (filled.full, filled.memtable, filled.operations);
        Ok(out)
    }

    /// What the manifest promises of a log.
    fn promise(&self, log: FileId) -> Promise {
        self.promised.filter(|end| end.log == log).map_or(Promise::default(), promise_of)
    }

    fn open(&self, log: FileId, promise: Promise) -> Result<(Source, LogReader)> {
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
        let reader = LogReader::new(log, map.clone(), promise);
        Ok((Source { log, file, map }, reader))
    }

    /// Books log `at` and all behind it as dropped.
    fn drop_from(&self, at: usize, out: &mut Replayed) -> Result<()> {
        for &log in self.logs.iter().skip(at) {
            let bytes = self.open(log, Promise::default())?.0.map.bytes().len() as u64;
            out.dropped.push(Dropped { log, at: 0, bytes });
        }
        Ok(())
    }

    /// Some log begins behind a tail that was lost. Errors: `Corruption` if that tail was promised:
    /// by the manifest, or by a durable mark anywhere behind it.
    fn refuse_if_promised(&self) -> Result<()> {
        let mut promised: Option<Previous> = None;
        let mut durable = false;
        for &log in self.logs.iter().rev() {
            let before = promised.take().filter(|end| end.log == log);
            let promise = before.map_or(self.promise(log), promise_of);
            durable |= promise.length.is_some();
            let mut reader = self.open(log, promise)?.1;
            while reader.next()?.is_some() {}
            durable |= reader.durable() > 0;
            promised = reader.previous().filter(|_| durable);
        }
        Ok(())
    }

    fn replay_log(
        &self,
        source: &Source,
        filling: &mut Filling<'_>,
        out: &mut Replayed,
    ) -> Result<End> {
        let log = source.log;
        let mut reader = LogReader::new(log, source.map.clone(), self.promise(log));
        out.logs_read += 1;
        let mut first = true;
        loop {
            let Some(frame) = reader.next()? else { break };
            if frame.last > self.flushed {
                filling.push(source, &frame)?;
            }
            if std::mem::take(&mut first) {
                self.check_origin(log, reader.previous())?;
            }
        }
        filling.send()?;
        let end = reader.end().unwrap_or(End::Clean { length: 0, last: SeqNo::ZERO });
        out.bytes += end.length();
        if end.length() > 0 {
            out.last = out.last.max(end.last());
            out.ends.push(Previous { log, length: end.length(), last: end.last() });
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
        Ok(self.open(log, Promise::default())?.1.next()?.is_some())
    }

    /// Whether `log` begins behind a tail that the log before it has lost; `ends` are those of the
    /// logs before. Logs in which nothing was ever written are no links of the chain.
    fn is_behind_a_hole(
        &self,
        log: FileId,
        previous: Option<Previous>,
        ends: &[End],
    ) -> Result<bool> {
        let Some(previous) = previous else { return Ok(false) };
        let place = self.logs.iter().position(|other| *other == previous.log);
        let Some(found) = place.and_then(|place| ends.get(place)) else { return Ok(false) };
        let (end, last) = (found.length(), found.last());
        let differs = end == previous.length && last != previous.last;
        if end > previous.length || differs {
            let want = format!("the end of the log, as {} says", FileKind::Log.name(log));
            let found = format!("frames up to byte {end} and number {last}");
            let name = FileKind::Log.name(previous.log);
            return Err(Error::corruption(name, previous.length, want, found));
        }
        Ok(end < previous.length)
    }
}

fn promise_of(end: Previous) -> Promise {
    Promise { length: Some(end.length), last: Some(end.last) }
}
