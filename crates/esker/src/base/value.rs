//! Values and keys as callers receive them.
//!
//! A [`Value`] points into the slab, mapped file or cached block that holds it and keeps that
//! owner alive: no copy. It may outlive the iterator, the snapshot and the database it came from.
//! A [`Key`] is rebuilt from prefix-compressed blocks, so it owns its bytes; up to 30 of them lie
//! inside it.

#![expect(unsafe_code, reason = "a value borrows from the owner that it keeps alive itself")]

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// What a [`Value`] keeps alive: a slab, a mapped file, a block.
pub trait Owner: Send + Sync + 'static {}

impl<T: Send + Sync + 'static> Owner for T {}

/// The bytes of a value, pinned where they lie. Dereferences to `[u8]`.
///
/// Cloning costs one atomic increment. Holding one keeps its slab, block or file in memory or on
/// disk, and stalls nobody; one that lay out of line owns its bytes and keeps no file.
#[derive(Clone)]
pub struct Value {
    bytes: *const u8,
    len: usize,
    _owner: Option<Arc<dyn Owner>>,
}

// SAFETY: the bytes are never written while the owner lives (the contract of `pinned`), and the
// owner may be shared and dropped by any thread.
unsafe impl Send for Value {}
// SAFETY: as above; a shared `Value` only reads.
unsafe impl Sync for Value {}

impl Value {
    /// The empty value.
    pub const EMPTY: Self = Self { bytes: std::ptr::dangling(), len: 0, _owner: None };

    /// A value that lies in memory which `owner` keeps.
    ///
    /// # Safety
    /// `bytes` must stay at its address and unchanged until the last clone of `owner` is dropped.
    #[inline]
    pub unsafe fn pinned(owner: Arc<dyn Owner>, bytes: &[u8]) -> Self {
        Self { bytes: bytes.as_ptr(), len: bytes.len(), _owner: Some(owner) }
    }

    /// The bytes that `lend` finds in `owner`, which may be any part of it.
    #[inline]
    pub fn lent<O: Owner>(owner: Arc<O>, lend: impl FnOnce(&O) -> &[u8]) -> Self {
        let bytes = lend(&owner);
        let (bytes, len) = (bytes.as_ptr(), bytes.len());
        // `lend` is generic over the lifetime of its borrow, so what it returns is borrowed from
        // `owner` (or static), and stays so while an `Arc` forbids every unique borrow of it.
        Self { bytes, len, _owner: Some(owner) }
    }

    /// The range `start..start + len` of a shared buffer; none if it does not lie inside.
    #[inline]
    pub fn shared(owner: Arc<[u8]>, start: usize, len: usize) -> Option<Self> {
        let bytes = owner.get(start..start.checked_add(len)?)?;
        let (bytes, len) = (bytes.as_ptr(), bytes.len());
        Some(Self { bytes, len, _owner: Some(Arc::new(owner)) })
    }

    /// The part `range` of it, as far as it has it, where it lies: no copy.
    pub(crate) fn part(&self, range: Range<u64>) -> Self {
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(self.len);
        let end = place(range.end);
        let bytes = self.get(place(range.start).min(end)..end).unwrap_or_default();
        Self { bytes: bytes.as_ptr(), len: bytes.len(), _owner: self._owner.clone() }
    }

    /// A value that owns a copy of `bytes`.
    pub fn copied(bytes: &[u8]) -> Self {
        let owner: Arc<Box<[u8]>> = Arc::new(bytes.into());
        let (bytes, len) = (owner.as_ptr(), owner.len());
        Self { bytes, len, _owner: Some(owner) }
    }
}

impl Deref for Value {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `bytes` and `len` came from a slice that lives and stays unchanged while
        // `_owner` lives, and `EMPTY` is a dangling but aligned pointer of length 0.
        unsafe { std::slice::from_raw_parts(self.bytes, self.len) }
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Value {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

impl Eq for Value {}

const INLINE_BYTES: usize = 30;

/// An owned key. Dereferences to `[u8]`.
#[derive(Clone)]
pub struct Key(Repr);

#[derive(Clone)]
enum Repr {
    Inline(u8, [u8; INLINE_BYTES]),
    Heap(Box<[u8]>),
}

impl From<&[u8]> for Key {
    #[inline]
    fn from(bytes: &[u8]) -> Self {
        let mut space = [0; INLINE_BYTES];
        match (space.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(bytes);
                Self(Repr::Inline(len, space))
            }
            _ => Self(Repr::Heap(bytes.into())),
        }
    }
}

impl Deref for Key {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline(len, space) => space.get(..usize::from(*len)).unwrap_or_default(),
            Repr::Heap(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Key {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_outlives_every_other_handle_on_its_buffer() {
        let buffer: Arc<[u8]> = Arc::from(&b"hello world"[..]);
        let value = Value::shared(buffer.clone(), 6, 5).unwrap();
        drop(buffer);
        assert_eq!(value, b"world");
        assert_eq!(value.clone(), b"world");
    }

    #[test]
    fn a_value_outside_its_buffer_does_not_exist() {
        let buffer: Arc<[u8]> = Arc::from(&b"abc"[..]);
        assert!(Value::shared(buffer.clone(), 2, 2).is_none());
        assert!(Value::shared(buffer, usize::MAX, 2).is_none());
        assert_eq!(Value::EMPTY, b"");
    }

    #[test]
    fn a_lent_value_keeps_its_owner() {
        let owner = Arc::new(vec![1u8, 2, 3]);
        let value = Value::lent(owner.clone(), |bytes| &bytes[1..]);
        assert_eq!(Arc::strong_count(&owner), 2);
        drop(owner);
        assert_eq!(value, [2, 3]);
    }

    #[test]
    fn a_part_of_a_value_keeps_its_owner() {
        let value = Value::copied(b"abcdef");
        let part = |range| value.part(range);
        assert_eq!(part(0..6), b"abcdef");
        assert_eq!(part(2..4), b"cd");
        assert_eq!(part(4..u64::MAX), b"ef");
        assert_eq!(part(7..9), b"");
        #[expect(clippy::reversed_empty_ranges, reason = "a caller may ask for it")]
        let reversed = part(4..2);
        assert_eq!(reversed, b"");
        let kept = part(1..3);
        drop(value);
        assert_eq!(kept, b"bc");
    }

    #[test]
    fn keys_of_every_length_round_trip() {
        for len in [0, 1, INLINE_BYTES, INLINE_BYTES + 1, 5000] {
            let bytes = vec![9; len];
            assert_eq!(Key::from(&bytes[..]), bytes);
        }
    }
}
