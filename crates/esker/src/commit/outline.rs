//! Large values give way: operations as a memtable takes them, and as a log does.
//!
//! ```text
//!   user      put k ▭▭▭▭▭▭▭▭▭▭▭▭▭▭
//!   log       put k ▭▭▭▭▭▭▭▭             as it is stored, contiguous: packed if that saves an eighth
//!                   ▲ address
//!   memtable  blob k ▪                   a ref of 24 bytes: read from the log until the flush
//! ```
//!
//! 1. Which values are large depends on their length as the user gave them, live; in a replay what is
//!    packed is large, and of the rest what is long enough.
//! 2. Digests are taken and values packed before any lock, in the writer's thread, from the bytes that
//!    the caller gave (BLOB-11).

use crate::base::batch::{Op, Ops};
use crate::base::blob::{Address, BlobRef};
use crate::base::codec::{Codec, Compression, compress, packed_max};
use crate::base::entry::{entry_len, logged_value};
use crate::base::error::Result;
use crate::base::id::{FileId, SeqNo};
use crate::base::key::Kind;
use std::ops::Range;

/// What becomes of large values.
#[derive(Clone, Copy, Debug)]
pub struct Outline {
    /// Values from this length on are out of line.
    pub least: usize,
    /// How they are stored.
    pub compression: Compression,
}

/// Operations with refs in the place of large values.
pub struct Outlined<'a, O> {
    ops: &'a O,
    least: usize,
    /// Of each large value its ref, and behind that what is stored if it is packed.
    bytes: Vec<u8>,
    places: Vec<Range<usize>>,
}

/// The same operations as a log takes them: with what is stored of large values.
pub struct Stored<'a, 'o, O>(&'a Outlined<'o, O>);

/// The ref of `value`, which lies nowhere yet; if it is worth it, the packed value is behind `out`.
pub fn pack(value: &[u8], compression: Compression, out: &mut Vec<u8>) -> BlobRef {
    let (raw, start) = (BlobRef::raw(Address::default(), value), out.len());
    let codec = compress(value, compression, packed_max(value.len()), out);
    match u32::try_from(out.len() - start) {
        Ok(stored) if codec != Codec::Raw => BlobRef { codec, stored, ..raw },
        _ => raw,
    }
}

impl<'a, O: Ops> Outlined<'a, O> {
    /// `ops` with large values out of line; none if there is no such value.
    ///
    /// Cost: one pass over the large values, for their digests, and one to pack them.
    pub fn of(ops: &'a O, outline: &Outline) -> Option<Self> {
        let Outline { least, compression } = *outline;
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        for op in ops.iter().filter(|op| is_large(op, least)) {
            let start = bytes.len();
            bytes.extend_from_slice(&[0; BlobRef::BYTES]);
            let blob = pack(op.value, compression, &mut bytes);
            places.push(start..bytes.len());
            put_ref(&mut bytes, start, &blob);
        }
        (!places.is_empty()).then_some(Self { ops, least, bytes, places })
    }

    /// Says where the large values lie in log `log`, whose payload of these operations begins at
    /// `payload_at`, when the first has number `first`.
    ///
    /// The caller sees to it that the log's number and length have addresses.
    pub fn place(&mut self, log: FileId, payload_at: u64, first: SeqNo) {
        for (index, offset) in self.offsets(payload_at, first).into_iter().enumerate() {
            let start = self.places.get(index).map_or(0, |place| place.start);
            let blob = self.bytes.get(start..start + BlobRef::BYTES).and_then(BlobRef::decode);
            if let (Some(blob), Some(address)) = (blob, Address::new(log, offset)) {
                put_ref(&mut self.bytes, start, &BlobRef { address, ..blob });
            }
        }
    }

    /// Where the large values lie in the file: each is the end of its entry.
    fn offsets(&self, payload_at: u64, first: SeqNo) -> Vec<u64> {
        let mut end = payload_at;
        let stored = self.stored();
        let placed =
            self.ops.iter().zip(stored.iter()).zip(first.0..).filter_map(|((op, logged), seq)| {
                end += entry_len(&logged, SeqNo(seq)) as u64;
                is_large(&op, self.least).then(|| end - logged_value(&logged).len() as u64)
            });
        placed.collect()
    }

    /// The operations as a log takes them.
    pub fn stored(&self) -> Stored<'_, 'a, O> {
        Stored(self)
    }

