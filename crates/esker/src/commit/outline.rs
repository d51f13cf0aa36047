//! Large values give way, and what expires learns when: operations as a memtable takes them, and as a
//! log does.
//!
//! ```text
//!   user      put k ▭▭▭▭▭▭▭▭▭▭▭▭▭▭
//!   log       put k ▭▭▭▭▭▭▭▭             as it is stored, contiguous: packed if that saves an eighth
//!                   ▲ address
//!   memtable  blob k ▪                   a ref of 24 bytes: read from the log until the flush
//! ```
//!
//! 1. Which values are large depends on their length as the user gave them, and on their collection's
//!    rule. Where that is another than what the length alone would tell, the log says so: a replay and
//!    whoever takes the log over need not know the rules of then.
//! 2. Digests are taken and values packed before any lock, in the writer's thread, from the bytes that
//!    the caller gave (BLOB-11).
//! 3. What a collection's time to live comes to is decided here, once for each operation, and before
//!    any lock; a put whose writer has said when it expires keeps that.

use crate::base::batch::{Op, Ops};
use crate::base::blob::{Address, BLOB_BYTES_MIN, BlobRef};
use crate::base::codec::{Codec, Compression, compress, packed_max};
use crate::base::entry::{IN_LINE, entry_len, logged_value};
use crate::base::error::Result;
use crate::base::id::{FileId, SeqNo};
use crate::base::key::Kind;
use crate::base::time::Time;
use crate::env::clock::Clock;
use crate::log::frame::Layout;
use crate::merge::Rules;
use std::ops::Range;
use std::sync::Arc;

/// What becomes of large values.
#[derive(Clone, Debug)]
pub struct Outline {
    /// Values from this length on are out of line, where their collection has no rule for it.
    pub least: usize,
    /// How they are stored, where their collection has no rule for it.
    pub compression: Compression,
    /// What holds for each collection.
    pub rules: Arc<Rules>,
    /// The time of day.
    pub clock: Clock,
}

/// Operations with refs in the place of large values, which know when they expire.
pub struct Outlined<'a, O> {
    ops: &'a O,
    /// Of each operation in `places` its ref, and behind that what is logged with it; or nothing.
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// An operation that is logged or kept otherwise than it came.
struct Place {
    op: usize,
    expires: Option<Time>,
    bytes: Range<usize>,
    is_outside: bool,
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
    /// `ops` with large values out of line, and when they expire; none if all can be taken as they are.
    ///
    /// Cost: one pass over the large values, for their digests, and one to pack them; one look at the
    /// clock if a collection has a time to live.
    pub fn of(ops: &'a O, outline: &Outline) -> Option<Self> {
        let (has_own, is_timed) = (outline.rules.have_outlines(), outline.rules.are_timed());
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        let time = outline.clock.glance();
        for (index, op) in ops.iter().enumerate() {
            if op.kind != Kind::Put || (!is_timed && op.value.len() < BLOB_BYTES_MIN) {
                continue;
            }
            let rule = (has_own || is_timed).then(|| outline.rules.of(op.collection));
            let to_live = rule.as_ref().and_then(|rule| rule.time_to_live);
            let stamp = to_live.filter(|_| op.expires.is_none());
            let stamp = stamp.map(|to_live| time.now().after(to_live));
            let expires = op.expires.or(stamp);
            let is_long = op.value.len() >= outline.least;
            let own = rule.as_ref().and_then(|rule| rule.blob_threshold);
            let is_outside = own.map_or(is_long, |own| op.value.len() >= own);
            let start = bytes.len();
            if !is_outside && !is_long {
                if stamp.is_some() {
                    places.push(Place { op: index, expires, bytes: start..start, is_outside });
                }
                continue;
            }
            bytes.extend_from_slice(&IN_LINE);
            if is_outside {
                let own = rule.and_then(|rule| rule.blob_compression);
                let compression = own.unwrap_or(outline.compression);
                let blob = pack(op.value, compression, &mut bytes);
                put_ref(&mut bytes, start, &blob);
            }
            let is_packed = bytes.len() > start + BlobRef::BYTES;
            if is_outside != is_long && !is_packed {
                // Its length does not tell what it is: it is said.
                bytes.extend_from_slice(op.value);
            }
            places.push(Place { op: index, expires, bytes: start..bytes.len(), is_outside });
        }
        (!places.is_empty()).then_some(Self { ops, bytes, places })
    }

