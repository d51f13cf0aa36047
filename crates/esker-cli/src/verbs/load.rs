//! `esker load DB FOLDER [--collection C] [--sync]`: stores every file of a folder.
//!
//! 1. Key: the file's path below FOLDER with `/`; value: its bytes. Files go in sorted by key, in
//!    batches of up to [`BATCH_BYTES`] or [`BATCH_FILES`].
//! 2. Only ordinary files are stored. Symbolic links are not followed: they and devices, pipes and
//!    sockets are skipped and counted. Modes, times and empty folders are not kept.
//! 3. It can be killed at any moment and started again: a file whose bytes are stored already is
//!    skipped and counted. Nothing is ever removed from the collection.
//! 4. A file above [`STREAM_BYTES`] is read piece by piece, into memory once, and is a batch of its own.
//! 5. Without `--sync` a batch survives the end of the process; with it, power loss.

#![expect(clippy::disallowed_methods, reason = "the loader reads the user's files, on his clock")]

use crate::failure::{Failure, Outcome, Result};
use crate::{open, output, paths};
use clap::Args;
use esker::{Collection, Db, Durability, WriteBatch};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A batch is committed when it holds so many bytes,
const BATCH_BYTES: usize = 1 << 20;
/// or so many files.
const BATCH_FILES: usize = 1000;
/// Files above this are read and stored piece by piece, each in a commit of its own.
const STREAM_BYTES: u64 = 16 << 20;
/// How much of such a file is read at once.
const PIECE_BYTES: usize = 1 << 20;
/// What one value may have: 1 GiB.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Store every file of a folder: key, its path below the folder; value, its bytes
#[derive(Args)]
pub(crate) struct Load {
    /// The database's folder; created if there is none
    db: PathBuf,
    /// The folder whose files are stored
    folder: PathBuf,
    /// The collection; created if there is none
    #[arg(long, value_name = "C", default_value = "default")]
    collection: String,
    /// Make each batch durable before the next one
    #[arg(long)]
    sync: bool,
}

impl Load {
    pub(crate) fn run(self) -> Result<Outcome> {
        let started = Instant::now();
        if paths::lies_in(&self.db, &self.folder) {
            return Err(Failure::new(format!(
                "invalid argument: database {} lies in the folder to load, {}",
                self.db.display(),
                self.folder.display()
            )));
        }
        let found = Found::below(&self.folder)?;
        let db = open::create(&self.db)?;
        let durability = if self.sync { Durability::Sync } else { Durability::Buffered };
        let mut loader = Loader::new(&db, &self.collection, durability)?;
        let bar = progress_bar(found.files.iter().map(|file| file.bytes).sum());
        for file in &found.files {
            loader.add(&self.folder, file, &bar)?;
        }
        let tally = loader.finish()?;
        bar.finish_and_clear();
        // The next open, of whatever verb, has nothing to replay then.
        db.flush()?;
        db.close()?;
        tally.write(found.skipped, started.elapsed())?;
        Ok(Outcome::Done)
    }
}

/// A file to store.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct File {
    key: Vec<u8>,
    below: PathBuf,
    bytes: u64,
}

/// What lies below a folder.
#[derive(Debug, Default)]
struct Found {
    files: Vec<File>,
    skipped: u64,
}

impl Found {
    fn below(root: &Path) -> Result<Self> {
        let mut found = Self::default();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let listed = root.join(&folder);
            let failed = |error| Failure::at("list", &listed, &error);
            for entry in fs::read_dir(&listed).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let below = folder.join(entry.file_name());
                let kind = entry.file_type().map_err(failed)?;
                if kind.is_dir() {
                    folders.push(below);
                } else if kind.is_file() {
                    let bytes = entry.metadata().map_err(failed)?.len();
                    found.push(root, below, bytes)?;
                } else {
                    found.skipped += 1;
                }
            }
        }
        found.files.sort();
        Ok(found)
    }

    /// Errors: a file over the limit is told before anything is stored.
    fn push(&mut self, root: &Path, below: PathBuf, bytes: u64) -> Result<()> {
        if bytes > FILE_BYTES_MAX {
            let path = root.join(below);
            return Err(Failure::new(format!(
                "invalid argument: {} has {bytes} bytes: want at most {FILE_BYTES_MAX}",
                path.display()
            )));
        }
        self.files.push(File { key: paths::key_of(&below)?, below, bytes });
        Ok(())
    }
}

