//! The time of day, and when entries expire.
//!
//! ```text
//!   put that expires        kind Expiring    user's value ‖ expiry: u64 LE
//!   the same, out of line   kind Blob        blob ref     ‖ expiry: u64 LE       32 bytes, not 24
//!                                                           milliseconds since the Unix epoch
//! ```
//!
//! 1. From its expiry on an entry is a tombstone, exactly: to every reader, whatever its snapshot, and
//!    to every rewrite. It never shows what lies beneath it (law 4).
//! 2. [`Time::NEVER`] is written nowhere: what never expires is an ordinary put.
//! 3. The expiry lies behind the value, so that the user's part of it is lent where it lies.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::blob::BlobRef;
use super::coding::to_u64;
use super::error::{Error, ErrorKind, Result};
use super::key::{Entry, Kind};
use super::value::Value;
use std::time::{Duration, SystemTime};

/// Milliseconds since the Unix epoch: what the clock says, or when an entry expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// Bytes of an expiry behind a value.
    pub const BYTES: usize = 8;
    /// Later than every clock.
    pub const NEVER: Self = Self(u64::MAX);

    /// The time so long after the epoch; what is less than a millisecond is cut off.
    pub fn since_epoch(time: Duration) -> Self {
        Self(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    /// So much later, to the next whole millisecond: never too early. What has no number is never.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        let millis = time.as_nanos().div_ceil(1_000_000);
        Self(self.0.saturating_add(u64::try_from(millis).unwrap_or(u64::MAX)))
    }

    /// The same for the standard library; none where it has none.
    pub fn to_system(self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(self.0))
    }
}

/// When an entry with this value expires; none if it never does.
#[inline]
pub fn expiry_of(kind: Kind, value: &[u8]) -> Option<Time> {
    match kind {
        Kind::Put | Kind::Delete | Kind::Merge | Kind::RangeDelete => None,
        Kind::Blob if value.len() == BlobRef::BYTES => None,
        Kind::Blob | Kind::Expiring => split(kind, value).ok()?.1,
    }
}

/// The value of an entry at rest without its expiry, and that. Errors: `Corruption` if it has no expiry
/// and must have one.
#[inline]
pub fn split(kind: Kind, value: &[u8]) -> Result<(&[u8], Option<Time>)> {
    let has_expiry = match kind {
        Kind::Expiring => true,
        Kind::Blob => value.len() == BlobRef::BYTES + Time::BYTES,
        _ => false,
    };
    if !has_expiry {
        return Ok((value, None));
    }
    match value.split_last_chunk() {
        Some((value, expiry)) => Ok((value, Some(Time(u64::from_le_bytes(*expiry))))),
        None => Err(cut_off(value)),
    }
}

#[cold]
fn cut_off(value: &[u8]) -> Error {
    let message = format!("want a value and its expiry, found \"{}\"", value.escape_ascii());
    Error::new(ErrorKind::Corruption, message)
}

impl Entry<'_> {
    /// When it expires; none if it never does.
    #[inline]
    pub fn expiry(&self) -> Option<Time> {
        expiry_of(self.kind, self.value)
    }

    /// Whether it says that its key is absent: a tombstone, or what has expired by `now`.
    #[inline]
    pub fn is_absence(&self, now: Time) -> bool {
        is_absence(self.kind, self.value, now)
    }
}

/// Whether an entry says that its key is absent: a tombstone of that key, or what has expired by `now`.
#[inline]
pub fn is_absence(kind: Kind, value: &[u8], now: Time) -> bool {
    kind == Kind::Delete || expiry_of(kind, value).is_some_and(|expiry| expiry <= now)
}

/// What the user gave, of the value of a put in line. Errors: as of [`split`].
#[inline]
pub fn user_value(kind: Kind, value: Value) -> Result<Value> {
    if kind != Kind::Expiring {
        return Ok(value);
    }
    let len = split(kind, &value)?.0.len();
    Ok(value.part(0..to_u64(len)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::blob::Address;

    #[test]
    fn a_time_to_live_ends_never_too_early_and_never_overflows() {
        let now = Time::since_epoch(Duration::from_micros(5_999));
        assert_eq!(now, Time(5));
        let after = |nanos| now.after(Duration::from_nanos(nanos)).0;
        assert_eq!([0, 1, 999_999, 1_000_000, 1_000_001].map(after), [5, 6, 6, 6, 7]);
        assert_eq!(now.after(Duration::MAX), Time::NEVER);
        assert_eq!(Time(u64::MAX - 1).after(Duration::from_secs(1)), Time::NEVER);
    }

    #[test]
    fn an_expiry_is_found_behind_values_and_refs_alone() {
        let at = |value: &[u8]| [value, &Time(7).0.to_le_bytes()].concat();
        let blob = BlobRef::raw(Address(5), b"abc").encode();
        let found = [
            (Kind::Expiring, at(b""), Some(Time(7))),
            (Kind::Expiring, at(b"value"), Some(Time(7))),
            (Kind::Blob, at(&blob), Some(Time(7))),
            (Kind::Blob, blob.to_vec(), None),
            (Kind::Put, at(b"value"), None),
            (Kind::Merge, at(b"value"), None),
            (Kind::RangeDelete, at(b"value"), None),
        ];
        for (kind, value, expiry) in &found {
            let entry = Entry { key: b"k", seq: super::super::id::SeqNo(1), kind: *kind, value };
            assert_eq!(entry.expiry(), *expiry, "{kind:?}");
            assert!(!entry.is_absence(Time(6)));
            assert_eq!(entry.is_absence(Time(7)), expiry.is_some());
        }
    }

    /// Law 10: what must have an expiry and has none is an error, not a value.
    #[test]
    fn an_expiry_that_is_cut_off_is_damage() {
        let strip = |bytes: &[u8]| user_value(Kind::Expiring, Value::copied(bytes));
        assert_eq!(strip(b"v12345678").unwrap(), b"v");
        assert_eq!(strip(b"1234567").unwrap_err().kind(), ErrorKind::Corruption);
        assert_eq!(split(Kind::Expiring, b"1234567").unwrap_err().kind(), ErrorKind::Corruption);
        assert_eq!(user_value(Kind::Put, Value::copied(b"1234")).unwrap(), b"1234");
    }
}
