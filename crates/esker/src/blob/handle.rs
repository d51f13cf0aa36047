//! A live blob file: what the manifest says of it, and a reader opened at first use.
//!
//! 1. Reading goes through [`Blob::read`]; a file nobody reads costs no file descriptor. It shares
//!    the number of files that stay open with all others: [`Places`].
//! 2. A file is doomed when a durable manifest no longer names it. When its last user drops it, its
//!    number goes to the trash, and `db` is told, which removes it (law 7). Nothing here does.

use super::{BlobMeta, BlobReader};
use crate::base::blob::BlobRef;
use crate::base::error::Result;
use crate::base::value::Value;
use crate::cache::open::{Holder, Places, Seat, Slot, Trash};
use crate::env::{Access, Env};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where the blob files of one database lie and how they are read.
#[derive(Debug)]
pub struct BlobShelf {
    /// The outside world.
    pub env: Arc<dyn Env>,
    /// The database folder.
    pub dir: PathBuf,
    /// Whether tables may be mapped. Values are always read.
    pub access: Access,
    /// How many files stay open, those of others included.
    pub places: Arc<Places>,
    /// Numbers of doomed files that nobody uses any more.
    pub trash: Trash,
}

/// A live blob file, shared by every version that names it.
#[derive(Debug)]
pub struct Blob {
    meta: BlobMeta,
    shelf: Arc<BlobShelf>,
    slot: Slot<BlobReader>,
    doomed: AtomicBool,
}

impl Blob {
    /// A blob file as the manifest describes it. No I/O.
    pub fn new(shelf: Arc<BlobShelf>, meta: BlobMeta) -> Self {
        let (slot, doomed) = Default::default();
        Self { meta, shelf, slot, doomed }
    }

    /// What the manifest says of it.
    pub fn meta(&self) -> &BlobMeta {
        &self.meta
    }

    /// Lends its reader to `with`. Cost: one load, unless it must be opened first.
    ///
    /// Errors: as of [`BlobReader::open`], and the next call tries again; those of `with`.
    #[inline]
    pub fn with<T>(
        self: &Arc<Self>,
        with: impl FnOnce(&Arc<BlobReader>) -> Result<T>,
    ) -> Result<T> {
        self.lend(with)
    }

    /// The value of `blob`. Cost and errors as of [`Blob::with`] and [`BlobReader::read`].
    pub fn read(self: &Arc<Self>, blob: &BlobRef) -> Result<Value> {
        self.lend(|reader| reader.read(blob))
    }

    /// [`BlobReader::walk`] through a reader of its own, so that the file is looked at as it is now,
    /// and nothing that is in use loses its place.
    pub fn walk(&self, each: impl FnMut(&BlobRef, &[u8]) -> Result<()>) -> Result<()> {
        self.open(self.shelf.places.seat())?.walk(each)
    }

    /// [`BlobReader::refs`], through a reader of its own as [`Blob::walk`].
    pub fn refs(&self, each: impl FnMut(&BlobRef) -> Result<()>) -> Result<()> {
        self.open(self.shelf.places.seat())?.refs(each)
    }

    /// Says that the durable manifest no longer names it.
    pub fn doom(&self) {
        self.doomed.store(true, Ordering::Release);
    }
}

impl Holder for Blob {
    type Reader = BlobReader;

    #[inline]
    fn slot(&self) -> &Slot<BlobReader> {
        &self.slot
    }

    fn places(&self) -> &Places {
        &self.shelf.places
    }

    fn open(&self, seat: Seat) -> Result<BlobReader> {
        let BlobShelf { env, dir, access, .. } = &*self.shelf;
        Ok(BlobReader::open(env, dir, &self.meta, *access)?.seated(seat))
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        if *self.doomed.get_mut() {
            self.shelf.trash.put(self.meta.id);
        }
    }
}
