//! Backups: a folder that has each file once, and says what each backup consists of.
//!
//! ```text
//!   backup-000003                   text: the files of the third backup, their digests, its manifest
//!   seg-000012-0c5f…e1              a segment, under its name and the digest of all its bytes
//!   blob-000041-31aa…07             a file of large values
//!
//!   moment ─▶ files that no backup has ─▶ verified, copied to `part`, renamed ─▶ names durable
//!                                                         ─▶ backup-000004, last, by a rename
//! ```
//!
//! 1. A backup exists with its text, which comes whole under its name or not at all, and after all
//!    files in it are durable. So a backup that was cut short is none, and the ones before it stay.
//! 2. A stored file is named by its contents: two files of one number that differ have two names.
//!    That happens: a database that goes on from an older backup gives numbers out again that newer
//!    backups know, for other contents.
//! 3. A file is taken for one that an earlier backup has only if the manifests of both say the same
//!    of it, its length and the sum of its entries or values above all. A file of such a description
//!    is as good as any other of it: numbers, keys and values are in that sum. Where large values lie
//!    is not: a segment that refers to some is read, and is the one that has its digest.
//! 4. What is copied is verified first, against the manifest: damage is never backed up.
//! 5. What no backup names is what was cut short, and is removed, unless some text cannot be read:
//!    then nobody knows what it names.

mod listing;
mod restore;

use super::checkpoint::{Moment, files_of};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::FileId;
use crate::blob::{Blob, BlobMeta};
use crate::db::Db;
use crate::db::core::Core;
use crate::db::files::copy::{copy, digest};
use crate::db::folder::{self, Target};
use crate::db::report::{Checksum, Damage};
use crate::env::names::FileName;
use crate::env::{Env, path_in, write_all_at};
use crate::manifest::State;
use crate::segment::SegmentMeta;
use crate::segment::handle::Segment;
use listing::{Listing, Stored, backup_name, number_of};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

/// What is being written, until it gets its name.
const PART: &str = "part";

/// What a backup made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupReport {
    /// Its number.
    pub number: u64,
    /// Its files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that no earlier backup had.
    pub files_copied: u64,
    /// Their bytes.
    pub bytes_copied: u64,
    /// The checksum of every operation in it, or ever flushed before it: that of
    /// [`Db::checksum`] once it is restored and opened.
    pub checksum: Checksum,
    /// The last sequence number in it.
    pub sequence: u64,
    /// What earlier backups have lost: texts that are damaged, files that are missing or cut. This
    /// one needs none of it.
    pub damages: Vec<Damage>,
}

/// A backup that lies in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backup {
    /// Its number; a newer one has a higher number.
    pub number: u64,
    /// Its files.
    pub files: u64,
    /// Their bytes; other backups have some of the same files.
    pub bytes: u64,
    /// As of [`BackupReport::checksum`].
    pub checksum: Checksum,
    /// The last sequence number in it.
    pub sequence: u64,
}

impl Db {
    /// Adds a backup of this moment to those in `folder`, which is created if it is missing, while
    /// reads and writes go on. Only files that no backup there has are copied. Durable on return.
    ///
    /// It has every write that had returned before the call; of those that run beside it, a prefix.
    /// Keep one folder for each database. Cost: a flush; reads and verifies the files that are new,
    /// and writes them; reads the segments that refer to large values.
    ///
    /// Errors: `InvalidArgument` if `folder` holds something that is no backup; `Busy` if another
    /// backup or restore is at work there; `Corruption` if a file of this database is damaged: what
    /// was backed up before stays, see [`Options::repair`](crate::Options::repair); `Io`. After an
    /// error there is no new backup, and the next one begins anew.
    pub fn backup(&self, folder: impl AsRef<Path>) -> Result<BackupReport> {
        self.backup_with(folder, &mut |_, _| {})
    }

