//! Verifying every byte of a database, and what its parts say of each other.
//!
//! 1. What is verified is one moment: manifest and view are taken together.
//! 2. Beside the bytes: each ref in a segment is of a live value, each live value has one, and dead
//!    are those that the manifest says (MACE-17).

use crate::base::blob::{Address, BlobRef};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::FileId;
use crate::base::setsum::Setsum;
use crate::db::core::{Core, Writing};
use crate::db::report::{Damage, VerifyReport};
use crate::env::names::{FileKind, FileName};
use crate::env::{path_in, read_whole};
use crate::log::follow::Follower;
use crate::log::reader::{LogReader, Promise};
use crate::manifest::{Closed, LiveBlob, State, Store};
use crate::tree::view::View;
use roaring::RoaringTreemap;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Core {
    /// Reads every byte of every live file; see [`Db::verify`](crate::Db::verify).
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<VerifyReport> {
        self.check_open()?;
        let mut check = Check { core: self, report: VerifyReport::default(), total: 0, progress };
        let (state, view) = check.manifest()?;
        let Some(state) = state else { return Ok(check.report) };
        let blobs = view.version.blobs.iter().map(|blob| blob.meta().bytes);
        let segments = view.version.segments().map(|segment| segment.meta().bytes);
        check.total = segments.chain(blobs).sum();
        check.report.checksum = state.total();
        let mut sum = Setsum::ZERO;
        let mut refs = Refs::default();
        for segment in view.version.segments() {
            let meta = segment.meta();
            let before = check.report.bytes;
            let mut done = before;
            let progress = &mut |bytes| {
                done += bytes;
                (check.progress)(done, check.total);
            };
            let result = segment.verify(progress, &mut |blob| refs.note(&state, blob));
            check.report.files += 1;
            check.report.bytes = before + meta.bytes;
            check.report.entries += meta.entries;
            match result {
                Ok(found) => sum += found,
                Err(error) => check.damaged(FileKind::Segment.name(meta.id), error)?,
            }
            let name = FileKind::Segment.name(meta.id);
            if let Err(error) = refs.check(name) {
                check.damaged(name, error)?;
            }
        }
        let all_refs = check.report.damages.is_empty();
        // What the chain of balances says must be there, against what the bytes say.
        if check.report.damages.is_empty() && sum != state.present {
            let message = format!("the segments sum to {sum}, want {}", state.present);
            let error = Error::new(ErrorKind::Corruption, message);
            check.damaged(FileKind::Manifest.name(state.next_file), error)?;
        }
        for blob in view.version.blobs.iter() {
            let name = FileKind::Blob.name(blob.meta().id);
            let before = check.report.bytes;
            let mut done = before;
            let mut live = Live::of(&state, &refs, blob.meta().id);
            let result = blob.walk(|blob, stored| {
                live.note(blob);
                done += stored.len() as u64;
                (check.progress)(done, check.total);
                Ok(())
            });
            let result = result.and_then(|()| if all_refs { live.check(name) } else { Ok(()) });
            check.report.files += 1;
            check.report.bytes = before + blob.meta().bytes;
            (check.progress)(check.report.bytes, check.total);
            if let Err(error) = result {
                check.damaged(name, error)?;
            }
        }
        check.logs(&state)?;
        check.kept_logs(&state)?;
        Ok(check.report)
    }
}

/// What segments refer to. Memory: some bytes a value, whatever its length.
#[derive(Default)]
pub(super) struct Refs {
    files: BTreeMap<FileId, Referred>,
    /// The first ref of a segment that is wrong.
    odd: Option<String>,
}

/// What they refer to in one blob file.
#[derive(Default)]
struct Referred {
    addresses: RoaringTreemap,
    sum: Setsum,
}

impl Refs {
    /// Notes a ref, which must be of a live value, and the only one of it (MACE-17).
    pub(super) fn note(&mut self, state: &State, blob: &BlobRef) {
        let address = blob.address;
        let Some(file) = state.blob_of(address) else {
            let odd = format!("want a live blob file for value {address}, found none");
            self.odd.get_or_insert(odd);
            return;
        };
        let referred = self.files.entry(file.meta.id).or_default();
        referred.sum += Setsum::of_blob(blob);
        if file.dead.contains(address.0) {
            self.odd.get_or_insert(format!("want a live value {address}, found a dead one"));
        }
        if !referred.addresses.insert(address.0) {
            self.odd.get_or_insert(format!("want one ref to value {address}, found two"));
        }
    }

    /// Errors: `Corruption` if a ref of the segment `name` that was noted is wrong.
    pub(super) fn check(&mut self, name: FileName) -> Result<()> {
        match self.odd.take() {
            Some(odd) => Err(Error::new(ErrorKind::Corruption, format!("{name}: {odd}"))),
            None => Ok(()),
        }
    }
}

