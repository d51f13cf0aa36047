//! From a backup to a database, and what is left of backups that nobody needs.
//!
//! ```text
//!   the newest text, or a given one ─▶ each file: copied, its digest compared ─▶ every byte verified
//!                                         ─▶ the sums are those of the backup? ─▶ a manifest, last
//! ```
//!
//! 1. Nothing in the folder of backups is changed by a restore.
//! 2. What is restored was compared with the digests of the backup, then verified where it lies now,
//!    and adds up to the checksum that the backup noted: or there is no database.
//! 3. A restore that was cut short leaves files without a manifest, which no open takes for anything.
//! 4. Backups are dropped by their texts, oldest first; files go after that.

use super::super::checkpoint::write_manifest;
use super::super::verify::{Live, Refs};
use super::listing::{Listing, Stored, backup_name};
use super::{Backup, Known, is_ours, listings};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::FileId;
use crate::base::setsum::Setsum;
use crate::blob::BlobReader;
use crate::cache::BlockCache;
use crate::db::files::copy::copy;
use crate::db::folder::{self, Target};
use crate::db::options::Options;
use crate::env::names::FileKind;
use crate::env::{Env, path_in};
use crate::manifest::{LiveBlob, State};
use crate::segment::SegmentReader;
use std::path::Path;
use std::sync::Arc;

/// Room for what a verification unpacks.
const CACHE_BYTES: u64 = 1 << 20;

impl Options {
    /// The backups in `folder`, oldest first.
    ///
    /// Errors: `Corruption` if the text of one is damaged; `Io`.
    pub fn backups(&self, folder: impl AsRef<Path>) -> Result<Vec<Backup>> {
        let env = self.world();
        listings(&*env, folder.as_ref())?.map(|(_, listing)| Ok(describe(&listing?))).collect()
    }

