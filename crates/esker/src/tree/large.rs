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

/// A value out of line, and the file that has it.
#[derive(Debug)]
pub struct Large {
    blob: BlobRef,
    place: Place,
}

/// The file that has it.
#[derive(Debug)]
pub(super) enum Place {
    File(Arc<Blob>),
    /// Not flushed yet: the log that its address names.
    Log(Arc<dyn File>),
}

impl Large {
    pub(super) fn new(blob: BlobRef, place: Place) -> Self {
        Self { blob, place }
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
        match &self.place {
            Place::File(file) => file.read(&self.blob),
            Place::Log(file) => {
                let at = self.blob.address.offset();
                read_value(&**file, log_name(&self.blob), u64::MAX, &self.blob, at)
            }
        }
    }

    /// Bytes from byte `from` of it on, as many as `buffer` takes or there are; answers how many.
    /// They are what the disk gave.
    ///
    /// Cost: one positioned read. Errors: `InvalidArgument` if it is compressed; `Corruption` if the
    /// file does not have it; `Io`.
    pub fn read_into(&self, buffer: &mut [u8], from: u64) -> Result<usize> {
        let blob = &self.blob;
        match &self.place {
            Place::File(file) => file.with(|reader| reader.read_into(blob, buffer, from)),
            Place::Log(file) => {
                read_into(&**file, log_name(blob), blob, blob.address.offset(), buffer, from)
            }
        }
    }

    /// Bytes `range` of it, as far as it has them, in memory of their own. Cost and errors as of
    /// [`Large::read_into`].
    pub fn read_part(&self, range: Range<u64>) -> Result<Value> {
        let blob = &self.blob;
        match &self.place {
            Place::File(file) => file.with(|reader| reader.read_part(blob, range)),
            Place::Log(file) => {
                read_part(&**file, log_name(blob), blob, blob.address.offset(), range)
            }
        }
    }

    /// The name of the file that its address names, for messages.
    pub fn describe(&self) -> String {
        let name = match &self.place {
            Place::File(file) => FileKind::Blob.name(file.meta().id),
            Place::Log(_) => log_name(&self.blob),
        };
        format!("{name} (value {})", self.blob.address)
    }
}

fn log_name(blob: &BlobRef) -> FileName {
    FileKind::Log.name(blob.address.file())
}
