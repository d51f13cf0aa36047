//! What an open found, and what a check found: nothing is dropped in silence.

use crate::base::setsum::Setsum;
use std::fmt;

/// The checksum of a set of operations; equal sets have equal checksums, whatever their order.
pub type Checksum = Setsum;

/// The end of a log that was being written when the process or the machine stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The log.
    pub file: String,
    /// Where its last whole frame ends.
    pub at: u64,
    /// Bytes from there that were dropped; nothing in them was promised to be durable.
    pub bytes: u64,
}

/// What opening a database found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Whether the database was created by this open.
    pub created: bool,
    /// Whether the last process closed it.
    pub clean: bool,
    /// Logs that were read.
    pub logs_read: u64,
    /// Operations that were put back into memory.
    pub operations_replayed: u64,
    /// Bytes of log that they came from.
    pub bytes_replayed: u64,
    /// Ends of logs that were dropped.
    pub torn: Vec<TornTail>,
    /// Bytes of an unfinished transaction that were dropped from the manifest.
    pub manifest_torn_bytes: u64,
    /// Files of unfinished work that were removed.
    pub orphans_removed: Vec<String>,
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.created {
            return f.write_str("created");
        }
        let how = if self.clean { "closed cleanly" } else { "not closed" };
        write!(
            f,
            "{how}; replayed {} operations from {} bytes of {} logs",
            self.operations_replayed, self.bytes_replayed, self.logs_read
        )?;
        for torn in &self.torn {
            write!(
                f,
                "; dropped a torn tail of {} bytes at {} of {}",
                torn.bytes, torn.at, torn.file
            )?;
        }
        if self.manifest_torn_bytes > 0 {
            write!(f, "; dropped {} torn bytes of the manifest", self.manifest_torn_bytes)?;
        }
        if !self.orphans_removed.is_empty() {
            write!(f, "; removed {}", self.orphans_removed.join(", "))?;
        }
        Ok(())
    }
}

/// One place where bytes on disk are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// The whole message: file, offset, what was wanted, what was found.
    pub message: String,
}

/// What [`Db::verify`](super::Db::verify) found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Files that were read to their last byte.
    pub files: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Entries of all segments.
    pub entries: u64,
    /// What is not as it was written; empty if the database is whole.
    pub damages: Vec<Damage>,
    /// The checksum of every operation ever flushed: of those present and those dropped.
    pub checksum: Checksum,
}

impl VerifyReport {
    /// Whether every byte is as it was written, and the balance holds.
    pub fn is_whole(&self) -> bool {
        self.damages.is_empty()
    }
}
