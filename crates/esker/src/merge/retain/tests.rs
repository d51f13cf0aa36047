//! What is kept and dropped, against every reader that could notice.

use super::*;
use crate::base::cursor::reference::{Owned, VecCursor};
use crate::base::id::FileId;
use crate::cache::BlockCache;
use crate::env::Access;
use crate::env::sim::Sim;
use crate::segment::SegmentMeta;
use crate::segment::handle::{Readers, Segment, Shelf};
use proptest::prelude::*;
use std::collections::BTreeMap;

const NOW: Time = Time(1000);

/// The value of such an entry at rest, if it expires such that it has expired, or not yet.
fn with_expiry(kind: Kind, value: &[u8], is_over: bool) -> Vec<u8> {
    let expiry = NOW.0 + u64::from(!is_over);
    let suffix = if kind == Kind::Expiring { &expiry.to_le_bytes()[..] } else { &[] };
    [value, suffix].concat()
}

/// Of a number the kind: 5 has expired, 6 will.
fn kind_of(number: u8) -> Kind {
    if number == 5 { Kind::Expiring } else { Kind::from_u8(number).unwrap() }
}

fn version(text: &str) -> Owned {
    let (kind, seq) = text.split_at(1);
    let kind = match kind {
        "P" => Kind::Put,
        "D" => Kind::Delete,
        "M" => Kind::Merge,
        "E" | "X" => Kind::Expiring,
        _ => Kind::RangeDelete,
    };
    let value = if kind == Kind::Delete { "" } else { text };
    let value = with_expiry(kind, value.as_bytes(), text.starts_with('X'));
    Owned::new(b"\0\0\0\x01k", seq.parse().unwrap(), kind, &value)
}

fn retain(entries: Vec<Owned>, keep: &Keep) -> (Vec<Owned>, Tally) {
    let mut retain = Retain::new(VecCursor::new(entries), keep);
    let mut kept = Vec::new();
    while let Some(entry) = retain.next_kept().unwrap() {
        kept.push(Owned::of(entry));
    }
    (kept, retain.tally())
}

fn keep(snapshots: &[u64], beneath: Beneath) -> Keep {
    let snapshots = snapshots.iter().copied().map(SeqNo).collect();
    Keep { snapshots, beneath, now: NOW, ..Keep::default() }
}

fn kept(versions: &str, keep: &Keep) -> String {
    let entries = versions.split_whitespace().map(version).collect();
    let names: Vec<_> = retain(entries, keep)
        .0
        .iter()
        .map(|entry| {
            let is_over = entry.kind == Kind::Expiring && entry.entry().is_absence(NOW);
            let kind = if is_over { "X".to_owned() } else { format!("{:?}", entry.kind) };
            format!("{}{}", &kind[..1], entry.seq)
        })
        .collect();
    names.join(" ")
}

/// What a segment says of itself: first key, last key, lowest number.
type Extent = (&'static [u8], &'static [u8], u64);

fn runs(runs: &[&[Extent]]) -> Beneath {
    let shelf = Arc::new(Shelf {
        env: Sim::new(1),
        dir: "db".into(),
        access: Access::Mapped,
        cache: Arc::new(BlockCache::new(0)),
        readers: Readers::at_most(1),
        trash: Default::default(),
    });
    let segment = |&(smallest, largest, seq_min): &Extent| {
        let meta = SegmentMeta {
            id: FileId(1),
            bytes: 1,
            entries: 1,
            deletes: 0,
            range_deletes: 0,
            blob_bytes: 0,
            expiries: Default::default(),
            smallest: smallest.into(),
            largest: largest.into(),
            seq_min: SeqNo(seq_min),
            seq_max: SeqNo(seq_min),
            setsum: Setsum::ZERO,
        };
        Arc::new(Segment::new(shelf.clone(), meta))
    };
    Beneath::of(runs.iter().map(|run| run.iter().map(segment).collect()).collect())
}

