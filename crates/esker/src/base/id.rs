//! Newtypes for the numbers that must not be confused.
//!
//! 1. File numbers, sequence numbers and collection ids only rise; none is ever used again.
//! 2. [`SeqNo`] fits 56 bits, so that it packs with a one-byte [`Kind`](super::key::Kind).

use std::fmt;

/// The number in a file's name. One counter serves all kinds of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

/// The position of one operation in the single order of all operations. 0 is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqNo(pub u64);

/// The number of a collection; big-endian, it is the prefix of every internal key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionId(pub u32);

impl SeqNo {
    /// Before every operation.
    pub const ZERO: Self = Self(0);
    /// Above every operation: 2^56 − 1.
    pub const MAX: Self = Self((1 << 56) - 1);

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl FileId {
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl CollectionId {
    /// Where the engine keeps its own records: the catalog of collections and the marks of the log.
    pub const SYSTEM: Self = Self(0);
    /// Bytes of the prefix that an id puts before each key.
    pub const BYTES: usize = 4;
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

impl fmt::Display for SeqNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for CollectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