/// What the summary tells.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    files: u64,
    bytes: u64,
    equal: u64,
}

/// Gathers files into batches and commits them.
struct Loader<'a> {
    db: &'a Db,
    collection: Collection,
    durability: Durability,
    /// Whether files may be stored already, so that looking pays.
    look: bool,
    batch: WriteBatch,
    tally: Tally,
}

impl<'a> Loader<'a> {
    fn new(db: &'a Db, collection: &str, durability: Durability) -> Result<Self> {
        let collection = db.collection(collection)?;
        // Not the pair itself: its value may be a large one.
        let look = collection.iter().readers().next().transpose()?.is_some();
        let batch = db.batch();
        Ok(Self { db, collection, durability, look, batch, tally: Tally::default() })
    }

    fn add(&mut self, root: &Path, file: &File, bar: &ProgressBar) -> Result<()> {
        let path = root.join(&file.below);
        if file.bytes > STREAM_BYTES {
            return self.stream(&path, file, bar);
        }
        bar.inc(file.bytes);
        let bytes = fs::read(&path).map_err(|error| Failure::at("read", &path, &error))?;
        if self.look && self.collection.get(&file.key)?.is_some_and(|value| *value == *bytes) {
            self.tally.equal += 1;
            return Ok(());
        }
        let held = self.batch.byte_count();
        if held > 0 && held + file.key.len() + bytes.len() > BATCH_BYTES
            || self.batch.len() >= BATCH_FILES
        {
            self.commit()?;
        }
        self.batch
            .insert(&self.collection, &file.key, &bytes)
            .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        self.tally.files += 1;
        self.tally.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Stores a large file, which is in memory once, or, if it is stored already, not at all.
    fn stream(&mut self, path: &Path, file: &File, bar: &ProgressBar) -> Result<()> {
        let done = bar.position() + file.bytes;
        if self.look
            && let Some(mut value) = self.collection.reader(&file.key)?
            && value.len() == file.bytes
            && paths::holds(path, &mut value)?
        {
            self.tally.equal += 1;
            bar.set_position(done);
            return Ok(());
        }
        // Files go in sorted: what was gathered comes first.
        self.commit()?;
        let failed = |error| Failure::at("read", path, &error);
        let told = |error: String| Failure::new(format!("{}: {error}", path.display()));
        let mut input = fs::File::open(path).map_err(failed)?;
        let writer = self.collection.writer(&file.key).with_len(file.bytes);
        let mut writer = writer.map_err(|error| told(error.to_string()))?;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let bytes = input.read(&mut piece).map_err(failed)?;
            if bytes == 0 {
                break;
            }
            let written = writer.write_all(&piece[..bytes]);
            written.map_err(|error| told(error.to_string()))?;
            bar.inc(bytes as u64);
        }
        let bytes = writer.len();
        writer.finish_with(self.durability).map_err(|error| told(error.to_string()))?;
        self.tally.files += 1;
        self.tally.bytes += bytes;
        bar.set_position(done);
        Ok(())
    }

    fn finish(mut self) -> Result<Tally> {
        self.commit()?;
        Ok(self.tally)
    }

    fn commit(&mut self) -> Result<()> {
        let batch = std::mem::replace(&mut self.batch, self.db.batch());
        Ok(batch.commit_with(self.durability)?)
    }
}

impl Tally {
    fn write(self, skipped: u64, took: Duration) -> Result<()> {
        let seconds = took.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let rate = self.bytes as f64 / f64::from(1 << 20) / seconds;
        let mut out = output::stdout();
        write!(
            out,
            "loaded {} files, {} bytes ({}) in {seconds:.2} s: {rate:.1} MiB/s",
            self.files,
            self.bytes,
            output::amount(self.bytes)
        )?;
        if self.equal > 0 {
            write!(out, "; {} files were there already", self.equal)?;
        }
        if skipped > 0 {
            write!(out, "; {skipped} links and special files skipped")?;
        }
        writeln!(out)?;
        out.flush()?;
        Ok(())
    }
}

/// A bar on standard error, if that is a terminal; else nothing.
fn progress_bar(bytes: u64) -> ProgressBar {
    let style = "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let style =
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(bytes).with_style(style)
}
