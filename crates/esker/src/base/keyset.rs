//! A set of keys, as the stretches that they fill.
//!
//! ```text
//!   [a────c)   [f──h)          insert [b────g)   ─▶   [a──────────h)
//! ```
//!
//! 1. Stretches are half-open, not empty, disjoint, and do not touch: each is the longest that it
//!    can be.

use std::collections::BTreeMap;
use std::ops::Bound;

/// Where a stretch begins, and where it ends.
pub type Stretch = (Box<[u8]>, Box<[u8]>);

/// See the module. Keys are full keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    /// Where each begins, and ends.
    ends: BTreeMap<Box<[u8]>, Box<[u8]>>,
}

impl KeySet {
    /// Adds the keys from `start` up to `end`, excluded; none if that is the wrong way round. Cost:
    /// a search, and one step for each stretch that is taken in.
    pub fn insert(&mut self, start: &[u8], end: &[u8]) {
        if start >= end {
            return;
        }
        let (mut start, mut end): (Box<[u8]>, Box<[u8]>) = (start.into(), end.into());
        // The last one that begins at or before the new end, for as long as it reaches the start.
        while let Some((at, to)) = up_to(&self.ends, &end)
            && *to >= *start
        {
            let at: Box<[u8]> = at.into();
            let to = self.ends.remove(&at).unwrap_or_default();
            start = at.min(start);
            end = to.max(end);
        }
        self.ends.insert(start, end);
    }

    /// Whether `key` is in the set.
    pub fn contains(&self, key: &[u8]) -> bool {
        up_to(&self.ends, key).is_some_and(|(_, end)| *key < *end)
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Takes out the first stretch.
    pub fn pop_first(&mut self) -> Option<Stretch> {
        self.ends.pop_first()
    }

    /// Where each begins and ends, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.ends.iter().map(|(start, end)| (&**start, &**end))
    }
}

/// The last stretch that begins at or before `key`.
fn up_to<'a>(ends: &'a BTreeMap<Box<[u8]>, Box<[u8]>>, key: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let bounds = (Bound::Unbounded, Bound::Included(key));
    ends.range::<[u8], _>(bounds).next_back().map(|(start, end)| (&**start, &**end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_set_of_stretches_is_the_set_of_their_keys(
            inserts in proptest::collection::vec((0u8..40, 0u8..40), 0..30)
        ) {
            let (mut set, mut model) = (KeySet::default(), [false; 40]);
            for (start, end) in inserts {
                set.insert(&[start], &[end]);
                for key in start..end {
                    model[usize::from(key)] = true;
                }
            }
            for (key, is_in) in model.iter().enumerate() {
                prop_assert_eq!(set.contains(&[key as u8]), *is_in);
            }
            let ends: Vec<_> = set.iter().collect();
            prop_assert!(ends.windows(2).all(|pair| pair[0].1 < pair[1].0));
            prop_assert!(ends.iter().all(|(start, end)| start < end));
        }
    }
}
