//! A live segment: what the manifest says of it, and a reader opened at first use.
//!
//! ```text
//! read ─▶ open? ─▶ reader                                      one load
//!           └ no ─▶ close cold ones ─▶ open ─▶ take a place    a clock over at most so many places
//! ```
//!
//! 1. Reading goes through [`Segment::read`]; a segment nobody reads costs no file descriptor.
//! 2. At most [`Readers`]'s number of readers stay open because they may be used again. One that
//!    lost its place stays alive while somebody uses it, and is then closed.
//! 3. A reader is put into its segment, and taken out, under the lock of the table alone: each one
//!    there has a place.
//! 4. A segment is doomed when a durable manifest no longer names it. When the last user of a
//!    doomed segment drops it, its number goes to the trash, and `db` is told, which removes the
//!    file (law 7). Nothing here removes anything.
//! 5. Range deletes are read once, before any reader relies on the segment: an error there is an
//!    error of the open or of the job that made it, and never a delete that is not seen (F-28).

use super::{RangeTombstone, SegmentMeta, SegmentReader};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::FileId;
use crate::base::setsum::Setsum;
use crate::base::span::Span;
use crate::cache::BlockCache;
use crate::env::names::FileKind;
use crate::env::tally::Tally;
use crate::env::{Access, Env};
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// Where the segments of one database lie and how they are read.
#[derive(Debug)]
pub struct Shelf {
    /// The outside world.
    pub env: Arc<dyn Env>,
    /// The database folder.
    pub dir: PathBuf,
    /// Through maps or through the cache.
    pub access: Access,
    /// Blocks that were read or decompressed.
    pub cache: Arc<BlockCache>,
    /// The readers that are open.
    pub readers: Readers,
    /// Numbers of doomed segments that nobody uses any more.
    pub trash: Trash,
}

/// What can be removed, and whom to tell that there is something.
#[derive(Default)]
pub struct Trash {
    ids: Mutex<Vec<FileId>>,
    filled: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for Trash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trash").field("ids", &self.ids).finish_non_exhaustive()
    }
}

impl Trash {
    /// Calls `filled` when there is something again. Set once.
    pub fn on_filled(&self, filled: impl Fn() + Send + Sync + 'static) {
        let _ = self.filled.set(Box::new(filled));
    }

    /// Takes out all there is.
    pub fn take(&self) -> Vec<FileId> {
        std::mem::take(&mut self.ids.lock())
    }

    fn put(&self, id: FileId) {
        let mut ids = self.ids.lock();
        let was_empty = ids.is_empty();
        ids.push(id);
        drop(ids);
        if was_empty && let Some(filled) = self.filled.get() {
            filled();
        }
    }
}

/// The readers that stay open, so that cold ones can be closed.
///
/// Held briefly, to add and to take out: files are opened and closed outside the lock.
#[derive(Debug)]
pub struct Readers {
    most: usize,
    figures: Arc<Figures>,
    table: Mutex<Table>,
}

/// What readers count together.
#[derive(Debug, Default)]
struct Figures {
    alive: AtomicU64,
    asked: Tally<3>,
}

/// What the filter said to a point read, and whether that was so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The key is not there.
    Refused,
    /// The key may be there, and was.
    Found,
    /// The key may be there, and no version that the reader may see was.
    InVain,
}

/// How often point reads have asked filters since the open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilterFigures {
    /// In all.
    pub probes: u64,
    /// How often the answer was that the key may be there.
    pub passes: u64,
    /// How often it then was not.
    pub false_passes: u64,
}

/// One place for each reader, and the hand of the clock that goes round them. The segment of a place
/// may be gone.
#[derive(Debug, Default)]
struct Table {
    places: Vec<Weak<Segment>>,
    hand: usize,
}

/// What was taken out of the table, to be dropped outside its lock.
type Closed = Vec<(Arc<Segment>, Option<Arc<SegmentReader>>)>;

/// Counts an open reader for as long as it lives, and what it does.
#[derive(Debug)]
pub(super) struct Seat(Arc<Figures>);

