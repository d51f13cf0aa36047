//! A large value that was found: to be read whole, or piece by piece.
//!
//! ```text
//! ref ─▶ does a live blob file answer for its address? ─▶ that file
//!          └ no ─▶ the log of a memtable               ─▶ that log, at the offset in the address
//! ```
//!
//! 1. [`Large`] keeps the one file that its value lies in: not the view, no slab, no other file. A
//!    flush, a cleaning or a removal meanwhile does not disturb it (law 7; MACE-16).
//! 2. No checksum covers a piece. Whoever reads all of them in order checks the digest.

use crate::base::blob::{BlobRef, Codec};
use crate::base::error::Result;
use crate::base::value::Value;
use crate::blob::Blob;
use crate::env::File;
use crate::env::names::{FileKind, FileName};
use crate::log::large::{read_into, read_part, read_value};
use std::ops::Range;
use std::sync::Arc;

/// Where a large value lies, at one moment.
pub(super) enum Place<'a> {
    File(&'a Arc<Blob>),
    /// Not flushed yet: the log that its address names.
    Log(Arc<dyn File>),
}

impl Place<'_> {
    /// The value of `blob`, verified.
    pub(super) fn read(&self, blob: &BlobRef) -> Result<Value> {
        match self {
            Self::File(file) => file.read(blob),
            Self::Log(file) => read_in_log(&**file, blob),
        }
    }
}

/// A value out of line, and the file that has it.
#[derive(Debug)]
pub struct Large {
    blob: BlobRef,
    file: Kept,
}

#[derive(Debug)]
enum Kept {
    File(Arc<Blob>),
    Log(Arc<dyn File>),
}

impl Large {
    pub(super) fn new(blob: BlobRef, place: Place<'_>) -> Self {
        let file = match place {
            Place::File(file) => Kept::File(file.clone()),
            Place::Log(file) => Kept::Log(file),
        };
        Self { blob, file }
    }

    /// Its length, its digest, and how it is stored.
    pub fn blob(&self) -> &BlobRef {
        &self.blob
    }

    /// Whether it is stored as it is, so that pieces of it can be read.
    pub fn has_pieces(&self) -> bool {
        self.blob.codec == Codec::Raw
    }

    /// All of it, verified.
    ///
    /// Cost: one positioned read and its digest. Errors: `Corruption`, `Io`.
    pub fn read(&self) -> Result<Value> {
        match &self.file {
            Kept::File(file) => file.read(&self.blob),
            Kept::Log(file) => read_in_log(&**file, &self.blob),
        }
    }

    /// Bytes from byte `from` of it on, as many as `buffer` takes or there are; answers how many.
    /// They are what the disk gave.
    ///
    /// Cost: one positioned read. Errors: `InvalidArgument` if it is compressed; `Corruption` if the
    /// file does not have it; `Io`.
    pub fn read_into(&self, buffer: &mut [u8], from: u64) -> Result<usize> {
        let blob = &self.blob;
        match &self.file {
            Kept::File(file) => file.with(|reader| reader.read_into(blob, buffer, from)),
            Kept::Log(file) => {
                read_into(&**file, log_name(blob), blob, blob.address.offset(), buffer, from)
            }
        }
    }

    /// Bytes `range` of it, as far as it has them, in memory of their own. Cost and errors as of
    /// [`Large::read_into`].
    pub fn read_part(&self, range: Range<u64>) -> Result<Value> {
        let blob = &self.blob;
        match &self.file {
            Kept::File(file) => file.with(|reader| reader.read_part(blob, range)),
            Kept::Log(file) => {
                read_part(&**file, log_name(blob), blob, blob.address.offset(), range)
            }
        }
    }

    /// The name of the file that its address names, for messages.
    pub fn describe(&self) -> String {
        let name = match &self.file {
            Kept::File(file) => FileKind::Blob.name(file.meta().id),
            Kept::Log(_) => log_name(&self.blob),
        };
        format!("{name} (value {})", self.blob.address)
    }
}

fn log_name(blob: &BlobRef) -> FileName {
    FileKind::Log.name(blob.address.file())
}

fn read_in_log(file: &dyn File, blob: &BlobRef) -> Result<Value> {
    read_value(file, log_name(blob), u64::MAX, blob, blob.address.offset())
}
