//! The judge against the code that discards, and against readers that look at everything.

use super::*;
use crate::base::cursor::reference::{Owned, VecCursor};
use crate::base::time::Time;
use crate::merge::retain::{Beneath, Judged, Retain};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn key(id: u8) -> Vec<u8> {
    vec![0, 0, 0, 1, id]
}

/// Between what has expired and what expires later.
const NOW: Time = Time(1000);
const OVER: &[u8] = &NOW.0.to_le_bytes();
const LATER: &[u8] = &(NOW.0 + 1).to_le_bytes();

/// An entry for each (key, kind, end of range), numbered from 4; of kind 5 it has expired, of 6 it will.
fn history(shape: &[(u8, u8, u8)]) -> Vec<Owned> {
    let entry = |((id, kind, end), seq): (&(u8, u8, u8), u64)| {
        let (kind, expiry) = match *kind {
            5 => (Kind::Expiring, OVER),
            6 => (Kind::Expiring, LATER),
            kind => (Kind::from_u8(kind).unwrap(), &[][..]),
        };
        let value = match kind {
            Kind::Delete => Vec::new(),
            Kind::RangeDelete => key(*end),
            _ => [seq.to_string().as_bytes(), expiry].concat(),
        };
        Owned::new(&key(*id), seq, kind, &value)
    };
    shape.iter().zip(4..).map(entry).collect()
}

fn keep_for(entries: &[Owned], snapshots: &[u64], beneath: Beneath) -> Keep {
    Keep {
        snapshots: snapshots.iter().copied().map(SeqNo).collect(),
        spans: entries.iter().filter_map(|entry| Span::of(&entry.entry())).collect(),
        beneath,
        now: NOW,
        ..Keep::default()
    }
}

/// What the code that discards says of each entry.
fn verdicts(entries: &[Owned], keep: &Keep) -> Vec<(Owned, Verdict)> {
    let mut retain = Retain::new(VecCursor::new(entries.to_vec()), keep);
    let mut all = Vec::new();
    while let Some(Judged { entry, verdict }) = retain.judge_next().unwrap() {
        all.push((Owned::of(entry), verdict));
    }
    all
}

fn judge(verdicts: &[(Owned, Verdict)], keep: &Keep) -> Result<Judgement> {
    let rules = Rules::default();
    let mut judge = Judge::new(keep, &rules);
    for (entry, verdict) in verdicts {
        judge.see(&entry.entry(), *verdict)?;
    }
    judge.finish()
}

/// What a reader at `at` sees of every key.
fn seen(entries: &[Owned], at: u64) -> BTreeMap<Vec<u8>, Vec<u64>> {
    let mut sorted: Vec<_> = entries.iter().filter(|entry| entry.seq.0 <= at).collect();
    sorted.sort_by(|a, b| a.entry().order(&b.entry()));
    let mut seen: BTreeMap<Vec<u8>, (bool, Vec<u64>)> = BTreeMap::new();
    for entry in sorted.iter().filter(|entry| entry.kind != Kind::RangeDelete) {
        let (ended, shown) = seen.entry(entry.key.clone()).or_default();
        *ended |= sorted.iter().any(|other| {
            let span = Span::of(&other.entry());
            span.is_some_and(|span| span.covers(&entry.key) && span.seq > entry.seq)
        });
        if !*ended && !entry.entry().is_absence(NOW) {
            shown.push(entry.seq.0);
        }
        *ended |= entry.kind != Kind::Merge;
    }
    let visible = seen.into_iter().map(|(key, (_, shown))| (key, shown));
    visible.filter(|(_, shown)| !shown.is_empty()).collect()
}

fn kept_of(verdicts: &[(Owned, Verdict)]) -> Vec<Owned> {
    let kept = verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::Keep);
    kept.map(|(entry, _)| entry.clone()).collect()
}

/// A row: versions of one key from the newest down, `!` before those that go; snapshots; whether
/// nothing lies beneath; whether that may be.
fn allows(row: &str, snapshots: &[u64], is_bottom: bool) -> bool {
    let words: Vec<_> = row.split_whitespace().collect();
    let versions: Vec<_> = words
        .iter()
        .map(|word| {
            let verdict = if word.starts_with('!') { Verdict::Drop } else { Verdict::Keep };
            let (kind, seq) = word.trim_start_matches('!').split_at(1);
            let (kind, value) = match kind {
                "P" => (Kind::Put, &b"v"[..]),
                "D" => (Kind::Delete, &b""[..]),
                "M" => (Kind::Merge, &b"m"[..]),
                "X" => (Kind::Expiring, OVER),
                "E" => (Kind::Expiring, LATER),
                _ => (Kind::RangeDelete, &[0, 0, 0, 1, 9][..]),
            };
            (Owned::new(&key(1), seq.parse().unwrap(), kind, value), verdict)
        })
        .collect();
    let entries: Vec<_> = versions.iter().map(|(entry, _)| entry.clone()).collect();
    let beneath = if is_bottom { Beneath::nothing() } else { Beneath::anything() };
    judge(&versions, &keep_for(&entries, snapshots, beneath)).is_ok()
}

