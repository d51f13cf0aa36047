//! From an open database to a folder.
//!
//! ```text
//!   refuse everything ─▶ stop workers ─▶ sync the log ─▶ manifest with the log's final length ─▶ unlock
//! ```
//!
//! 1. A close that went well leaves nothing to guess: the manifest says where the last log ends, and that
//!    it was closed. One that did not leaves an unclean end, which the next open recovers.
//! 2. The lock is released last, and whatever happens.

use super::core::Core;
use crate::base::error::Result;
use crate::env::names::FileKind;
use crate::manifest::Closed;
use std::sync::atomic::Ordering::SeqCst;

impl Core {
    /// Closes once; later calls do nothing. See [`Db::close`](crate::Db::close).
    pub fn close(&self) -> Result<()> {
        if self.closed.swap(true, SeqCst) {
            return Ok(());
        }
        let result = self.close_writing();
        self.end_feeds();
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
