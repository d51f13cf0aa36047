//! One value, written piece by piece.
//!
//! ```text
//!   caller ─▶ one growing buffer ─▶ log         nothing before `finish`
//! ```
//!
//! 1. A writer holds the value once, and commits it from there.
//! 2. One that refused a piece does not commit the rest.

use crate::base::batch::Op;
use crate::base::error::{Error, Result};
use crate::base::key::{Kind, VALUE_BYTES_MAX, check_key, check_value_len};
use crate::base::time::Time;
use crate::commit::Durability;
use crate::db::collections::collection::Collection;
use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

/// The least that a writer begins with, once it is given something.
const GROWTH_BYTES_MIN: usize = 64 << 10;

impl Collection {
    /// A writer of one value for `key`, which takes it piece by piece: a `std::io::Write`. Nothing is
    /// written before its `finish`.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let db = esker::Db::open(folder.path())?;
    /// # let films = db.collection("films")?;
    /// # let mut file = std::io::Cursor::new(vec![7; 3 << 20]);
    /// let mut writer = films.writer("first.mkv").with_len(3 << 20)?;
    /// std::io::copy(&mut file, &mut writer)?;
    /// writer.finish_with(esker::Durability::Sync)?;
    /// assert_eq!(films.reader("first.mkv")?.unwrap().len(), 3 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Cost: the value is gathered in memory once, and written to the log from there; with
    /// [`ValueWriter::with_len`] that memory is taken at once. Errors: here none; a key over its limit
    /// is one of the first write, and of the finish.
    pub fn writer(&self, key: impl AsRef<[u8]>) -> ValueWriter {
        ValueWriter::new(self.clone(), key.as_ref())
    }
}

/// Gathers one value piece by piece, and commits it; see [`Collection::writer`].
///
/// Nothing is written before [`ValueWriter::finish`]; one that is dropped writes nothing. It holds
/// the value once, and the log is written from there: nothing is copied again. (A value that is to be
/// stored packed is packed beside it by the finish.)
pub struct ValueWriter {
    to: Collection,
    key: Box<[u8]>,
    value: Vec<u8>,
    expires: Option<Time>,
    /// Why a piece was not taken: then the value is not what the caller meant.
    refused: Option<Error>,
}

impl ValueWriter {
    fn new(to: Collection, key: &[u8]) -> Self {
        let refused = check_key(key).err();
        Self { to, key: key.into(), value: Vec::new(), expires: None, refused }
    }

    /// Takes memory for a value of `len` bytes at once. It may still become shorter or longer.
    ///
    /// Errors: `InvalidArgument` over 1 GiB; `Io` if there is not that much memory.
    pub fn with_len(mut self, len: u64) -> Result<Self> {
        check_value_len(len)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.grow(len.saturating_sub(self.value.len()))?;
        Ok(self)
    }

    /// Has the value expire so long after this call: see [`Collection::insert_with_ttl`].
    #[must_use]
    pub fn with_ttl(mut self, time_to_live: Duration) -> Self {
        self.expires = Some(self.to.handle.core.expiry_after(time_to_live));
        self
    }

    /// How many bytes were written so far.
    pub fn len(&self) -> u64 {
        self.value.len() as u64
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.value.is_empty()
    }

    /// Sets the value of the key to what was written, as durable as the database's default says.
    ///
    /// Errors: as of [`Collection::insert`]; those that a write has given, and then nothing is
    /// changed.
    pub fn finish(self) -> Result<()> {
        let durability = self.to.default_durability();
        self.finish_with(durability)
    }

    /// [`ValueWriter::finish`] with a durability of its own.
    pub fn finish_with(self, durability: Durability) -> Result<()> {
        match self.refused {
            Some(error) => Err(error),
            None => {
                let Self { to, key, value, expires, .. } = &self;
                to.write_op(
                    Op { kind: Kind::Put, collection: to.id, key, value, expires: *expires },
                    durability,
                )
            }
        }
    }

    fn grow(&mut self, more: usize) -> Result<()> {
        self.value.try_reserve_exact(more).map_err(|error| {
            let error = io::Error::new(io::ErrorKind::OutOfMemory, error);
            Error::io(format_args!("take {more} bytes of memory for a value"), error)
        })
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(error) = &self.refused {
            return Err(error.clone());
        }
        let len = self.value.len().saturating_add(bytes.len());
        check_value_len(len as u64)?;
        let space = self.value.capacity();
        if len > space {
            // By half, so that hardly more is taken than is needed, and few bytes move.
            let space = (space + space / 2).clamp(GROWTH_BYTES_MIN, VALUE_BYTES_MAX);
            self.grow(space.max(len) - self.value.len())?;
        }
        self.value.extend_from_slice(bytes);
        Ok(())
    }
}

/// A piece is taken whole or not at all. Errors: `InvalidInput` as soon as the value is over 1 GiB, or
/// for a key over its limit; `OutOfMemory`. Every later write, and the finish, then fail too.
impl Write for ValueWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.take(bytes);
        taken.inspect_err(|error| self.refused = Some(error.clone()))?;
        Ok(bytes.len())
    }

    /// Does nothing: only a finish writes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for ValueWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueWriter").field("to", &self.to).field("len", &self.len()).finish()
    }
}
