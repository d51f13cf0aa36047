//! What is kept and dropped, against every reader that could notice.

use super::*;
use crate::base::cursor::reference::{Owned, VecCursor};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn version(text: &str) -> Owned {
    let (kind, seq) = text.split_at(1);
    let kind = match kind {
        "P" => Kind::Put,
        "D" => Kind::Delete,
        "M" => Kind::Merge,
        _ => Kind::RangeDelete,
    };
    let value = if kind == Kind::Delete { "" } else { text };
    Owned::new(b"\0\0\0\x01k", seq.parse().unwrap(), kind, value.as_bytes())
}

fn retain(entries: Vec<Owned>, snapshots: &[u64], beneath: Beneath) -> (Vec<Owned>, Tally) {
    let snapshots: Vec<_> = snapshots.iter().copied().map(SeqNo).collect();
    let mut retain = Retain::new(VecCursor::new(entries), &snapshots, beneath);
    let mut kept = Vec::new();
    while let Some(entry) = retain.next_kept().unwrap() {
        kept.push(Owned::of(entry));
    }
    (kept, retain.tally())
}

fn kept(versions: &str, snapshots: &[u64], beneath: Beneath) -> String {
    let entries = versions.split_whitespace().map(version).collect();
    let names: Vec<_> = retain(entries, snapshots, beneath)
        .0
        .iter()
        .map(|entry| format!("{:?}", entry.kind).remove(0).to_string() + &entry.seq.to_string())
        .collect();
    names.join(" ")
}

/// Law 4, stripe by stripe. `M` is a merge operand, `R` a range tombstone.
#[test]
fn the_table_of_versions_and_snapshots() {
    use Beneath::{Nothing, Older};
    type Row = (&'static str, &'static [u64], &'static str, &'static str);
    let rows: [Row; 17] = [
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
    ];
    for (versions, snapshots, above, bottom) in rows {
        assert_eq!(kept(versions, snapshots, Older), above, "{versions} {snapshots:?}");
        assert_eq!(kept(versions, snapshots, Nothing), bottom, "{versions} {snapshots:?} bottom");
    }
}

/// F-36: sequence numbers are unique, so a version met twice was doubled.
#[test]
fn an_entry_that_comes_twice_is_damage_and_stays_so() {
    let twice = vec![version("P3"), version("P2"), version("P2")];
    let mut retain = Retain::new(VecCursor::new(twice), &[], Beneath::Older);
    assert!(retain.next_kept().unwrap().is_some());
    let error = retain.next_kept().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert_eq!(retain.next_kept().unwrap_err().message(), error.message());
}

/// F-28: a compaction stops at an error and never skips keys.
#[test]
fn an_error_of_the_source_stops_the_walk_for_good() {
    let mut cursor = VecCursor::new((1..9).map(|n| version(&format!("P{n}"))).collect());
    cursor.fails_at = Some(3);
    let mut retain = Retain::new(cursor, &[], Beneath::Older);
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
    for entry in sorted.iter().filter(|entry| entry.seq.0 <= seq) {
        let (closed, values) = seen.entry(entry.key.clone()).or_default();
        if !*closed && entry.kind != Kind::Delete {
            values.push(entry.value.clone());
        }
        *closed |= entry.kind != Kind::Merge;
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
        versions in prop::collection::vec((0u8..4, 1u8..4), 0..60),
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
                let kind = Kind::from_u8(*kind).unwrap();
                let value = if kind == Kind::Delete { vec![] } else { seq.to_string().into() };
                Owned::new(&[0, 0, 0, 1, *key], seq, kind, &value)
            })
            .collect();
        let snapshots: Vec<_> = snapshots.into_iter().collect();
        let beneath = if bottom { Beneath::Nothing } else { Beneath::Older };
        let (kept, tally) = retain(entries.clone(), &snapshots, beneath);

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

    /// At the bottom, with no snapshot, nothing is left but what the present sees.
    #[test]
    fn the_bottom_without_snapshots_holds_only_live_values(
        versions in prop::collection::vec((0u8..6, 1u8..3), 0..60),
    ) {
        let entry = |((key, kind), seq): (&(u8, u8), u64)| {
            Owned::new(&[0, 0, 0, 1, *key], seq, Kind::from_u8(*kind).unwrap(), b"")
        };
        let entries: Vec<_> = versions.iter().zip(1..).map(entry).collect();
        let (kept, _) = retain(entries.clone(), &[], Beneath::Nothing);
        prop_assert!(kept.iter().all(|entry| entry.kind == Kind::Put));
        prop_assert_eq!(kept.len(), seen(&entries, u64::MAX).len());
    }
}
