//! Spans of keys that are absent up to some number: what range deletes mean, all at once.
//!
//! ```text
//!  spans       7 ├───────────┤                     skyline    edges, ascending, each with the number
//!                   9 ├─────────────┤                         that holds from there on
//!              4 ├──────┤        3 ├────┤
//!  skyline     7────│9──────────────│3──│–
//! ```
//!
//! 1. A span covers every entry of its keys with a number at or below its own: an entry of number
//!    `s` is invisible to a reader at `t` if a range delete `T` covers its key and `s < T <= t`.
//!    Nothing depends on where an entry or a range delete lies.
//! 2. A skyline knows of each key the highest number that covers it. It says nothing to a reader
//!    who is older than one of its spans: such a reader needs a skyline without them.
//! 3. Edges ascend strictly, no two neighbours have the same number, the last one's is zero.

use super::id::SeqNo;
use super::key::{Entry, Kind};
use std::collections::BinaryHeap;
use std::sync::Arc;

/// Keys from `start` up to `end`, excluded; both full keys. Entries of them with a number at or
/// below `seq` are invisible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first full key it covers.
    pub start: Arc<[u8]>,
    /// The first full key above all that it covers.
    pub end: Arc<[u8]>,
    /// What it covers has numbers up to this one.
    pub seq: SeqNo,
}

impl Span {
    /// What `entry` covers, if it is a range delete.
    pub fn of(entry: &Entry<'_>) -> Option<Self> {
        let Entry { key, seq, kind, value } = *entry;
        (kind == Kind::RangeDelete).then(|| Self { start: key.into(), end: value.into(), seq })
    }

    /// Whether `key` lies in it.
    pub fn covers(&self, key: &[u8]) -> bool {
        *self.start <= *key && *key < *self.end
    }
}

/// From this key on the number holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Edge {
    key: Arc<[u8]>,
    seq: SeqNo,
}

/// Of each key the highest number that covers it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skyline {
    edges: Vec<Edge>,
}

/// Keys that are covered alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// The number that covers them; zero if none does.
    pub seq: SeqNo,
    /// The first of them; empty if there is no lower one.
    pub start: &'a [u8],
    /// The first key above them, if any.
    pub end: Option<&'a [u8]>,
}

/// Where a skyline was asked last: neighbours are found without a search.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place(usize);

/// Edges that are stepped over before one is searched for.
const STEPS_MAX: usize = 4;