    /// Makes a database in `to`, which must not exist or be empty, of the newest backup in
    /// `folder`. Durable on return; nothing in `folder` is changed.
    ///
    /// Cost: reads and writes every file of the backup, and verifies each. Errors: `NotFound` if
    /// there is no backup; `InvalidArgument` if there is something in `to`; `Corruption` if a file of
    /// the backup is missing or damaged, naming it: restore another one, or copy the files by hand
    /// and [`repair`](Options::repair) what is left; `Busy`; `Io`. After an error there is no
    /// database: what lies in `to` can be removed.
    pub fn restore(&self, folder: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Backup> {
        self.restore_with(folder, None, to, &mut |_, _| {})
    }

    /// [`Options::restore`] of the backup with this number, telling `progress` how many bytes of
    /// how many were copied.
    pub fn restore_with(
        &self,
        folder: impl AsRef<Path>,
        number: Option<u64>,
        to: impl AsRef<Path>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Backup> {
        let (env, dir) = (self.world(), folder.as_ref());
        let _lock = folder::lock_shared(&*env, dir)?;
        let listing = choose(&*env, dir, number)?;
        let target = Target::take(&env, to.as_ref())?;
        let backup = describe(&listing);
        let mut done = 0;
        for stored in &listing.files {
            take_out(&target, dir, stored, &mut |bytes| {
                done += bytes;
                progress(done, backup.bytes);
            })?;
        }
        verify(self, &target, &listing.state)?;
        write_manifest(&target.env, &target.dir, listing.state)?;
        Ok(backup)
    }

    /// Removes all backups in `folder` but the `newest` ones, and the files that only they had.
    /// Answers how many backups there are.
    ///
    /// Errors: `InvalidArgument` if none is to be kept; `Corruption` if the text of one is damaged,
    /// and nothing is removed; `Busy`; `Io`.
    pub fn keep_backups(&self, folder: impl AsRef<Path>, newest: usize) -> Result<usize> {
        if newest == 0 {
            return Err(Error::invalid("at least one backup must be kept"));
        }
        let (env, dir) = (self.world(), folder.as_ref());
        let target = Target::take_if(&env, dir, is_ours)?;
        let all = listings(&*env, dir)?.map(|(_, listing)| listing);
        let all = all.collect::<Result<Vec<Listing>>>()?;
        let gone = all.len().saturating_sub(newest);
        for listing in all.iter().take(gone) {
            let name = backup_name(listing.number);
            let removed = env.remove(&path_in(dir, &name));
            removed.map_err(|error| Error::io(format!("remove {name}"), error))?;
        }
        // A text must not come back when files that it names are gone.
        folder::sync(&*env, &target.dir)?;
        Known::sweep(&*env, dir)?;
        Ok(all.len() - gone)
    }
}

fn describe(listing: &Listing) -> Backup {
    Backup {
        number: listing.number.0,
        files: listing.files.len() as u64,
        bytes: listing.files.iter().map(|stored| stored.bytes).sum(),
        checksum: listing.state.total(),
        sequence: listing.state.flushed.0,
    }
}

/// The newest backup, or that of this number.
fn choose(env: &dyn Env, dir: &Path, number: Option<u64>) -> Result<Listing> {
    let listed = folder::list(env, dir)?;
    let there = listed.iter().filter_map(|listed| super::number_of(&listed.name));
    let chosen = match number {
        None => there.max(),
        Some(number) => there.clone().find(|found| *found == FileId(number)),
    };
    let Some(chosen) = chosen else {
        let message = match number {
            None => format!("{} has no backup", dir.display()),
            Some(number) => format!("{} has no backup {number}", dir.display()),
        };
        return Err(Error::new(ErrorKind::NotFound, message));
    };
    Listing::read(env, dir, chosen)
}

/// Copies a stored file to its place in a database, comparing all of it.
fn take_out(
    target: &Target,
    dir: &Path,
    stored: &Stored,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let (name, env) = (stored.name(), &*target.env);
    let from = path_in(dir, &name);
    if !env.exists(&from).map_err(|error| Error::io(format!("look for {name}"), error))? {
        let message = format!("{name} is missing: the backup names it");
        return Err(Error::new(ErrorKind::Corruption, message));
    }
    let (bytes, digest) = copy(env, &from, &path_in(&target.dir, stored.file), progress)?;
    if (bytes, digest) != (stored.bytes, stored.digest) {
        let want = format!("{} bytes with digest {}", stored.bytes, stored.digest);
        let found = format!("{bytes} with {digest}");
        return Err(Error::corruption(name, 0, want, found));
    }
    Ok(())
}

/// Reads every byte of the files of `state` where they lie now.
///
/// Errors: `Corruption` if one is not as it was written, they do not add up, or segments refer to other
/// values than there are; `Io`.
fn verify(options: &Options, target: &Target, state: &State) -> Result<()> {
    let Target { env, dir, .. } = target;
    let cache = Arc::new(BlockCache::new(CACHE_BYTES));
    let (mut sum, mut refs) = (Setsum::ZERO, Refs::default());
    for meta in state.segments() {
        let reader = SegmentReader::open(env, dir, meta, options.access, &cache)?;
        sum += reader.verify_refs(&mut |_| {}, &mut |blob| refs.note(state, blob))?;
        refs.check(FileKind::Segment.name(meta.id))?;
    }
    for LiveBlob { meta, .. } in state.blobs.iter().map(|blob| &**blob) {
        let mut live = Live::of(state, &refs, meta.id);
        let reader = BlobReader::open(env, dir, meta, options.access)?;
        reader.walk(|blob, _| {
            live.note(blob);
            Ok(())
        })?;
        live.check(FileKind::Blob.name(meta.id))?;
    }
    if sum == state.present {
        return Ok(());
    }
    let message = format!("the segments sum to {sum}, want {}, as the backup says", state.present);
    Err(Error::new(ErrorKind::Corruption, message))
}