/// The values of a blob file, held against the manifest and against the refs.
pub(super) struct Live<'a> {
    known: Option<&'a LiveBlob>,
    referred: Option<&'a Referred>,
    sum: Setsum,
    dead_values: u64,
    /// A live value that nothing refers to.
    lost: Option<Address>,
}

impl<'a> Live<'a> {
    pub(super) fn of(state: &'a State, refs: &'a Refs, file: FileId) -> Self {
        let known = state.blobs.get(file).map(|blob| &**blob);
        let (sum, dead_values, lost) = Default::default();
        Self { known, referred: refs.files.get(&file), sum, dead_values, lost }
    }

    pub(super) fn note(&mut self, blob: &BlobRef) {
        let address = blob.address;
        if self.known.is_some_and(|known| known.dead.contains(address.0)) {
            self.dead_values += 1;
            return;
        }
        self.sum += Setsum::of_blob(blob);
        if !self.referred.is_some_and(|refs| refs.addresses.contains(address.0)) {
            self.lost.get_or_insert(address);
        }
    }

    /// Errors: `Corruption` if what lives is not what is referred to, to the last bit.
    pub(super) fn check(&self, name: FileName) -> Result<()> {
        let dead = self.known.map_or(0, |known| known.dead_values);
        let sum = self.referred.map_or(Setsum::ZERO, |referred| referred.sum);
        let message = if let Some(lost) = self.lost {
            format!("{name}: want a ref to live value {lost}, found none")
        } else if self.dead_values != dead {
            format!("{name}: want {dead} dead values, found {}", self.dead_values)
        } else if self.sum != sum {
            format!("{name}: want live values that sum to {sum}, found {}", self.sum)
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Corruption, message))
    }
}

/// Whether `read` is what is `known`. What was read is told of files that jobs are writing, too.
fn says(known: &State, read: &State) -> bool {
    *known == State { next_file: known.next_file, ..read.clone() }
}

/// A check under way.
struct Check<'a> {
    core: &'a Core,
    report: VerifyReport,
    total: u64,
    progress: &'a mut dyn FnMut(u64, u64),
}

