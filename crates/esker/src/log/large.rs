//! Large values where they lie: which entries of a log are such, and reading one, from a log or a blob
//! file.
//!
//! ```text
//! ref ─▶ one positioned read of `stored` bytes ─▶ decode ─▶ digest right? ─▶ a value of its own
//! ```
//!
//! 1. Nothing is believed but the digest: a value that was read whole is the one that was written,
//!    or the read is an error (law 10).
//! 2. Nothing is allocated for stored bytes that do not lie inside the file, or for a value that so
//!    many stored bytes cannot stand for (F-39).
//! 3. A value that a log carries packed is large, however short that made it; others are by their
//!    length. So what was large when it was written is large in a replay.
//! 4. A codec that a build lacks is `Unsupported`; what does not unpack is `Corruption`.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::reader::Frame;
use crate::base::blob::{Address, BlobRef, Codec, digest};
use crate::base::codec::{Odd, unpack};
use crate::base::coding::to_u64;
use crate::base::entry::Logged;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::FileId;
use crate::base::value::Value;
use crate::env::names::{FileKind, FileName};
use crate::env::{File, read_exact_at};
use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// The ref of the value of `put`, an entry of `frame` in log `log`, if it is a large one: it is packed,
/// or has at least `least` bytes and was not split at a border of blocks.
///
/// Cost: one pass over the value, for its digest, unless it is packed. Errors: `Corruption` naming file
/// and offset for what no writer writes; `Unsupported` for a codec of a newer format.
pub fn blob_of(
    log: FileId,
    frame: &Frame<'_>,
    put: &Logged<'_>,
    least: usize,
) -> Result<Option<BlobRef>> {
    let value = put.value;
    if !put.is_large(least) {
        return Ok(None);
    }
    // Both point into the payload: the distance is the place in it.
    let inside = value.as_ptr().addr().wrapping_sub(frame.payload.as_ptr().addr());
    let offset = frame.payload_at.and_then(|at| at.checked_add(to_u64(inside)));
    let address = offset.and_then(|offset| Address::new(log, offset));
    match (address, put.packed) {
        (Some(address), Some(packed)) => {
            let context = format_args!("{} at byte {}", FileKind::Log.name(log), address.offset());
            packed.blob(address, value.len()).map(Some).map_err(|error| error.context(context))
        }
        (Some(address), None) => Ok(Some(BlobRef::raw(address, value))),
        (None, None) => Ok(None),
        (None, Some(_)) => {
            let want = "a frame in one piece around a packed value";
            Err(Error::corruption(FileKind::Log.name(log), frame.at, want, "one that is split"))
        }
    }
}

/// The value of `entry`, of `frame` in log `log`, as the user gave it, however it is stored there.
///
/// Errors: `Corruption` naming file and offset; `Unsupported` for a codec of a newer format.
pub fn value_of<'a>(log: FileId, frame: &Frame<'_>, entry: &Logged<'a>) -> Result<Cow<'a, [u8]>> {
    // Of those that are stored as they are, nothing is as long as that.
    match blob_of(log, frame, entry, usize::MAX)? {
        None => Ok(Cow::Borrowed(entry.value)),
        Some(blob) => decode(FileKind::Log.name(log), &blob, blob.address.offset(), entry.value),
    }
}

/// The value of `blob`, which is stored at byte `at` of `file`; `bytes` is how long the file is.
///
/// Cost: one system call, one pass for the digest, one more if it is compressed. The value owns its
/// bytes. Errors: `Corruption` naming file and offset if the bytes are not those that were written:
/// verify, restore or repair; `Unsupported` for a codec this build lacks; `Io`.
pub fn read_value(
    file: &dyn File,
    name: FileName,
    bytes: u64,
    blob: &BlobRef,
    at: u64,
) -> Result<Value> {
    let end = at.checked_add(u64::from(blob.stored));
    if end.is_none_or(|end| end > bytes) {
        let want = format_args!("value {} of {} bytes", blob.address, blob.stored);
        return Err(Error::corruption(name, at, want, format_args!("a file of {bytes}")));
    }
    let stored = read_stored(file, name, at, length(blob.stored))?;
    let value = match decode(name, blob, at, &stored)? {
        Cow::Borrowed(_) => stored,
        Cow::Owned(value) => value,
    };
    Ok(Value::lent(Arc::new(value), |value| value))
}