impl Skyline {
    /// The skyline of `spans`, in any order. Cost: a sort.
    pub fn of<'a>(spans: impl IntoIterator<Item = &'a Span>) -> Self {
        let mut spans: Vec<&Span> =
            spans.into_iter().filter(|span| span.start < span.end).collect();
        spans.sort_unstable_by(|a, b| a.start.cmp(&b.start));
        let mut keys: Vec<&Arc<[u8]>> = spans.iter().flat_map(|s| [&s.start, &s.end]).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut edges: Vec<Edge> = Vec::new();
        let mut open: BinaryHeap<(SeqNo, &[u8])> = BinaryHeap::new();
        let mut coming = spans.into_iter().peekable();
        for key in keys {
            while let Some(span) = coming.next_if(|span| span.start <= *key) {
                open.push((span.seq, &span.end));
            }
            while open.peek().is_some_and(|(_, end)| *end <= &**key) {
                open.pop();
            }
            let seq = open.peek().map_or(SeqNo::ZERO, |(seq, _)| *seq);
            if edges.last().map_or(SeqNo::ZERO, |edge| edge.seq) != seq {
                edges.push(Edge { key: key.clone(), seq });
            }
        }
        Self { edges }
    }

    /// Whether it covers nothing.
    pub fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    /// How many edges it has: at most two a span.
    pub fn len(&self) -> usize {
        self.edges.len()
    }

    /// What covers `key`, and how far alike. Cost: a binary search.
    pub fn at(&self, key: &[u8]) -> Fragment<'_> {
        self.fragment(self.edges.partition_point(|edge| *edge.key <= *key))
    }

    /// [`Self::at`] for keys that mostly come in order: one or two comparisons where the last key
    /// lay near.
    #[inline]
    pub fn at_near(&self, key: &[u8], place: &mut Place) -> Fragment<'_> {
        let is_above = |at: usize| self.edges.get(at).is_none_or(|edge| *edge.key > *key);
        let is_at_or_above = |at: usize| self.edges.get(at).is_some_and(|edge| *edge.key <= *key);
        for _ in 0..STEPS_MAX {
            if !is_above(place.0) {
                place.0 += 1;
            } else if place.0.checked_sub(1).is_none_or(is_at_or_above) {
                return self.fragment(place.0);
            } else {
                place.0 -= 1;
            }
        }
        place.0 = self.edges.partition_point(|edge| *edge.key <= *key);
        self.fragment(place.0)
    }

    /// The fragment before edge `at`.
    #[inline]
    fn fragment(&self, at: usize) -> Fragment<'_> {
        let end = self.edges.get(at).map(|edge| &*edge.key);
        match at.checked_sub(1).and_then(|before| self.edges.get(before)) {
            Some(edge) => Fragment { seq: edge.seq, start: &edge.key, end },
            None => Fragment { seq: SeqNo::ZERO, start: &[], end },
        }
    }

    /// The first key from `key` on that nothing numbered `seq` or higher covers; none if `key`
    /// itself is such a key. Cost: a binary search, and a step for each fragment on the way.
    pub fn reach(&self, key: &[u8], seq: SeqNo) -> Option<&[u8]> {
        let at = self.edges.partition_point(|edge| *edge.key <= *key);
        if self.fragment(at).seq < seq {
            return None;
        }
        let rest = self.edges.get(at..)?;
        rest.iter().find(|edge| edge.seq < seq).map(|edge| &*edge.key)
    }

    /// The first key of those around `key` that something numbered `seq` or higher covers without
    /// a break; none if nothing covers `key` so.
    pub fn reach_back(&self, key: &[u8], seq: SeqNo) -> Option<&[u8]> {
        let at = self.edges.partition_point(|edge| *edge.key <= *key);
        let before = self.edges.get(..at)?.iter().rev();
        before.take_while(|edge| edge.seq >= seq).last().map(|edge| &*edge.key)
    }

    /// Whether something numbered higher than `seq` covers every key from `start` up to `end`.
    /// Looks at no more than `fragments_max` fragments, and says no beyond them.
    pub fn hides(&self, start: &[u8], end: &[u8], seq: SeqNo, fragments_max: usize) -> bool {
        let from = self.edges.partition_point(|edge| *edge.key <= *start);
        for at in from..from.saturating_add(fragments_max) {
            let fragment = self.fragment(at);
            if fragment.seq <= seq {
                return false;
            }
            if fragment.end.is_none_or(|limit| end <= limit) {
                return true;
            }
        }
        false
    }
}

/// All that covers keys for readers of one moment: skylines that hold at once.
#[derive(Clone, Debug, Default)]
pub struct Cover {
    skylines: Vec<Arc<Skyline>>,
}

impl Cover {
    /// What `skylines` cover together; each must suit the reader (invariant 2).
    pub fn of(skylines: impl IntoIterator<Item = Arc<Skyline>>) -> Self {
        let skylines = skylines.into_iter().filter(|skyline| !skyline.is_empty());
        Self { skylines: skylines.collect() }
    }

    /// Whether it covers nothing.
    pub fn is_empty(&self) -> bool {
        self.skylines.is_empty()
    }

    /// The first key above `key` that nothing numbered `seq` or higher covers; none if `key` itself
    /// is such a key. Cost: some binary searches.
    pub fn reach(&self, key: &[u8], seq: SeqNo) -> Option<Vec<u8>> {
        self.stretch(key, |skyline, key| skyline.reach(key, seq))
    }