/// Law 4, stripe by stripe. `M` is a merge operand, `R` a range tombstone.
#[test]
fn the_table_of_versions_and_snapshots() {
    type Row = (&'static str, &'static [u64], &'static str, &'static str);
    let rows: [Row; 24] = [
        // versions, snapshots, kept above older runs, kept at the bottom
        ("P3 P2 P1", &[], "P3", "P3"),
        ("P3 P2 P1", &[2], "P3 P2", "P3 P2"),
        ("P3 P2 P1", &[1, 2, 3], "P3 P2 P1", "P3 P2 P1"),
        ("P9 P7 P3", &[7, 8], "P9 P7", "P9 P7"),
        ("D3", &[], "D3", ""),
        ("D3 P2", &[], "D3", ""),
        ("D3 P2", &[2], "D3 P2", "D3 P2"),
        ("D3 D2 P1", &[2], "D3 D2", ""),
        ("D9 D7 P5 D3 P1", &[1, 3, 5, 7], "D9 D7 P5 D3 P1", "D9 D7 P5 D3 P1"),
        ("D9 D7 D5 D3", &[3, 5, 7], "D9 D7 D5 D3", ""),
        ("P9 D7 D5 D3", &[3, 5, 7], "P9 D7 D5 D3", "P9"),
        ("D9 P7 D5 D3", &[3, 5, 7], "D9 P7 D5 D3", "D9 P7"),
        ("M5 M4 P3 P2", &[], "M5 M4 P3", "M5 M4 P3"),
        ("M5 D4 P3", &[], "M5 D4", "M5"),
        ("M9 M5 M4 P3 P2", &[5], "M9 M5 M4 P3", "M9 M5 M4 P3"),
        ("P9 M5 M4 P3 P2", &[4], "P9 M4 P3", "P9 M4 P3"),
        ("D9 R8 D7 P6", &[8], "D9 R8 D7", "D9 R8"),
        // What has expired is a tombstone, whoever may read; what expires later is a put.
        ("E3 P2", &[], "E3", "E3"),
        ("X3 P2", &[], "X3", ""),
        ("X3 P2", &[2], "X3 P2", "X3 P2"),
        ("X9 X7 E5 X3 P1", &[1, 3, 5, 7], "X9 X7 E5 X3 P1", "X9 X7 E5 X3 P1"),
        ("P9 X7 D5 X3", &[3, 5, 7], "P9 X7 D5 X3", "P9"),
        ("M5 X4 P3", &[], "M5 X4", "M5"),
        ("M5 E4 P3", &[], "M5 E4", "M5 E4"),
    ];
    for (versions, snapshots, above, bottom) in rows {
        let [older, nothing] =
            [Beneath::anything(), Beneath::nothing()].map(|beneath| keep(snapshots, beneath));
        assert_eq!(kept(versions, &older), above, "{versions} {snapshots:?}");
        assert_eq!(kept(versions, &nothing), bottom, "{versions} {snapshots:?} bottom");
    }
}

