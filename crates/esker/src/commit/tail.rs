//! What of the logs is durable, for whoever follows them.
//!
//! ```text
//!   sealed log ─▶ flushed, or synced: all of it │ else up to its last sync
//!   log that is written ────────────────────────▶ up to its last sync
//! ```
//!
//! 1. Bytes that are durable lie in whole frames, never change, and are visible to readers: a sync
//!    begins when all that it covers is visible.
//! 2. The next frame's mark tells the same to whoever reads the log after a crash.

use super::Committer;
use crate::base::id::SeqNo;
use crate::env::Gate;
use crate::log::writer::LogFile;
use std::sync::Arc;

impl Committer {
    /// The logs of this process that hold anything and are not flushed, oldest first, each with the
    /// last number that was given out in it so far.
    pub fn live_logs(&self) -> Vec<(Arc<LogFile>, SeqNo)> {
        // A log is sealed and put into the queue under this lock.
        let front = self.front.lock();
        let sealed = self.queue.all();
        let sealed = sealed.iter().filter(|sealed| sealed.log_bytes > 0);
        let mut logs: Vec<_> =
            sealed.filter_map(|sealed| Some((sealed.log.clone()?, sealed.last))).collect();
        if front.tail.position() > 0 {
            logs.push((front.generation.log.clone(), SeqNo(front.next.0 - 1)));
        }
        logs
    }

    /// All of `log` below this offset is durable, and all of every log before it.
    pub fn durable_end(&self, log: &LogFile) -> u64 {
        match log.ended() {
            Some((length, last)) if self.durable() >= last => length,
            _ => log.durable(),
        }
    }

    /// Opened whenever [`Committer::durable`] has risen, and when it never will any more.
    pub fn durable_moved(&self) -> &Gate {
        &self.group.moved
    }
}