    /// [`Db::backup`], telling `progress` how many bytes of how many were copied.
    pub fn backup_with(
        &self,
        folder: impl AsRef<Path>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<BackupReport> {
        let core = self.core();
        core.writing()?;
        let target = Target::take_if(&core.env, folder.as_ref(), is_ours)?;
        let known = Known::sweep(&*core.env, &target.dir)?;
        self.flush()?;
        let moment = core.moment(core.writing()?);
        Work { core, target, known, moment }.run(progress)
    }
}

fn is_ours(name: &str) -> bool {
    name == PART || number_of(name).is_some() || Stored::parse(name).is_some()
}

/// The texts in a folder, oldest first, each with its number.
fn listings(env: &dyn Env, dir: &Path) -> Result<impl Iterator<Item = (FileId, Result<Listing>)>> {
    let listed = folder::list(env, dir)?;
    let mut numbers: Vec<FileId> = listed.iter().filter_map(|l| number_of(&l.name)).collect();
    numbers.sort_unstable();
    Ok(numbers.into_iter().map(move |number| (number, Listing::read(env, dir, number))))
}

/// What a manifest says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Meta {
    Segment(SegmentMeta),
    Blob(BlobMeta),
}

/// What a manifest says of its files, in the order of [`files_of`](super::checkpoint::files_of).
fn metas(state: &State) -> impl Iterator<Item = Meta> {
    let segments = state.segments().cloned().map(Meta::Segment);
    segments.chain(state.blobs.iter().map(|blob| Meta::Blob(blob.meta.clone())))
}

/// What earlier backups have.
#[derive(Default)]
struct Known {
    /// A number above all of theirs.
    next: FileId,
    /// By the name in the database, oldest first.
    files: HashMap<FileName, Vec<(Meta, Stored)>>,
    /// Texts that cannot be read.
    damages: Vec<Damage>,
}

impl Known {
    /// Reads all texts in a folder; and, if all can be read, removes what none of them names.
    fn sweep(env: &dyn Env, dir: &Path) -> Result<Self> {
        let mut known = Self { next: FileId(1), ..Self::default() };
        let mut named: BTreeMap<String, u64> = BTreeMap::new();
        for (number, listing) in listings(env, dir)? {
            known.next = number.next();
            match listing {
                Ok(Listing { files, state, .. }) => {
                    for (meta, stored) in metas(&state).zip(files) {
                        named.insert(stored.name(), stored.bytes);
                        known.files.entry(stored.file).or_default().push((meta, stored));
                    }
                }
                Err(error) if error.kind() == ErrorKind::Corruption => {
                    known.damaged(backup_name(number), error.message().to_owned());
                }
                Err(error) => return Err(error),
            }
        }
        let is_read = known.damages.is_empty();
        for listed in folder::list(env, dir)? {
            let is_stray = Stored::parse(&listed.name).is_some() && is_read;
            match named.get(&listed.name) {
                Some(bytes) if *bytes == listed.bytes => drop(named.remove(&listed.name)),
                None if is_stray || listed.name == PART => {
                    let removed = env.remove(&path_in(dir, &listed.name));
                    removed.map_err(|error| Error::io(format!("remove {}", listed.name), error))?;
                }
                _ => {}
            }
        }
        // What is left of them is missing or cut: it is copied again if it is still there.
        for files in known.files.values_mut() {
            files.retain(|(_, stored)| !named.contains_key(&stored.name()));
        }
        for (name, bytes) in named {
            known.damaged(name, format!("want a file of {bytes} bytes, found none"));
        }
        Ok(known)
    }

    fn damaged(&mut self, file: String, message: String) {
        self.damages.push(Damage { file, message });
    }

    /// What is stored for a file of this description, which lies in `dir`. Cost: reads it if it is a
    /// segment with refs and there is one of its description. Errors: `Io`.
    fn find(
        &self,
        env: &dyn Env,
        dir: &Path,
        (file, meta): (FileName, &Meta),
    ) -> Result<Option<Stored>> {
        let known = self.files.get(&file).into_iter().flatten();
        let mut same = known.filter(|(known, _)| known == meta).map(|(_, stored)| *stored);
        match meta {
            Meta::Segment(segment) if segment.blob_bytes > 0 => {
                let Some(first) = same.next() else { return Ok(None) };
                let read = env.open(&path_in(dir, file));
                let read = read.and_then(|file| digest(&*file, &mut |_, _| true));
                let (_, own) = read.map_err(|error| Error::io(format!("read {file}"), error))?;
                Ok(std::iter::once(first).chain(same).find(|stored| stored.digest == own))
            }
            _ => Ok(same.next()),
        }
    }
}

