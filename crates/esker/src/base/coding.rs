//! Varints, and a decoder that cannot panic.
//!
//! A varint is little-endian base 128: seven bits a byte, the high bit set on all but the last,
//! 1 to 10 bytes. Fixed integers are little-endian unless a name says `be`.
//!
//! 1. [`Decoder`] never reads outside its slice, never panics, never allocates.
//! 2. After a `None` its position is unspecified: stop.

#![deny(clippy::indexing_slicing, clippy::as_conversions)]

/// A length in memory as a length in a file.
#[inline]
pub fn to_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// A length in a file as a length in memory; what does not fit is longer than any slice.
#[inline]
pub fn to_usize(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

/// The most bytes of a varint.
pub const VARINT_BYTES_MAX: usize = 10;

/// Bytes that [`put_varint`] writes for `n`: 1 to 10.
#[inline]
pub const fn varint_len(n: u64) -> usize {
    // Seven bits a byte; zero takes one.
    let bits = 64 - (n | 1).leading_zeros();
    #[expect(clippy::as_conversions, reason = "at most 10, in a const fn")]
    {
        bits.div_ceil(7) as usize
    }
}

/// Appends `n` in as few bytes as possible.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n.to_le_bytes()[0] | 0x80);
        n >>= 7;
    }
    out.push(n.to_le_bytes()[0]);
}

/// Takes fields off the front of a slice.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Starts at the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not taken yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all was taken.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes.
    #[inline]
    pub fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(len)?;
        self.rest = tail;
        Some(head)
    }

    /// The next `N` bytes as an array.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.rest.split_first_chunk::<N>()?;
        self.rest = tail;
        Some(*head)
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes, little-endian.
    #[inline]
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes, little-endian.
    #[inline]
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes, little-endian.
    #[inline]
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Sixteen bytes, little-endian.
    #[inline]
    pub fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_le_bytes)
    }

    /// A varint of any length up to 10 bytes that fits 64 bits; need not be minimal.
    #[inline]
    pub fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A varint in as few bytes as possible; none if it is longer than it need be.
    #[inline]
    pub fn minimal_varint(&mut self) -> Option<u64> {
        let before = self.rest.len();
        let value = self.varint()?;
        (before - self.rest.len() == varint_len(value)).then_some(value)
    }

    /// A varint length, then that many bytes.
    #[inline]
    pub fn length_prefixed(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        self.bytes(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_at_every_length() {
        for shift in 0..64 {
            for n in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                put_varint(&mut bytes, n);
                assert_eq!(bytes.len(), varint_len(n));
                assert_eq!(Decoder::new(&bytes).minimal_varint(), Some(n));
                for cut in 0..bytes.len() {
                    assert_eq!(Decoder::new(&bytes[..cut]).varint(), None);
                }
            }
        }
    }

    #[test]
    fn a_varint_that_is_too_long_or_too_large_is_refused() {
        assert_eq!(Decoder::new(&[0x80, 0x00]).varint(), Some(0));
        assert_eq!(Decoder::new(&[0x80, 0x00]).minimal_varint(), None);
        assert_eq!(Decoder::new(&[0xff; 11]).varint(), None);
        let mut over = [0xff; 10];
        over[9] = 0x02;
        assert_eq!(Decoder::new(&over).varint(), None);
    }

    #[test]
    fn a_length_past_the_end_is_refused() {
        assert_eq!(Decoder::new(&[5, 1, 2]).length_prefixed(), None);
        assert_eq!(Decoder::new(&[2, 1, 2]).length_prefixed(), Some(&[1, 2][..]));
    }
}
