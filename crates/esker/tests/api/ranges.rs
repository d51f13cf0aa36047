//! The range matrix, bounds, prefixes, both ends.

use super::{SHAPES, Shape, Shaped, folder, in_every_shape, keys, open};
use esker::{Collection, Range};
use std::ops::Bound::{self, Excluded, Included, Unbounded};

const BDF: [(&str, Option<&str>); 3] = [("b", Some("1")), ("d", Some("2")), ("f", Some("3"))];

/// A range from and to; `_` is unbounded.
fn between(c: &Collection, start: &str, end: &str) -> Range {
    let start = if start == "_" { Unbounded } else { Included(start) };
    let end = if end == "_" { Unbounded } else { Excluded(end) };
    c.range::<&str>((start, end))
}

/// Forward, backward and from both ends, a range has the same keys.
fn assert_keys(make: impl Fn() -> Range, want: &str, what: &str) {
    assert_eq!(keys(make()), want, "{what}, forward");
    let mut back: Vec<_> = make().rev().map(|pair| pair.unwrap().0).collect();
    back.reverse();
    let back: String = back.iter().map(|key| format!("{} ", key.escape_ascii())).collect();
    assert_eq!(back, want, "{what}, backward");
    let (mut range, mut front, mut back) = (make(), Vec::new(), Vec::new());
    loop {
        let Some(pair) = range.next() else { break };
        front.push(pair.unwrap().0);
        let Some(pair) = range.next_back() else { break };
        back.push(pair.unwrap().0);
    }
    front.extend(back.into_iter().rev());
    let both: String = front.iter().map(|key| format!("{} ", key.escape_ascii())).collect();
    assert_eq!(both, want, "{what}, from both ends");
    assert!(range.next().is_none() && range.next_back().is_none(), "{what}: it stays at its end");
}

/// MOSS-14.
#[test]
fn the_range_matrix_holds_in_every_shape() {
    const ROWS: [(&str, &str); 6] = [
        ("__ a_ b_ _g", "b d f "),
        ("c_ d_", "d f "),
        ("e_ f_", "f "),
        ("_f _e", "b d "),
        ("_d _c", "b "),
        ("g_ _b _a fa eb dc dd", ""),
    ];
    in_every_shape(&BDF, |_, c, shape| {
        for (ranges, want) in ROWS {
            for range in ranges.split(' ') {
                let (start, end) = range.split_at(1);
                assert_keys(|| between(c, start, end), want, &format!("{shape:?} [{range})"));
            }
        }
        c.remove("d").unwrap();
        for (ranges, want) in ROWS {
            let want = want.replace("d ", "");
            for range in ranges.split(' ') {
                let (start, end) = range.split_at(1);
                assert_keys(|| between(c, start, end), &want, &format!("{shape:?} no d {range}"));
            }
        }
    });
}

/// MOSS-14.
#[test]
fn an_empty_collection_and_one_with_one_key_have_ranges_too() {
    for shape in SHAPES {
        let empty = Shaped::new(shape, &[]);
        for (start, end) in [("_", "_"), ("a", "_"), ("_", "b"), ("a", "b"), ("b", "a")] {
            assert_keys(|| between(&empty.c, start, end), "", "empty");
        }
    }
    in_every_shape(&[("a", Some("1"))], |_, c, shape| {
        let what = format!("{shape:?}");
        for (start, end) in [("a", "b"), ("_", "b"), ("a", "_")] {
            assert_keys(|| between(c, start, end), "a ", &what);
        }
        for (start, end) in [("a", "a"), ("b", "b"), ("b", "a"), ("b", "_")] {
            assert_keys(|| between(c, start, end), "", &what);
        }
    });
}

/// MOSS-15: where a scan begins when its bound is no key.
#[test]
fn a_range_begins_at_the_first_key_at_or_above_its_bound() {
    let steps = ["1", "3", "5", "7", "9"].map(|key| (key, Some("v")));
    in_every_shape(&steps, |_, c, shape| {
        for (bound, want) in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
            .into_iter()
            .zip(["1", "1", "3", "3", "5", "5", "7", "7", "9", "9"])
        {
            let first = c.range(bound..).next().unwrap().unwrap().0;
            assert_eq!(first, want.as_bytes(), "{shape:?}");
        }
        assert!(c.range("999"..).next().is_none());
        assert_eq!(keys(c.range("3".."8")), "3 5 7 ");
        assert_eq!(keys(c.range("3"..="7")), "3 5 7 ");
        assert_eq!(keys(c.range(..="5")), "1 3 5 ");
    });
}

/// Every pair of bounds of every kind, against a filtered list.
#[test]
fn all_kinds_of_bounds_agree_with_a_sorted_list() {
    let bounds: Vec<Bound<&str>> = ["", "a", "b", "bb", "c", "d", "f", "g"]
        .into_iter()
        .flat_map(|key| [Included(key), Excluded(key)])
        .chain([Unbounded])
        .collect();
    let steps = ["", "b", "bb", "d", "f"].map(|key| (key, Some("v")));
    for shape in [Shape::ManyCommits, Shape::ManyRuns, Shape::Mixed, Shape::Compacted] {
        let shaped = Shaped::new(shape, &steps);
        for &start in &bounds {
            for &end in &bounds {
                let above = |key: &str| match start {
                    Included(bound) => key >= bound,
                    Excluded(bound) => key > bound,
                    Unbounded => true,
                };
                let below = |key: &str| match end {
                    Included(bound) => key <= bound,
                    Excluded(bound) => key < bound,
                    Unbounded => true,
                };
                let want = steps.iter().map(|step| step.0).filter(|key| above(key) && below(key));
                let want: String = want.map(|key| format!("{key} ")).collect();
                let what = format!("{shape:?} {start:?} {end:?}");
                assert_keys(|| shaped.c.range::<&str>((start, end)), &want, &what);
            }
        }
    }
}

