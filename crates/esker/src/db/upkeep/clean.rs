//! Cleaning: what lives in blob files goes into a new one, so that the space of what is dead is free.
//!
//! ```text
//!   blob-A, B, C ─ what lives ─▶ blob-D     one edit hands the addresses over
//!   blob-E       ─ nothing does ─▶ forgotten, by an edit alone
//! ```
//!
//! 1. A cleaning verifies every value that it copies, as it writes it, and balances before it is
//!    published; what dies while it runs is dead in what it wrote (law 6, MACE-15).
//! 2. A file is cleaned by one job at a time.

use super::steps::{Held, Want};
use crate::base::blob::{Address, BlobRef};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::FileId;
use crate::base::setsum::Setsum;
use crate::blob::{Blob, BlobMeta, BlobWriter};
use crate::compaction::clean::{Candidate, Choice, Cleaning, choose};
use crate::db::core::{Core, Writing};
use crate::db::files::large::copied_from;
use crate::env::names::FileKind;
use crate::manifest::{Balance, Dead, Edit, Reason, State};
use std::sync::Arc;

/// How often a cleaning looks whether it should stop and tells how far it is, in bytes copied.
const CLEAN_BYTES: u64 = 4 << 20;

impl Core {
    /// Cleans some blob files, if that is wanted. False if not.
    ///
    /// Errors: why it failed; all files are as they were.
    pub fn clean_step(&self, writing: &Writing, want: Want) -> Result<bool> {
        let Some((choice, held)) = self.choose_files(writing, want) else { return Ok(false) };
        let mut written = Vec::new();
        let result = match choice {
            Choice::Forget(files) => {
                let count = files.len() as u64;
                self.publish_blobs(writing, |_| Edit { remove_blobs: files, ..Edit::default() })
                    .inspect(|()| self.counters.blobs_forgotten.add(count))
            }
            Choice::Copy(files) => self.clean(writing, &files, &mut written),
        };
        drop(held);
        // A flush that waits for cleanings must not wait for one that has ended.
        writing.committer.pace().wake_all();
        let names = written.iter().map(|id| FileKind::Blob.name(*id));
        self.finish_job(result, names)?;
        self.empty_trash();
        Ok(true)
    }