/// A backup that is being made.
struct Work<'a> {
    core: &'a Core,
    target: Target,
    known: Known,
    moment: Moment,
}

/// A file of the moment.
enum Source {
    Segment(Arc<Segment>),
    Blob(Arc<Blob>),
}

impl Source {
    /// Reads every byte and checks it. Errors: `Corruption`; `Io`.
    fn verify(&self) -> Result<()> {
        match self {
            Self::Segment(segment) => segment.verify(&mut |_| {}, &mut |_| {}).map(drop),
            Self::Blob(blob) => blob.walk(|_, _| Ok(())),
        }
    }
}

impl Work<'_> {
    fn run(self, progress: &mut dyn FnMut(u64, u64)) -> Result<BackupReport> {
        let state = &self.moment.state;
        let segments = self.moment.version.segments().cloned().map(Source::Segment);
        let blobs = self.moment.version.blobs.iter().cloned().map(Source::Blob);
        let (env, dir) = (&*self.core.env, &self.core.dir);
        let stored = files_of(state).zip(metas(state)).map(|((file, bytes), meta)| {
            Ok((file, bytes, self.known.find(env, dir, (file, &meta))?))
        });
        let stored = stored.collect::<Result<Vec<_>>>()?;
        let total = stored.iter().filter(|(.., known)| known.is_none()).map(|(_, n, _)| n).sum();
        let mut report = BackupReport {
            number: self.known.next.0,
            checksum: state.total(),
            sequence: state.flushed.0,
            ..BackupReport::default()
        };
        let mut files = Vec::with_capacity(stored.len());
        for ((file, bytes, known), source) in stored.into_iter().zip(segments.chain(blobs)) {
            let stored = match known {
                Some(known) => known,
                None => {
                    source.verify()?;
                    let mut done = report.bytes_copied;
                    let stored = self.store(file, bytes, &mut |bytes| {
                        done += bytes;
                        progress(done, total);
                    })?;
                    report.files_copied += 1;
                    report.bytes_copied += bytes;
                    stored
                }
            };
            report.files += 1;
            report.bytes += bytes;
            files.push(stored);
        }
        folder::sync(&*self.core.env, &self.target.dir)?;
        self.write(&Listing { number: self.known.next, files, state: state.clone() })?;
        report.damages = self.known.damages;
        Ok(report)
    }

    /// Copies a file that no backup has.
    fn store(&self, file: FileName, want: u64, progress: &mut dyn FnMut(u64)) -> Result<Stored> {
        let (from, part) = (path_in(&self.core.dir, file), path_in(&self.target.dir, PART));
        let (bytes, digest) = copy(&*self.core.env, &from, &part, progress)?;
        if bytes != want {
            return Err(Error::corruption(file, bytes.min(want), format!("{want} bytes"), bytes));
        }
        let stored = Stored { file, bytes, digest };
        self.name_part(&stored.name())?;
        Ok(stored)
    }

    /// Writes what the backup consists of: with its name the backup is there.
    fn write(&self, listing: &Listing) -> Result<()> {
        let name = backup_name(listing.number);
        let failed = |doing| move |error| Error::io(format!("{doing} {PART}"), error);
        let file = self.core.env.create(&path_in(&self.target.dir, PART));
        let file = file.map_err(failed("create"))?;
        write_all_at(&*file, &listing.encode()?, 0).map_err(failed("write"))?;
        file.sync().map_err(failed("sync"))?;
        drop(file);
        self.name_part(&name)?;
        folder::sync(&*self.core.env, &self.target.dir)
    }

    fn name_part(&self, name: &str) -> Result<()> {
        let dir = &self.target.dir;
        let named = self.core.env.rename(&path_in(dir, PART), &path_in(dir, name));
        named.map_err(|error| Error::io(format!("rename {PART} to {name}"), error))
    }
}
