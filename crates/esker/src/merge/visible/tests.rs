//! What a snapshot sees, against a model: ranges, seeks, both ends, worked examples.

use super::*;
use crate::base::cursor::reference::{Owned, VecCursor};
use crate::base::error::ErrorKind;
use crate::base::span::{Skyline, Span};
use crate::merge::Merged;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const LATEST: SeqNo = SeqNo::MAX;
const NOW: Time = Time(1000);

fn full(key: &str) -> Vec<u8> {
    [b"\0\0\0\x07", key.as_bytes()].concat()
}

fn put(key: &str, seq: u64, value: &str) -> Owned {
    Owned::new(&full(key), seq, Kind::Put, value.as_bytes())
}

fn delete(key: &str, seq: u64) -> Owned {
    Owned::new(&full(key), seq, Kind::Delete, b"")
}

/// A put of its number that expires at `expiry`.
fn timed(key: &str, seq: u64, expiry: Time) -> Owned {
    let value = [seq.to_string().as_bytes(), &expiry.0.to_le_bytes()].concat();
    Owned::new(&full(key), seq, Kind::Expiring, &value)
}

fn view(seq: SeqNo, start: Bound<&str>, end: Bound<&str>) -> Scope {
    let boxed = |bound: Bound<&str>| bound.map(|key| full(key).into_boxed_slice());
    let (now, tombstones) = (NOW, Tombstones::Hidden);
    Scope { seq, now, start: boxed(start), end: boxed(end), tombstones }
}

fn all(seq: SeqNo) -> Scope {
    view(seq, Bound::Unbounded, Bound::Unbounded)
}