    /// The first key of those around `key` that something numbered `seq` or higher covers without a
    /// break; none if nothing covers `key` so.
    pub fn reach_back(&self, key: &[u8], seq: SeqNo) -> Option<Vec<u8>> {
        if !self.skylines.iter().any(|skyline| skyline.at(key).seq >= seq) {
            return None;
        }
        // Below its first key a stretch may go on with another skyline.
        let start = self.stretch(key, |skyline, key| {
            let before = skyline.edges.partition_point(|edge| *edge.key < *key).checked_sub(1)?;
            let edge = skyline.edges.get(before).filter(|edge| edge.seq >= seq)?;
            skyline.reach_back(&edge.key, seq)
        });
        Some(start.unwrap_or_else(|| key.to_vec()))
    }

    /// Goes from `key` on as long as a skyline leads further.
    fn stretch<'a>(
        &'a self,
        key: &[u8],
        step: impl Fn(&'a Skyline, &[u8]) -> Option<&'a [u8]>,
    ) -> Option<Vec<u8>> {
        let mut reached: Option<&[u8]> = None;
        loop {
            let from = reached.unwrap_or(key);
            let next = self.skylines.iter().find_map(|skyline| step(skyline, from));
            match next {
                Some(next) if next != from => reached = Some(next),
                _ => return reached.map(<[u8]>::to_vec),
            }
        }
    }
}

/// Asks a [`Cover`] about keys that mostly come in order, and remembers where it is.
#[derive(Clone, Debug, Default)]
pub struct Probe {
    cover: Cover,
    /// The keys from `start` up to `end` are covered by `seq`; nothing is known before the first
    /// question.
    seq: Option<SeqNo>,
    start: Vec<u8>,
    end: Option<Vec<u8>>,
}

impl Probe {
    /// Has not been asked yet.
    pub fn new(cover: Cover) -> Self {
        Self { cover, ..Self::default() }
    }

    /// What it asks.
    pub fn cover(&self) -> &Cover {
        &self.cover
    }

    /// The highest number that covers `key`. Cost: nothing where nothing is covered, two
    /// comparisons near the last key, else some binary searches.
    #[inline]
    pub fn at(&mut self, key: &[u8]) -> SeqNo {
        if self.cover.is_empty() {
            return SeqNo::ZERO;
        }
        match self.seq {
            Some(seq) if *self.start <= *key && self.end.as_deref().is_none_or(|end| key < end) => {
                seq
            }
            _ => self.ask(key),
        }
    }

    /// Whether an entry of `key` with number `seq` is covered.
    #[inline]
    pub fn hides(&mut self, key: &[u8], seq: SeqNo) -> bool {
        let cover = self.at(key);
        cover > SeqNo::ZERO && seq <= cover
    }

