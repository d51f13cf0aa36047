//! Appends to one log: places are reserved in order under the caller's lock, filled in parallel.
//!
//! ```text
//! LogFile   shared by all threads: sync, finish, the first error
//! LogTail   where the log ends; kept under the caller's lock; reserve → Reservation
//! Reservation   a claimed place; filled outside the lock, by its owner alone
//! ```
//!
//! 1. Positions and sequence numbers are handed out together: frames lie in the order of their
//!    numbers. A mark takes the number behind the operations that it rides with.
//! 2. The first failed write or sync, and a reservation dropped unfilled, is final: it is kept, and
//!    every later call gets it. A sync is never tried again (law 9; SST-L4).
//! 3. A reservation is filled with one write of one contiguous buffer, or, above 32 KiB, in pieces:
//!    large values straight from where they lie, and the header last.
//! 4. Nothing here syncs by itself, and a mark is written only for what the caller says is durable.
//!
//! Source: SST-12 (two stages), blobcache's reservation; refusals leave no trace (SST-L1).

use super::frame::{self, Header, Layout, Placement, Shape, place};
use super::marks::{Identity, Mark, MarkBytes, Previous, Says};
use crate::base::batch::Ops;
use crate::base::entry::{OpsLen, entry_len, logged_value, put_entry, put_entry_front};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{FileId, SeqNo};
use crate::env::names::{FileKind, FileName};
use crate::env::{Access, Append, Env, Span, path_in};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// What lies between large values is written in pieces of about this size.
pub const PIECE_BYTES: usize = 256 << 10;
/// Values from this size on are written from where they lie.
const DIRECT_BYTES: usize = 32 << 10;

/// A log file that is appended to.
#[derive(Debug)]
pub struct LogFile {
    name: FileName,
    nonce: u64,
    append: Arc<dyn Append>,
    /// Below this offset all is durable, and all earlier logs are: what the next mark will say.
    durable: AtomicU64,
    /// Its length and its last number, once it takes no more reservations.
    ended: OnceLock<(u64, SeqNo)>,
    failed: OnceLock<Error>,
}

impl LogFile {
    /// Creates log `id` in `dir`, with `allocate` bytes allocated ahead. Its name is durable on
    /// return.
    ///
    /// Errors: `Io`.
    pub fn create(
        env: &dyn Env,
        dir: &Path,
        id: FileId,
        allocate: u64,
        access: Access,
    ) -> Result<Arc<Self>> {
        let name = FileKind::Log.name(id);
        let append = env
            .create_append(&path_in(dir, name), allocate, access)
            .map_err(|error| Error::io(format_args!("create {name}"), error))?;
        env.sync_dir(dir)
            .map_err(|error| Error::io(format_args!("sync the folder of {name}"), error))?;
        Ok(Self::over(append, id, env.random()))
    }

    /// A log on a file that is already open and empty. `nonce` must be random: it tells this log's
    /// marks from those of any other.
    pub fn over(append: Arc<dyn Append>, id: FileId, nonce: u64) -> Arc<Self> {
        let (durable, ended, failed) = Default::default();
        Arc::new(Self { name: FileKind::Log.name(id), nonce, append, durable, ended, failed })
    }

    /// Begins the log, when its predecessor has closed to new reservations. Call it once.
    pub fn begin(self: &Arc<Self>, previous: Option<Previous>) -> LogTail {
        LogTail { file: self.clone(), position: 0, data_end: 0, marked: 0, previous }
    }

    /// Its name.
    pub fn name(&self) -> FileName {
        self.name
    }

    /// How it is written.
    pub fn access(&self) -> Access {
        self.append.access()
    }

    /// The error that ended this log, if one did.
    pub fn failure(&self) -> Option<&Error> {
        self.failed.get()
    }

    /// Makes durable all reservations that were filled before the call.
    ///
    /// Errors: the first error of this file, whatever it was; it will never be tried again.
    pub fn sync(&self) -> Result<()> {
        self.check()?;
        self.append.sync().map_err(|error| self.fail("sync", error))?;
        // Another thread's write may have failed meanwhile: then this sync proves nothing.
        self.check()
    }

