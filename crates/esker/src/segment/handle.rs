//! A live segment: what the manifest says of it, and a reader opened at first use.
//!
//! 1. Reading goes through [`Segment::read`]; a segment nobody reads costs no file descriptor. How
//!    many stay open, and which are closed: [`Places`].
//! 2. A segment is doomed when a durable manifest no longer names it. When the last user of a
//!    doomed segment drops it, its number goes to the trash, and `db` is told, which removes the
//!    file (law 7). Nothing here removes anything.
//! 3. Range deletes are read once, before any reader relies on the segment: an error there is an
//!    error of the open or of the job that made it, and never a delete that is not seen (F-28).

use super::{RangeTombstone, SegmentMeta, SegmentReader};
use crate::base::blob::BlobRef;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::setsum::Setsum;
use crate::base::span::Span;
use crate::cache::BlockCache;
use crate::cache::open::{Holder, Places, Seat, Slot};
use crate::env::names::FileKind;
use crate::env::tally::Tally;
use crate::env::{Access, Env};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

pub use crate::cache::open::Trash;

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

/// The segments that are open, among others' files, and what their filters are asked.
#[derive(Debug)]
pub struct Readers {
    places: Arc<Places>,
    asked: Arc<Tally<3>>,
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

/// Counts an open reader for as long as it lives, and what it does.
#[derive(Debug)]
pub(super) struct Counted {
    asked: Arc<Tally<3>>,
    _seat: Seat,
}

impl Counted {
    #[inline]
    pub(super) fn count(&self, asked: Asked) {
        self.asked.count(match asked {
            Asked::Refused => 0,
            Asked::Found => 1,
            Asked::InVain => 2,
        });
    }
}

impl Readers {
    /// Room for `most` readers of its own, at least one.
    pub fn at_most(most: usize) -> Self {
        Self::sharing(Arc::new(Places::at_most(most)))
    }

    /// Readers that share `places` with those of other files.
    pub fn sharing(places: Arc<Places>) -> Self {
        Self { places, asked: Arc::default() }
    }

    /// The places, to be shared.
    pub fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// How many readers are open now, those included that are open only until their user is done,
    /// and those of the files that share the places.
    pub fn open_count(&self) -> u64 {
        self.places.open_count()
    }

    /// How point reads fared with filters.
    pub fn filter_figures(&self) -> FilterFigures {
        let [refused, found, false_passes] = [0, 1, 2].map(|which| self.asked.sum(which));
        let passes = found + false_passes;
        FilterFigures { probes: refused + passes, passes, false_passes }
    }
}

/// A live segment, shared by every version that names it.
#[derive(Debug)]
pub struct Segment {
    meta: SegmentMeta,
    shelf: Arc<Shelf>,
    slot: Slot<SegmentReader>,
    doomed: AtomicBool,
    /// Its range deletes, once they were read.
    spans: OnceLock<Arc<[Span]>>,
}

impl Segment {
    /// A segment as the manifest describes it. No I/O.
    pub fn new(shelf: Arc<Shelf>, meta: SegmentMeta) -> Self {
        let (slot, doomed, spans) = Default::default();
        Self { meta, shelf, slot, doomed, spans }
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
        self.lend(with)
    }

    /// Its reader, to keep: it stays open as long as it is kept. Cost and errors as of
    /// [`Segment::read`].
    pub fn reader(self: &Arc<Self>) -> Result<Arc<SegmentReader>> {
        self.read(|reader| Ok(reader.clone()))
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
    pub fn verify(
        &self,
        progress: &mut dyn FnMut(u64),
        refs: &mut dyn FnMut(&BlobRef),
    ) -> Result<Setsum> {
        let reader = self.open(self.shelf.readers.places.seat())?;
        let sum = reader.verify_refs(progress, refs)?;
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

impl Holder for Segment {
    type Reader = SegmentReader;

    #[inline]
    fn slot(&self) -> &Slot<SegmentReader> {
        &self.slot
    }

    fn places(&self) -> &Places {
        &self.shelf.readers.places
    }

    fn open(&self, seat: Seat) -> Result<SegmentReader> {
        let Shelf { env, dir, access, cache, readers, .. } = &*self.shelf;
        let counted = Counted { asked: readers.asked.clone(), _seat: seat };
        Ok(SegmentReader::open(env, dir, &self.meta, *access, cache)?.counted(counted))
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if *self.doomed.get_mut() {
            self.shelf.trash.put(self.meta.id);
        }
    }
}
