//! What takes part in a repair: every readable entry of every file that counts, as sources.
//!
//! ```text
//!   manifest reads whole, all it names is there    ─▶ what it names          (trusted)
//!   else                                           ─▶ all files, but those that it still says
//!                                                     were removed
//!   segment   verifies whole ─▶ its cursor          else ─▶ what is left of it
//!   log       frame by frame, over damage to the next whole frame ─▶ memtables
//!   blob      looked into value by value; so are kept logs
//! ```
//!
//! 1. Nothing in the folder is changed.
//! 2. A file of a newer format ends it: nobody here knows what it holds.
//! 3. No entry is taken from a kept log: all of them are in segments, or were dropped or folded since, and
//!    an operand that was folded must not be there twice. Only large values are looked for in it.
//! 4. With a trusted manifest, frames that it says are flushed are skipped: they are in segments, or
//!    were dropped. Without, everything counts: what is there twice is taken once.

use super::super::checkpoint::files_of;
use super::union::{Owned, Pile};
use crate::base::coding::to_u64;
use crate::base::cursor::Cursor;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{FileId, SeqNo};
use crate::blob::Values;
use crate::cache::BlockCache;
use crate::commit::fill::{Filling, Source};
use crate::db::files::keep::names_of;
use crate::db::folder;
use crate::db::options::Options;
use crate::db::report::Damage;
use crate::env::names::{FileKind, FileName};
use crate::env::{Access, Env, Listed, Map, path_in, read_whole};
use crate::log::reader::{End, LogReader, Promise};
use crate::manifest::{self, State, Store};
use crate::segment::{SegmentMeta, SegmentReader, salvage};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

/// Room for what a verification unpacks.
const CACHE_BYTES: u64 = 1 << 20;

/// See the module.
pub(super) struct Bag {
    /// All entries that can be read; what was written first comes first.
    pub(super) sources: Vec<Box<dyn Cursor>>,
    /// All large values, where they can be read.
    pub(super) values: Values,
    /// What could not be read.
    pub(super) damages: Vec<Damage>,
    /// Every number up to this was in segments once.
    pub(super) flushed: SeqNo,
    /// Above the number of every file there is or was, as far as that is known.
    pub(super) next_file: FileId,
    /// Every file of a database in the folder.
    pub(super) all: Vec<FileName>,
    /// Files in which something could not be read.
    damaged: BTreeSet<FileName>,
}

/// A folder that is looked into, and how.
struct Folder<'a> {
    options: &'a Options,
    env: &'a Arc<dyn Env>,
    dir: &'a Path,
    said: Said,
}

/// What manifests say, as far as they can be read.
struct Said {
    /// The whole of it, if it can be trusted.
    state: Option<State>,
    /// Segments and blob files that are not live any more.
    removed: BTreeSet<FileName>,
    /// The numbers it knows.
    next_file: FileId,
    flushed: SeqNo,
}