    /// Says that all of this log below `offset`, and every earlier log, is durable: a [`sync`]
    /// that began when everything below `offset` was filled has returned. The next frame will
    /// carry a mark of it.
    ///
    /// [`sync`]: LogFile::sync
    pub fn note_durable(&self, offset: u64) {
        self.durable.fetch_max(offset, Ordering::AcqRel);
    }

    /// What [`note_durable`](LogFile::note_durable) was told.
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Says that it takes no more reservations, and ends so.
    pub fn end_at(&self, length: u64, last: SeqNo) {
        self.ended.get_or_init(|| (length, last));
    }

    /// What [`end_at`](LogFile::end_at) was told.
    pub fn ended(&self) -> Option<(u64, SeqNo)> {
        self.ended.get().copied()
    }

    /// Cuts the file off at `length`, the end of its last frame, when every reservation is filled.
    /// Not durable before the next [`sync`](LogFile::sync).
    pub fn finish(&self, length: u64) -> Result<()> {
        self.check()?;
        self.append.finish(length).map_err(|error| self.fail("cut", error))
    }

    fn check(&self) -> Result<()> {
        self.failed.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Keeps the first error and returns it.
    fn fail(&self, doing: &str, error: io::Error) -> Error {
        let error = Error::io(format_args!("{doing} {}", self.name), error);
        self.failed.get_or_init(|| error).clone()
    }
}

/// The end of a log. The caller keeps it under the lock that orders its commits.
#[derive(Debug)]
pub struct LogTail {
    file: Arc<LogFile>,
    position: u64,
    /// Where the last frame with operations ended: beyond it there is nothing worth a mark.
    data_end: u64,
    /// What the last mark promised.
    marked: u64,
    previous: Option<Previous>,
}

impl LogTail {
    /// Where the log ends: its final length, once nothing more is reserved.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The file.
    pub fn file(&self) -> &Arc<LogFile> {
        &self.file
    }

    /// Whether something became durable that no mark tells of yet. An idle database then writes a
    /// frame with a mark alone: a [`reserve`](LogTail::reserve) of [`OpsLen::EMPTY`].
    pub fn owes_mark(&self) -> bool {
        self.marked < self.data_end && self.marked < self.file.durable()
    }

    /// Claims the place of a payload, measured by `len`, whose first operation has number `first`.
    /// Takes [`Reservation::numbers`] sequence numbers. Cost: tens of ns, no system call.
    ///
    /// Panics if `len` does not fit `first`, or if there is neither an operation nor a mark to
    /// write. Errors: the one that ended this log.
    pub fn reserve(&mut self, len: &OpsLen, first: SeqNo, layout: Layout) -> Result<Reservation> {
        self.file.check()?;
        assert!(len.fits(first), "operations must be measured for their numbers");
        let says = if self.position == 0 {
            Some(Says::Origin(self.previous))
        } else {
            self.owes_mark().then(|| Says::Durable(self.file.durable()))
        };
        let mark_seq = SeqNo(first.0 + len.count());
        let identity = Identity { log: self.file.name.id, nonce: self.file.nonce };
        let mut mark = says.map(|says| Mark { identity, at: 0, says });
        // A mark's length does not depend on where it lies.
        let mark_len = mark.map_or(0, |mark| entry_len(&mark.encode().op(), mark_seq) as u64);
        let payload = len.bytes() + mark_len;
        assert!(payload > 0, "a frame must hold an operation or a mark");
        let place = place(self.position, payload, layout);
        if let Some(mark) = &mut mark {
            mark.at = place.at();
        }
        if let Some(Says::Durable(offset)) = says {
            self.marked = offset;
        }
        self.position = place.end;
        if len.count() > 0 {
            self.data_end = place.end;
        }
        let span = self.file.append.clone().claim(place.start, place.span());
        let mark = mark.map(|mark| Box::new(mark.encode()));
        let (file, count) = (self.file.clone(), len.count());
        Ok(Reservation { file, span, place, first, count, mark, filled: false })
    }
}

/// A place in a log that belongs to one commit. Fill it: dropped unfilled, it ends the log, since
/// nothing behind a hole may be acknowledged.
#[derive(Debug)]
#[must_use = "an unfilled reservation ends the log"]
pub struct Reservation {
    file: Arc<LogFile>,
    span: Span,
    place: Placement,
    first: SeqNo,
    count: u64,
    /// In a box, since few have one and all are moved.
    mark: Option<Box<MarkBytes>>,
    filled: bool,
}

impl Reservation {
    /// How many sequence numbers it takes: one an operation, and one for its mark if it has one.
    pub fn numbers(&self) -> u64 {
        self.count + u64::from(self.mark.is_some())
    }

