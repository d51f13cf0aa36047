//! Looking after a database: verifying every byte, and closing it well.

use super::core::Core;
use super::report::{Damage, VerifyReport};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::setsum::Setsum;
use crate::env::names::{FileKind, FileName};
use crate::env::{path_in, read_whole};
use crate::log::reader::{LogReader, Promise};
use crate::manifest::{Closed, State, Store};
use crate::tree::view::View;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

impl Core {
    /// Reads every byte of every live file; see [`Db::verify`](super::Db::verify).
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<VerifyReport> {
        self.check_open()?;
        let mut check = Check { core: self, report: VerifyReport::default(), total: 0, progress };
        let (state, view) = check.manifest()?;
        let Some(state) = state else { return Ok(check.report) };
        let blobs = view.version.blobs.iter().map(|blob| blob.meta().bytes);
        let segments = view.version.segments().map(|segment| segment.meta().bytes);
        check.total = segments.chain(blobs).sum();
        check.report.checksum = state.present + state.dropped;
        let mut sum = Setsum::ZERO;
        for segment in view.version.segments() {
            let meta = segment.meta();
            let before = check.report.bytes;
            let mut done = before;
            let result = segment.verify(&mut |bytes| {
                done += bytes;
                (check.progress)(done, check.total);
            });
            check.report.files += 1;
            check.report.bytes = before + meta.bytes;
            check.report.entries += meta.entries;
            match result {
                Ok(found) => sum += found,
                Err(error) => check.damaged(FileKind::Segment.name(meta.id), error)?,
            }
        }
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
            let result = blob.walk(|_, stored| {
                done += stored.len() as u64;
                (check.progress)(done, check.total);
                Ok(())
            });
            check.report.files += 1;
            check.report.bytes = before + blob.meta().bytes;
            (check.progress)(check.report.bytes, check.total);
            if let Err(error) = result {
                check.damaged(name, error)?;
            }
        }
        check.logs(&state)?;
        Ok(check.report)
    }

    /// Closes once; later calls do nothing. See [`Db::close`](super::Db::close).
    pub fn close(&self) -> Result<()> {
        if self.closed.swap(true, SeqCst) {
            return Ok(());
        }
        let result = self.close_writing();
        self.lock.lock().take();
        result
    }

    fn close_writing(&self) -> Result<()> {
        let Some(writing) = &self.writing else { return Ok(()) };
        // A write or flush that waits for the workers must not wait for ever.
        writing.background.stop();
        self.give_up_steps(writing);
        writing.queue.moved.open();
        writing.committer.pace().wake_all();
        writing.committer.poison().refuse()?;
        let end = writing.committer.close()?;
        let mut ledger = writing.ledger.lock();
        let logs_before = ledger.state().logs.clone();
        let queue = writing.queue.all();
        ledger.rewrite(|state| {
            // Logs above the last one were prepared and never used; the last may be empty.
            state.logs.retain(|&log| log < end.log || log == end.log && end.length > 0);
            if end.length > 0 {
                state.closed = Some(Closed { log: end.log, length: end.length, last: end.last });
            } else if let Some(sealed) = queue.iter().rev().find(|s| s.log_bytes > 0) {
                let log = sealed.log.as_ref().map(|log| log.name().id).unwrap_or_default();
                state.closed = Some(Closed { log, length: sealed.log_bytes, last: sealed.last });
            }
            state.clean = true;
        })?;
        let logs = ledger.state().logs.clone();
        drop(ledger);
        for log in logs_before.iter().filter(|log| !logs.contains(log)) {
            self.remove(FileKind::Log.name(*log));
        }
        self.empty_trash();
        Ok(())
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

    fn is_gone(&self, log: crate::base::id::FileId) -> bool {
        let writing = self.core.writing.as_ref();
        writing.is_some_and(|writing| !writing.ledger.lock().state().logs.contains(&log))
    }
}
