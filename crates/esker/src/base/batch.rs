//! Operations on their way in: what a commit writes to the log and to the memtable.
//!
//! 1. Operations keep their order; each will get a sequence number of its own.
//! 2. The same key twice is legal: the later wins, because its number is higher (MOSS-6).
//! 3. An operation is judged before a byte of it is kept (MOSS-2), so a refused one leaves no trace.

use super::coding::to_u64;
use super::error::{Error, Result};
use super::id::CollectionId;
use super::key::{BATCH_BYTES_MAX, Kind, check_key, check_key_len, check_value, check_value_len};
use super::time::Time;

/// One operation as the caller gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op<'a> {
    /// What it does.
    pub kind: Kind,
    /// Where.
    pub collection: CollectionId,
    /// User key; for a range delete, where the range begins.
    pub key: &'a [u8],
    /// Value, merge operand, or where the range ends (a user key, excluded).
    pub value: &'a [u8],
    /// Of a put: when it expires, [`Time::NEVER`] if not even as its collection would have it. None if
    /// that decides.
    pub expires: Option<Time>,
}

impl Op<'_> {
    /// When it expires, once that is decided; none if never.
    #[inline]
    pub fn expiry(&self) -> Option<Time> {
        self.expires.filter(|expiry| *expiry != Time::NEVER)
    }

    /// The kind of its entry at rest.
    #[inline]
    pub fn kind_at_rest(&self) -> Kind {
        match (self.kind, self.expiry()) {
            (Kind::Put, Some(_)) => Kind::Expiring,
            (kind, _) => kind,
        }
    }
}

/// A sequence of operations that commits as one: a single one, or a [`Batch`].
pub trait Ops {
    /// How many.
    fn count(&self) -> usize;
    /// In order.
    fn iter(&self) -> impl Iterator<Item = Op<'_>>;

    /// Whether they may go ahead, asked under the lock that numbers them, before they are: what has a
    /// lower number is known then. It must not wait, and may be asked more than once.
    fn admit(&self) -> Result<()> {
        Ok(())
    }

    /// Told once, under the same lock, when they have their numbers: they will be visible, or the
    /// database becomes read-only.
    fn numbered(&self) {}
}

impl Ops for Op<'_> {
    fn count(&self) -> usize {
        1
    }

    fn iter(&self) -> impl Iterator<Item = Op<'_>> {
        std::iter::once(*self)
    }
}

#[derive(Clone, Copy, Debug)]
struct Place {
    kind: Kind,
    collection: CollectionId,
    key_start: usize,
    value_start: usize,
    value_end: usize,
    expires: Option<Time>,
}

/// Operations in one buffer.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

impl Batch {
    /// Appends an operation. Cost: one copy of key and value.
    ///
    /// Errors: `InvalidArgument` over the limits of key, value or batch; the batch is unchanged.
    pub fn push(&mut self, op: Op<'_>) -> Result<()> {
        check_key(op.key)?;
        check_value(op.value)?;
        self.check_total(self.bytes.len() + op.key.len() + op.value.len())?;
        let key_start = self.bytes.len();
        self.bytes.extend_from_slice(op.key);
        let value_start = self.bytes.len();
        self.bytes.extend_from_slice(op.value);
        let value_end = self.bytes.len();
        let Op { kind, collection, expires, .. } = op;
        self.places.push(Place { kind, collection, key_start, value_start, value_end, expires });
        Ok(())
    }

    /// Room for an operation whose key and value are written in place; zeros until then. It is part of
    /// the batch once it is committed, and gone when it is dropped before.
    ///
    /// Errors: as of [`Batch::push`].
    pub fn reserve(&mut self, room: Room) -> Result<Slot<'_>> {
        let Room { kind, collection, key_len, value_len, expires } = room;
        check_key_len(key_len)?;
        check_value_len(to_u64(value_len))?;
        let key_start = self.bytes.len();
        self.check_total(key_start.saturating_add(key_len).saturating_add(value_len))?;
        let value_start = key_start + key_len;
        let value_end = value_start + value_len;
        self.bytes.resize(value_end, 0);
        let place = Place { kind, collection, key_start, value_start, value_end, expires };
        Ok(Slot { batch: self, place, is_committed: false })
    }

    fn check_total(&self, total: usize) -> Result<()> {
        if total <= BATCH_BYTES_MAX {
            return Ok(());
        }
        Err(Error::invalid(format!("batch of {total} bytes: want at most {BATCH_BYTES_MAX}")))
    }

    /// The operation at a place, counted from 0.
    pub fn get(&self, place: usize) -> Option<Op<'_>> {
        self.places.get(place).map(|place| self.op(place))
    }

    fn op(&self, place: &Place) -> Op<'_> {
        Op {
            kind: place.kind,
            collection: place.collection,
            key: self.bytes.get(place.key_start..place.value_start).unwrap_or_default(),
            value: self.bytes.get(place.value_start..place.value_end).unwrap_or_default(),
            expires: place.expires,
        }
    }

    /// Forgets all operations but the first `count`.
    pub fn truncate(&mut self, count: usize) {
        if let Some(first) = self.places.get(count) {
            self.bytes.truncate(first.key_start);
            self.places.truncate(count);
        }
    }

    /// Whether it holds no operation.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes of keys and values held.
    pub fn byte_count(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets all operations, keeps the space.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
    }
}

