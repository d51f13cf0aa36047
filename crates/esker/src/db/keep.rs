//! Logs that are kept for the change feed once they are flushed.
//!
//! ```text
//!   flush   log-7 complete and synced ─▶ second name kept-7 ─▶ edit: log 8, keep log=7 ─▶ log-7 goes
//!   open    what an unclean end left: its good part ─ copied, synced ─▶ kept-7 ─▶ … the same
//! ```
//!
//! 1. A kept log is durable under its second name before the edit that names it. A crash before that
//!    edit leaves a name that nothing knows: the next open removes it.
//! 2. Nothing but the change feed and `verify` reads one: no replay, and no repair but for large values.
//! 3. What was replayed after an unclean end is copied, never linked: it may have been read from memory
//!    that a failed sync has left without a copy on the disk (F-19). So is all where a file cannot have
//!    two names.
//! 4. Together they have at most the bytes that the options allow; the oldest go first.

use super::copy::copy_front;
use super::core::{Core, Writing};
use crate::base::error::Result;
use crate::base::id::SeqNo;
use crate::commit::generation::Sealed;
use crate::env::names::{FileKind, FileName};
use crate::env::path_in;
use crate::log::marks::Previous;
use crate::manifest::{Closed, Edit, Held};

/// The logs with operations that were live at the open.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    /// How each ended, ascending.
    pub(super) ends: Vec<Closed>,
    /// Whether they were synced by whoever closed the database.
    pub(super) are_synced: bool,
}

/// What an edit says of kept logs.
#[derive(Debug, Default)]
pub(super) struct Kept {
    keep: Vec<Closed>,
    forget: Option<SeqNo>,
}

impl Earlier {
    pub(super) fn new(ends: &[Previous], are_synced: bool) -> Self {
        let ends = ends.iter().map(|&Previous { log, length, last }| Closed { log, length, last });
        Self { ends: ends.collect(), are_synced }
    }
}

impl Kept {
    /// `edit`, with that in it.
    pub(super) fn in_edit(self, edit: Edit) -> Edit {
        Edit { keep: self.keep, forget: self.forget, ..edit }
    }
}

impl Core {
    /// Gives the logs that `sealed` is the last to need their second names, those that are to be kept.
    /// The names are not durable yet.
    ///
    /// Errors: `Io`; of the sync of a log, which is final (law 9).
    pub(super) fn keep_logs(&self, writing: &Writing, sealed: &Sealed) -> Result<Kept> {
        let most = self.options.keep_logs;
        if most == 0 {
            return Ok(Kept::default());
        }
        let (ends, forget) = {
            let ledger = writing.ledger.lock();
            let state = ledger.state();
            let left = state.logs.iter().filter(|log| **log < sealed.logs_from);
            let known = |log| writing.earlier.ends.iter().find(|end| end.log == log).copied();
            let ends =
                left.filter_map(|log| sealed.closed().filter(|it| it.log == *log).or(known(*log)));
            let ends: Vec<Closed> = ends.collect();
            let forget = state.held.beyond(&ends, most);
            (ends, forget)
        };
        let keep: Vec<Closed> =
            ends.into_iter().filter(|end| forget.is_none_or(|gone| end.last > gone)).collect();
        keep.iter().try_for_each(|end| self.keep_log(writing, sealed, end))?;
        Ok(Kept { keep, forget })
    }

    fn keep_log(&self, writing: &Writing, sealed: &Sealed, end: &Closed) -> Result<()> {
        let (log, kept) = (FileKind::Log.name(end.log), FileKind::Kept.name(end.log));
        let (from, to) = (path_in(&self.dir, log), path_in(&self.dir, kept));
        // Of an earlier try that failed after this, which may have left that it is to be removed.
        writing.background.forget_late(kept);
        let _ = self.env.remove(&to);
        let is_own = sealed.closed().is_some_and(|own| own.log == end.log);
        if is_own {
            sealed.sync().inspect_err(|error| writing.committer.fail(error))?;
        }
        if is_own || writing.earlier.are_synced {
            match self.env.link(&from, &to) {
                Ok(()) => return Ok(()),
                Err(error) => tracing::debug!("link {log} as {kept}: {error}; it is copied"),
            }
        }
        copy_front(&*self.env, &from, &to, end.length)
    }
}

/// The files of kept logs.
pub(super) fn names_of(held: &Held) -> impl Iterator<Item = FileName> {
    held.logs.iter().map(|log| FileKind::Kept.name(log.log))
}
