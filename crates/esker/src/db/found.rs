//! What an open finds in a folder, and whether it may be a database.
//!
//! 1. Looking changes nothing, and what cannot be a database is refused for what it holds (F-32, F-41).
//! 2. Every file that the manifest names is there, at its full length; no log was written that it does
//!    not name (F-16, F-36).

use super::care::checkpoint::files_of;
use super::folder;
use super::options::Options;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::FileId;
use crate::commit::replay::Replay;
use crate::env::names::{FileKind, FileName, LOCK};
use crate::env::{Env, Listed};
use crate::manifest::{ReadReport, State, Store};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What lies in the folder.
pub(super) struct Found {
    pub(super) files: BTreeMap<FileName, u64>,
    pub(super) manifest: Option<(State, ReadReport)>,
}

impl Found {
    pub(super) fn look(env: &Arc<dyn Env>, dir: &Path, options: &Options) -> Result<Self> {
        let listed = folder::list(&**env, dir)?;
        let manifest = Store::read(env, dir, &listed)?;
        if manifest.is_none() {
            refuse_what_is_no_database(dir, &listed, options)?;
        }
        let files = listed.iter().filter(|listed| listed.is_file);
        let files = files.filter_map(|l| Some((FileName::parse(&l.name)?, l.bytes))).collect();
        Ok(Self { files, manifest })
    }

    /// Errors: `Corruption` if a file that the manifest names is missing or has another length.
    pub(super) fn check_files(&self, state: &State) -> Result<()> {
        for (name, want) in files_of(state) {
            match self.files.get(&name) {
                Some(&bytes) if bytes == want => {}
                Some(&bytes) => {
                    let end = format!("the end of the file at byte {want}");
                    return Err(Error::corruption(name, bytes.min(want), end, bytes));
                }
                None => {
                    let message = format!("{name} is missing: the manifest names it");
                    return Err(Error::new(ErrorKind::Corruption, message));
                }
            }
        }
        Ok(())
    }

    /// Errors: `Corruption` if a log was written that the manifest does not name. A log is written
    /// only once its name is in a durable manifest, and leaves it only with all logs below it: so
    /// the manifest has lost its end, or is an older copy (F-16, F-36).
    pub(super) fn check_unnamed_logs(&self, replay: &Replay<'_>, log_min: FileId) -> Result<()> {
        let logs = self.files.keys().filter(|name| name.kind == FileKind::Log);
        let unnamed = logs.filter(|name| name.id >= log_min && !replay.logs.contains(&name.id));
        for name in unnamed {
            if replay.is_written(name.id)? {
                let message = format!("{name} was written and the manifest does not name it");
                return Err(Error::new(ErrorKind::Corruption, message));
            }
        }
        Ok(())
    }

    /// A number above that of every file.
    pub(super) fn next_file(&self, state: &State) -> FileId {
        let seen = self.files.keys().map(|name| name.id.next()).max().unwrap_or(FileId(1));
        seen.max(state.next_file)
    }
}

/// Without a manifest the folder must be empty, or hold a creation that was cut short (F-32).
fn refuse_what_is_no_database(dir: &Path, listed: &[Listed], options: &Options) -> Result<()> {
    let foreign = listed.iter().find(|l| l.name != LOCK && FileName::parse(&l.name).is_none());
    if let Some(foreign) = foreign {
        return Err(Error::invalid(format!(
            "{} is not a database: it has no manifest and holds {:?}",
            dir.display(),
            foreign.name
        )));
    }
    if options.create && !options.read_only {
        return Ok(());
    }
    Err(Error::new(ErrorKind::NotFound, format!("{} has no database", dir.display())))
}
