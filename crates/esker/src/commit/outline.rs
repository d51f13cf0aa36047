//! Large values give way: operations as a memtable takes them.
//!
//! ```text
//!   log       put k ▭▭▭▭▭▭▭▭▭▭▭▭▭▭     the whole value, contiguous
//!                   ▲ address
//!   memtable  blob k ▪                 a ref of 24 bytes: read from the log until the flush
//! ```
//!
//! 1. Which values are large depends on their length alone, live and in a replay alike.
//! 2. The digest is taken before any lock, from the bytes that the caller gave.

use crate::base::batch::{Op, Ops};
use crate::base::blob::{Address, BlobRef};
use crate::base::entry::entry_len;
use crate::base::id::{FileId, SeqNo};
use crate::base::key::Kind;

/// Operations with refs in the place of large values.
pub struct Outlined<'a, O> {
    ops: &'a O,
    least: usize,
    refs: Vec<[u8; BlobRef::BYTES]>,
}

/// Whether `op` writes a value of at least `least` bytes.
#[inline]
pub fn is_large(op: &Op<'_>, least: usize) -> bool {
    op.kind == Kind::Put && op.value.len() >= least
}

impl<'a, O: Ops> Outlined<'a, O> {
    /// `ops` with values from `least` bytes on out of line; none if there is no such value.
    ///
    /// Cost: one pass over the large values, for their digests.
    pub fn of(ops: &'a O, least: usize) -> Option<Self> {
        let large = ops.iter().filter(|op| is_large(op, least));
        let refs: Vec<_> =
            large.map(|op| BlobRef::raw(Address::default(), op.value).encode()).collect();
        (!refs.is_empty()).then_some(Self { ops, least, refs })
    }

    /// Says where the large values lie in log `log`, in the order of the operations.
    ///
    /// The caller sees to it that the log's number and length have addresses.
    pub fn place(&mut self, log: FileId, offsets: impl IntoIterator<Item = u64>) {
        for (bytes, offset) in self.refs.iter_mut().zip(offsets) {
            if let (Some(blob), Some(address)) = (BlobRef::decode(bytes), Address::new(log, offset))
            {
                *bytes = BlobRef { address, ..blob }.encode();
            }
        }
    }

    /// The offsets of the large values in a payload that begins at `payload_at`, when the first
    /// operation has number `first`: a value is the end of its entry.
    pub fn offsets(ops: &O, least: usize, payload_at: u64, first: SeqNo) -> Vec<u64> {
        let mut end = payload_at;
        let placed = ops.iter().zip(first.0..).filter_map(|(op, seq)| {
            end += entry_len(&op, SeqNo(seq)) as u64;
            is_large(&op, least).then(|| end - op.value.len() as u64)
        });
        placed.collect()
    }
}

impl<O: Ops> Ops for Outlined<'_, O> {
    fn count(&self) -> usize {
        self.ops.count()
    }

    fn iter(&self) -> impl Iterator<Item = Op<'_>> {
        let mut refs = self.refs.iter();
        self.ops.iter().map(move |op| {
            let blob = if is_large(&op, self.least) { refs.next() } else { None };
            blob.map_or(op, |value| Op { kind: Kind::Blob, value, ..op })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::batch::Batch;
    use crate::base::id::CollectionId;

    const LEAST: usize = 300;

    fn batch(lens: &[usize]) -> Batch {
        let mut batch = Batch::default();
        for (n, len) in lens.iter().enumerate() {
            let value = vec![n as u8; *len];
            let op = Op { kind: Kind::Put, collection: CollectionId(1), key: b"k", value: &value };
            batch.push(op).unwrap();
        }
        batch
    }

    #[test]
    fn small_values_stay_where_they_are() {
        assert!(Outlined::of(&batch(&[0, 1, LEAST - 1]), LEAST).is_none());
    }

    /// MACE-7: sizes around the threshold, in one batch.
    #[test]
    fn refs_take_the_places_of_large_values_and_name_where_they_lie() {
        let ops = batch(&[LEAST, 5, LEAST - 1, 70_000]);
        let first = SeqNo(9);
        let mut outlined = Outlined::of(&ops, LEAST).unwrap();
        outlined.place(FileId(3), Outlined::offsets(&ops, LEAST, 1000, first));
        // What the log holds, byte for byte.
        let mut payload = Vec::new();
        for (op, seq) in ops.iter().zip(first.0..) {
            crate::base::entry::put_entry(&mut payload, &op, SeqNo(seq));
        }
        let kinds = [Kind::Blob, Kind::Put, Kind::Put, Kind::Blob];
        for ((op, out), kind) in ops.iter().zip(outlined.iter()).zip(kinds) {
            assert_eq!(out.kind, kind);
            if kind == Kind::Put {
                assert_eq!(out.value, op.value);
                continue;
            }
            let blob = BlobRef::decode(out.value).unwrap();
            assert_eq!(blob.address.file(), FileId(3));
            let at = (blob.address.offset() - 1000) as usize;
            assert_eq!(&payload[at..at + blob.len as usize], op.value);
            assert_eq!(blob.digest, crate::base::blob::digest(op.value));
        }
    }
}
