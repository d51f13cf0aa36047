//! Where a large merge is cut into parts: a pure function from what the inputs say of themselves.
//!
//! ```text
//!   inputs   ├──────┼──────┼───────┤            fences of each file: keys, and bytes between them
//!               ├───────┼───────┼──────┤
//!   parts    [──────────────)[───────────)      full keys: from, included, up to, excluded
//! ```
//!
//! 1. The parts lie side by side and leave out no key: the first has no lower end, the last no upper.
//! 2. A cut is a full key, so all versions of a key lie in one part.
//! 3. Of a stretch between two fences half counts as lying at either end. That is only an estimate:
//!    however wrong it is, the parts are uneven, and nothing else.
//! 4. No part is estimated at less than half of what a part is to have at least: so cuts do not make
//!    many small files. Where output is cut anyway, a part ends there, if it does not lie far off.

use crate::base::error::Result;
use crate::merge::run::Segments;

/// So much of a file lies between two keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The key it begins with, or one below.
    pub from: Box<[u8]>,
    /// The key it ends with, or one a little above.
    pub to: Box<[u8]>,
    /// Its size.
    pub bytes: u64,
}

/// One part of a merge. The default is all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The first full key it may have; none for the first part.
    pub from: Option<Box<[u8]>>,
    /// The first full key that is above it; none for the last part.
    pub to: Option<Box<[u8]>>,
    /// Bytes of the inputs in it, about.
    pub bytes: u64,
}

/// How to cut.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Parts, at most.
    pub parts_max: usize,
    /// Bytes that a part is to have, at least.
    pub part_bytes_min: u64,
    /// Full keys at which the output is cut into files in any case; ascending.
    pub borders: &'a [Box<[u8]>],
}

/// The stretches of all segments of `runs`. Cost: a few reads a segment.
///
/// Errors: `Corruption`, `Io`.
pub fn stretches(runs: &[Segments]) -> Result<Vec<Stretch>> {
    let mut all = Vec::new();
    for segment in runs.iter().flat_map(|run| run.iter()) {
        let mut from = segment.meta().smallest.clone();
        for fence in segment.read(|reader| reader.fences())? {
            let next = fence.key.clone();
            all.push(Stretch { from, to: fence.key, bytes: fence.bytes });
            from = next;
        }
    }
    Ok(all)
}

/// A key at which one may cut.
struct Place<'a> {
    key: &'a [u8],
    /// Bytes below it, about.
    below: u64,
    is_border: bool,
}

/// Cuts what `stretches` describe into parts of about the same size; all in one if that cannot be.
///
/// Cost: a sort.
pub fn cut(stretches: &[Stretch], wish: &Wish<'_>) -> Vec<Part> {
    let total: u64 = stretches.iter().map(|stretch| stretch.bytes).sum();
    let least = wish.part_bytes_min.max(1);
    let count = u64::try_from(wish.parts_max).unwrap_or(u64::MAX).min(total / least).max(1);
    let share = total / count;
    let places = if count > 1 { places(stretches, wish.borders) } else { Vec::new() };
    let mut parts: Vec<Part> = Vec::new();
    let (mut from, mut before) = (None, 0);
    for index in 1..count {
        let target = share * index;
        let is_apart = |place: &&Place<'_>| {
            before + least / 2 < place.below && place.below + least / 2 < total
        };
        let miss = |place: &&Place<'_>| {
            let detour = if place.is_border { 0 } else { share / 8 };
            place.below.abs_diff(target) + detour
        };
        // Of places alike the last: a file that ends there is not opened for its last key.
        let best = places.iter().rev().filter(is_apart).min_by_key(miss);
        let Some(place) = best else { continue };
        let key: Box<[u8]> = place.key.into();
        let bytes = place.below - before;
        parts.push(Part { from: from.replace(key.clone()), to: Some(key), bytes });
        before = place.below;
    }
    parts.push(Part { from, to: None, bytes: total - before });
    parts
}

