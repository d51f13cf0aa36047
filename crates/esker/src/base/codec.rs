//! How bytes are compressed, and unpacked again: where that saves an eighth, and never to more than
//! they can stand for.
//!
//! ```text
//! compress   bytes  ─▶ an eighth is saved?           ─ yes ─▶ the packed bytes, and their codec
//!                                                    └ no ──▶ Raw: they are stored as they are
//! unpack     stored ─▶ can so few stand for so many? ─ yes ─▶ exactly that many, or an error
//! ```
//!
//! 1. What does not shrink by an eighth is not worth the time of unpacking it (BLOB-11).
//! 2. Nothing is allocated for a length that the packed bytes cannot stand for, and nothing beyond
//!    that length, whatever they say (F-39).
//! 3. Zstandard is C, so it comes with the feature `zstd` alone. Without it nothing is packed by it,
//!    and what was is told to be, by name.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::error::{Error, ErrorKind, Result};

/// How bytes are to be stored, where that saves at least an eighth; otherwise as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As they are: can be read in place, and in part.
    #[default]
    None,
    /// LZ4, blocks without frames.
    Lz4,
    /// Zstandard: half of what LZ4 takes, for several times its work. Needs the feature `zstd`.
    Zstd,
}

impl Compression {
    /// Errors: `Unsupported` if this build cannot compress so, naming the feature that can.
    pub fn check(self) -> Result<()> {
        match self {
            Self::Zstd if !cfg!(feature = "zstd") => {
                Err(Error::new(ErrorKind::Unsupported, LACKING))
            }
            _ => Ok(()),
        }
    }
}

/// How bytes are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// As they are.
    #[default]
    Raw = 0,
    /// LZ4, one block.
    Lz4 = 1,
    /// Zstandard, one frame.
    Zstd = 2,
}

impl Codec {
    /// The codec that `byte` stands for, if any.
    pub const fn from_u8(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Raw),
            1 => Some(Self::Lz4),
            2 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The number that stands for it.
    pub const fn number(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Lz4 => 1,
            Self::Zstd => 2,
        }
    }

    /// Its name, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// What a build without the feature says of Zstandard.
const LACKING: &str = "compression with zstd, which takes a build with the feature `zstd`";

/// The most that `len` bytes may take when they are packed: an eighth must be saved.
pub const fn packed_max(len: usize) -> usize {
    len - (len >> 3)
}

/// Appends `bytes` to `out`, packed, if that takes at most `most` bytes and fewer than they are; how
/// they are then stored. [`Codec::Raw`]: they are not, and `out` is as it was.
///
/// Cost: one pass; memory of a tenth more than `bytes` meanwhile.
pub fn compress(bytes: &[u8], compression: Compression, most: usize, out: &mut Vec<u8>) -> Codec {
    let start = out.len();
    let most = most.min(bytes.len().saturating_sub(1));
    // Both want room for what packs worst, also where little would do.
    let room = match compression {
        Compression::None => return Codec::Raw,
        Compression::Lz4 => lz4_flex::block::get_maximum_output_size(bytes.len()),
        Compression::Zstd => zstd::room(bytes.len()),
    };
    out.resize(start + room, 0);
    let space = out.get_mut(start..).unwrap_or_default();
    let (codec, written) = match compression {
        Compression::Zstd => (Codec::Zstd, zstd::compress(bytes, space)),
        _ => (Codec::Lz4, lz4_flex::block::compress_into(bytes, space).ok()),
    };
    match written.filter(|&written| written <= most) {
        Some(written) => {
            out.truncate(start + written);
            codec
        }
        None => {
            out.truncate(start);
            Codec::Raw
        }
    }
}

/// Why bytes were not unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Odd {
    /// They are not what was packed.
    Damaged {
        /// What they must be.
        want: String,
        /// What they are.
        found: String,
    },
    /// This build lacks the codec; what to say of it.
    Lacking(&'static str),
}

/// The `len` bytes that `stored` stand for.
///
/// Cost: one pass, memory for `len` bytes.
pub fn unpack(codec: Codec, stored: &[u8], len: usize) -> Result<Vec<u8>, Odd> {
    let damaged =
        |found: String| Odd::Damaged { want: format!("{} of {len} bytes", codec.name()), found };
    // So many bytes one stored byte can stand for, at most, and a few more at the end.
    let most = match codec {
        Codec::Raw if stored.len() == len => return Ok(stored.to_vec()),
        Codec::Raw => return Err(damaged(format!("{} bytes", stored.len()))),
        Codec::Lz4 => stored.len().saturating_add(1).saturating_mul(LZ4_RATIO_MAX),
        Codec::Zstd if !cfg!(feature = "zstd") => return Err(Odd::Lacking(LACKING)),
        Codec::Zstd => (stored.len() / ZSTD_BLOCK_MIN).saturating_add(1).saturating_mul(ZSTD_BLOCK),
    };
    if len > most {
        return Err(damaged(format!("{} bytes", stored.len())));
    }
    let mut bytes = vec![0; len];
    let written = match codec {
        Codec::Zstd => zstd::decompress(stored, &mut bytes),
        _ => lz4_flex::block::decompress_into(stored, &mut bytes).map_err(|e| e.to_string()),
    };
    match written {
        Ok(written) if written == len => Ok(bytes),
        Ok(written) => Err(damaged(format!("one of {written}"))),
        Err(error) => Err(damaged(error)),
    }
}

