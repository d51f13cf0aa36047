//! A checkpoint: a second database with the same files, taken at one moment while writes go on.
//!
//! ```text
//!   flush ─▶ one moment: state, version ─▶ a second name for each live file ─▶ names durable
//!                         └ holds the files                     └ copied, where it cannot have one
//!                                                           ─▶ a complete manifest, last
//! ```
//!
//! 1. State and version are taken together under the ledger's lock. The version keeps every file it
//!    names until the last of them has its second name (law 7).
//! 2. Everything that had returned before the call is in segments by then, so no log is taken along;
//!    nor are those that are kept for the change feed.
//! 3. The manifest is written when all it names is durable. A crash before that leaves a folder
//!    without one, which every open refuses; after it, a whole database.
//! 4. Files of a database never change, and each name is removed by itself: neither database can
//!    harm the other.

use crate::base::error::{Error, Result};
use crate::db::Db;
use crate::db::core::{Core, Writing};
use crate::db::files::copy::copy;
use crate::db::folder::{self, Target};
use crate::db::report::Checksum;
use crate::env::names::{FileKind, FileName};
use crate::env::{Env, path_in};
use crate::manifest::{Held, State, Store};
use crate::tree::version::Version;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What a checkpoint has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointReport {
    /// Its files, the manifest not counted.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of them, bytes that were copied, because a file could not have a second name.
    pub bytes_copied: u64,
    /// The checksum of every operation in it, or ever flushed before it: that of [`Db::checksum`]
    /// once it is opened.
    pub checksum: Checksum,
    /// The last sequence number in it.
    pub sequence: u64,
}

impl Db {
    /// Makes a second database in `folder`, which must not exist or be empty: as of now, by giving
    /// the files second names, while reads and writes go on. Durable on return.
    ///
    /// It has every write that had returned before the call; of those that run beside it, a prefix.
    /// Cost: a flush and a name for each file, whatever they hold; on another file system, or one
    /// without such names, a copy. Its files take no space of their own until this database drops
    /// them.
    ///
    /// Errors: `InvalidArgument` if there is something in `folder`; `Busy` if another process fills
    /// it; those of [`Db::flush`]; `Io`. What was made by then stays: no open takes it for a
    /// database, and it can be removed.
    pub fn checkpoint(&self, folder: impl AsRef<Path>) -> Result<CheckpointReport> {
        self.checkpoint_with(folder, &mut |_, _| {})
    }

    /// [`Db::checkpoint`], telling `progress` how many bytes of how many are there.
    pub fn checkpoint_with(
        &self,
        folder: impl AsRef<Path>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<CheckpointReport> {
        let core = self.core();
        core.writing()?;
        let target = Target::take(&core.env, folder.as_ref())?;
        self.flush()?;
        let moment = core.moment(core.writing()?);
        moment.link_to(core, &target, progress)
    }
}

/// The files of a database at one moment. They stay as long as this does.
pub(super) struct Moment {
    /// What a manifest of these files alone says.
    pub(super) state: State,
    pub(super) version: Arc<Version>,
}

impl Core {
    /// What is in files now.
    pub(super) fn moment(&self, writing: &Writing) -> Moment {
        // Under it no edit is recorded and no version shown: both are of the same moment.
        let ledger = writing.ledger.lock();
        let state = alone(ledger.state().clone());
        Moment { state, version: self.views.load_full().version.clone() }
    }
}

/// What a manifest says that names no logs: a database that was closed when all was flushed.
fn alone(mut state: State) -> State {
    state.logs.clear();
    state.log_min = state.next_file;
    state.closed = None;
    state.held = Held::nothing(state.flushed);
    state.clean = true;
    state
}

impl Moment {
    fn link_to(
        &self,
        core: &Core,
        target: &Target,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<CheckpointReport> {
        let total = files_of(&self.state).map(|(_, bytes)| bytes).sum();
        let (checksum, sequence) = (self.state.total(), self.state.flushed.0);
        let mut report = CheckpointReport { checksum, sequence, ..Default::default() };
        for (name, bytes) in files_of(&self.state) {
            let (from, to) = (path_in(&core.dir, name), path_in(&target.dir, name));
            match core.env.link(&from, &to) {
                Ok(()) => {}
                Err(error) if is_final(&error) => {
                    return Err(Error::io(format!("link {name} to {}", to.display()), error));
                }
                Err(error) => {
                    tracing::debug!("link {name} to {}: {error}; it is copied", to.display());
                    let mut done = report.bytes;
                    copy(&*core.env, &from, &to, &mut |bytes| {
                        done += bytes;
                        progress(done, total);
                    })?;
                    report.bytes_copied += bytes;
                }
            }
            report.files += 1;
            report.bytes += bytes;
            progress(report.bytes, total);
        }
        write_manifest(&target.env, &target.dir, self.state.clone())?;
        Ok(report)
    }
}

/// Whether a copy would fail for the same reason.
fn is_final(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound)
}

/// Segments and blob files of a state, with their lengths.
pub(in crate::db) fn files_of(state: &State) -> impl Iterator<Item = (FileName, u64)> {
    let segments = state.segments().map(|meta| (FileKind::Segment.name(meta.id), meta.bytes));
    let blobs = state.blobs.iter().map(|blob| (FileKind::Blob.name(blob.meta.id), blob.meta.bytes));
    segments.chain(blobs)
}

/// Makes a database of the files in a folder: their names durable, then what `state` says of them.
pub(super) fn write_manifest(env: &Arc<dyn Env>, dir: &Path, mut state: State) -> Result<()> {
    folder::sync(&**env, dir)?;
    let id = state.next_file;
    state.next_file = id.next();
    Store::create(env, dir, id, &state).map(drop)
}
