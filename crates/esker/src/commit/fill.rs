//! The half of a replay that fills memtables, in a thread of its own.
//!
//! ```text
//!   replay: read · check · decode ─▶ pieces ─▶ fill: hash · copy · link ─▶ memtables
//!           (this thread)            (a queue)      (a worker)
//! ```
//!
//! 1. Numbers, kinds and order go into the memtable as they stand in the log: replayed state equals
//!    live state (BLOB-15).
//! 2. Pieces are filled in the order in which they came; the first error ends it all.
//! 3. The queue holds a few MiB at most: a reader that is ahead waits.

use super::replay::Full;
use crate::base::batch::{Op, Ops};
use crate::base::blob::BlobRef;
use crate::base::entry::Logged;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{FileId, SeqNo};
use crate::base::key::{Kind, split_full_key};
use crate::env::names::FileKind;
use crate::env::{Env, File, Gate, Map, Next, Worker};
use crate::log::large::blob_of;
use crate::log::reader::Frame;
use crate::memtable::Memtable;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Payload bytes of a piece, about.
const PIECE_BYTES: usize = 256 << 10;
/// Payload bytes that may wait.
const QUEUE_BYTES_MAX: usize = 4 << 20;

/// A log that is replayed.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its number.
    pub log: FileId,
    /// Its file: large values are read from it until they are flushed.
    pub file: Arc<dyn File>,
    /// Its bytes.
    pub map: Arc<dyn Map>,
}

/// Some frames that lie behind each other.
#[derive(Debug)]
struct Piece {
    source: Source,
    frames: Vec<Placed>,
    bytes: usize,
}

/// A frame whose entries were decoded once already.
#[derive(Debug)]
struct Placed {
    at: u64,
    first: SeqNo,
    last: SeqNo,
    payload: Payload,
}

#[derive(Debug)]
enum Payload {
    /// In the file.
    At(Range<usize>),
    /// Joined from two parts.
    Joined(Vec<u8>),
}

/// What becomes of the frames.
#[derive(Debug)]
pub struct Filler {
    slab_bytes: usize,
    blob_threshold: usize,
    /// Memtables that filled up, oldest first.
    pub full: Vec<Full>,
    /// The last one, which has room.
    pub memtable: Option<Arc<Memtable>>,
    /// Operations so far.
    pub operations: u64,
}

impl Filler {
    fn fill_piece(&mut self, piece: &Piece) -> Result<()> {
        for placed in &piece.frames {
            let (payload, payload_at) = match &placed.payload {
                Payload::At(range) => {
                    let payload = piece.source.map.bytes().get(range.clone()).unwrap_or_default();
                    (payload, Some(range.start as u64))
                }
                Payload::Joined(bytes) => (bytes.as_slice(), None),
            };
            let Placed { at, first, last, .. } = *placed;
            let frame = Frame { at, end: at, payload, payload_at, first, last };
            self.fill(&piece.source, &frame)?;
        }
        Ok(())
    }

    fn fill(&mut self, source: &Source, frame: &Frame<'_>) -> Result<()> {
        let name = FileKind::Log.name(source.log);
        let mut ops = FrameOps::default();
        for (logged, number) in frame.operations().zip(frame.first.0..) {
            if logged.seq.0 != number {
                let want = format!("operation {number}");
                return Err(Error::corruption(name, frame.at, want, logged.seq));
            }
            let op = op_of(&logged).ok_or_else(|| {
                let want = "a key with a collection id";
                Error::corruption(name, frame.at, want, "a shorter one")
            })?;
            ops.push(op, blob_of(source.log, frame, &logged, self.blob_threshold)?);
        }
        if ops.ops.is_empty() {
            return Ok(());
        }
        let memtable = self.put(source, frame, &ops)?;
        if !ops.refs.is_empty() {
            memtable.add_log(source.log, &source.file);
        }
        Ok(())
    }

    fn put(&mut self, source: &Source, frame: &Frame<'_>, ops: &impl Ops) -> Result<&Memtable> {
        let bytes = Memtable::need(ops);
        let reserved = self.memtable.as_ref().and_then(|memtable| memtable.reserve(bytes));
        let slot = match reserved {
            Some(slot) => slot,
            None => {
                if let Some(memtable) = self.memtable.take() {
                    let last = SeqNo(frame.first.0 - 1);
                    self.full.push(Full { memtable, last, logs_from: source.log });
                }
                let fresh = Memtable::with_capacity(self.slab_bytes.max(bytes))?;
                let slot = fresh.reserve(bytes).ok_or_else(refused)?;
                self.memtable = Some(Arc::new(fresh));
                slot
            }
        };
        self.operations += ops.count() as u64;
        let memtable = self.memtable.as_ref().ok_or_else(refused)?;
        memtable.fill(slot, ops, frame.first);
        Ok(memtable)
    }
}

fn refused() -> Error {
    Error::new(ErrorKind::Io, "a memtable of its own size refused a batch")
}

/// A filler at work.
pub struct Filling<'a> {
    env: &'a dyn Env,
    shared: Arc<Shared>,
    worker: Worker,
    piece: Option<Piece>,
}

struct Shared {
    state: Mutex<Queue>,
    /// Opened when a piece was taken or filled.
    moved: Gate,
    filler: Mutex<Filler>,
}