    /// Each operation, and if it is a large one its ref and what is stored packed of it.
    fn pairs(&self) -> impl Iterator<Item = (Op<'_>, Option<&[u8]>)> {
        let mut places = self.places.iter();
        self.ops.iter().map(move |op| {
            let place = if is_large(&op, self.least) { places.next() } else { None };
            (op, place.and_then(|place| self.bytes.get(place.clone())))
        })
    }
}

fn is_large(op: &Op<'_>, least: usize) -> bool {
    op.kind == Kind::Put && op.value.len() >= least
}

fn put_ref(bytes: &mut [u8], at: usize, blob: &BlobRef) {
    if let Some(place) = bytes.get_mut(at..at + BlobRef::BYTES) {
        place.copy_from_slice(&blob.encode());
    }
}

impl<O: Ops> Ops for Outlined<'_, O> {
    fn count(&self) -> usize {
        self.ops.count()
    }

    fn iter(&self) -> impl Iterator<Item = Op<'_>> {
        self.pairs().map(|(op, large)| match large.and_then(|bytes| bytes.get(..BlobRef::BYTES)) {
            Some(value) => Op { kind: Kind::Blob, value, ..op },
            None => op,
        })
    }
}

impl<O: Ops> Ops for Stored<'_, '_, O> {
    fn count(&self) -> usize {
        self.0.count()
    }

    fn admit(&self) -> Result<()> {
        self.0.ops.admit()
    }

    fn numbered(&self) {
        self.0.ops.numbered();
    }

    fn iter(&self) -> impl Iterator<Item = Op<'_>> {
        self.0.pairs().map(|(op, large)| match large.filter(|it| it.len() > BlobRef::BYTES) {
            Some(value) => Op { kind: Kind::Blob, value, ..op },
            None => op,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::batch::Batch;
    use crate::base::codec::unpack;
    use crate::base::entry::put_entry;
    use crate::base::id::CollectionId;

    const LEAST: usize = 300;
    const BOTH: [Compression; 2] = [Compression::None, Compression::Lz4];

    fn outline(compression: Compression) -> Outline {
        Outline { least: LEAST, compression }
    }

    /// Values of these lengths: of one byte, or of noise.
    fn batch(values: &[(usize, bool)]) -> Batch {
        let mut batch = Batch::default();
        for (n, (len, is_noise)) in values.iter().enumerate() {
            let byte = |i: usize| crate::base::blob::digest(&i.to_le_bytes()) as u8;
            let value: Vec<u8> =
                (0..*len).map(|i| if *is_noise { byte(i) } else { n as u8 }).collect();
            let op = Op { kind: Kind::Put, collection: CollectionId(1), key: b"k", value: &value };
            batch.push(op).unwrap();
        }
        batch
    }

    #[test]
    fn small_values_stay_where_they_are() {
        let ops = batch(&[(0, false), (1, false), (LEAST - 1, false)]);
        for compression in BOTH {
            assert!(Outlined::of(&ops, &outline(compression)).is_none());
        }
    }

    /// MACE-7, BLOB-11: sizes around the threshold, of what packs and what does not, in one batch.
    #[test]
    fn refs_take_the_places_of_large_values_and_name_where_they_lie() {
        let ops =
            batch(&[(LEAST, false), (5, false), (LEAST - 1, true), (70_000, false), (900, true)]);
        let first = SeqNo(9);
        for compression in BOTH {
            let mut outlined = Outlined::of(&ops, &outline(compression)).unwrap();
            outlined.place(FileId(3), 1000, first);
            // What the log holds, byte for byte.
            let mut payload = Vec::new();
            for (op, seq) in outlined.stored().iter().zip(first.0..) {
                put_entry(&mut payload, &op, SeqNo(seq));
            }
            let kinds = [Kind::Blob, Kind::Put, Kind::Put, Kind::Blob, Kind::Blob];
            for (((op, out), kind), n) in ops.iter().zip(outlined.iter()).zip(kinds).zip(0..) {
                assert_eq!(out.kind, kind);
                if kind == Kind::Put {
                    assert_eq!(out.value, op.value);
                    continue;
                }
                let blob = BlobRef::decode(out.value).unwrap();
                let packs = compression == Compression::Lz4 && n < 4;
                assert_eq!(blob.codec, if packs { Codec::Lz4 } else { Codec::Raw });
                assert_eq!((blob.address.file(), blob.len as usize), (FileId(3), op.value.len()));
                assert_eq!(blob.digest, crate::base::blob::digest(op.value));
                let at = (blob.address.offset() - 1000) as usize;
                let stored = &payload[at..at + blob.stored as usize];
                assert_eq!(unpack(blob.codec, stored, blob.len as usize).unwrap(), op.value);
            }
        }
    }
}
