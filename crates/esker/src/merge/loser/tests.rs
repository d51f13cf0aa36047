//! The loser tree against the reference cursor.

use super::*;
use crate::base::cursor::reference::{Owned, VecCursor, rest, walks_like_the_reference};
use crate::base::key::Kind;
use proptest::prelude::*;
use std::sync::atomic::Ordering::Relaxed;

fn put(key: &str, seq: u64) -> Owned {
    Owned::new(&[b"\0\0\0\x01", key.as_bytes()].concat(), seq, Kind::Put, &seq.to_le_bytes())
}

fn boxed(sources: &[Vec<Owned>]) -> Vec<Box<dyn Cursor>> {
    let one = |entries: &Vec<Owned>| Box::new(VecCursor::new(entries.clone())) as Box<dyn Cursor>;
    sources.iter().map(one).collect()
}

fn walk(sources: &[Vec<Owned>]) {
    walks_like_the_reference(&mut Merged::new(boxed(sources)), sources.concat());
}

/// MOSS-16: equal, disjoint and interleaved keys over n sources, both ways and turning everywhere.
#[test]
fn any_number_of_sources_walks_like_one() {
    for count in 0..10 {
        let with = |key: &dyn Fn(usize, usize) -> usize| -> Vec<Vec<Owned>> {
            let source = |s: usize| {
                (0..7).map(move |i| put(&format!("k{:03}", key(s, i)), (1000 - s * 10 - i) as u64))
            };
            (0..count).map(|s| source(s).collect()).collect()
        };
        walk(&with(&|_, i| i));
        walk(&with(&|s, i| s * 100 + i));
        walk(&with(&|s, i| i * 10 + s));
        walk(&with(&|s, _| s % 2));
    }
}

#[test]
fn keys_that_differ_only_in_length_or_after_the_head_are_in_order() {
    let long = "x".repeat(40);
    let keys =
        ["", "\0", "\0\0", "a", "a\0", "a\0\0", &long[..19], &long[..20], &long[..21], &long];
    let alone = |(i, key): (usize, &&str)| vec![put(key, 100 - i as u64)];
    walk(&keys.iter().enumerate().map(alone).collect::<Vec<_>>());
    walk(&keys.iter().rev().enumerate().map(alone).collect::<Vec<_>>());
}

/// Equal (key, number) pairs are a fault that others report: here both come out, newest first.
#[test]
fn an_entry_in_two_sources_comes_out_twice_newest_source_first() {
    let with = |value: &[u8]| vec![Owned::new(b"\0\0\0\x01k", 5, Kind::Put, value)];
    let mut merged = Merged::new(boxed(&[with(b"new"), with(b"old")]));
    merged.seek_first().unwrap();
    let all = rest(&mut merged).unwrap();
    assert_eq!([&all[0].value[..], &all[1].value], [&b"new"[..], b"old"]);
    merged.seek_last().unwrap();
    assert_eq!(merged.value(), b"old");
    merged.prev().unwrap();
    assert_eq!(merged.value(), b"new");
    merged.next().unwrap();
    assert_eq!(merged.value(), b"old");
}

/// MOSS-16: a single source takes a direct path.
#[test]
fn one_source_is_moved_exactly_as_asked() {
    let cursor = VecCursor::new((0..50).map(|i| put("k", i)).collect());
    let moves = cursor.moves.clone();
    let mut merged = Merged::new(vec![Box::new(cursor)]);
    merged.seek_first().unwrap();
    for _ in 0..20 {
        merged.next().unwrap();
    }
    for _ in 0..5 {
        merged.prev().unwrap();
    }
    assert_eq!(moves.load(Relaxed), 26);
}

#[test]
fn a_step_moves_only_the_source_that_won() {
    let source = |s| VecCursor::new((0..10).map(|i| put(&format!("{i}{s}"), i)).collect());
    let sources: Vec<_> = (0..4).map(source).collect();
    let moves: Vec<_> = sources.iter().map(|source| source.moves.clone()).collect();
    let mut merged = Merged::new(sources.into_iter().map(|s| Box::new(s) as _).collect());
    merged.seek_first().unwrap();
    rest(&mut merged).unwrap();
    assert_eq!(moves.iter().map(|moves| moves.load(Relaxed)).sum::<usize>(), 4 + 40);
}

/// F-28: no caller can take a failed merge for one that has ended.
#[test]
fn an_error_of_a_source_stays_until_a_seek_succeeds() {
    for sources in 1..4 {
        for fails_at in 0..8 {
            let mut cursors: Vec<_> = (0..sources)
                .map(|s| VecCursor::new((0..10).map(|i| put(&format!("{i}{s}"), i)).collect()))
                .collect();
            cursors[0].fails_at = Some(fails_at);
            let mut merged = Merged::new(cursors.into_iter().map(|c| Box::new(c) as _).collect());
            let error = merged.seek_first().and_then(|()| rest(&mut merged).map(drop)).unwrap_err();
            assert!(merged.entry().is_none() && merged.value().is_empty());
            let again = [merged.next(), merged.prev(), merged.next()].map(Result::unwrap_err);
            assert!(again.iter().all(|e| e.message() == error.message()));
            merged.seek_first().unwrap();
            assert_eq!(rest(&mut merged).unwrap().len(), 10 * sources);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_sources_walk_like_one(
        entries in prop::collection::vec((0usize..6, 0u8..40, 0usize..30), 0..80),
    ) {
        let mut sources = vec![Vec::new(); 6];
        for (seq, (source, key, tail)) in entries.into_iter().enumerate() {
            let key = format!("{}{key}", "p".repeat(tail));
            sources[source].push(put(&key, seq as u64));
        }
        walk(&sources);
    }
}