/// Every key at which one may cut, ascending, with what lies below.
fn places<'a>(stretches: &'a [Stretch], borders: &'a [Box<[u8]>]) -> Vec<Place<'a>> {
    /// What a key means; at one key, what ends there lies below it, what begins there does not.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Turn {
        End,
        Border,
        Begin,
    }
    let ends = stretches.iter().flat_map(|Stretch { from, to, bytes }| {
        // All of one key lies above it.
        let at_end = if from == to { 0 } else { bytes / 2 };
        [(&**from, Turn::Begin, bytes - at_end), (&**to, Turn::End, at_end)]
    });
    let borders = borders.iter().map(|border| (&**border, Turn::Border, 0));
    let mut turns: Vec<(&[u8], Turn, u64)> = ends.chain(borders).collect();
    turns.sort_unstable();
    let mut places = Vec::new();
    let mut below = 0;
    for at_key in turns.chunk_by(|a, b| a.0 == b.0) {
        let sum = |turn: Turn| at_key.iter().filter(|t| t.1 == turn).map(|t| t.2).sum::<u64>();
        below += sum(Turn::End);
        let is_border = at_key.iter().any(|t| t.1 == Turn::Border);
        places.extend(at_key.first().map(|t| Place { key: t.0, below, is_border }));
        below += sum(Turn::Begin);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch((from, to, bytes): &(&str, &str, u64)) -> Stretch {
        let key = |text: &str| text.as_bytes().into();
        Stretch { from: key(from), to: key(to), bytes: *bytes }
    }

    /// The keys of the cuts, with the bytes of each part.
    fn cuts(
        stretches: &[(&str, &str, u64)],
        parts_max: usize,
        part_bytes_min: u64,
        borders: &[&str],
    ) -> (String, Vec<u64>) {
        let stretches: Vec<Stretch> = stretches.iter().map(stretch).collect();
        let borders: Vec<Box<[u8]>> = borders.iter().map(|key| key.as_bytes().into()).collect();
        let parts = cut(&stretches, &Wish { parts_max, part_bytes_min, borders: &borders });
        assert!(parts[0].from.is_none() && parts[parts.len() - 1].to.is_none());
        for pair in parts.windows(2) {
            assert_eq!(pair[0].to, pair[1].from, "side by side");
            assert!(pair[0].from < pair[0].to, "ascending");
        }
        let total: u64 = stretches.iter().map(|stretch| stretch.bytes).sum();
        assert_eq!(parts.iter().map(|part| part.bytes).sum::<u64>(), total);
        let keys = parts.iter().filter_map(|part| part.to.as_deref());
        let keys: Vec<_> = keys.map(|key| String::from_utf8_lossy(key).into_owned()).collect();
        (keys.join(" "), parts.iter().map(|part| part.bytes).collect())
    }

    #[test]
    fn cuts_lie_where_about_as_much_is_on_either_side() {
        type Case<'a> =
            (&'a [(&'a str, &'a str, u64)], usize, u64, &'a [&'a str], &'a str, &'a [u64]);
        let even = &[("a", "c", 10), ("d", "f", 10), ("g", "i", 10), ("j", "l", 10)];
        let two_runs = &[("a", "e", 10), ("e", "k", 10), ("b", "f", 10), ("f", "m", 10)];
        let cases: &[Case<'_>] = &[
            // One file after the other: the next file's first key, not the last of the one before.
            (even, 2, 10, &[], "g", &[20, 20]),
            (even, 4, 10, &[], "d g j", &[10, 10, 10, 10]),
            (even, 3, 10, &[], "d j", &[10, 20, 10]),
            // No more parts than there is room for, or threads.
            (even, 4, 20, &[], "g", &[20, 20]),
            (even, 4, 30, &[], "", &[40]),
            (even, 1, 10, &[], "", &[40]),
            // Runs that lie on each other.
            (two_runs, 2, 10, &[], "f", &[25, 15]),
            // A border near by is taken, one far off is not.
            (even, 2, 10, &["f"], "f", &[20, 20]),
            (even, 2, 10, &["b"], "g", &[20, 20]),
            (even, 2, 10, &["c", "k"], "g", &[20, 20]),
            // All in one block, or in one key: that cannot be cut.
            (&[("a", "z", 100)], 4, 10, &[], "", &[100]),
            (&[("a", "a", 50), ("a", "a", 50)], 4, 10, &[], "", &[100]),
            (&[], 4, 10, &[], "", &[0]),
            // Blocks that begin alike and end alike: between them.
            (&[("a", "y", 50), ("b", "z", 50)], 2, 40, &[], "y", &[75, 25]),
            // A piece too small for a part stays with its neighbour.
            (&[("a", "b", 4), ("c", "d", 96)], 2, 20, &[], "", &[100]),
        ];
        for (stretches, parts, least, borders, keys, bytes) in cases {
            let found = cuts(stretches, *parts, *least, borders);
            let want = ((*keys).to_owned(), bytes.to_vec());
            assert_eq!(found, want, "{stretches:?} in {parts} of {least} at {borders:?}");
        }
    }

    #[test]
    fn whatever_the_stretches_the_parts_lie_side_by_side() {
        let mut chance = 1_u64;
        let mut next = |below: u64| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (chance >> 33) % below
        };
        for _ in 0..500 {
            let mut texts = Vec::new();
            for _ in 0..next(30) {
                let (a, b) = (format!("{:02}", next(40)), format!("{:02}", next(40)));
                texts.push((a.clone().min(b.clone()), a.max(b), next(50)));
            }
            let all: Vec<_> = texts.iter().map(|(a, b, n)| (&**a, &**b, *n)).collect();
            let least = next(60);
            let (_, bytes) = cuts(&all, 1 + next(5) as usize, least, &["11", "25"]);
            let small = bytes.iter().filter(|part| **part < least / 2).count();
            assert!(small == 0 || bytes.len() == 1, "{bytes:?} of at least {least}");
        }
    }
}
