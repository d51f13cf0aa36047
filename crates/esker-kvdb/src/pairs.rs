//! Walks over a column, as `kvdb` has them.
//!
//! 1. An error comes once, and ends the walk. Esker's own iterators stay at an error, so that no
//!    broken scan looks complete; callers of `kvdb` skip errors by habit, and would never end.

use esker::{Key, Range, Value};
use kvdb::{DBKey, DBKeyValue};
use std::io;
use std::iter::FusedIterator;

/// The pairs of a range, copied; ends with its end or its first error.
pub(crate) struct Pairs<R = Range>(Option<R>);

impl<R> Pairs<R> {
    pub(crate) fn of(range: R) -> Self {
        Self(Some(range))
    }
}

impl<R: Iterator<Item = esker::Result<(Key, Value)>>> Iterator for Pairs<R> {
    type Item = io::Result<DBKeyValue>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.0.as_mut()?.next();
        if !matches!(next, Some(Ok(_))) {
            self.0 = None;
        }
        Some(
            next?.map(|(key, value)| (DBKey::from_slice(&key), value.to_vec())).map_err(Into::into),
        )
    }
}

impl<R: Iterator<Item = esker::Result<(Key, Value)>>> FusedIterator for Pairs<R> {}

#[cfg(test)]
mod tests {
    use super::*;
    use esker::{Error, ErrorKind};

    #[test]
    fn an_error_comes_once_and_ends_the_walk() {
        let pair = (Key::from(&b"a"[..]), Value::copied(b"1"));
        let broken = std::iter::repeat(Err(Error::new(ErrorKind::Corruption, "seg-000001")));
        let mut pairs = Pairs::of(std::iter::once(Ok(pair)).chain(broken));
        assert!(pairs.next().is_some_and(|first| first.is_ok()));
        let error = pairs.next().and_then(Result::err).expect("the error");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(pairs.next().is_none());
        assert!(pairs.next().is_none());
    }
}