/// So many bytes of `file` at `at`, in memory of their own. Errors: `Corruption` if the file ends
/// before; `Io`.
pub fn read_stored(file: &dyn File, name: FileName, at: u64, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    fill(file, name, at, &mut bytes)?;
    Ok(bytes)
}

/// The bytes of the value of `blob` from byte `from` of it on, as many as `buffer` takes or there
/// are; answers how many. The value is stored as it is, at byte `at` of `file`.
///
/// No checksum covers a part: what comes is what the disk gave. Errors: `Corruption` if the file ends
/// before; `Io`.
pub fn read_into(
    file: &dyn File,
    name: FileName,
    blob: &BlobRef,
    at: u64,
    buffer: &mut [u8],
    from: u64,
) -> Result<usize> {
    let left = u64::from(blob.len).saturating_sub(from);
    let len = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
    fill(file, name, at.saturating_add(from), buffer.get_mut(..len).unwrap_or_default())?;
    Ok(len)
}

/// Bytes `range` of the value of `blob`, as far as it has them, otherwise as [`read_into`]: the
/// value must lie inside the file.
pub fn read_part(
    file: &dyn File,
    name: FileName,
    blob: &BlobRef,
    at: u64,
    range: Range<u64>,
) -> Result<Value> {
    let end = range.end.min(u64::from(blob.len));
    let start = range.start.min(end);
    let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(usize::MAX)];
    read_into(file, name, blob, at, &mut bytes, start)?;
    Ok(Value::lent(Arc::new(bytes), |bytes| bytes))
}

fn fill(file: &dyn File, name: FileName, at: u64, buffer: &mut [u8]) -> Result<()> {
    let len = buffer.len();
    read_exact_at(file, buffer, at).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Error::corruption(name, at, format_args!("{len} bytes"), "the end of the file")
        }
        _ => Error::io(format_args!("read {len} bytes of {name} at byte {at}"), error),
    })
}

/// The value that the `stored` bytes of `blob` stand for, its digest verified; they lie at `at` in
/// the file that messages call `name`. Borrowed if it is stored as it is.
///
/// Errors: as of [`read_value`].
pub fn decode<'a>(
    name: FileName,
    blob: &BlobRef,
    at: u64,
    stored: &'a [u8],
) -> Result<Cow<'a, [u8]>> {
    let damaged = |want: String, found: String| {
        let context = format_args!("{name} (value {})", blob.address);
        Err(Error::corruption(context, at, want, found))
    };
    if stored.len() != length(blob.stored) {
        return damaged(format!("{} bytes", blob.stored), stored.len().to_string());
    }
    let len = length(blob.len);
    let value = match blob.codec {
        Codec::Raw => Cow::Borrowed(stored),
        codec => match unpack(codec, stored, len) {
            Ok(value) => Cow::Owned(value),
            Err(Odd::Damaged { want, found }) => return damaged(want, found),
            Err(Odd::Lacking(what)) => {
                let message = format!("{name} at byte {at}: has {what}");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        },
    };
    let found = digest(&value);
    if value.len() != len || found != blob.digest {
        let want = format!("{len} bytes with digest {:#018x}", blob.digest);
        return damaged(want, format!("{} with {found:#018x}", value.len()));
    }
    Ok(value)
}

