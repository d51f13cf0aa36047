//! A live segment: what the manifest says of it, and a reader opened at first use.
//!
//! 1. Reading goes through [`Segment::reader`]; a segment nobody reads costs no file descriptor.
//! 2. A segment is doomed when a durable manifest no longer names it. When the last user of a
//!    doomed segment drops it, its number goes to the trash, from where `db` removes the file
//!    (law 7). Nothing here removes anything.

use super::{SegmentMeta, SegmentReader};
use crate::base::error::Result;
use crate::base::id::FileId;
use crate::cache::BlockCache;
use crate::env::{Access, Env};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

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
    /// Numbers of doomed segments that nobody uses any more.
    pub trash: Mutex<Vec<FileId>>,
}

/// A live segment, shared by every version that names it.
#[derive(Debug)]
pub struct Segment {
    meta: SegmentMeta,
    shelf: Arc<Shelf>,
    reader: OnceLock<Arc<SegmentReader>>,
    doomed: AtomicBool,
}

impl Segment {
    /// A segment as the manifest describes it. No I/O.
    pub fn new(shelf: Arc<Shelf>, meta: SegmentMeta) -> Self {
        Self { meta, shelf, reader: OnceLock::new(), doomed: AtomicBool::new(false) }
    }

    /// What the manifest says of it.
    pub fn meta(&self) -> &SegmentMeta {
        &self.meta
    }

    /// Its reader. Cost: one load, after the first call.
    ///
    /// Errors: as of [`SegmentReader::open`]; the next call tries again.
    #[inline]
    pub fn reader(&self) -> Result<&Arc<SegmentReader>> {
        if let Some(reader) = self.reader.get() {
            return Ok(reader);
        }
        let Shelf { env, dir, access, cache, .. } = &*self.shelf;
        let opened = SegmentReader::open(env, dir, &self.meta, *access, cache)?;
        Ok(self.reader.get_or_init(|| Arc::new(opened)))
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
            self.shelf.trash.lock().push(self.meta.id);
        }
    }
}