    /// The last of them.
    pub fn last(&self) -> SeqNo {
        SeqNo(self.first.0 + self.numbers() - 1)
    }

    /// Where its frame begins in the file.
    pub fn at(&self) -> u64 {
        self.place.at()
    }

    /// Where its payload begins, if it is whole.
    pub fn payload_at(&self) -> u64 {
        self.place.start + self.place.front()
    }

    /// Where it ends: once a sync covers this offset, it is durable.
    pub fn end(&self) -> u64 {
        self.place.end
    }

    /// Writes the operations that were measured. `scratch` is any buffer; reuse it. It survives
    /// the end of the process once this returns, power loss once a sync covers it.
    ///
    /// Cost: one pass to encode, one checksum, one copy or system call. Panics if `ops` are not
    /// those that were measured. Errors: `Io`, which ends this log; or the error that had ended it.
    pub fn fill(mut self, ops: &impl Ops, scratch: &mut Vec<u8>) -> Result<()> {
        self.file.check()?;
        scratch.clear();
        let whole = self.place.shape == Shape::Whole;
        let written = if whole && self.place.payload > DIRECT_BYTES as u64 {
            self.write_pieces(ops, scratch)
        } else {
            self.encode(ops, scratch);
            self.span.write(scratch, 0)
        };
        written.map_err(|error| self.file.fail("write", error))?;
        self.filled = true;
        Ok(())
    }

    /// All bytes of the span.
    fn encode(&self, ops: &impl Ops, out: &mut Vec<u8>) {
        // The entry coding wants a little more than it uses.
        out.reserve(self.place.span() as usize + 64);
        out.resize(self.place.front() as usize, 0);
        let mut seq = self.first;
        for op in ops.iter() {
            put_entry(out, &op, seq);
            seq = seq.next();
        }
        if let Some(mark) = &self.mark {
            put_entry(out, &mark.op(), seq);
        }
        frame::seal(&self.place, out);
    }

    /// A large payload: entries gather in `scratch`, large values go straight to the file.
    fn write_pieces(&mut self, ops: &impl Ops, scratch: &mut Vec<u8>) -> io::Result<()> {
        let front = self.place.front();
        let mut pieces = Pieces { span: &mut self.span, offset: front, crc: 0 };
        let mut seq = self.first;
        for op in ops.iter() {
            put_entry_front(scratch, &op, seq);
            let value = logged_value(&op);
            if value.len() >= DIRECT_BYTES {
                pieces.write(scratch)?;
                scratch.clear();
                pieces.write(value)?;
            } else {
                scratch.extend_from_slice(value);
            }
            if scratch.len() >= PIECE_BYTES {
                pieces.write(scratch)?;
                scratch.clear();
            }
            seq = seq.next();
        }
        if let Some(mark) = &self.mark {
            put_entry(scratch, &mark.op(), seq);
        }
        pieces.write(scratch)?;
        let (end, crc) = (pieces.offset, pieces.crc);
        assert_eq!(end, front + self.place.payload, "a payload as reserved");
        scratch.clear();
        scratch.resize(self.place.pad as usize, 0);
        scratch.extend_from_slice(Header::whole(self.place.payload, crc).bytes());
        self.span.write(scratch, 0)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.filled {
            let Self { file, place, .. } = self;
            let message = format!("{}: nothing was written at byte {}", file.name, place.at());
            file.failed.get_or_init(|| Error::new(ErrorKind::Io, message));
        }
    }
}

struct Pieces<'a> {
    span: &'a mut Span,
    offset: u64,
    crc: u32,
}

impl Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.span.write(bytes, self.offset)?;
        self.offset += bytes.len() as u64;
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