fn length(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[expect(clippy::as_conversions, reason = "tests know their numbers")]
mod tests {
    use super::*;
    use crate::base::entry::{Entries, put_entry_at_rest};
    use crate::base::id::SeqNo;
    use crate::base::key::Entry;
    use crate::base::key::Kind;
    use crate::env::Env;
    use crate::env::sim::Sim;
    use std::path::Path;

    const NAME: FileName = FileKind::Blob.name(FileId(3));

    fn lz4(value: &[u8]) -> (BlobRef, Vec<u8>) {
        let stored = lz4_flex::block::compress(value);
        let raw = BlobRef::raw(Address(5), value);
        (BlobRef { stored: u32::try_from(stored.len()).unwrap(), codec: Codec::Lz4, ..raw }, stored)
    }

    /// F-33: whatever bit changes, a read is the value that was written or an error.
    #[test]
    fn a_value_is_read_whole_or_not_at_all() {
        let value = b"a value, a value, a value, a value, a value".repeat(7);
        let raw = (BlobRef::raw(Address(5), &value), value.clone());
        for (blob, stored) in [raw, lz4(&value)] {
            assert_eq!(decode(NAME, &blob, 0, &stored).unwrap(), &*value);
            for bit in 0..stored.len() * 8 {
                let mut bad = stored.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                if let Ok(read) = decode(NAME, &blob, 0, &bad) {
                    // A code of LZ4 may say the same in two ways.
                    assert!(blob.codec == Codec::Lz4 && read == &*value, "bit {bit}");
                }
            }
            for cut in 0..stored.len() {
                assert!(decode(NAME, &blob, 0, &stored[..cut]).is_err());
            }
        }
    }

    /// F-39: a length that so few bytes cannot stand for allocates nothing.
    #[test]
    fn a_length_that_cannot_be_is_refused() {
        let (blob, stored) = lz4(&[0; 5000]);
        for len in [4999, 5001, 1 << 30, u32::MAX] {
            let error = decode(NAME, &BlobRef { len, ..blob }, 7, &stored).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption);
            assert!(
                error.message().starts_with("blob-000003 (value 000000:5) at byte 7: want "),
                "{error}"
            );
        }
    }

    /// Invariant 3, law 10: what is packed is large whatever is asked for, and must be what a writer
    /// writes.
    #[test]
    fn a_logged_value_is_large_if_it_is_packed_or_long_enough() {
        let log = FileId(3);
        let look = |payload: &[u8], payload_at, least| {
            let (at, end, first) = (90, 1 << 20, SeqNo(1));
            let frame = Frame { at, end, payload, payload_at, first, last: first };
            let put = Entries::new(payload).next().unwrap().unwrap();
            let found = blob_of(log, &frame, &put, least)?;
            Ok(found.inspect(|blob| {
                let at = (blob.address.offset() - 100) as usize;
                assert_eq!(&payload[at..at + blob.stored as usize], put.value);
            }))
        };
        let entry = |kind, value: &[u8]| {
            let mut out = Vec::new();
            put_entry_at_rest(&mut out, &Entry { key: b"key", seq: SeqNo(1), kind, value });
            out
        };
        let value = vec![7; 300];
        let raw = entry(Kind::Put, &value);
        let found = |least| look(&raw, Some(100), least).map_err(|error: Error| error.kind());
        assert_eq!(found(300).unwrap().unwrap().digest, digest(&value));
        assert_eq!(found(301), Ok(None));
        assert_eq!(look(&raw, None, 300).unwrap(), None);

        let (blob, stored) = lz4(&value);
        let packed = entry(Kind::Blob, &[&blob.encode()[..], &stored].concat());
        for least in [256, usize::MAX] {
            let found = look(&packed, Some(100), least).unwrap().unwrap();
            assert_eq!(BlobRef { address: found.address, ..blob }, found);
        }
        let error = look(&packed, None, 300).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        assert!(error.message().starts_with("log-000003 at byte 90: want a frame"), "{error}");
        let codec_at = packed.windows(2).position(|bytes| bytes == [0x48, 1]).unwrap() + 1;
        let newer = [&packed[..codec_at], &[9], &packed[codec_at + 1..]].concat();
        let error = look(&newer, Some(100), 300).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().starts_with("log-000003 at byte 1"), "{error}");
    }

    #[test]
    fn a_codec_that_this_build_lacks_is_unsupported() {
        if cfg!(feature = "zstd") {
            return;
        }
        let blob = BlobRef { codec: Codec::Zstd, ..BlobRef::raw(Address(5), b"abc") };
        let error = decode(NAME, &blob, 7, b"abc").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn a_value_is_read_from_its_place_in_a_file() {
        let (sim, path) = (Sim::new(1), Path::new("/blob-000003"));
        sim.write_file(path, b"......large").unwrap();
        let file = sim.open(path).unwrap();
        let blob = BlobRef::raw(Address(6), b"large");
        assert_eq!(read_value(&*file, NAME, 11, &blob, 6).unwrap(), b"large");
        for at in [0, 5, 7, 1 << 40] {
            let error = read_value(&*file, NAME, 11, &blob, at).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
        }
        sim.break_reads(path, 8..9).unwrap();
        let error = read_value(&*file, NAME, 11, &blob, 6).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
    }
}