impl Ops for Batch {
    fn count(&self) -> usize {
        self.places.len()
    }

    fn iter(&self) -> impl Iterator<Item = Op<'_>> {
        self.places.iter().map(|place| self.op(place))
    }
}

/// What a [`Slot`] is to be.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// What the operation does.
    pub kind: Kind,
    /// Where.
    pub collection: CollectionId,
    /// Bytes of its key.
    pub key_len: usize,
    /// Bytes of its value.
    pub value_len: usize,
    /// When it expires; see [`Op::expires`].
    pub expires: Option<Time>,
}

/// An operation at the end of a batch that is being written.
#[derive(Debug)]
pub struct Slot<'a> {
    batch: &'a mut Batch,
    place: Place,
    is_committed: bool,
}

impl Slot<'_> {
    /// The bytes of its key.
    pub fn key_mut(&mut self) -> &mut [u8] {
        self.parts().0
    }

    /// The bytes of its value.
    pub fn value_mut(&mut self) -> &mut [u8] {
        self.parts().1
    }

    /// Both at once.
    pub fn parts(&mut self) -> (&mut [u8], &mut [u8]) {
        let both = self.batch.bytes.get_mut(self.place.key_start..self.place.value_end);
        let both = both.unwrap_or_default();
        let key_len = self.place.value_start - self.place.key_start;
        both.split_at_mut_checked(key_len).unwrap_or_default()
    }

    /// Gives back all of the value but its first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        let end = self.place.value_start.saturating_add(len);
        self.place.value_end = self.place.value_end.min(end);
        self.batch.bytes.truncate(self.place.value_end);
    }

    /// Makes it part of the batch.
    pub fn commit(mut self) {
        self.is_committed = true;
        self.batch.places.push(self.place);
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if !self.is_committed {
            self.batch.bytes.truncate(self.place.key_start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::KEY_BYTES_MAX;
    use super::*;

    fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Op<'a> {
        Op { kind: Kind::Put, collection: CollectionId(1), key, value, expires: None }
    }

    #[test]
    fn a_batch_keeps_order_and_repeated_keys() {
        let mut batch = Batch::default();
        for value in [&b"1"[..], b"", b"2"] {
            batch.push(put(b"a", value)).unwrap();
        }
        let values: Vec<_> = batch.iter().map(|op| op.value.to_vec()).collect();
        assert_eq!(values, [&b"1"[..], b"", b"2"]);
    }

    /// MOSS-2: a refused operation changes neither length, counters nor bytes.
    #[test]
    fn a_refused_operation_leaves_no_trace() {
        let mut batch = Batch::default();
        batch.push(put(&vec![0; KEY_BYTES_MAX], b"x")).unwrap();
        let before = (batch.count(), batch.byte_count());
        assert!(batch.push(put(&vec![0; KEY_BYTES_MAX + 1], b"x")).is_err());
        assert_eq!((batch.count(), batch.byte_count()), before);
    }

    /// MOSS-7.
    #[test]
    fn a_slot_is_part_of_its_batch_once_it_is_committed() {
        let (kind, collection, expires) = (Kind::Put, CollectionId(1), None);
        let room = Room { kind, collection, key_len: 1, value_len: 3, expires };
        let mut batch = Batch::default();
        let mut slot = batch.reserve(room).unwrap();
        slot.key_mut()[0] = b'a';
        slot.value_mut().copy_from_slice(b"xyz");
        slot.truncate(2);
        slot.commit();
        let mut dropped = batch.reserve(room).unwrap();
        dropped.key_mut()[0] = b'b';
        drop(dropped);
        batch.push(put(b"c", b"1")).unwrap();
        batch.reserve(Room { key_len: 0, value_len: 0, ..room }).unwrap().commit();
        let ops: Vec<_> = batch.iter().collect();
        assert_eq!(ops, [put(b"a", b"xy"), put(b"c", b"1"), put(b"", b"")]);
        let before = batch.byte_count();
        for room in [
            Room { key_len: KEY_BYTES_MAX + 1, ..room },
            Room { value_len: usize::MAX, ..room },
            Room { value_len: BATCH_BYTES_MAX, ..room },
        ] {
            assert!(batch.reserve(room).is_err());
        }
        assert_eq!((batch.count(), batch.byte_count()), (3, before));
    }
}