/// Law 4: a tombstone stays only where a segment beneath may hold an older version of its key.
#[test]
fn a_tombstone_goes_where_nothing_older_lies_beneath_its_key() {
    let beneath = runs(&[&[(b"b", b"d", 4), (b"f", b"h", 20)], &[(b"h", b"k", 3)]]);
    let keep = keep(&[], beneath);
    let keys = [b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h", b"k", b"l"];
    let tombstones = keys.iter().map(|key| Owned::new(*key, 9, Kind::Delete, b""));
    let kept = retain(tombstones.collect(), &keep).0;
    let kept: Vec<_> = kept.iter().map(|entry| entry.key.as_slice()).collect();
    // Above f and g lies only what is newer than they are.
    assert_eq!(kept, [b"b", b"c", b"d", b"h", b"k"]);
}

/// What range deletes that live elsewhere cover, with their numbers, by stripe.
#[test]
fn the_table_of_covered_versions() {
    type Row = (&'static str, &'static [u64], &'static [u64], &'static [u64], &'static str);
    let rows: [Row; 11] = [
        // versions, snapshots, numbers of range deletes, of these spent, kept above older runs
        ("P3", &[], &[5], &[], ""),
        ("P6 P3", &[], &[5], &[], "P6"),
        ("P3", &[3], &[5], &[], "P3"),
        ("P3", &[5], &[5], &[], ""),
        ("P3", &[4, 7], &[5, 9], &[], "P3"),
        ("P6 P3", &[5], &[7, 9], &[], "P3"),
        ("D7 P3", &[], &[8], &[], ""),
        ("M6 M4 P3", &[], &[5], &[], "M6"),
        ("P9 R8 P7", &[], &[8], &[], "P9 R8"),
        ("P9 R8 P7", &[], &[8], &[8], "P9"),
        ("R8 P7", &[8], &[8, 9], &[], "R8"),
    ];
    for (versions, snapshots, numbers, spent, wanted) in rows {
        let span = |&seq| Span { start: [0].into(), end: [1].into(), seq: SeqNo(seq) };
        let keep = Keep {
            spans: numbers.iter().map(span).collect(),
            spent: spent.iter().copied().map(SeqNo).collect(),
            ..keep(snapshots, Beneath::anything())
        };
        assert_eq!(kept(versions, &keep), wanted, "{versions} {snapshots:?} {numbers:?}");
    }
}

/// A range delete goes when newer ones of its stripe, together, cover all of it.
#[test]
fn a_range_delete_that_newer_ones_hide_is_dropped() {
    let span = |start: u8, end: u8, seq| Span {
        start: [start].into(),
        end: [end].into(),
        seq: SeqNo(seq),
    };
    let of = |span: &Span| Owned::new(&span.start, span.seq.0, Kind::RangeDelete, &span.end);
    let all = [span(2, 6, 1), span(1, 4, 2), span(4, 7, 3), span(0, 5, 4)];
    let table: [(&[u64], &[u64]); 4] =
        [(&[], &[4, 3]), (&[1], &[4, 1, 3]), (&[2], &[4, 2, 1, 3]), (&[3], &[4, 2, 3])];
    for (snapshots, wanted) in table {
        let keep = Keep { spans: all.to_vec().into(), ..keep(snapshots, Beneath::nothing()) };
        let kept = retain(all.iter().map(of).collect(), &keep).0;
        let kept: Vec<_> = kept.iter().map(|entry| entry.seq.0).collect();
        assert_eq!(kept, wanted, "{snapshots:?}");
    }
}

/// F-36: sequence numbers are unique, so a version met twice was doubled.
#[test]
fn an_entry_that_comes_twice_is_damage_and_stays_so() {
    let keep = Keep::default();
    let twice = vec![version("P3"), version("P2"), version("P2")];
    let mut retain = Retain::new(VecCursor::new(twice), &keep);
    assert!(retain.next_kept().unwrap().is_some());
    let error = retain.next_kept().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert_eq!(retain.next_kept().unwrap_err().message(), error.message());
}

/// F-28: a compaction stops at an error and never skips keys.
#[test]
fn an_error_of_the_source_stops_the_walk_for_good() {
    let keep = Keep::default();
    let mut cursor = VecCursor::new((1..9).map(|n| version(&format!("P{n}"))).collect());
    cursor.fails_at = Some(3);
    let mut retain = Retain::new(cursor, &keep);
    let error = loop {
        match retain.judge_next() {
            Ok(judged) => assert!(judged.is_some()),
            Err(error) => break error,
        }
    };
    assert_eq!(retain.judge_next().unwrap_err().message(), error.message());
}

fn sum(entries: &[Owned]) -> Setsum {
    entries.iter().fold(Setsum::ZERO, |sum, entry| sum + Setsum::of(&entry.entry()))
}

/// What a reader at `seq` sees of every key: merge operands down to their base, newest first.
fn seen(entries: &[Owned], seq: u64) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
    let mut seen: BTreeMap<Vec<u8>, (bool, Vec<Vec<u8>>)> = BTreeMap::new();
    let mut sorted = entries.to_vec();
    sorted.sort_by(|a, b| a.entry().order(&b.entry()));
    sorted.retain(|entry| entry.seq.0 <= seq);
    let spans: Vec<_> = sorted.iter().filter_map(|entry| Span::of(&entry.entry())).collect();
    for entry in sorted.iter().filter(|entry| entry.kind != Kind::RangeDelete) {
        let (closed, values) = seen.entry(entry.key.clone()).or_default();
        let covered = spans.iter().any(|span| span.covers(&entry.key) && entry.seq < span.seq);
        if !*closed && !covered && !entry.entry().is_absence(NOW) {
            values.push(entry.value.clone());
        }
        *closed |= covered || entry.kind != Kind::Merge;
    }
    let visible = |(key, (_, values)): (Vec<u8>, (bool, Vec<Vec<u8>>))| {
        (!values.is_empty()).then_some((key, values))
    };
    seen.into_iter().filter_map(visible).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Every snapshot and the present see the same before and after, also over older runs; what
    /// was kept is in order; the figures balance (SST-17).
    #[test]
    fn no_reader_can_tell_and_the_sums_balance(
        versions in prop::collection::vec((0u8..4, prop_oneof![1u8..4, 5u8..7]), 0..60),
        older in prop::collection::vec(0u8..4, 0..4),
        snapshots in prop::collection::btree_set(4u64..70, 0..6),
        bottom in any::<bool>(),
    ) {
        let older: Vec<_> = older
            .iter()
            .zip(0..)
            .map(|(key, seq)| Owned::new(&[0, 0, 0, 1, *key], seq, Kind::Put, b"older"))
            .filter(|_| !bottom)
            .collect();
        let entries: Vec<_> = versions
            .iter()
            .zip(4u64..)
            .map(|((key, kind), seq)| {
                let (kind, is_over) = (kind_of(*kind), *kind == 5);
                let value = if kind == Kind::Delete { vec![] } else { seq.to_string().into() };
                let value = with_expiry(kind, &value, is_over);
                Owned::new(&[0, 0, 0, 1, *key], seq, kind, &value)
            })
            .collect();
        let snapshots: Vec<_> = snapshots.into_iter().collect();
        let beneath = if bottom { Beneath::nothing() } else { Beneath::anything() };
        let (kept, tally) = retain(entries.clone(), &keep(&snapshots, beneath));

        prop_assert!(kept.is_sorted_by(|a, b| a.entry().order(&b.entry()).is_lt()));
        prop_assert_eq!(tally.input, sum(&entries));
        prop_assert_eq!(tally.input, sum(&kept) + tally.dropped);
        prop_assert_eq!(tally.entries, entries.len() as u64);
        prop_assert_eq!(tally.entries - tally.entries_dropped, kept.len() as u64);
        let before = [&entries[..], &older].concat();
        let after = [&kept[..], &older].concat();
        for seq in snapshots.iter().copied().chain([u64::MAX]) {
            prop_assert_eq!(seen(&before, seq), seen(&after, seq));
        }
    }

    /// The same with range deletes, in the input and elsewhere; some of those in the input are
    /// spent. `elsewhere` are entries of other live segments, newer, older and between.
    #[test]
    fn no_reader_can_tell_what_range_deletes_have_dropped(
        versions in prop::collection::vec((0u8..6, 1u8..7, 0u8..7, 0u8..4), 0..60),
        snapshots in prop::collection::btree_set(1u64..70, 0..6),
        bottom in any::<bool>(),
    ) {
        let all: Vec<_> = versions
            .iter()
            .zip(1u64..)
            .map(|((key, kind, end, place), seq)| {
                let (kind, is_over) = (kind_of(*kind), *kind == 5);
                let value = match kind {
                    Kind::Delete => vec![],
                    Kind::RangeDelete => vec![0, 0, 0, 1, *end],
                    _ => with_expiry(kind, seq.to_string().as_bytes(), is_over),
                };
                let is_input = *place > 0;
                (is_input, Owned::new(&[0, 0, 0, 1, *key], seq, kind, &value))
            })
            .collect();
        // Law 3: below the input lies what is older; points above it would be newer, and are as
        // good as in another stripe. Range deletes lie anywhere.
        let oldest = all.iter().find(|(is_input, _)| *is_input).map_or(0, |(_, entry)| entry.seq.0);
        let is_elsewhere = |is_input: bool, entry: &Owned| {
            !is_input && (entry.kind == Kind::RangeDelete || entry.seq.0 < oldest && !bottom)
        };
        let elsewhere = all.iter().filter(|(is_input, entry)| is_elsewhere(*is_input, entry));
        let elsewhere: Vec<_> = elsewhere.map(|(_, entry)| entry.clone()).collect();
        let entries = all.iter().filter(|(is_input, _)| *is_input);
        let entries: Vec<_> = entries.map(|(_, entry)| entry.clone()).collect();
        let live: Vec<_> = entries.iter().chain(&elsewhere).cloned().collect();
        let spans = live.iter().filter_map(|entry| Span::of(&entry.entry()));
        let needed_elsewhere = |span: &Span| {
            elsewhere.iter().any(|entry| {
                entry.kind != Kind::RangeDelete && span.covers(&entry.key) && entry.seq < span.seq
            })
        };
        let in_input = |span: &Span| entries.iter().any(|entry| entry.seq == span.seq);
        let spent = spans.clone().filter(|span| {
            let no_snapshot = snapshots.iter().all(|snapshot| *snapshot >= span.seq.0);
            in_input(span) && no_snapshot && !needed_elsewhere(span)
        });
        let beneath = if bottom { Beneath::nothing() } else { Beneath::anything() };
        let snapshots: Vec<_> = snapshots.iter().copied().collect();
        let keep = Keep {
            spans: spans.clone().collect(),
            spent: spent.map(|span| span.seq).collect(),
            ..keep(&snapshots, beneath)
        };
        let (kept, tally) = retain(entries.clone(), &keep);

        prop_assert!(kept.is_sorted_by(|a, b| a.entry().order(&b.entry()).is_lt()));
        prop_assert_eq!(tally.input, sum(&entries));
        prop_assert_eq!(tally.input, sum(&kept) + tally.dropped);
        prop_assert_eq!(tally.entries - tally.entries_dropped, kept.len() as u64);
        let after = [&kept[..], &elsewhere].concat();
        for seq in snapshots.iter().copied().chain([u64::MAX]) {
            prop_assert_eq!(seen(&live, seq), seen(&after, seq), "at {}", seq);
        }
        // With no snapshot between them, nothing that is covered is left.
        if snapshots.is_empty() {
            let hidden = |entry: &Owned| {
                let covers = |span: &Span| span.covers(&entry.key) && entry.seq < span.seq;
                entry.kind != Kind::RangeDelete && spans.clone().any(|span| covers(&span))
            };
            prop_assert!(!kept.iter().any(hidden));
        }
    }

    /// At the bottom, with no snapshot, nothing is left but what the present sees.
    #[test]
    fn the_bottom_without_snapshots_holds_only_live_values(
        versions in prop::collection::vec((0u8..6, 1u8..3), 0..60),
    ) {
        let entry = |((key, kind), seq): (&(u8, u8), u64)| {
            Owned::new(&[0, 0, 0, 1, *key], seq, Kind::from_u8(*kind).unwrap(), b"")
        };
        let entries: Vec<_> = versions.iter().zip(1..).map(entry).collect();
        let (kept, _) = retain(entries.clone(), &keep(&[], Beneath::nothing()));
        prop_assert!(kept.iter().all(|entry| entry.kind == Kind::Put));
        prop_assert_eq!(kept.len(), seen(&entries, u64::MAX).len());
    }
}
