//! `esker unload DB FOLDER [--collection C]`: writes every pair of a collection back as a file.
//!
//! 1. All keys are judged first: one that names no file below FOLDER (see `paths`) refuses the
//!    whole, and nothing is written.
//! 2. No symbolic link below FOLDER is followed: one that stands where a file or folder is to be
//!    is an error. A file that is there already and differs is replaced; other files are left alone.
//! 3. It can be killed and started again. The files are not synced.
//! 4. No value that lies out of line is held whole.

#![expect(clippy::disallowed_methods, reason = "the verb writes the user's files, on his clock")]

use crate::failure::{Failure, Outcome, Result};
use crate::{open, output, paths};
use clap::Args;
use esker::{Collection, Db, ValueReader};
use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Write every pair of a collection as a file of a folder; the reverse of `load`
#[derive(Args)]
pub(crate) struct Unload {
    /// The database's folder
    db: PathBuf,
    /// The folder to write into; created if there is none
    folder: PathBuf,
    /// The collection
    #[arg(long, value_name = "C", default_value = "default")]
    collection: String,
}

impl Unload {
    pub(crate) fn run(self) -> Result<Outcome> {
        let started = Instant::now();
        if paths::lies_in(&self.folder, &self.db) {
            return Err(Failure::new(format!(
                "invalid argument: folder {} lies in the database, {}",
                self.folder.display(),
                self.db.display()
            )));
        }
        let db = open::read(&self.db)?;
        let collection = open::collection(&db, &self.db, &self.collection)?;
        let (files, bytes) = write_all(&db, &collection, &self.folder)?;
        let seconds = started.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let rate = bytes as f64 / f64::from(1 << 20) / seconds;
        let mut out = output::stdout();
        writeln!(
            out,
            "unloaded {files} files, {bytes} bytes ({}) in {seconds:.2} s: {rate:.1} MiB/s",
            output::amount(bytes)
        )?;
        out.flush()?;
        Ok(Outcome::Done)
    }
}

/// Writes one state of the collection below `root`; returns files and bytes.
fn write_all(db: &Db, collection: &Collection, root: &Path) -> Result<(u64, u64)> {
    let snapshot = db.snapshot();
    for pair in collection.at(&snapshot).iter().readers() {
        paths::path_of(&pair?.0)?;
    }
    fs::create_dir_all(root).map_err(|error| Failure::at("create", root, &error))?;
    let mut folders = HashSet::new();
    let (mut files, mut bytes) = (0, 0);
    for pair in collection.at(&snapshot).iter().readers() {
        let (key, mut value) = pair?;
        let below = paths::path_of(&key)?;
        if let Some(folder) = below.parent() {
            make_folders(root, folder, &mut folders)?;
        }
        write_file(&root.join(below), &mut value)?;
        files += 1;
        bytes += value.len();
    }
    Ok((files, bytes))
}

/// Makes `below` and what lies above it, down from `root`, none of them a link.
fn make_folders(root: &Path, below: &Path, made: &mut HashSet<PathBuf>) -> Result<()> {
    if below.as_os_str().is_empty() || made.contains(below) {
        return Ok(());
    }
    if let Some(above) = below.parent() {
        make_folders(root, above, made)?;
    }
    let path = root.join(below);
    match fs::create_dir(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let about = fs::symlink_metadata(&path);
            let about = about.map_err(|error| Failure::at("look at", &path, &error))?;
            if !about.is_dir() {
                return Err(Failure::new(format!(
                    "create {}: something that is no folder has this name",
                    path.display()
                )));
            }
        }
        made => made.map_err(|error| Failure::at("create", &path, &error))?,
    }
    made.insert(below.to_owned());
    Ok(())
}

/// Writes a new file; an ordinary one with this name goes first, anything else is an error.
fn write_file(path: &Path, value: &mut ValueReader) -> Result<()> {
    let failed = |doing| move |error| Failure::at(doing, path, &error);
    match fs::symlink_metadata(path) {
        Ok(about) if about.is_file() => {
            if about.len() == value.len() && paths::holds(path, value)? {
                return Ok(());
            }
            value.rewind().map_err(|error| Failure::new(error.to_string()))?;
            fs::remove_file(path).map_err(failed("replace"))?;
        }
        Ok(_) => {
            return Err(Failure::new(format!(
                "write {}: something that is no file has this name",
                path.display()
            )));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::at("look at", path, &error)),
    }
    // `create_new` follows no link, not even one made since the look above.
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = file.map_err(failed("write"))?;
    output::pour(value, |piece| file.write_all(piece).map_err(failed("write")))
}