impl Check<'_> {
    /// Notes damage. Errors: others than `Corruption` and `Unsupported`, which end the check.
    fn damaged(&mut self, file: FileName, error: Error) -> Result<()> {
        match error.kind() {
            ErrorKind::Corruption | ErrorKind::Unsupported => {
                let message = error.message().to_owned();
                self.report.damages.push(Damage { file: file.to_string(), message });
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// Reads the manifest from its file: its checksums, and the balance of every edit. With the
    /// view of the same moment, which must hold the segments that the manifest names, each as it is
    /// described there.
    fn manifest(&mut self) -> Result<(Option<State>, Arc<View>)> {
        let core = self.core;
        // No edit may be appended and no view published meanwhile.
        let ledger = core.writing.as_ref().map(|writing| writing.ledger.lock());
        let listed = core.env.list(&core.dir);
        let listed = listed.map_err(|error| Error::io("list the database folder", error))?;
        self.report.files += 1;
        let read = Store::read(&core.env, &core.dir, &listed);
        let view = core.views.load_full();
        let known = ledger.as_ref().map(|ledger| ledger.state().clone());
        let id = listed.iter().filter_map(|l| FileName::parse(&l.name));
        let newest = id.filter(|name| name.kind == FileKind::Manifest).max();
        let name = newest.unwrap_or(FileKind::Manifest.name(Default::default()));
        let state = match read {
            Ok(Some((state, _))) if known.as_ref().is_none_or(|known| says(known, &state)) => {
                Some(state)
            }
            Ok(_) => {
                let message = format!("{name} does not say what it said when it was written");
                self.damaged(name, Error::new(ErrorKind::Corruption, message))?;
                known
            }
            Err(error) => {
                self.damaged(name, error)?;
                known
            }
        };
        let is_read = |state: &State| {
            let version = &view.version;
            let blobs = state.blobs.iter().map(|blob| &blob.meta);
            state.segments().eq(version.segments().map(|segment| segment.meta()))
                && blobs.eq(version.blobs.iter().map(|blob| blob.meta()))
        };
        if !state.as_ref().is_none_or(is_read) {
            let message = format!("{name} names other files than those that are read");
            self.damaged(name, Error::new(ErrorKind::Corruption, message))?;
        }
        Ok((state, view))
    }

    /// Reads the logs: their frames, and what their marks promise. The one that is written is
    /// read up to where it is now.
    fn logs(&mut self, state: &State) -> Result<()> {
        for &log in &state.logs {
            let name = FileKind::Log.name(log);
            let path = path_in(&self.core.dir, name);
            let file = match self.core.env.open(&path) {
                Ok(file) => file,
                // Flushed and removed since the state was read.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.is_gone(log) => {
                    continue;
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    let message = format!("{name} is missing: the manifest names it");
                    self.damaged(name, Error::new(ErrorKind::Corruption, message))?;
                    continue;
                }
                Err(error) => return Err(Error::io(format!("open {name}"), error)),
            };
            let map = read_whole(&*file, self.core.options.access)
                .map_err(|error| Error::io(format!("read {name}"), error))?;
            let promise = state.closed.filter(|closed| closed.log == log).map_or(
                Promise::default(),
                |closed| Promise { length: Some(closed.length), last: Some(closed.last) },
            );
            let mut reader = LogReader::new(log, map, promise);
            self.report.files += 1;
            let result = loop {
                match reader.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            self.report.bytes += reader.position();
            if let Err(error) = result {
                self.damaged(name, error)?;
            }
        }
        Ok(())
    }

    /// Reads the logs that are kept for the change feed: all of each was promised.
    fn kept_logs(&mut self, state: &State) -> Result<()> {
        for end in &state.held.logs {
            let name = FileKind::Kept.name(end.log);
            let result = self.kept_log(name, end);
            // A flush may have forgotten it since the state was read.
            let is_held = |writing: &Writing| writing.ledger.lock().state().held.logs.contains(end);
            if let Err(error) = result
                && self.core.writing.as_ref().is_none_or(is_held)
            {
                self.damaged(name, error)?;
            }
        }
        Ok(())
    }

    fn kept_log(&mut self, name: FileName, end: &Closed) -> Result<()> {
        let opened = self.core.env.open(&path_in(&self.core.dir, name));
        let file = opened.map_err(|error| Follower::cannot_open(name, error))?;
        let bytes = file.byte_count();
        let bytes = bytes.map_err(|error| Error::io(format!("read {name}"), error))?;
        self.report.files += 1;
        let mut follower = Follower::new(name, end.log, file);
        while follower.next(end.length)?.is_some() {}
        follower.check_last(end.last)?;
        self.report.bytes += end.length;
        if bytes > end.length {
            let want = "the end of the file";
            return Err(Error::corruption(name, end.length, want, format_args!("{bytes} bytes")));
        }
        Ok(())
    }

    fn is_gone(&self, log: FileId) -> bool {
        let writing = self.core.writing.as_ref();
        writing.is_some_and(|writing| !writing.ledger.lock().state().logs.contains(&log))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Db;
    use crate::env::sim::Sim;
    use crate::manifest::Edit;
    use std::path::Path;

    /// MACE-17: a manifest that is whole and wrong is found by what segments refer to.
    #[test]
    fn a_value_that_is_called_dead_while_a_segment_refers_to_it_is_damage() {
        let options = Db::options().env(Sim::new(17)).blob_threshold(256);
        let db = options.background_compaction(false).open(Path::new("/db")).unwrap();
        let c = db.collection("c").unwrap();
        for key in 0..5_u8 {
            c.insert([key], vec![key; 1000]).unwrap();
        }
        db.flush().unwrap();
        assert!(db.verify().unwrap().is_whole());
        let core = db.core();
        let writing = core.writing().unwrap();
        let mut ledger = writing.ledger.lock();
        let view = core.views.load_full();
        let mut addresses = Vec::new();
        for blob in view.version.blobs.iter() {
            blob.walk(|blob, _| {
                addresses.push((blob.address, blob.stored));
                Ok(())
            })
            .unwrap();
        }
        let dead = ledger.state().resolve_dead(&addresses[2..3]).unwrap();
        core.publish(writing, &mut ledger, Edit { dead, ..Edit::default() }, &[], None).unwrap();
        drop(ledger);
        let damages = db.verify().unwrap().damages;
        assert_eq!(damages.len(), 1, "{damages:?}");
        assert!(damages[0].file.starts_with("seg-"), "{damages:?}");
        let wanted = format!("want a live value {}, found a dead one", addresses[2].0);
        assert!(damages[0].message.contains(&wanted), "{damages:?}");
    }

    #[test]
    fn a_live_value_without_a_ref_is_damage_and_so_is_another_ref() {
        let address = |offset| Address::new(FileId(1), offset).unwrap();
        let blob = BlobRef::raw(address(0), b"value");
        let name = FileKind::Blob.name(FileId(1));
        let mut referred = Referred::default();
        referred.addresses.insert(address(0).0);
        referred.sum += Setsum::of_blob(&blob);
        let check = |referred: Option<&Referred>, values: &[BlobRef]| {
            let (sum, dead_values, lost) = Default::default();
            let mut live = Live { known: None, referred, sum, dead_values, lost };
            values.iter().for_each(|blob| live.note(blob));
            live.check(name)
        };
        check(Some(&referred), &[blob]).unwrap();
        check(None, &[]).unwrap();
        check(None, &[blob]).unwrap_err();
        check(Some(&referred), &[]).unwrap_err();
        check(Some(&referred), &[blob, BlobRef::raw(address(9), b"value")]).unwrap_err();
        check(Some(&referred), &[BlobRef::raw(address(0), b"other")]).unwrap_err();
    }
}
