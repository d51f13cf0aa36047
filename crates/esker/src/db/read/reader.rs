//! Values in parts, read: a range of one, or one piece by piece.
//!
//! ```text
//!   disk ─▶ a buffer of 256 KiB ─▶ caller       the digest grows with every piece
//! ```
//!
//! 1. What lies out of line is never held whole by a reader; what lies in line is pinned where it
//!    lies. Both outlive the database handle, as iterators do.
//! 2. A reader that goes from the start to the end has verified the value before it gives the last
//!    piece: a wrong digest is an error in its place, for ever (F-33). A part is under no checksum.

use crate::base::blob::Digester;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::SeqNo;
use crate::base::key::Lookup;
use crate::base::value::Value;
use crate::tree::large::Large;
use crate::tree::view::{Found, View as TreeView};
use std::fmt;
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::ops::{Bound, Range, RangeBounds};

/// What a reader holds of a large value.
const BUFFER_BYTES: usize = 256 << 10;

/// The bytes that `range` means, up to the end of whatever there is.
fn bytes_of(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

/// Bytes `range` of the value that `key` has in `view` as of `at`.
pub(super) fn get_range(
    view: &TreeView,
    key: &Lookup,
    at: SeqNo,
    range: &impl RangeBounds<u64>,
) -> Result<Option<Value>> {
    let range = bytes_of(range);
    Ok(match view.look(key, at)? {
        None => None,
        Some(Found::Value(value)) => Some(value.part(range)),
        Some(Found::Large(large)) if large.has_pieces() => Some(large.read_part(range)?),
        Some(Found::Large(large)) => Some(large.read()?.part(range)),
    })
}

/// Reads one value from any place of it, piece by piece; see [`Collection::reader`](crate::Collection::reader).
///
/// Holds at most 256 KiB of a value that lies out of line, and the one file that has it. It sees the
/// value that was there when it was opened, whatever is written, removed or compacted meanwhile, and
/// may be sent to another thread and outlive the database handle. (A value that is stored compressed
/// is unpacked whole.)
///
/// Read from the start to the end without a seek, the value is verified against its digest before
/// its last piece, of up to 256 KiB, is given: if it is not what was written, the error is
/// `InvalidData`, then and in every later read. Pieces before that, and all after a seek, are what
/// the disk gave.
pub struct ValueReader {
    source: Source,
    len: u64,
    /// Where the next byte is read.
    at: u64,
    /// What was read last of a large value, and where it begins.
    piece: Vec<u8>,
    piece_at: u64,
    /// The digest of the first `digested` bytes; none if nothing was read yet.
    digester: Option<Digester>,
    digested: u64,
    failed: Option<Error>,
}

enum Source {
    Whole(Value),
    Large(Large),
}

impl ValueReader {
    /// The value that `key` has in `view` as of `at`.
    pub(in crate::db) fn open(view: &TreeView, key: &Lookup, at: SeqNo) -> Result<Option<Self>> {
        view.look(key, at)?.map(Self::of).transpose()
    }

    /// Of what was found.
    pub(in crate::db) fn of(found: Found) -> Result<Self> {
        let source = match found {
            Found::Value(value) => Source::Whole(value),
            Found::Large(large) if large.has_pieces() => Source::Large(large),
            Found::Large(large) => Source::Whole(large.read()?),
        };
        let len = match &source {
            Source::Whole(value) => value.len() as u64,
            Source::Large(large) => large.blob().len.into(),
        };
        let (piece, digester, failed) = Default::default();
        Ok(Self { source, len, at: 0, piece, piece_at: 0, digester, digested: 0, failed })
    }

    /// The length of the value in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the value is empty, which is not the same as absent.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What is at hand from the present place on.
    fn rest(&self) -> &[u8] {
        let (bytes, start) = match &self.source {
            Source::Whole(value) => (&**value, 0),
            Source::Large(_) => (&*self.piece, self.piece_at),
        };
        let place = self.at.checked_sub(start).and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| bytes.get(place..)).unwrap_or_default()
    }

    /// Reads the piece that begins at the present place, which lies before the end.
    fn fetch(&mut self) -> Result<()> {
        let Source::Large(large) = &self.source else { return Ok(()) };
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let left = usize::try_from(self.len - self.at).unwrap_or(usize::MAX);
        let (at, mut piece) = (self.at, std::mem::take(&mut self.piece));
        piece.resize(left.min(BUFFER_BYTES), 0);
        large.read_into(&mut piece, at)?;
        if at == 0 {
            (self.digester, self.digested) = Default::default();
        }
        if at == self.digested {
            let digester = self.digester.get_or_insert_default();
            digester.take(&piece);
            self.digested += piece.len() as u64;
            let (want, found) = (large.blob().digest, digester.digest());
            if self.digested == self.len && found != want {
                let want = format!("{} bytes with digest {want:#018x}", self.len);
                let message = format!("{}: want {want}, found {found:#018x}", large.describe());
                return Err(self.failed.insert(Error::new(ErrorKind::Corruption, message)).clone());
            }
        }
        (self.piece, self.piece_at) = (piece, at);
        Ok(())
    }
}

impl BufRead for ValueReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at < self.len && self.rest().is_empty() {
            self.fetch()?;
        }
        Ok(self.rest())
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes as u64;
    }
}

impl Read for ValueReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?.read(out)?;
        self.consume(bytes);
        Ok(bytes)
    }
}

/// A place beyond the end is no error: nothing is read there. One before the start is.
impl Seek for ValueReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
        };
        let Some(place) = place else {
            return Err(Error::invalid("a seek to before the start of the value").into());
        };
        self.at = place;
        Ok(place)
    }

    fn stream_position(&mut self) -> io::Result<u64> {
        Ok(self.at)
    }
}

impl fmt::Debug for ValueReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ValueReader");
        shown.field("len", &self.len).field("at", &self.at).finish_non_exhaustive()
    }
}