    /// Says where the large values lie in log `log`, whose payload of these operations begins at
    /// `payload_at`, when the first has number `first`.
    ///
    /// The caller sees to it that the log's number and length have addresses.
    pub fn place(&mut self, log: FileId, payload_at: u64, first: SeqNo) {
        let starts: Vec<usize> = self.outside().map(|place| place.bytes.start).collect();
        for (start, offset) in starts.into_iter().zip(self.offsets(payload_at, first)) {
            let blob = self.bytes.get(start..start + BlobRef::BYTES).and_then(BlobRef::decode);
            if let (Some(blob), Some(address)) = (blob, Address::new(log, offset)) {
                put_ref(&mut self.bytes, start, &BlobRef { address, ..blob });
            }
        }
    }

    /// The places of large values.
    fn outside(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|place| place.is_outside)
    }

    /// Where the large values lie in the file: each is the end of its entry.
    fn offsets(&self, payload_at: u64, first: SeqNo) -> Vec<u64> {
        let (mut end, mut outside) = (payload_at, self.outside().peekable());
        let stored = self.stored();
        let placed = stored.iter().enumerate().zip(first.0..).filter_map(|((index, op), seq)| {
            end += entry_len(&op, SeqNo(seq)) as u64;
            let place = outside.next_if(|place| place.op == index);
            place.map(|_| end - logged_value(&op).len() as u64)
        });
        placed.collect()
    }

    /// The operations as a log takes them.
    pub fn stored(&self) -> Stored<'_, 'a, O> {
        Stored(self)
    }

    /// Each operation, and if it has a place whether that is outside, its ref, and what is logged.
    fn pairs(&self) -> impl Iterator<Item = (Op<'_>, Option<(bool, &[u8])>)> {
        let mut places = self.places.iter().peekable();
        self.ops.iter().enumerate().map(move |(index, op)| {
            let Some(place) = places.next_if(|place| place.op == index) else { return (op, None) };
            let bytes = self.bytes.get(place.bytes.clone()).unwrap_or_default();
            (Op { expires: place.expires, ..op }, Some((place.is_outside, bytes)))
        })
    }

    /// How a frame of them is laid out: large values lie in one piece.
    pub fn layout(&self) -> Layout {
        let is_large = self.outside().next().is_some();
        if is_large { Layout::Whole } else { Layout::Blocks }
    }
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
        self.pairs().map(|(op, place)| match place {
            Some((true, bytes)) => {
                let value = bytes.get(..BlobRef::BYTES).unwrap_or_default();
                Op { kind: Kind::Blob, value, ..op }
            }
            _ => op,
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
        self.0.pairs().map(|(op, place)| match place {
            Some((_, value)) if value.len() > BlobRef::BYTES => {
                Op { kind: Kind::Blob, value, ..op }
            }
            _ => op,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::batch::Batch;
    use crate::base::codec::unpack;
    use crate::base::entry::{Entries, put_entry};
    use crate::base::id::CollectionId;
    use crate::merge::Rule;
    use std::time::Duration;

    const LEAST: usize = 300;
    const NOW: Time = Time(5000);
    const BOTH: [Compression; 2] = [Compression::None, Compression::Lz4];

    fn outline(compression: Compression) -> Outline {
        let (rules, clock) = (Arc::default(), Clock::fixed(NOW));
        Outline { least: LEAST, compression, rules, clock }
    }

    /// A collection has a rule of its own for it, below and above that of all: what its length does not
    /// tell is logged, and what it does is logged as ever.
    #[test]
    fn the_log_says_what_a_length_does_not_tell() {
        let lens = [LEAST - 10, LEAST + 10, 5];
        let ops = batch(&lens.map(|len| (len, true)));
        let plain = |own| {
            let outline = outline(Compression::None);
            let rule = Rule { blob_threshold: Some(own), ..Rule::default() };
            outline.rules.set(CollectionId(1), rule);
            let mut outlined = Outlined::of(&ops, &outline).unwrap();
            outlined.place(FileId(3), 0, SeqNo(1));
            let mut payload = Vec::new();
            for (op, seq) in outlined.stored().iter().zip(1..) {
                put_entry(&mut payload, &op, SeqNo(seq));
            }
            let kinds: Vec<Kind> = outlined.iter().map(|op| op.kind).collect();
            let entries = Entries::new(&payload).map(|entry| entry.unwrap());
            let logged: Vec<_> =
                entries.map(|it| (it.is_large(LEAST), it.packed.is_some())).collect();
            for (op, blob) in
                ops.iter().zip(outlined.iter()).filter(|(_, it)| it.kind == Kind::Blob)
            {
                let at = BlobRef::decode(blob.value).unwrap().address.offset() as usize;
                assert_eq!(&payload[at..at + op.value.len()], op.value);
            }
            (kinds, logged)
        };
        let (said, told, small) = ((true, true), (true, false), (false, false));
        let below = plain(LEAST - 20);
        assert_eq!(below, (vec![Kind::Blob, Kind::Blob, Kind::Put], vec![said, told, small]));
        let above = plain(usize::MAX);
        assert_eq!(above, (vec![Kind::Put; 3], vec![small, (false, true), small]));
    }

    /// Values of these lengths: of one byte, or of noise.
    fn batch(values: &[(usize, bool)]) -> Batch {
        let mut batch = Batch::default();
        for (n, (len, is_noise)) in values.iter().enumerate() {
            let byte = |i: usize| crate::base::blob::digest(&i.to_le_bytes()) as u8;
            let value: Vec<u8> =
                (0..*len).map(|i| if *is_noise { byte(i) } else { n as u8 }).collect();
            let (kind, collection, expires) = (Kind::Put, CollectionId(1), None);
            batch.push(Op { kind, collection, key: b"k", value: &value, expires }).unwrap();
        }
        batch
    }

    /// What is stamped is what has no expiry of its own, in the log as in the memtable, small or large.
    #[test]
    fn a_time_to_live_is_counted_from_the_commit() {
        let outline = outline(Compression::None);
        let rule = Rule { time_to_live: Some(Duration::from_millis(7)), ..Rule::default() };
        outline.rules.set(CollectionId(1), rule);
        let long = vec![7; LEAST];
        let (small, large) = (b"v".as_slice(), long.as_slice());
        let op = |id, kind, value, expires| {
            let collection = CollectionId(id);
            Op { kind, collection, key: b"k", value, expires }
        };
        let (own, never) = (Some(Time(9)), Some(Time::NEVER));
        let ops = [
            (op(1, Kind::Put, small, None), Some(5007), Kind::Expiring),
            (op(1, Kind::Put, large, None), Some(5007), Kind::Blob),
            (op(1, Kind::Put, small, own), Some(9), Kind::Expiring),
            (op(1, Kind::Put, large, own), Some(9), Kind::Blob),
            (op(1, Kind::Put, small, never), None, Kind::Put),
            (op(1, Kind::Put, large, never), None, Kind::Blob),
            (op(1, Kind::Delete, b"", None), None, Kind::Delete),
            (op(2, Kind::Put, small, None), None, Kind::Put),
            (op(2, Kind::Put, small, own), Some(9), Kind::Expiring),
        ];
        let mut batch = Batch::default();
        ops.iter().for_each(|(op, ..)| batch.push(*op).unwrap());
        let outlined = Outlined::of(&batch, &outline).unwrap();
        let mut payload = Vec::new();
        for (op, seq) in outlined.stored().iter().zip(1..) {
            put_entry(&mut payload, &op, SeqNo(seq));
        }
        let logged = Entries::new(&payload).map(|entry| entry.unwrap().expiry);
        for ((out, logged), (_, expiry, kind)) in outlined.iter().zip(logged).zip(ops) {
            assert_eq!((out.expiry(), logged), (expiry.map(Time), expiry.map(Time)));
            assert_eq!(out.kind_at_rest(), kind);
        }
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
