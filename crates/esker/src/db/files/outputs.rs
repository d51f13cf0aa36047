//! How jobs write segments, and what becomes of the files of those that fail or are no longer needed.
//!
//! ```text
//!   job ─▶ new files ─▶ names durable ─▶ edit        fails ─▶ removed, now or later
//!   doomed ─ the last reader has gone ─▶ trash ─▶ removed
//! ```
//!
//! 1. The names of new files are durable before an edit has them.
//! 2. A file is removed only if no durable manifest names it. What cannot be removed is tried again,
//!    and at the latest by the next open (F-11, F-29).

use crate::base::error::{Error, Result};
use crate::db::core::{Core, Writing};
use crate::env::names::{FileKind, FileName};
use crate::env::path_in;
use crate::merge::retain::Keep;
use crate::merge::rewrite::{Progress, Rewrite, Rewritten};
use crate::segment::WriterOptions;

/// A flushed segment is cut at this size: only a batch above the slab makes one so large.
const SEGMENT_BYTES: u64 = 64 << 20;

impl Core {
    /// Runs `job` with the way outputs are written, and makes their names durable.
    pub(in crate::db) fn rewriting(
        &self,
        writing: &Writing,
        tick: &dyn Fn(Progress) -> bool,
        keep: &Keep,
        job: impl FnOnce(&mut Rewrite<'_>) -> Result<Rewritten>,
    ) -> Result<Rewritten> {
        let mut rewrite = Rewrite {
            env: &self.env,
            dir: &self.dir,
            options: self.writer_options(),
            rules: &self.rules,
            segment_bytes: SEGMENT_BYTES,
            borders: Vec::new(),
            keep,
            allocate: &|| writing.ledger.allocate(),
            tick,
            plant: self.options.plant.as_deref(),
            tells_kept: false,
        };
        let rewritten = job(&mut rewrite)?;
        self.sync_names()?;
        Ok(rewritten)
    }

    /// Makes the names of new files durable.
    pub(in crate::db) fn sync_names(&self) -> Result<()> {
        let synced = self.env.sync_dir(&self.dir);
        synced.map_err(|error| Error::io("sync the database folder", error))
    }

    /// How segments are written.
    pub(in crate::db) fn writer_options(&self) -> WriterOptions {
        WriterOptions {
            compression: self.options.compression,
            prefix_filter: self.options.prefix_filter,
            ..WriterOptions::default()
        }
    }

    /// After a job: if it failed, what it wrote is removed, unless the manifest may name it.
    pub(in crate::db) fn finish_job(
        &self,
        result: Result<()>,
        written: impl Iterator<Item = FileName>,
    ) -> Result<()> {
        let poisoned = self.writing.as_ref().is_some_and(|w| w.committer.poison().is_set());
        if result.is_err() && !poisoned {
            written.for_each(|name| self.remove(name));
        }
        result
    }

    /// Removes a file that no durable manifest names. A failure is tried again (F-29).
    pub(in crate::db) fn remove(&self, name: FileName) {
        if !self.is_removed(name)
            && let Some(writing) = &self.writing
        {
            writing.background.remove_later(name);
        }
    }

    fn is_removed(&self, name: FileName) -> bool {
        match self.env.remove(&path_in(&self.dir, name)) {
            Ok(()) => true,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
            Err(error) => {
                tracing::warn!("remove {name}: {error}; it will be tried again");
                false
            }
        }
    }

    /// Removes doomed segments that nobody reads any more, and what could not be removed before.
    pub fn empty_trash(&self) {
        if let Some(writing) = &self.writing {
            writing.background.remove_late(|name| self.is_removed(name));
        }
        let segments = self.shelves.segments.trash.take().into_iter();
        let blobs = self.shelves.blobs.trash.take().into_iter();
        let segments = segments.map(|id| FileKind::Segment.name(id));
        for name in segments.chain(blobs.map(|id| FileKind::Blob.name(id))) {
            self.remove(name);
        }
    }
}
