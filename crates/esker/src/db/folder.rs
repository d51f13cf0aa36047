//! Folders that are made, locked and filled: by an open, a checkpoint, a backup, a restore, a repair.
//!
//! ```text
//!   Target::take     make ─▶ lock ─▶ nothing in it? ─▶ its name is durable
//!   …                files come in, under names that nobody relies on yet
//!   Store::create    the names are durable ─▶ the manifest, last: only now it is a database
//! ```
//!
//! 1. A folder that holds anything of somebody else's is refused, and not even a lock file is left
//!    in it (F-41).
//! 2. Whoever fills a folder holds its lock, so that nobody opens what is not whole.
//! 3. A database comes to be with its manifest: without one no open takes the files for anything.

use crate::base::error::{Error, ErrorKind, Result};
use crate::env::names::LOCK;
use crate::env::{Env, Listed, Lock, path_in};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Makes `dir` if it is missing, and takes its lock. Errors: `Busy`, naming the holder; `Io`.
pub(super) fn lock(env: &dyn Env, dir: &Path) -> Result<Box<dyn Lock>> {
    env.create_dir(dir).map_err(|error| Error::io(format!("create {}", dir.display()), error))?;
    let path = path_in(dir, LOCK);
    let note = format!("process {}\n", env.process_id());
    env.lock(&path, &note).map_err(|error| refused(dir, &path, error))
}

/// Takes the lock of a folder in which nothing will change; none where there is no lock file: a
/// copy on a medium that nobody writes to may have lost it. Errors: as of [`lock`].
pub(super) fn lock_shared(env: &dyn Env, dir: &Path) -> Result<Option<Box<dyn Lock>>> {
    let path = path_in(dir, LOCK);
    match env.lock_shared(&path) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(dir, &path, error)),
    }
}

fn refused(dir: &Path, path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            let message = format!("{} is open in another process: {error}", dir.display());
            Error::new(ErrorKind::Busy, message)
        }
        _ => Error::io(format!("lock {}", path.display()), error),
    }
}

/// What lies in `dir`; nothing if it is missing.
pub(super) fn list(env: &dyn Env, dir: &Path) -> Result<Vec<Listed>> {
    match env.list(dir) {
        Ok(listed) => Ok(listed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io(format!("list {}", dir.display()), error)),
    }
}

/// The folder and those above it, as far as they do not exist.
pub(super) fn missing_folders<'a>(env: &dyn Env, dir: &'a Path) -> Vec<&'a Path> {
    let named = dir.ancestors().filter(|path| !path.as_os_str().is_empty());
    named.take_while(|path| matches!(env.exists(path), Ok(false))).collect()
}

/// Makes the name of `dir` durable, and of those that were made for it (F-7). The folder's own also
/// if it was there: whoever made it may have died before this.
pub(super) fn sync_made(env: &dyn Env, dir: &Path, made: &[&Path]) -> Result<()> {
    let above = made.iter().skip(1).copied();
    for folder in above.chain([dir]) {
        let Some(parent) = folder.parent() else { continue };
        sync(env, if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
    }
    Ok(())
}

/// Makes names in `dir` durable.
pub(super) fn sync(env: &dyn Env, dir: &Path) -> Result<()> {
    let synced = env.sync_dir(dir);
    synced.map_err(|error| Error::io(format!("sync the folder {}", dir.display()), error))
}

/// A folder that is filled: nobody else has it open.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) env: Arc<dyn Env>,
    pub(super) dir: PathBuf,
    _lock: Box<dyn Lock>,
}

impl Target {
    /// Makes the folder, or takes one that is empty; its name is durable on return.
    ///
    /// Errors: `InvalidArgument` if there is anything in it; `Busy`; `Io`.
    pub(super) fn take(env: &Arc<dyn Env>, dir: &Path) -> Result<Self> {
        Self::take_if(env, dir, |_| false)
    }

    /// The same for a folder in which nothing lies but what `is_ours`, by its name.
    pub(super) fn take_if(
        env: &Arc<dyn Env>,
        dir: &Path,
        is_ours: impl Fn(&str) -> bool,
    ) -> Result<Self> {
        let look = || {
            let listed = list(&**env, dir)?;
            match listed.iter().find(|listed| listed.name != LOCK && !is_ours(&listed.name)) {
                None => Ok(()),
                Some(odd) => {
                    let message = format!("{} is not empty: it has {:?}", dir.display(), odd.name);
                    Err(Error::invalid(message))
                }
            }
        };
        look()?;
        let made = missing_folders(&**env, dir);
        let lock = lock(&**env, dir)?;
        // Somebody may have come before the lock.
        look()?;
        sync_made(&**env, dir, &made)?;
        Ok(Self { env: env.clone(), dir: dir.to_path_buf(), _lock: lock })
    }
}