fn over(sources: &[Vec<Owned>], view: Scope) -> Visible<Merged> {
    let sources: Vec<_> = sources.iter().map(|source| VecCursor::new(source.clone())).collect();
    let open = move || {
        Ok(Merged::new(sources.iter().map(|source| Box::new(source.clone()) as _).collect()))
    };
    Visible::new(Box::new(open), view)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn forward(visible: &mut Visible<Merged>) -> Vec<(String, String)> {
    std::iter::from_fn(|| visible.next_front().unwrap())
        .map(|item| (text(&item.key), text(&item.value)))
        .collect()
}

fn backward(visible: &mut Visible<Merged>) -> Vec<(String, String)> {
    std::iter::from_fn(|| visible.next_back().unwrap())
        .map(|item| (text(&item.key), text(&item.value)))
        .collect()
}

/// The keys of a view joined, after making sure that both directions agree.
fn keys(sources: &[Vec<Owned>], view: Scope) -> String {
    let found = forward(&mut over(sources, view.clone()));
    let mut reversed = backward(&mut over(sources, view));
    reversed.reverse();
    assert_eq!(found, reversed);
    found.into_iter().map(|(key, _)| key).collect()
}

fn range(sources: &[Vec<Owned>], start: &str, end: &str) -> String {
    let start = if start == "_" { Bound::Unbounded } else { Bound::Included(start) };
    let end = if end == "_" { Bound::Unbounded } else { Bound::Excluded(end) };
    keys(sources, view(LATEST, start, end))
}

const MATRIX: [(&str, &str); 9] = [
    ("_ _, a _, b _, _ g", "bdf"),
    ("c _, d _", "df"),
    ("e _, f _", "f"),
    ("g _", ""),
    ("_ f, _ e", "bd"),
    ("_ d, _ c", "b"),
    ("_ b, _ a", ""),
    ("f a, e b, d c, d d", ""),
    ("a b, a a", ""),
];

#[test]
fn the_range_matrix_holds_however_the_keys_are_spread_and_after_d_is_deleted() {
    // MOSS-14
    let (b, d, f) = (put("b", 1, "B"), put("d", 2, "D"), put("f", 3, "F"));
    let spreads = [
        vec![vec![b.clone(), d.clone(), f.clone()]],
        vec![vec![f.clone()], vec![d.clone()], vec![b.clone()]],
        vec![vec![], vec![d, f], vec![b]],
    ];
    for spread in spreads {
        let mut without = spread.clone();
        without.insert(0, vec![delete("d", 9)]);
        let empty: Vec<Vec<Owned>> = vec![vec![]; spread.len()];
        for (ranges, want) in MATRIX {
            for range_text in ranges.split(", ") {
                let (start, end) = range_text.split_once(' ').unwrap();
                assert_eq!(range(&spread, start, end), want, "[{start},{end})");
                assert_eq!(range(&without, start, end), want.replace('d', ""), "[{start},{end})");
                assert_eq!(range(&empty, start, end), "");
            }
        }
    }
    let only_a = [vec![put("a", 1, "A")]];
    let rows = ["a b a", "_ b a", "a a ", "b b ", "b a ", "b _ "];
    for row in rows {
        let mut fields = row.split(' ');
        let [start, end, want] = std::array::from_fn(|_| fields.next().unwrap());
        assert_eq!(range(&only_a, start, end), want, "{row}");
    }
}

#[test]
fn excluded_and_included_bounds_of_both_ends() {
    let sources = [vec![put("a", 1, ""), put("b", 2, ""), put("b\0", 3, ""), put("c", 4, "")]];
    use Bound::{Excluded, Included};
    let bounded = |start, end| keys(&sources, view(LATEST, start, end));
    assert_eq!(bounded(Included("b"), Included("b")), "b");
    assert_eq!(bounded(Excluded("a"), Included("b\0")), "bb\0");
    assert_eq!(bounded(Excluded("b"), Excluded("c")), "b\0");
    assert_eq!(bounded(Excluded("b"), Excluded("b")), "");
    assert_eq!(bounded(Excluded("c"), Included("a")), "");
}

/// MOSS-15, in one source and in two, each seek also after a seek to the far end.
#[test]
fn the_seek_matrix_holds() {
    let odd: Vec<_> = [1, 3, 5, 7, 9].map(|n| put(&n.to_string(), n, "")).to_vec();
    let (two, one): (Vec<_>, Vec<_>) = odd.iter().cloned().partition(|e| e.seq.0 % 4 == 1);
    for sources in [vec![odd], vec![two, one]] {
        let mut unbounded = over(&sources, all(LATEST));
        let from = |visible: &mut Visible<Merged>, key: &str| {
            visible.seek(&full(key)).unwrap();
            visible.next_front().unwrap().map_or("done".into(), |item| text(&item.key))
        };
        for far in [None, Some("0"), Some("999")] {
            let rows = "0 1,1 1,1 1,2 3,3 3,4 5,5 5,6 7,7 7,8 9,9 9,999 done,999 done";
            for (key, want) in rows.split(',').map(|row| row.split_once(' ').unwrap()) {
                far.map(|far| from(&mut unbounded, far));
                assert_eq!(from(&mut unbounded, key), want, "seek {key} after {far:?}");
            }
        }
        let bounds = view(LATEST, Bound::Included("3"), Bound::Excluded("8"));
        let mut bounded = over(&sources, bounds);
        for (key, want) in [("0", "3"), ("8", "done"), ("0", "3"), ("4", "5"), ("9", "done")] {
            assert_eq!(from(&mut bounded, key), want, "seek {key} in [3, 8)");
        }
    }
}

/// HEST-1, HEST-2: the delta in one source and in two, over the main index.
#[test]
fn the_cache_wins_over_the_main_index_and_a_tombstone_hides_it() {
    let main = vec![put("a", 1, "20"), put("b", 2, "30"), put("c", 3, "40")];
    let (a, e, b) = (put("a", 4, "25"), put("e", 5, "28"), delete("b", 6));
    let want = [("a", "25"), ("c", "40"), ("e", "28")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    for sources in [
        vec![vec![a.clone(), e.clone(), b.clone()], main.clone()],
        vec![vec![b.clone()], vec![a.clone(), e.clone()], main.clone()],
        vec![[vec![a, e, b], main].concat()],
    ] {
        assert_eq!(forward(&mut over(&sources, all(LATEST))), want);
        assert_eq!(keys(&sources, all(LATEST)), "ace");
        assert_eq!(keys(&sources, all(SeqNo(3))), "abc");
    }
}

/// SST-K1: each source hid its own tombstones, so deleted keys came back in scans.
#[test]
fn a_key_deleted_in_a_newer_source_stays_deleted_in_scans() {
    let sources = [vec![delete("k", 3)], vec![put("k", 2, "b")], vec![put("k", 1, "a")]];
    assert_eq!(keys(&sources, all(LATEST)), "");
    assert_eq!(keys(&sources, all(SeqNo(2))), "k");
    let mut shown = all(LATEST);
    shown.tombstones = Tombstones::Shown;
    for item in [
        over(&sources, shown.clone()).next_front().unwrap().unwrap(),
        over(&sources, shown).next_back().unwrap().unwrap(),
    ] {
        assert_eq!((item.kind, item.seq, &item.value[..]), (Kind::Delete, SeqNo(3), &b""[..]));
    }
}

/// Law 4: what has expired hides what lies beneath it, from both ends and at every snapshot that sees
/// it; what has not shows the user's part of its value, and when it will.
#[test]
fn what_has_expired_is_a_tombstone_and_shows_nothing_older() {
    let later = Time(NOW.0 + 1);
    let sources = [vec![timed("k", 3, NOW), timed("l", 4, later)], vec![put("k", 2, "b")]];
    assert_eq!(keys(&sources, all(LATEST)), "l");
    assert_eq!(keys(&sources, all(SeqNo(2))), "k");
    let at = |now| keys(&sources, Scope { now, ..all(LATEST) });
    assert_eq!([at(Time(NOW.0 - 1)), at(NOW), at(later)], ["kl", "l", ""]);
    let shown = Scope { tombstones: Tombstones::Shown, ..all(LATEST) };
    let mut ends = over(&sources, shown);
    let (front, back) = (ends.next_front().unwrap().unwrap(), ends.next_back().unwrap().unwrap());
    assert_eq!((front.kind, &*front.value, front.expiry), (Kind::Delete, &b""[..], None));
    assert_eq!((back.kind, &*back.value, back.expiry), (Kind::Put, &b"4"[..], Some(later)));
}

/// Law 10: a value that must have an expiry and has none is an error, and stays one.
#[test]
fn an_expiry_that_is_not_there_is_an_error() {
    let sources = [vec![Owned::new(&full("k"), 1, Kind::Expiring, b"1234567")]];
    let mut visible = over(&sources, all(LATEST));
    let error = visible.next_front().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert_eq!(visible.next_back().unwrap_err().message(), error.message());
    assert!(over(&sources, all(LATEST)).next_back().is_err());
}

#[test]
fn a_merge_operand_without_an_operator_is_a_clear_error_that_stays() {
    let merge = Owned::new(&full("m"), 2, Kind::Merge, b"+1");
    let sources = [vec![put("a", 1, ""), merge, put("z", 3, "")]];
    let mut visible = over(&sources, all(LATEST));
    assert!(visible.next_front().unwrap().is_some());
    let error = visible.next_front().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("no merge operator"), "{error}");
    assert_eq!(visible.next_back().unwrap_err().message(), error.message());
    assert_eq!(visible.next_front().unwrap_err().message(), error.message());
    let mut from_back = over(&sources, all(LATEST));
    assert!(from_back.next_back().unwrap().is_some());
    assert_eq!(from_back.next_back().unwrap_err().kind(), ErrorKind::InvalidArgument);
}

/// SST-K1: what a range delete covers is hidden from both ends, wherever the range delete lies.
#[test]
fn what_a_range_delete_covers_is_hidden() {
    let drop_range = Owned::new(&full("b"), 4, Kind::RangeDelete, &full("d"));
    let span = Span::of(&drop_range.entry()).unwrap();
    let points = vec![put("a", 1, ""), put("b", 2, ""), put("b", 6, ""), put("c", 3, "")];
    let sources = [points, vec![drop_range, put("d", 2, "")]];
    for (at, wanted) in [(1, "a"), (3, "abcd"), (4, "ad"), (5, "ad"), (6, "abd")] {
        let spans = [&span].into_iter().filter(|span| span.seq.0 <= at);
        let cover = Cover::of([Arc::new(Skyline::of(spans))]);
        let seen = || over(&sources, all(SeqNo(at))).under(cover.clone());
        let found: String = forward(&mut seen()).into_iter().map(|pair| pair.0).collect();
        assert_eq!(found, wanted, "at {at}");
        let found: String = backward(&mut seen()).into_iter().rev().map(|pair| pair.0).collect();
        assert_eq!(found, wanted, "at {at}, from the back");
    }
    // An operand that nobody can fold is no error once it is gone.
    let operand = [vec![Owned::new(&full("c"), 1, Kind::Merge, b"")]];
    let cover = Cover::of([Arc::new(Skyline::of([&span]))]);
    assert_eq!(forward(&mut over(&operand, all(LATEST)).under(cover.clone())), []);
    assert_eq!(backward(&mut over(&operand, all(LATEST)).under(cover)), []);
}

/// MOSS-16: many versions of one key cost a search, not a step each.
#[test]
fn many_versions_are_searched_not_stepped() {
    let mut entries: Vec<_> = (0..10_000).map(|i| put("k", i, &i.to_string())).collect();
    entries.push(put("l", 10_000, ""));
    for seq in [0, 1, 5_000, 9_998, 9_999, 10_000] {
        let cursor = VecCursor::new(entries.clone());
        let moves = cursor.moves.clone();
        let open = move || Ok(cursor.clone());
        let mut visible = Visible::new(Box::new(open.clone()), all(SeqNo(seq)));
        let mut found = Vec::new();
        while let Some(item) = visible.next_front().unwrap() {
            found.push(text(&item.value));
        }
        let mut visible = Visible::new(Box::new(open), all(SeqNo(seq)));
        while let Some(item) = visible.next_back().unwrap() {
            assert_eq!(found.pop(), Some(text(&item.value)));
        }
        assert!(found.is_empty());
        let moves = moves.load(std::sync::atomic::Ordering::Relaxed);
        assert!(moves < 150, "{moves} moves at {seq}");
    }
}

/// F-28: an iterator stays failed, at both ends, until it is sought.
#[test]
fn an_error_stays() {
    let mut cursor = VecCursor::new((0..9).map(|i| put(&i.to_string(), i, "")).collect());
    cursor.fails_at = Some(4);
    let mut visible = Visible::new(Box::new(move || Ok(cursor.clone())), all(LATEST));
    let mut count = 0;
    let error = loop {
        match visible.next_front() {
            Ok(item) => assert!(item.is_some()),
            Err(error) => break error,
        }
        count += 1;
    };
    assert_eq!(count, 4);
    assert_eq!(visible.next_back().unwrap_err().message(), error.message());
    assert_eq!(visible.advance().unwrap_err().message(), error.message());
    visible.seek(&full("4")).unwrap();
    assert_eq!(&*visible.next_front().unwrap().unwrap().key, b"4");
}

type Versions = Vec<(usize, String, u8)>;

/// Versions by arrival: which source order does not matter to the model, so each source takes a
/// contiguous span of numbers, newest first.
fn spread(versions: &Versions, sources: usize) -> Vec<Vec<Owned>> {
    let mut spread = vec![Vec::new(); sources];
    for (i, (place, key, kind)) in versions.iter().enumerate() {
        let seq = i as u64 + 1;
        let entry = match kind {
            0 => delete(key, seq),
            1 => timed(key, seq, NOW),
            2 => timed(key, seq, Time(NOW.0 + 1)),
            _ => put(key, seq, &seq.to_string()),
        };
        spread[place % sources].push(entry);
    }
    spread
}

fn model(versions: &Versions, seq: usize) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for (i, (_, key, kind)) in versions.iter().take(seq).enumerate() {
        match kind {
            0 | 1 => map.remove(key),
            _ => map.insert(key.clone(), (i + 1).to_string()),
        };
    }
    map
}