/// SST-22 for one version, and what snapshots and range deletes add.
#[test]
fn the_table_of_drops() {
    // A value counts 1: what is below it goes, itself it stays.
    assert!(allows("P9 !P7 !P5", &[], true));
    assert!(allows("P9 !P7 !P5", &[], false));
    assert!(!allows("!P9 P7 !P5", &[], true));
    assert!(!allows("!P9", &[], true));
    // Of a run of tombstones with nothing below all go, and what they shadow.
    assert!(allows("!D9 !D8 !P7", &[], true));
    assert!(allows("!D9", &[], true));
    assert!(!allows("!D9", &[], false), "an older version may lie beneath");
    assert!(allows("D9 !D8 !P7", &[], false));
    // Where one must stay, the newest does; the oldest alone does not hide enough.
    assert!(!allows("!D9 P7", &[], true), "a value would reappear");
    assert!(!allows("!D9 !P7", &[], false));
    // A snapshot needs what is newest at its number.
    assert!(!allows("P9 !P7 !P5", &[7], true));
    assert!(allows("P9 P7 !P5", &[7], true));
    assert!(!allows("D9 !D7 P5", &[8], true), "the reader at 8 would see 5");
    assert!(!allows("!D9 P7", &[8], true));
    assert!(allows("D9 P7 !P5", &[8], true));
    // Operands close nothing.
    assert!(!allows("M9 !P7", &[], true));
    assert!(allows("M9 P7 !P5", &[], true));
    assert!(allows("M9 !D7 !P5", &[], true));
    assert!(!allows("M9 !D7 !P5", &[], false));
    // What has expired is a tombstone to all of them; what has not must stay.
    assert!(allows("!X9 !P7", &[], true));
    assert!(!allows("!X9 !P7", &[], false));
    assert!(!allows("!X9 P7", &[8], true));
    assert!(!allows("!E9", &[], true));
    assert!(allows("X9 !E7", &[], false));
    assert!(allows("M9 !X7 !P5", &[], true));
    assert!(!allows("M9 !E7", &[], true));
    // What a range delete covers goes, unless a reader stands between the two.
    assert!(allows("R9 !P7 !D5", &[], false));
    assert!(!allows("R9 !P7", &[8], true));
    assert!(!allows("R9 !P7", &[7], true));
    assert!(allows("R9 !P7", &[6], true));
    assert!(!allows("P9 !R7 P5", &[8], true), "the reader at 8 would see 5");
    assert!(!allows("!R7", &[], false));
    assert!(allows("R9 !R7 !P5", &[], false), "the newer one hides it");
    assert!(!allows("R9 !R7 P5", &[8], false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// What the code that discards drops, the judge lets go; what neither may lose, a reader who
    /// looks at everything sees.
    #[test]
    fn both_implementations_agree(
        shape in prop::collection::vec((0u8..6, 1u8..7, 0u8..7), 0..60),
        snapshots in prop::collection::btree_set(1u64..70, 0..6),
        is_bottom in any::<bool>(),
    ) {
        let entries = history(&shape);
        let snapshots: Vec<_> = snapshots.into_iter().collect();
        let beneath = if is_bottom { Beneath::nothing() } else { Beneath::anything() };
        let keep = keep_for(&entries, &snapshots, beneath);
        let verdicts = verdicts(&entries, &keep);
        let judgement = judge(&verdicts, &keep);
        prop_assert!(judgement.is_ok(), "{judgement:?}\n{verdicts:?}");
        let dropped = verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::Drop).count();
        let wanted = Judgement { entries: entries.len() as u64, dropped: dropped as u64, made: 0 };
        prop_assert_eq!(judgement.unwrap(), wanted);
    }

    /// Any further drop that a reader can tell is refused; of points, no other is.
    #[test]
    fn a_wrong_drop_is_refused(
        shape in prop::collection::vec((0u8..5, 1u8..7, 0u8..6), 1..40),
        snapshots in prop::collection::btree_set(1u64..50, 0..4),
        wrong in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
        is_bottom in any::<bool>(),
    ) {
        let entries = history(&shape);
        let snapshots: Vec<_> = snapshots.into_iter().collect();
        let beneath = if is_bottom { Beneath::nothing() } else { Beneath::anything() };
        let older = (0..5).filter(|_| !is_bottom).map(|id| Owned::new(&key(id), 1, Kind::Put, b""));
        let older: Vec<_> = older.collect();
        let keep = keep_for(&entries, &snapshots, beneath);
        let mut verdicts = verdicts(&entries, &keep);
        for index in wrong {
            index.get_mut(&mut verdicts).1 = Verdict::Drop;
        }
        let (before, after) = ([&*entries, &*older].concat(), [kept_of(&verdicts), older].concat());
        let mut readers = snapshots.iter().copied().chain([u64::MAX]);
        let shows = readers.any(|at| seen(&before, at) != seen(&after, at));
        let refused = judge(&verdicts, &keep).is_err();
        prop_assert!(!shows || refused, "{verdicts:?}");
        let has_ranges = entries.iter().any(|entry| entry.kind == Kind::RangeDelete);
        prop_assert!(shows || !refused || has_ranges || !is_bottom, "{verdicts:?}");
    }
}

/// The soak found it: a range delete that is hidden by two others, of which one goes because it is
/// spent, was taken for one that is needed, and its compaction refused at every try.
#[test]
fn a_range_delete_may_go_under_one_that_stays_and_one_that_is_spent() {
    let delete = Kind::RangeDelete as u8;
    let mut entries = history(&[(1, delete, 9), (1, delete, 5), (5, delete, 9)]);
    let [lowest, spent, stays] = [0, 1, 2].map(|at| entries[at].seq);
    let mut keep = keep_for(&entries, &[], Beneath::nothing());
    keep.spent = BTreeSet::from([spent]);
    entries.sort_by(|a, b| a.entry().order(&b.entry()));
    let verdict = |seq| if seq == stays { Verdict::Keep } else { Verdict::Drop };
    let said: Vec<_> = entries.iter().map(|e| (e.clone(), verdict(e.seq))).collect();
    judge(&said, &keep).unwrap();
    // Unless it only was said to be: then the lowest is needed where that one lay.
    keep.spent = BTreeSet::new();
    assert!(judge(&said, &keep).is_err());
    assert!(lowest < spent);
}
