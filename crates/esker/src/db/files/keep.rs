//! Logs that are kept for the change feed once they are flushed.
//!
//! ```text
//!   flush   log-7 complete and synced ─▶ second name kept-7 ─▶ edit: log 8, keep log=7 ─▶ log-7 goes
//!   open    what an unclean end left: its good part ─ copied, synced ─▶ log-7 ─▶ flush: the same
//! ```
//!
//! 1. A kept log is durable under its second name before the edit that names it. A crash before that
//!    edit leaves a name that nothing knows: the next open removes it.
//! 2. Nothing but the change feed and `verify` reads one: no replay, and no repair but for large values.
//! 3. What was replayed after an unclean end is replaced by a copy: it may have been read from memory
//!    that a failed sync has left without a copy on the disk (F-19). That is done before any of it is
//!    flushed: a flush may take a part of a log alone, and the log must not be lost before the rest.
//! 4. Together they have at most the bytes that the options allow; the oldest go first.

use super::copy::copy_front;
use crate::base::error::{Error, Result};
use crate::base::id::SeqNo;
use crate::commit::generation::Sealed;
use crate::db::core::{Core, Writing};
use crate::env::names::{FileKind, FileName};
use crate::env::path_in;
use crate::manifest::{Closed, Edit, Held};

/// What an edit says of kept logs.
#[derive(Debug, Default)]
pub(in crate::db) struct Kept {
    keep: Vec<Closed>,
    forget: Option<SeqNo>,
}

impl Kept {
    /// `edit`, with that in it.
    pub(in crate::db) fn in_edit(self, edit: Edit) -> Edit {
        Edit { keep: self.keep, forget: self.forget, ..edit }
    }
}

impl Core {
    /// Gives the logs that `sealed` is the last to need their second names, those that are to be kept.
    /// The names are not durable yet.
    ///
    /// Errors: `Io`; of the sync of a log, which is final (law 9).
    pub(in crate::db) fn keep_logs(&self, writing: &Writing, sealed: &Sealed) -> Result<Kept> {
        let most = self.options.keep_logs;
        if most == 0 {
            return Ok(Kept::default());
        }
        let (ends, gone, forget) = {
            let ledger = writing.ledger.lock();
            let state = ledger.state();
            let left = state.logs.iter().filter(|log| **log < sealed.logs_from);
            let known = |log| writing.earlier.iter().find(|end| end.log == log).copied();
            let ends =
                left.filter_map(|log| sealed.closed().filter(|it| it.log == *log).or(known(*log)));
            let ends: Vec<Closed> = ends.collect();
            let gone = state.held.gone;
            (ends.clone(), gone, state.held.beyond(&ends, most).filter(|seq| *seq > gone))
        };
        let gone = forget.unwrap_or(gone);
        let keep: Vec<Closed> = ends.into_iter().filter(|end| end.last > gone).collect();
        keep.iter().try_for_each(|end| self.keep_log(writing, sealed, end))?;
        Ok(Kept { keep, forget })
    }

    fn keep_log(&self, writing: &Writing, sealed: &Sealed, end: &Closed) -> Result<()> {
        let (from, kept) = (FileKind::Log.name(end.log), FileKind::Kept.name(end.log));
        let (log, to) = (path_in(&self.dir, from), path_in(&self.dir, kept));
        // Of an earlier try that failed after this, which may have left that it is to be removed.
        writing.background.forget_late(kept);
        let _ = self.env.remove(&to);
        if sealed.closed().is_some_and(|own| own.log == end.log) {
            sealed.sync().inspect_err(|error| writing.committer.fail(error))?;
        }
        let Err(error) = self.env.link(&log, &to) else { return Ok(()) };
        tracing::debug!("link {from} as {kept}: {error}; it is copied");
        copy_front(&*self.env, &log, &to, end.length)
    }

    /// After an unclean end, before any of it is flushed: puts durable copies in the places of the logs
    /// that will be kept.
    ///
    /// Errors: `Io`; each log is as it was, or is its copy.
    pub(in crate::db) fn harden_logs(&self, writing: &Writing) -> Result<()> {
        let gone = writing.ledger.lock().state().held.gone;
        for end in writing.earlier.iter().filter(|end| end.last > gone) {
            let (name, copy) = (FileKind::Log.name(end.log), FileKind::Kept.name(end.log));
            let (log, copy) = (path_in(&self.dir, name), path_in(&self.dir, copy));
            copy_front(&*self.env, &log, &copy, end.length)?;
            let renamed = self.env.rename(&copy, &log);
            renamed.map_err(|error| Error::io(format!("replace {name} by its copy"), error))?;
        }
        self.sync_names()
    }
}

/// The files of kept logs.
pub(in crate::db) fn names_of(held: &Held) -> impl Iterator<Item = FileName> {
    held.logs.iter().map(|log| FileKind::Kept.name(log.log))
}