    fn choose_files<'a>(&self, writing: &'a Writing, want: Want) -> Option<(Choice, Held<'a>)> {
        let space_percent = match want {
            Want::All(_) => Cleaning::ALL_PERCENT,
            Want::Due if self.is_at_rest(writing) => Cleaning::REST_PERCENT,
            Want::Due => Cleaning::BUSY_PERCENT,
        };
        let cleaning = Cleaning { space_percent, file_bytes: self.options.log_bytes() };
        let (blobs, tick) = {
            let ledger = writing.ledger.lock();
            (ledger.state().blobs.clone(), ledger.state().tick)
        };
        writing.steps.choose_files(|busy| {
            // Another cleaning may have ended since. It shows its version before it lets go.
            let view = self.views.load_full();
            let candidates: Vec<Candidate> = blobs
                .iter()
                .filter(|blob| view.version.blobs.get(blob.meta.id).is_some())
                .map(|blob| (blob, blob.live_bytes(), blob.live_values()))
                .map(|(blob, live_bytes, live_values)| Candidate {
                    id: blob.meta.id,
                    garbage: blob.meta.garbage_bytes(live_values, live_bytes),
                    live_bytes,
                    live_values,
                    up2: blob.up2,
                    busy: busy(blob.meta.id),
                })
                .collect();
            let choice = choose(&candidates, tick + 1, &cleaning)?;
            let files = match &choice {
                Choice::Forget(files) | Choice::Copy(files) => files.clone(),
            };
            Some((choice, files))
        })
    }

    /// Copies what lives in `files` into a new one, which takes their place.
    fn clean(&self, writing: &Writing, files: &[FileId], written: &mut Vec<FileId>) -> Result<()> {
        let version = self.views.load_full().version.clone();
        let before = writing.ledger.lock().state().blobs.clone();
        let mut gathered = Gathered::default();
        for id in files {
            let (Some(source), Some(known)) = (version.blobs.get(*id), before.get(*id)) else {
                let message = format!("{} is not live", FileKind::Blob.name(*id));
                return Err(Error::new(ErrorKind::Corruption, message));
            };
            gathered.input += known.meta.setsum;
            self.gather(
                writing,
                source,
                |blob| known.dead.contains(blob.address.0),
                &mut gathered,
            )?;
        }
        let new = match gathered.live.is_empty() {
            true => None,
            false => Some(self.write_gathered(writing, &mut gathered, written)?),
        };
        let output = new.as_ref().map_or(Setsum::ZERO, |meta| meta.setsum);
        let Gathered { live, input, dropped, .. } = gathered;
        if input != output + dropped {
            let message = format!(
                "a cleaning does not balance: want input {input}, wrote {output}, dropped {dropped}"
            );
            return Err(Error::new(ErrorKind::Corruption, message));
        }
        self.publish_blobs(writing, |state| {
            let died = live.iter().filter(|(blob, _)| state.is_dead(blob.address));
            let died: Vec<_> = died.map(|(blob, _)| (blob.address, blob.stored)).collect();
            let dead = new.as_ref().and_then(|new| Dead::of(new.id, died));
            let (reason, created) = (Reason::Clean, Setsum::ZERO);
            Edit {
                add_blobs: new.iter().cloned().collect(),
                remove_blobs: files.to_vec(),
                dead: dead.into_iter().collect(),
                balance: Some(Balance { reason, input, output, dropped, created }),
                ..Edit::default()
            }
        })?;
        self.counters.cleanings.add(u64::from(new.is_some()));
        self.counters.bytes_cleaned.add(new.map_or(0, |new| new.bytes));
        Ok(())
    }

    /// Notes what lives in a file, and what is dead.
    fn gather(
        &self,
        writing: &Writing,
        source: &Arc<Blob>,
        is_dead: impl Fn(&BlobRef) -> bool,
        gathered: &mut Gathered,
    ) -> Result<()> {
        source.refs(|blob| {
            self.refuse_if_stopping(writing)?;
            if is_dead(blob) {
                gathered.dropped += Setsum::of_blob(blob);
            } else {
                gathered.live.push((*blob, source.clone()));
            }
            Ok(())
        })
    }

    fn write_gathered(
        &self,
        writing: &Writing,
        gathered: &mut Gathered,
        written: &mut Vec<FileId>,
    ) -> Result<BlobMeta> {
        let id = writing.ledger.allocate();
        written.push(id);
        let mut writer = BlobWriter::create(&self.env, &self.dir, id)?;
        gathered.live.sort_unstable_by_key(|(blob, _)| blob.address);
        let mut intervals: Vec<(Address, Address)> = Vec::new();
        let mut last_interval = None;
        let pace = writing.committer.pace();
        let mut told = 0;
        for (blob, source) in &gathered.live {
            let bytes = source.with(|reader| reader.read_stored(blob))?;
            let name = FileKind::Blob.name(source.meta().id);
            let mut copy = |blob: &BlobRef, bytes: &[u8]| {
                writer.copy(blob, bytes).map_err(|error| copied_from(name, error))
            };
            match &self.options.plant {
                Some(plant) => plant.copy(blob, &bytes, &mut copy)?,
                None => copy(blob, &bytes)?,
            }
            // One interval for each of the sources', as far as something lives in it.
            let of = source.meta().intervals.iter().find(|(_, last)| *last >= blob.address);
            match intervals.last_mut().filter(|_| of == last_interval) {
                Some(interval) => interval.1 = blob.address,
                None => intervals.push((blob.address, blob.address)),
            }
            last_interval = of;
            if writer.byte_count() - told >= CLEAN_BYTES {
                self.refuse_if_stopping(writing)?;
                pace.note_compacted(writer.byte_count() - told);
                told = writer.byte_count();
            }
        }
        let meta = writer.finish(intervals)?;
        pace.note_compacted(meta.bytes.saturating_sub(told));
        self.sync_names()?;
        Ok(meta)
    }

    /// Records an edit of blob files alone, and publishes it.
    fn publish_blobs(&self, writing: &Writing, edit: impl FnOnce(&State) -> Edit) -> Result<()> {
        let mut ledger = writing.ledger.lock();
        let edit = edit(ledger.state());
        self.publish(writing, &mut ledger, edit, &[], None)
    }
}

/// What a cleaning has found in its sources.
#[derive(Debug, Default)]
struct Gathered {
    live: Vec<(BlobRef, Arc<Blob>)>,
    input: Setsum,
    dropped: Setsum,
}

#[cfg(test)]
mod tests;