    #[cold]
    fn ask(&mut self, key: &[u8]) -> SeqNo {
        let mut alike = Fragment { seq: SeqNo::ZERO, start: &[], end: None };
        for skyline in &self.cover.skylines {
            let Fragment { seq, start, end } = skyline.at(key);
            alike.seq = alike.seq.max(seq);
            alike.start = alike.start.max(start);
            alike.end = match (alike.end, end) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        self.start.clear();
        self.start.extend_from_slice(alike.start);
        self.end = alike.end.map(<[u8]>::to_vec);
        self.seq = Some(alike.seq);
        alike.seq
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(start: u8, end: u8, seq: u64) -> Span {
        Span { start: [start].into(), end: [end].into(), seq: SeqNo(seq) }
    }

    fn highest(spans: &[Span], key: &[u8]) -> SeqNo {
        let covering = spans.iter().filter(|span| span.covers(key));
        covering.map(|span| span.seq).max().unwrap_or_default()
    }

    #[test]
    fn the_picture_of_this_file() {
        let spans = [span(0, 12, 7), span(3, 17, 9), span(0, 7, 4), span(14, 19, 3)];
        let skyline = Skyline::of(&spans);
        assert_eq!(skyline.len(), 4);
        let at = |key| skyline.at(&[key]);
        assert_eq!(at(2), Fragment { seq: SeqNo(7), start: &[0], end: Some(&[3]) });
        assert_eq!(at(3), Fragment { seq: SeqNo(9), start: &[3], end: Some(&[17]) });
        assert_eq!(at(18), Fragment { seq: SeqNo(3), start: &[17], end: Some(&[19]) });
        assert_eq!(at(19), Fragment { seq: SeqNo(0), start: &[19], end: None });
        assert_eq!(skyline.reach(&[1], SeqNo(7)), Some(&[17][..]));
        assert_eq!(skyline.reach(&[1], SeqNo(8)), None);
        assert_eq!(skyline.reach_back(&[18], SeqNo(2)), Some(&[0][..]));
        assert!(skyline.hides(&[1], &[17], SeqNo(6), 8));
        assert!(!skyline.hides(&[1], &[17], SeqNo(6), 1));
    }

    #[test]
    fn what_is_empty_or_reversed_covers_nothing() {
        assert!(Skyline::of(&[span(4, 4, 1), span(5, 2, 2)]).is_empty());
        let nothing = Fragment { seq: SeqNo::ZERO, start: &[][..], end: None };
        assert_eq!(Skyline::default().at(b"k"), nothing);
    }

    proptest! {
        /// Every key, alone and in every order of asking, against a look at every span.
        #[test]
        fn a_skyline_equals_a_look_at_every_span(
            spans in prop::collection::vec((0u8..20, 0u8..20, 1u64..30), 0..24),
            asked in prop::collection::vec((0u8..21, 0u8..21, 0u64..31), 0..40),
        ) {
            let spans: Vec<_> = spans.into_iter().map(|(a, b, seq)| span(a, b, seq)).collect();
            let skyline = Skyline::of(&spans);
            let mut place = Place::default();
            for (key, other, seq) in asked {
                let fragment = skyline.at(&[key]);
                prop_assert_eq!(fragment.seq, highest(&spans, &[key]));
                prop_assert_eq!(skyline.at_near(&[key], &mut place), fragment);
                prop_assert!(*fragment.start <= [key][..]);
                prop_assert!(fragment.end.is_none_or(|end| [key][..] < *end));
                let is_covered = |key: u8| highest(&spans, &[key]) >= SeqNo(seq);
                let ahead = (key..=20).find(|&key| !is_covered(key)).filter(|&end| end > key);
                if seq > 0 {
                    let reach = skyline.reach(&[key], SeqNo(seq)).map(<[u8]>::to_vec);
                    prop_assert_eq!(reach, ahead.map(|end| vec![end]));
                    let behind = (0..=key).rev().take_while(|&key| is_covered(key)).last();
                    let reach = skyline.reach_back(&[key], SeqNo(seq)).map(<[u8]>::to_vec);
                    prop_assert_eq!(reach, behind.map(|start| vec![start]));
                }
                let (start, end) = (key.min(other), key.max(other));
                let hidden = (start..end.max(start + 1)).all(|k| highest(&spans, &[k]) > SeqNo(seq));
                prop_assert_eq!(skyline.hides(&[start], &[end], SeqNo(seq), 99), hidden);
            }
        }

        /// Skylines over parts of the spans say together what one over all of them says.
        #[test]
        fn a_cover_of_several_skylines_equals_one_of_all(
            spans in prop::collection::vec((0u8..20, 0u8..20, 1u64..30, 0usize..3), 0..24),
            asked in prop::collection::vec((0u8..21, 1u64..31), 0..40),
        ) {
            let mut parts = vec![Vec::new(); 3];
            for (start, end, seq, part) in spans {
                parts[part].push(span(start, end, seq));
            }
            let whole = Skyline::of(parts.iter().flatten());
            let cover = Cover::of(parts.iter().map(|part| Arc::new(Skyline::of(part))));
            let mut probe = Probe::new(cover.clone());
            for (key, seq) in asked {
                prop_assert_eq!(probe.at(&[key]), whole.at(&[key]).seq);
                let reach = cover.reach(&[key], SeqNo(seq));
                prop_assert_eq!(reach.as_deref(), whole.reach(&[key], SeqNo(seq)));
                let reach = cover.reach_back(&[key], SeqNo(seq));
                prop_assert_eq!(reach.as_deref(), whole.reach_back(&[key], SeqNo(seq)));
            }
        }
    }
}