fn versions() -> impl Strategy<Value = Versions> {
    prop::collection::vec((0usize..4, "[a-d]{0,2}", 0u8..5), 0..120)
}

fn bound() -> impl Strategy<Value = Bound<String>> {
    prop_oneof![
        Just(Bound::Unbounded),
        "[a-d]{0,2}".prop_map(Bound::Included),
        "[a-d]{0,2}".prop_map(Bound::Excluded),
    ]
}

fn as_str(bound: &Bound<String>) -> Bound<&str> {
    bound.as_ref().map(String::as_str)
}

fn in_bounds(key: &str, start: &Bound<String>, end: &Bound<String>) -> bool {
    use std::ops::RangeBounds;
    (as_str(start), as_str(end)).contains(&key)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Any mix of steps from both ends gives every key of the model exactly once, in order.
    #[test]
    fn mixed_ends_meet_exactly_once(
        versions in versions(),
        sources in 1usize..4,
        seq in 0usize..130,
        start in bound(),
        end in bound(),
        turns in prop::collection::vec(any::<bool>(), 40),
    ) {
        let view = view(SeqNo(seq as u64), as_str(&start), as_str(&end));
        let mut visible = over(&spread(&versions, sources), view);
        let mut want = model(&versions, seq);
        want.retain(|key, _| in_bounds(key, &start, &end));
        for front in turns {
            let (item, wanted) = if front {
                (visible.next_front().unwrap(), want.pop_first())
            } else {
                (visible.next_back().unwrap(), want.pop_last())
            };
            let found = item.map(|item| (text(&item.key), text(&item.value)));
            prop_assert_eq!(found, wanted);
        }
    }

    /// Every snapshot, forward and backward.
    #[test]
    fn every_snapshot_sees_its_own_past(versions in versions(), sources in 1usize..4) {
        let spread = spread(&versions, sources);
        for seq in 0..=versions.len() {
            let want: Vec<_> = model(&versions, seq).into_iter().collect();
            let seen = forward(&mut over(&spread, all(SeqNo(seq as u64))));
            let mut reversed = backward(&mut over(&spread, all(SeqNo(seq as u64))));
            reversed.reverse();
            prop_assert_eq!(&seen, &want);
            prop_assert_eq!(&reversed, &want);
        }
    }
}