/// A byte of LZ4 stands for at most so many.
const LZ4_RATIO_MAX: usize = 255;
/// A block of a Zstandard frame stands for at most so many bytes,
const ZSTD_BLOCK: usize = 128 << 10;
/// and takes at least so many.
const ZSTD_BLOCK_MIN: usize = 4;

#[cfg(feature = "zstd")]
mod zstd {
    use ::zstd::DEFAULT_COMPRESSION_LEVEL;
    use ::zstd::bulk::{compress_to_buffer, decompress_to_buffer};

    pub(super) fn room(len: usize) -> usize {
        ::zstd::zstd_safe::compress_bound(len)
    }

    pub(super) fn compress(bytes: &[u8], space: &mut [u8]) -> Option<usize> {
        compress_to_buffer(bytes, space, DEFAULT_COMPRESSION_LEVEL).ok()
    }

    pub(super) fn decompress(stored: &[u8], space: &mut [u8]) -> Result<usize, String> {
        decompress_to_buffer(stored, space).map_err(|error| error.to_string())
    }
}

#[cfg(not(feature = "zstd"))]
mod zstd {
    pub(super) fn room(_: usize) -> usize {
        0
    }

    pub(super) fn compress(_: &[u8], _: &mut [u8]) -> Option<usize> {
        None
    }

    pub(super) fn decompress(_: &[u8], _: &mut [u8]) -> Result<usize, String> {
        Err(super::LACKING.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(Compression, Codec); 2] =
        [(Compression::Lz4, Codec::Lz4), (Compression::Zstd, Codec::Zstd)];

    /// Those that this build has.
    fn own() -> impl Iterator<Item = (Compression, Codec)> {
        ALL.into_iter().filter(|(compression, _)| compression.check().is_ok())
    }

    fn noise(len: usize) -> Vec<u8> {
        let word = |i: usize| xxhash_rust::xxh3::xxh3_64(&i.to_le_bytes()).to_le_bytes();
        (0..len.div_ceil(8)).flat_map(word).take(len).collect()
    }

    #[test]
    fn what_was_packed_unpacks_and_what_lies_before_it_stays() {
        for (compression, codec) in own() {
            for len in [100, 1000, 4096, 300_000] {
                let bytes = [vec![7; len / 2], noise(len - len / 2)].concat();
                let mut out = b"before".to_vec();
                assert_eq!(compress(&bytes, compression, packed_max(len), &mut out), codec);
                let packed = out.strip_prefix(b"before").unwrap();
                assert!(packed.len() <= packed_max(len));
                assert_eq!(unpack(codec, packed, len).unwrap(), bytes);
            }
        }
        assert_eq!(unpack(Codec::Raw, b"abc", 3).unwrap(), b"abc");
    }

    /// BLOB-11: exactly seven eighths, and one byte more; noise never grows.
    #[test]
    fn what_does_not_save_an_eighth_stays_raw() {
        assert_eq!([0, 7, 8, 1000].map(packed_max), [0, 7, 7, 875]);
        for (compression, codec) in own() {
            let bytes = [vec![7; 500], noise(500)].concat();
            let mut out = Vec::new();
            compress(&bytes, compression, 1000, &mut out);
            let exact = out.len();
            for (most, want) in [(exact, codec), (exact - 1, Codec::Raw)] {
                out.clear();
                assert_eq!(compress(&bytes, compression, most, &mut out), want);
                assert_eq!(out.len(), if want == codec { exact } else { 0 });
            }
            for len in [0, 1, 7, 8, 100, 70_000] {
                out.clear();
                assert_eq!(compress(&noise(len), compression, len, &mut out), Codec::Raw);
                assert!(out.is_empty());
            }
        }
        assert_eq!(compress(&[0; 100], Compression::None, 100, &mut Vec::new()), Codec::Raw);
    }

    /// F-39: a length that so few bytes cannot stand for is refused before anything is allocated.
    #[test]
    fn a_length_that_cannot_be_is_refused() {
        for (compression, codec) in own() {
            let mut packed = Vec::new();
            compress(&[9; 5000], compression, 4000, &mut packed);
            for len in [0, 4999, 5001, usize::MAX / 2, usize::MAX] {
                assert!(matches!(unpack(codec, &packed, len), Err(Odd::Damaged { .. })), "{len}");
            }
        }
        assert!(unpack(Codec::Raw, b"abc", usize::MAX).is_err());
    }

    #[test]
    fn what_this_build_lacks_names_the_feature() {
        if cfg!(feature = "zstd") {
            return;
        }
        let error = Compression::Zstd.check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("feature `zstd`"));
        assert_eq!(unpack(Codec::Zstd, b"abc", 3), Err(Odd::Lacking(LACKING)));
        assert_eq!(compress(&[0; 100], Compression::Zstd, 100, &mut Vec::new()), Codec::Raw);
    }

    /// F-33: whatever bit changes, what is unpacked has the length that was asked for, or is an error.
    #[test]
    fn any_flip_of_packed_bytes_is_survived() {
        for (compression, codec) in own() {
            let bytes = b"a value, a value, a value, another".repeat(9);
            let mut packed = Vec::new();
            compress(&bytes, compression, bytes.len(), &mut packed);
            for bit in 0..packed.len() * 8 {
                let mut bad = packed.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                if let Ok(unpacked) = unpack(codec, &bad, bytes.len()) {
                    assert_eq!(unpacked.len(), bytes.len());
                }
            }
        }
    }
}