/// A prefix of bytes 255 has no key above it of the same length.
#[test]
fn a_prefix_has_its_keys_and_no_others() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let all: [&[u8]; 9] =
        [b"", b"a", b"ab", b"abc", b"ac", b"b", b"\xff", b"\xff\xff", b"\xff\xff\x01"];
    for flushed in [false, true] {
        for key in all {
            c.insert(key, "v").unwrap();
        }
        if flushed {
            db.flush().unwrap();
        }
        for prefix in [&b""[..], b"a", b"ab", b"abcd", b"c", b"\xff", b"\xff\xff", b"\xff\xff\xff"]
        {
            let found: Vec<_> = c.prefix(prefix).map(|pair| pair.unwrap().0).collect();
            let want: Vec<_> = all.iter().filter(|key| key.starts_with(prefix)).collect();
            assert_eq!(found.len(), want.len(), "{prefix:?}");
            assert!(found.iter().zip(&want).all(|(found, want)| **found == ***want));
            assert_eq!(c.prefix(prefix).rev().count(), want.len());
        }
    }
}

/// Steps from both ends in a fixed pseudo-random order, over memory and files.
#[test]
fn mixed_steps_from_both_ends_meet_in_the_middle() {
    let names: Vec<String> = (0..600).map(|n| format!("{n:04}")).collect();
    let steps: Vec<_> = names.iter().map(|name| (name.as_str(), Some("v"))).collect();
    for shape in [Shape::ManyCommits, Shape::Flushed, Shape::Replayed, Shape::Compacted] {
        let shaped = Shaped::new(shape, &steps);
        for n in (0..600).step_by(3) {
            shaped.c.remove(&names[n]).unwrap();
        }
        let alive: Vec<&String> =
            names.iter().enumerate().filter(|(n, _)| n % 3 != 0).map(|(_, name)| name).collect();
        for seed in 1..6_u64 {
            let (mut range, mut chance) = (shaped.c.iter(), seed);
            let (mut low, mut high) = (0, alive.len());
            while low < high {
                chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let want = if chance >> 63 == 0 {
                    low += 1;
                    (range.next(), alive[low - 1])
                } else {
                    high -= 1;
                    (range.next_back(), alive[high])
                };
                assert_eq!(want.0.unwrap().unwrap().0, want.1.as_bytes(), "{shape:?} {seed}");
            }
            assert!(range.next().is_none() && range.next_back().is_none());
        }
    }
}

#[test]
fn lent_pairs_are_the_same_as_owned_ones() {
    in_every_shape(&BDF, |_, c, shape| {
        let (mut lent, mut found) = (c.iter(), String::new());
        while let Some((key, value)) = lent.next_lent().unwrap() {
            found += &format!("{}={} ", key.escape_ascii(), value.escape_ascii());
        }
        assert_eq!(found, "b=1 d=2 f=3 ", "{shape:?}");
    });
}

/// About right: all of it, a tenth, nothing; in memory, in files, and with large values.
#[test]
fn a_range_is_estimated_without_walking_it() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let key = |n: u32| format!("{n:05}");
    let near = |found: u64, want: u64| want * 7 / 10 <= found && found <= want * 13 / 10 + 40;
    let check = |what: &str, count: u64, pair_bytes: u64| {
        let all = c.estimate::<&str>(..).unwrap();
        assert!(near(all.keys, count), "{what}: {all:?} of {count}");
        assert!(
            near(all.bytes, count * pair_bytes),
            "{what}: {all:?} of {count} times {pair_bytes}"
        );
        let tenth = c.estimate(key(2000)..key(3000)).unwrap();
        assert!(near(tenth.keys, count / 10), "{what}: {tenth:?} of {}", count / 10);
        let none = c.estimate("a".."b").unwrap();
        assert_eq!((none.keys, none.bytes), (0, 0), "{what}");
        let reversed = c.estimate("b".."a").unwrap();
        assert_eq!(reversed.keys, 0, "{what}");
        // Also where there are keys around it (MOSS-14).
        for (start, end) in [(4001, 2001), (2001, 2001)] {
            let empty = c.estimate(key(start)..key(end)).unwrap();
            assert_eq!((empty.keys, empty.bytes), (0, 0), "{what}");
        }
    };
    for n in 0..10_000 {
        c.insert(key(n * 7919 % 10_000), [7; 40]).unwrap();
    }
    check("as it comes", 10_000, 50);
    db.compact().unwrap();
    check("compacted", 10_000, 50);
    c.remove_range(..key(5000)).unwrap();
    for n in 0..5000 {
        c.remove(key(5000 + n)).unwrap();
    }
    db.compact().unwrap();
    check("removed", 0, 50);
    let other = db.collection("d").unwrap();
    for n in 0..50 {
        other.insert(key(n), vec![7; 5000]).unwrap();
    }
    let large = other.estimate::<&str>(..).unwrap();
    assert!(near(large.keys, 50) && near(large.bytes, 50 * 5000), "{large:?}");
    db.flush().unwrap();
    // One block, which the catalog shares: of a stretch that is cut half counts.
    let large = other.estimate::<&str>(..).unwrap();
    assert!((20..=80).contains(&large.keys) && large.bytes > 100_000, "{large:?}");
}
