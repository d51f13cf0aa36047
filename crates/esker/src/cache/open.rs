//! Files that stay open because they may be read again, and files that can be removed because they
//! will not.
//!
//! ```text
//! read ─▶ open? ─▶ reader                                      one load
//!           └ no ─▶ close cold ones ─▶ open ─▶ take a place    a clock over at most so many places
//! ```
//!
//! 1. At most [`Places`]'s number of readers stay open because they may be used again, whatever
//!    they read. One that lost its place stays alive while somebody uses it, and is then closed.
//! 2. A reader is put into its slot, and taken out, under the lock of the table alone: each one
//!    there has a place.
//! 3. Files are opened and closed, and what held them is dropped, outside that lock.
//! 4. Nothing here removes a file: [`Trash`] has their numbers, and `db` does it (law 7).

use crate::base::error::Result;
use crate::base::id::FileId;
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

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

    /// Says that file `id` can be removed.
    pub fn put(&self, id: FileId) {
        let mut ids = self.ids.lock();
        let was_empty = ids.is_empty();
        ids.push(id);
        drop(ids);
        if was_empty && let Some(filled) = self.filled.get() {
            filled();
        }
    }
}

/// Where the reader of one file is kept while it is open.
#[derive(Debug)]
pub struct Slot<R> {
    reader: ArcSwapOption<R>,
    /// Whether it was read since the hand of the clock last came by.
    used: AtomicBool,
}

impl<R> Default for Slot<R> {
    fn default() -> Self {
        Self { reader: ArcSwapOption::default(), used: AtomicBool::default() }
    }
}

/// What the table knows of a slot.
pub trait Cold: Send + Sync {
    /// Whether it was used since this was last asked.
    fn was_used(&self) -> bool;
    /// Takes its reader out.
    fn close(&self) -> Option<Arc<dyn Any + Send + Sync>>;
}

impl<R: Send + Sync + 'static> Cold for Slot<R> {
    fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    fn close(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.reader.swap(None).map(|reader| reader as _)
    }
}

/// A file that has a slot for its reader: a segment, a blob file.
pub trait Holder: Send + Sync + 'static {
    /// What reads it.
    type Reader: Send + Sync + 'static;
    /// Its slot, always the same.
    fn slot(&self) -> &Slot<Self::Reader>;
    /// Where its slot finds a place.
    fn places(&self) -> &Places;
    /// Opens the file; the seat is dropped with the reader.
    fn open(&self, seat: Seat) -> Result<Self::Reader>;

    /// Lends its reader to `with`. Cost: one load, unless it must be opened first.
    ///
    /// Errors: as of [`Holder::open`], and the next call tries again; those of `with`.
    #[inline]
    fn lend<T>(self: &Arc<Self>, with: impl FnOnce(&Arc<Self::Reader>) -> Result<T>) -> Result<T>
    where
        Self: Sized,
    {
        let slot = self.slot();
        let open = slot.reader.load();
        let Some(reader) = &*open else {
            drop(open);
            return with(&open_anew(self)?);
        };
        // Looked at first: a store would take the line away from other readers.
        if !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
        with(reader)
    }
}

#[cold]
fn open_anew<H: Holder>(holder: &Arc<H>) -> Result<Arc<H::Reader>> {
    let places = holder.places();
    // Before, so that the system never has more open than it was told.
    places.make_room();
    let reader = Arc::new(holder.open(places.seat())?);
    Ok(places.keep(holder, reader))
}

/// A [`Holder`] of any kind, as the table keeps it.
trait AnyHolder: Send + Sync {
    fn cold(&self) -> &dyn Cold;
}

impl<H: Holder> AnyHolder for H {
    fn cold(&self) -> &dyn Cold {
        self.slot()
    }
}

/// The readers that stay open, so that cold ones can be closed.
///
/// Held briefly, to add and to take out: files are opened and closed outside the lock.
#[derive(Debug)]
pub struct Places {
    most: usize,
    alive: Arc<AtomicU64>,
    table: Mutex<Table>,
}

/// One place for each reader, and the hand of the clock that goes round them. The holder of a place
/// may be gone.
#[derive(Default)]
struct Table {
    places: Vec<Weak<dyn AnyHolder>>,
    hand: usize,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("places", &self.places.len()).finish_non_exhaustive()
    }
}

/// What was taken out of the table, to be dropped outside its lock.
type Closed = Vec<(Arc<dyn AnyHolder>, Option<Arc<dyn Any + Send + Sync>>)>;

/// Counts an open reader for as long as it lives.
#[derive(Debug)]
pub struct Seat(Arc<AtomicU64>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Places {
    /// Room for `most` readers, at least one.
    pub fn at_most(most: usize) -> Self {
        Self { most: most.max(1), alive: Arc::default(), table: Mutex::default() }
    }

    /// How many readers are open now, those included that are open only until their user is done.
    pub fn open_count(&self) -> u64 {
        self.alive.load(Ordering::Relaxed)
    }

    /// A seat for a reader that has no place: it is counted, and closed by who opened it.
    pub fn seat(&self) -> Seat {
        self.alive.fetch_add(1, Ordering::Relaxed);
        Seat(self.alive.clone())
    }

    /// Closes cold readers until one more finds a place.
    fn make_room(&self) {
        let closed = self.table.lock().shrink_to(self.most - 1);
        drop(closed);
    }

    /// Gives `reader` its place; the one that another thread has opened meanwhile goes before it.
    fn keep<H: Holder>(&self, holder: &Arc<H>, reader: Arc<H::Reader>) -> Arc<H::Reader> {
        let slot = holder.slot();
        let mut table = self.table.lock();
        if let Some(other) = slot.reader.load_full() {
            return other;
        }
        let closed = table.shrink_to(self.most - 1);
        slot.used.store(true, Ordering::Relaxed);
        slot.reader.store(Some(reader.clone()));
        let place: Weak<H> = Arc::downgrade(holder);
        table.places.push(place);
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
            let Some(holder) = self.places.get(self.hand).and_then(Weak::upgrade) else {
                self.places.swap_remove(self.hand);
                continue;
            };
            // Others may use them faster than the hand goes round.
            if spared < 2 * self.places.len() && holder.cold().was_used() {
                spared += 1;
                self.hand += 1;
                closed.push((holder, None));
                continue;
            }
            let reader = holder.cold().close();
            closed.push((holder, reader));
            self.places.swap_remove(self.hand);
        }
        closed
    }
}