impl Bag {
    /// Reads the folder. `progress` is told how many bytes of how many were read.
    ///
    /// Errors: `Unsupported` for a newer format; `Io` if the folder cannot be listed.
    pub(super) fn look(
        options: &Options,
        env: &Arc<dyn Env>,
        dir: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self> {
        let listed = folder::list(&**env, dir)?;
        let files: HashMap<FileName, u64> = listed
            .iter()
            .filter(|listed| listed.is_file)
            .filter_map(|listed| Some((FileName::parse(&listed.name)?, listed.bytes)))
            .collect();
        let mut all: Vec<FileName> = files.keys().copied().collect();
        all.sort_unstable();
        let highest = all
            .last()
            .map_or(FileId(0), |_| all.iter().map(|name| name.id).max().unwrap_or_default());
        let mut bag = Self {
            sources: Vec::new(),
            values: Values::default(),
            damages: Vec::new(),
            flushed: SeqNo::ZERO,
            next_file: highest.next(),
            all,
            damaged: BTreeSet::new(),
        };
        let said = bag.manifest(env, dir, &listed)?;
        bag.check_lengths(&said, &files);
        bag.next_file = bag.next_file.max(said.next_file);
        bag.flushed = said.flushed;
        let chosen = bag.choose(&said);
        let folder = Folder { options, env, dir, said };
        let total: u64 = chosen.iter().filter_map(|name| files.get(name)).sum();
        let mut done = 0;
        for name in chosen {
            if name.kind != FileKind::Segment {
                let added = bag.values.add(&**env, dir, name);
                bag.note(name, added)?;
            }
            match name.kind {
                FileKind::Segment => bag.segment(&folder, name)?,
                FileKind::Log => bag.log(&folder, name)?,
                FileKind::Blob | FileKind::Kept | FileKind::Manifest => {}
            }
            done += files.get(&name).copied().unwrap_or_default();
            progress(done, total);
        }
        Ok(bag)
    }

    /// Files that must be kept: those in which something could not be read, and all blob files and kept
    /// logs if entries were lost.
    pub(super) fn aside(&self) -> Vec<FileName> {
        let lost = self.damaged.iter().any(|name| name.kind == FileKind::Segment);
        let is_kept = |name: &&FileName| {
            let may_help = matches!(name.kind, FileKind::Blob | FileKind::Kept);
            self.damaged.contains(name) || self.values.is_damaged(**name) || may_help && lost
        };
        self.all.iter().filter(is_kept).copied().collect()
    }

    /// Notes damage. Errors: `Unsupported`.
    fn note(&mut self, name: FileName, result: Result<()>) -> Result<()> {
        match result {
            Err(error) if error.kind() == ErrorKind::Unsupported => Err(error),
            Err(error) => {
                self.damaged(name, error.message());
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn damaged(&mut self, name: FileName, message: impl Into<String>) {
        self.damages.push(Damage { file: name.to_string(), message: message.into() });
        self.damaged.insert(name);
    }

    /// Reads the manifests.
    fn manifest(&mut self, env: &Arc<dyn Env>, dir: &Path, listed: &[Listed]) -> Result<Said> {
        let mut said = Said {
            state: None,
            removed: BTreeSet::new(),
            next_file: FileId(0),
            flushed: SeqNo::ZERO,
        };
        // As far as it can be read, before any damage.
        let walked = manifest::audit(env, dir, listed, &mut |step| {
            let segment = |id: &FileId| FileKind::Segment.name(*id);
            let blob = |id: &FileId| FileKind::Blob.name(*id);
            said.removed.extend(step.edit.remove.iter().map(segment));
            said.removed.extend(step.edit.remove_blobs.iter().map(blob));
            for placed in &step.edit.add {
                said.removed.remove(&segment(&placed.meta.id));
            }
            said.next_file = said.next_file.max(step.state.next_file);
            said.flushed = said.flushed.max(step.state.flushed);
        });
        match walked.and_then(|_| Store::read(env, dir, listed)) {
            Ok(Some((state, _))) => {
                if self.names_all(env, dir, &state) {
                    said.state = Some(state);
                }
            }
            Ok(None) => self.damages.push(Damage {
                file: "manifest".to_owned(),
                message: "want a complete manifest, found none".to_owned(),
            }),
            Err(error) if error.kind() == ErrorKind::Unsupported => return Err(error),
            Err(error) => self
                .damages
                .push(Damage { file: "manifest".to_owned(), message: error.message().to_owned() }),
        }
        if said.state.is_none() {
            let manifests = self.all.iter().filter(|name| name.kind == FileKind::Manifest);
            self.damaged.extend(manifests.copied());
        }
        Ok(said)
    }

    /// Tells which blob files are not as long as the manifest says: nobody else looks at what lies in them
    /// and is not needed. Of segments every byte is read.
    fn check_lengths(&mut self, said: &Said, files: &HashMap<FileName, u64>) {
        for (name, want) in said.state.iter().flat_map(files_of) {
            match files.get(&name) {
                Some(bytes) if name.kind == FileKind::Blob && *bytes != want => {
                    self.damaged(name, format!("{name}: want {want} bytes, found {bytes}"));
                }
                _ => {}
            }
        }
    }

    /// Whether all files that the manifest names are there, and no log that it should name.
    fn names_all(&mut self, env: &Arc<dyn Env>, dir: &Path, state: &State) -> bool {
        let files = files_of(state).map(|(name, _)| name);
        let logs = state.logs.iter().map(|id| FileKind::Log.name(*id));
        let named: BTreeSet<FileName> = files.chain(logs).collect();
        let there: BTreeSet<FileName> = self.all.iter().copied().collect();
        let missing: Vec<FileName> = named.difference(&there).copied().collect();
        for name in &missing {
            let message = format!("{name} is missing: the manifest names it");
            self.damages.push(Damage { file: name.to_string(), message });
        }
        // One that was prepared and never written to is nothing.
        let is_odd = |name: &&FileName| {
            let is_unnamed = name.kind == FileKind::Log && !named.contains(name);
            is_unnamed && name.id >= state.log_min && is_written(env, dir, **name)
        };
        let odd: Vec<FileName> = there.iter().filter(is_odd).copied().collect();
        for name in &odd {
            let message = format!("{name} is there and the manifest does not name it");
            self.damages.push(Damage { file: name.to_string(), message });
        }
        missing.is_empty() && odd.is_empty()
    }

    /// The files that take part: logs, kept logs, blob files, then segments, each ascending. So what was
    /// written first comes first, and all values are known before what refers to them.
    fn choose(&self, said: &Said) -> Vec<FileName> {
        let mut chosen: Vec<FileName> = match &said.state {
            Some(state) => {
                let files = files_of(state).map(|(name, _)| name);
                let logs = state.logs.iter().map(|id| FileKind::Log.name(*id));
                files.chain(logs).chain(names_of(&state.held)).collect()
            }
            None => {
                let live = |name: &&FileName| !said.removed.contains(name);
                self.all.iter().filter(live).copied().collect()
            }
        };
        let order = |name: &FileName| match name.kind {
            FileKind::Log => 0,
            FileKind::Kept => 1,
            FileKind::Blob => 2,
            FileKind::Segment => 3,
            FileKind::Manifest => 4,
        };
        chosen.retain(|name| name.kind != FileKind::Manifest);
        chosen.sort_by_key(|name| (order(name), name.id));
        chosen
    }

    fn segment(&mut self, folder: &Folder<'_>, name: FileName) -> Result<()> {
        let path = path_in(folder.dir, name);
        let cache = Arc::new(BlockCache::new(CACHE_BYTES));
        let opened = SegmentReader::open_alone(folder.env, &path, folder.options.access, &cache);
        let verified = opened.and_then(|(reader, meta)| {
            reader.verify(&mut |_| {})?;
            Ok((Arc::new(reader), meta))
        });
        match verified {
            Ok((reader, found)) => {
                let mut known = folder.said.state.iter().flat_map(State::segments);
                if let Some(want) = known.find(|meta| meta.id == name.id && **meta != found) {
                    self.damaged(name, other(name, want, &found));
                }
                self.sources.push(Box::new(reader.rewrite_cursor()));
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::Unsupported => return Err(error),
            Err(error) => self.damaged(name, error.message()),
        }
        let Some(map) = self.read(folder, name) else { return Ok(()) };
        let mut entries = Vec::new();
        let found = salvage(map.bytes(), name.id, &mut |entry| entries.push(Owned::of(entry)));
        if !found.has_end {
            self.leave_out(&mut entries)?;
        }
        for lost in found.lost {
            let bytes = lost.end - lost.start;
            self.damaged(name, format!("{name} at byte {}: {bytes} bytes are lost", lost.start));
        }
        self.sources.push(Box::new(Pile::new(entries)));
        Ok(())
    }

    /// Takes out, of a segment that was not written to its end, what refers to values that no file has:
    /// either a whole file has the same, or nobody was told that it is there.
    fn leave_out(&mut self, entries: &mut Vec<Owned>) -> Result<()> {
        let mut found = Vec::with_capacity(entries.len());
        for entry in entries.drain(..) {
            let is_there = entry
                .blob()
                .map_or(Ok(true), |blob| self.values.read(&blob).map(|value| value.is_some()));
            found.extend(is_there?.then_some(entry));
        }
        *entries = found;
        Ok(())
    }

    /// A whole file; none, and noted, if it cannot be read.
    fn read(&mut self, folder: &Folder<'_>, name: FileName) -> Option<Arc<dyn Map>> {
        let file = folder.env.open(&path_in(folder.dir, name));
        let read = file.and_then(|file| read_whole(&*file, folder.options.access));
        match read {
            Ok(map) => Some(map),
            Err(error) => {
                self.damaged(name, format!("read {name}: {error}"));
                None
            }
        }
    }

    fn log(&mut self, folder: &Folder<'_>, name: FileName) -> Result<()> {
        let Folder { options, env, dir, said } = folder;
        let Some(map) = self.read(folder, name) else { return Ok(()) };
        let file = match env.open(&path_in(dir, name)) {
            Ok(file) => file,
            Err(error) => return self.note(name, Err(Error::io(format!("open {name}"), error))),
        };
        let source = Source { log: name.id, file, map };
        let trusted = said.state.as_ref();
        let promise = trusted.and_then(|state| state.closed).filter(|closed| closed.log == name.id);
        let promise = promise.map_or(Promise::default(), |closed| Promise {
            length: Some(closed.length),
            last: Some(closed.last),
        });
        let flushed = trusted.map_or(SeqNo::ZERO, |state| state.flushed);
        let mut reader = LogReader::new(name.id, source.map.clone(), promise);
        let mut filling = Filling::start(&***env, options.slab(), options.blob_threshold)?;
        let length = to_u64(source.map.bytes().len());
        loop {
            let read = match reader.next() {
                Ok(Some(frame)) if frame.last > flushed => filling.push(&source, &frame),
                Ok(Some(_)) => Ok(()),
                Ok(None) => match reader.end() {
                    Some(End::Torn { .. }) => Err(Error::invalid("no frame")),
                    _ => break,
                },
                Err(error) => Err(error),
            };
            let Err(error) = read else { continue };
            let Some(skipped) = reader.salvage() else { break };
            let is_tail = skipped.to >= length && error.kind() == ErrorKind::InvalidArgument;
            if !is_tail {
                let (at, bytes) = (skipped.from, skipped.to - skipped.from);
                self.damaged(name, format!("{name} at byte {at}: {bytes} bytes are no frames"));
            }
        }
        match filling.finish() {
            Ok(filled) => {
                let full = filled.full.into_iter().map(|full| full.memtable);
                for memtable in full.chain(filled.memtable) {
                    self.sources.push(Box::new(memtable.cursor(SeqNo::MAX)));
                }
                Ok(())
            }
            Err(error) => self.note(name, Err(error)),
        }
    }
}

/// Whether a log has a whole first frame.
fn is_written(env: &Arc<dyn Env>, dir: &Path, name: FileName) -> bool {
    let file =
        env.open(&path_in(dir, name)).and_then(|file| read_whole(&*file, Access::Positioned));
    file.is_ok_and(|map| {
        let mut reader = LogReader::new(name.id, map, Promise::default());
        reader.next().is_ok_and(|frame| frame.is_some())
    })
}

fn other(name: FileName, want: &SegmentMeta, found: &SegmentMeta) -> String {
    let (want, found) = (want.setsum, found.setsum);
    format!("{name}: want entries that sum to {want}, as the manifest says, found {found}")
}