impl Seat {
    #[inline]
    pub(super) fn count(&self, asked: Asked) {
        self.0.asked.count(match asked {
            Asked::Refused => 0,
            Asked::Found => 1,
            Asked::InVain => 2,
        });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Readers {
    /// Room for `most` readers, at least one.
    pub fn at_most(most: usize) -> Self {
        Self { most: most.max(1), figures: Arc::default(), table: Mutex::default() }
    }

    /// How many readers are open now, those included that are open only until their user is done.
    pub fn open_count(&self) -> u64 {
        self.figures.alive.load(Ordering::Relaxed)
    }

    /// How point reads fared with filters.
    pub fn filter_figures(&self) -> FilterFigures {
        let [refused, found, false_passes] = [0, 1, 2].map(|which| self.figures.asked.sum(which));
        let passes = found + false_passes;
        FilterFigures { probes: refused + passes, passes, false_passes }
    }

    fn seat(&self) -> Seat {
        self.figures.alive.fetch_add(1, Ordering::Relaxed);
        Seat(self.figures.clone())
    }

    /// Closes cold readers until one more finds a place.
    fn make_room(&self) {
        let closed = self.table.lock().shrink_to(self.most - 1);
        drop(closed);
    }

    /// Gives `reader` its place; the one that another thread has opened meanwhile goes before it.
    fn keep(&self, segment: &Arc<Segment>, reader: Arc<SegmentReader>) -> Arc<SegmentReader> {
        let mut table = self.table.lock();
        if let Some(other) = segment.reader.load_full() {
            return other;
        }
        let closed = table.shrink_to(self.most - 1);
        segment.used.store(true, Ordering::Relaxed);
        segment.reader.store(Some(reader.clone()));
        table.places.push(Arc::downgrade(segment));
        drop(table);
        drop(closed);
        reader
    }
}

impl Table {
    /// Takes out readers until at most `most` are left: first those not used since the hand last
    /// came by.
    fn shrink_to(&mut self, most: usize) -> Closed {
        let mut closed = Vec::new();
        let mut spared = 0;
        while self.places.len() > most {
            if self.hand >= self.places.len() {
                self.hand = 0;
            }
            let Some(segment) = self.places.get(self.hand).and_then(Weak::upgrade) else {
                self.places.swap_remove(self.hand);
                continue;
            };
            // Others may use them faster than the hand goes round.
            if spared < 2 * self.places.len() && segment.used.swap(false, Ordering::Relaxed) {
                spared += 1;
                self.hand += 1;
                closed.push((segment, None));
                continue;
            }
            let reader = segment.reader.swap(None);
            closed.push((segment, reader));
            self.places.swap_remove(self.hand);
        }
        closed
    }
}

/// A live segment, shared by every version that names it.
#[derive(Debug)]
pub struct Segment {
    meta: SegmentMeta,
    shelf: Arc<Shelf>,
    reader: ArcSwapOption<SegmentReader>,
    /// Whether it was read since the hand of the clock last came by.
    used: AtomicBool,
    doomed: AtomicBool,
    /// Its range deletes, once they were read.
    spans: OnceLock<Arc<[Span]>>,
}

impl Segment {
    /// A segment as the manifest describes it. No I/O.
    pub fn new(shelf: Arc<Shelf>, meta: SegmentMeta) -> Self {
        let (reader, used, doomed, spans) = Default::default();
        Self { meta, shelf, reader, used, doomed, spans }
    }

    /// What the manifest says of it.
    pub fn meta(&self) -> &SegmentMeta {
        &self.meta
    }

    /// Lends its reader to `with`. Cost: one load, unless it must be opened first.
    ///
    /// Errors: as of [`SegmentReader::open`], and the next call tries again; those of `with`.
    #[inline]
    pub fn read<T>(
        self: &Arc<Self>,
        with: impl FnOnce(&Arc<SegmentReader>) -> Result<T>,
    ) -> Result<T> {
        let open = self.reader.load();
        let Some(reader) = &*open else {
            drop(open);
            return with(&self.open()?);
        };
        // Looked at first: a store would take the line away from other readers.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        with(reader)
    }

    /// Its reader, to keep: it stays open as long as it is kept. Cost and errors as of
    /// [`Segment::read`].
    pub fn reader(self: &Arc<Self>) -> Result<Arc<SegmentReader>> {
        self.read(|reader| Ok(reader.clone()))
    }

    #[cold]
    fn open(self: &Arc<Self>) -> Result<Arc<SegmentReader>> {
        // Before, so that the system never has more open than it was told.
        self.shelf.readers.make_room();
        let reader = Arc::new(self.open_anew()?);
        Ok(self.shelf.readers.keep(self, reader))
    }

    fn open_anew(&self) -> Result<SegmentReader> {
        let Shelf { env, dir, access, cache, readers, .. } = &*self.shelf;
        let seat = readers.seat();
        Ok(SegmentReader::open(env, dir, &self.meta, *access, cache)?.seated(seat))
    }

    /// What its range deletes cover, in the order of entries. Reads them once; a segment without any
    /// is not opened.
    ///
    /// Errors: as of [`SegmentReader::open`] and [`SegmentReader::range_tombstones`], and the next
    /// call tries again; `Corruption` if there are more or fewer than the manifest says.
    pub fn spans(self: &Arc<Self>) -> Result<Arc<[Span]>> {
        if let Some(spans) = self.spans.get() {
            return Ok(spans.clone());
        }
        let mut spans = Vec::new();
        if self.meta.range_deletes > 0 {
            for RangeTombstone { start, end, seq } in
                self.read(|reader| reader.range_tombstones())?
            {
                spans.push(Span { start: start.into(), end: end.into(), seq });
            }
        }
        if spans.len() as u64 != self.meta.range_deletes {
            let (name, want) = (FileKind::Segment.name(self.meta.id), self.meta.range_deletes);
            let message = format!("{name}: want {want} range deletes, found {}", spans.len());
            return Err(Error::new(ErrorKind::Corruption, message));
        }
        Ok(self.spans.get_or_init(|| spans.into()).clone())
    }

    /// The key up to which its entries and range deletes reach: its largest key, or the end of a
    /// range delete above it. Knows of range deletes once [`Self::spans`] has read them.
    pub fn reach(&self) -> &[u8] {
        let spans = self.spans.get().map_or(&[][..], |spans| spans);
        let furthest = spans.iter().map(|span| &*span.end).max().unwrap_or_default();
        furthest.max(&self.meta.largest)
    }

    /// Reads and checks every byte, through a reader of its own, so that the file is looked at as
    /// it is now: what the manifest says of it, and the range deletes that readers were given, must
    /// be what the file says. Errors: as of [`SegmentReader::open`] and [`SegmentReader::verify`].
    pub fn verify(&self, progress: &mut dyn FnMut(u64)) -> Result<Setsum> {
        let reader = self.open_anew()?;
        let sum = reader.verify(progress)?;
        let Some(known) = self.spans.get().filter(|_| self.meta.range_deletes > 0) else {
            return Ok(sum);
        };
        let now = reader.range_tombstones()?;
        let is_known = |(a, b): (&Span, &RangeTombstone)| {
            (&*a.start, &*a.end, a.seq) == (&*b.start, &*b.end, b.seq)
        };
        if known.len() != now.len() || !known.iter().zip(&now).all(is_known) {
            let name = FileKind::Segment.name(self.meta.id);
            let message = format!("{name}: its range deletes are not those that were read before");
            return Err(Error::new(ErrorKind::Corruption, message));
        }
        Ok(sum)
    }

    /// Says that the durable manifest no longer names it.
    pub fn doom(&self) {
        self.doomed.store(true, Ordering::Release);
    }

    /// Whether its keys may include `key` (a full key).
    pub fn covers(&self, key: &[u8]) -> bool {
        *self.meta.smallest <= *key && *key <= *self.meta.largest
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if *self.doomed.get_mut() {
            self.shelf.trash.put(self.meta.id);
        }
    }
}