#[derive(Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    bytes: usize,
    is_filling: bool,
    failed: Option<Error>,
}

impl<'a> Filling<'a> {
    /// Starts the worker. Errors: `Io` if there can be none.
    pub fn start(env: &'a dyn Env, slab_bytes: usize, blob_threshold: usize) -> Result<Self> {
        let (full, memtable, operations) = Default::default();
        let filler = Filler { slab_bytes, blob_threshold, full, memtable, operations };
        let (state, moved) = Default::default();
        let shared = Arc::new(Shared { state, moved, filler: Mutex::new(filler) });
        let job = shared.clone();
        let worker = env
            .spawn("esker-replay", Box::new(move || job.unit()))
            .map_err(|error| Error::io("start the worker esker-replay", error))?;
        Ok(Self { env, shared, worker, piece: None })
    }

    /// Hands a frame over, at once or with those behind it. Errors: the worker's.
    pub fn push(&mut self, source: &Source, frame: &Frame<'_>) -> Result<()> {
        let payload = match frame.payload_at.and_then(|at| usize::try_from(at).ok()) {
            Some(at) => Payload::At(at..at + frame.payload.len()),
            None => Payload::Joined(frame.payload.to_vec()),
        };
        let Frame { at, first, last, .. } = *frame;
        let new = || Piece { source: source.clone(), frames: Vec::new(), bytes: 0 };
        let piece = self.piece.get_or_insert_with(new);
        piece.frames.push(Placed { at, first, last, payload });
        piece.bytes += frame.payload.len();
        if piece.bytes >= PIECE_BYTES { self.send() } else { Ok(()) }
    }

    /// Hands over what was kept back: call it at the end of a log.
    pub fn send(&mut self) -> Result<()> {
        let Some(piece) = self.piece.take() else { return Ok(()) };
        let has_room = || {
            let queue = self.shared.state.lock();
            queue.bytes <= QUEUE_BYTES_MAX || queue.failed.is_some()
        };
        self.shared.moved.wait_until(self.env, has_room);
        let mut queue = self.shared.state.lock();
        if let Some(error) = &queue.failed {
            return Err(error.clone());
        }
        queue.bytes += piece.bytes;
        queue.pieces.push_back(piece);
        drop(queue);
        self.worker.wake();
        Ok(())
    }

    /// Waits until all is filled. Errors: the worker's.
    pub fn finish(mut self) -> Result<Filler> {
        self.send()?;
        let is_done = || {
            let queue = self.shared.state.lock();
            (queue.pieces.is_empty() && !queue.is_filling) || queue.failed.is_some()
        };
        self.shared.moved.wait_until(self.env, is_done);
        let failed = self.shared.state.lock().failed.clone();
        let mut filler = self.shared.filler.lock();
        let empty = Filler { full: Vec::new(), memtable: None, ..*filler };
        let filled = std::mem::replace(&mut *filler, empty);
        failed.map_or(Ok(filled), Err)
    }
}

impl Shared {
    /// Fills one piece.
    fn unit(&self) -> Next {
        let mut queue = self.state.lock();
        let Some(piece) = queue.pieces.pop_front().filter(|_| queue.failed.is_none()) else {
            return Next::Wait(None);
        };
        queue.bytes -= piece.bytes;
        queue.is_filling = true;
        drop(queue);
        let filled = catch_unwind(AssertUnwindSafe(|| self.filler.lock().fill_piece(&piece)));
        let panicked = || Err(Error::new(ErrorKind::Io, "the replay of a log panicked"));
        let filled = filled.unwrap_or_else(|_| panicked());
        let mut queue = self.state.lock();
        queue.is_filling = false;
        queue.failed = filled.err();
        drop(queue);
        self.moved.open();
        Next::Again
    }
}

/// The operations of a frame, with refs in the place of large values.
#[derive(Default)]
struct FrameOps<'a> {
    /// Those of kind `Blob` have their values in `refs`, in order.
    ops: Vec<Op<'a>>,
    refs: Vec<[u8; BlobRef::BYTES]>,
}

impl<'a> FrameOps<'a> {
    fn push(&mut self, op: Op<'a>, large: Option<BlobRef>) {
        let kind = if large.is_some() { Kind::Blob } else { op.kind };
        self.ops.push(Op { kind, ..op });
        self.refs.extend(large.map(|blob| blob.encode()));
    }
}

impl Ops for FrameOps<'_> {
    fn count(&self) -> usize {
        self.ops.len()
    }

    fn iter(&self) -> impl Iterator<Item = Op<'_>> {
        let mut refs = self.refs.iter();
        self.ops.iter().map(move |&op| {
            let large = if op.kind == Kind::Blob { refs.next() } else { None };
            large.map_or(op, |value| Op { value, ..op })
        })
    }
}

/// The operation that was logged as `entry`; none if its key is too short for that.
pub fn op_of<'a>(entry: &Logged<'a>) -> Option<Op<'a>> {
    let (collection, key) = split_full_key(entry.key)?;
    let value = match entry.kind {
        // The end of a range is logged as a full key; one of the next collection is an open end.
        Kind::RangeDelete => match split_full_key(entry.value)? {
            (id, end) if id == collection => end,
            _ => &[],
        },
        _ => entry.value,
    };
    Some(Op { kind: entry.kind, collection, key, value, expires: entry.expiry })
}
