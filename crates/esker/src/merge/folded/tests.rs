//! What a rewrite folds: a table of chains, the sums, and every reader before and after.

use super::*;
use crate::base::cursor::reference::{Owned, VecCursor};
use crate::base::span::Span;
use crate::base::time::{Time, split};
use crate::merge::judge::Judge;
use crate::merge::operators::Append;
use crate::merge::retain::Beneath;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn key(id: u8) -> Vec<u8> {
    vec![0, 0, 0, 1, id]
}

/// Appends; declines to combine anything with "x", and refuses "!".
#[derive(Debug)]
struct Picky;

impl MergeOperator for Picky {
    fn name(&self) -> &str {
        "picky"
    }

    fn full(&self, key: &[u8], old: Option<&[u8]>, all: &[&[u8]]) -> Result<Vec<u8>, String> {
        if all.contains(&&b"!"[..]) {
            return Err("no !".into());
        }
        Append::new(":").full(key, old, all)
    }

    fn partial(&self, key: &[u8], left: &[u8], right: &[u8]) -> Option<Vec<u8>> {
        let is_odd = |operand: &[u8]| operand == b"x" || operand == b"!";
        if is_odd(left) || is_odd(right) {
            return None;
        }
        Append::new(":").partial(key, left, right)
    }
}

fn rules() -> Rules {
    Rules::of_all(Rule { operator: Some(Arc::new(Picky)), ..Rule::default() })
}

fn keep_for(entries: &[Owned], snapshots: &[u64], is_bottom: bool) -> Keep {
    Keep {
        snapshots: snapshots.iter().copied().map(SeqNo).collect(),
        spans: entries.iter().filter_map(|entry| Span::of(&entry.entry())).collect(),
        beneath: if is_bottom { Beneath::nothing() } else { Beneath::anything() },
        now: NOW,
        ..Keep::default()
    }
}

/// What is written of `entries`; the judge has seen all of it, and the sums hold.
fn written(entries: &[Owned], keep: &Keep, rules: &Rules) -> Vec<Owned> {
    let mut folded = Folded::new(VecCursor::new(entries.to_vec()), keep, rules, None);
    let mut judge = Judge::new(keep, rules);
    let mut out = Vec::new();
    while let Some(Judged { entry, verdict }) = folded.judge_next().unwrap() {
        judge.see(&entry, verdict).unwrap();
        if verdict != Verdict::Drop {
            out.push(Owned::of(entry));
        }
    }
    let judgement = judge.finish().unwrap();
    let tally = folded.tally();
    assert_eq!(judgement.entries, tally.entries);
    assert_eq!((judgement.dropped, judgement.made), (tally.entries_dropped, tally.entries_created));
    let sum = out.iter().fold(Setsum::ZERO, |sum, entry| sum + Setsum::of(&entry.entry()));
    assert_eq!(tally.input + tally.created, sum + tally.dropped);
    assert!(out.windows(2).all(|pair| pair[0].entry().order(&pair[1].entry()).is_lt()));
    out
}

/// A row: versions of one key from the newest down, kind, number and value; what is written of it.
fn row(versions: &str, snapshots: &[u64], is_bottom: bool) -> String {
    let entries: Vec<_> = versions
        .split_whitespace()
        .map(|word| {
            let (kind, rest) = word.split_at(1);
            let (seq, value) = rest.split_once('=').unwrap_or((rest, ""));
            let kind = match kind {
                "P" => Kind::Put,
                "B" => Kind::Blob,
                "D" => Kind::Delete,
                "E" | "X" => Kind::Expiring,
                "M" => Kind::Merge,
                _ => Kind::RangeDelete,
            };
            let expiry = if word.starts_with('X') { NOW } else { Time(NOW.0 + 1) };
            let value = match kind {
                Kind::RangeDelete => vec![0, 0, 0, 1, 9],
                Kind::Expiring => [value.as_bytes(), &expiry.0.to_le_bytes()].concat(),
                _ => value.as_bytes().to_vec(),
            };
            Owned::new(&key(1), seq.parse().unwrap(), kind, &value)
        })
        .collect();
    let keep = keep_for(&entries, snapshots, is_bottom);
    let words = written(&entries, &keep, &rules()).into_iter().map(|entry| {
        let value = String::from_utf8_lossy(&entry.value).into_owned();
        let seq = entry.seq;
        match entry.kind {
            Kind::Put => format!("P{seq}={value}"),
            Kind::Blob => format!("B{seq}"),
            Kind::Delete => format!("D{seq}"),
            Kind::Expiring if entry.entry().is_absence(NOW) => format!("X{seq}"),
            Kind::Expiring => format!("E{seq}"),
            Kind::Merge => format!("M{seq}={value}"),
            Kind::RangeDelete => format!("R{seq}"),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

const NOW: Time = Time(1000);

/// MOSS-20.
#[test]
fn the_table_of_chains() {
    // Upon a put, a tombstone, or where nothing lies beneath: one put.
    assert_eq!(row("M9=c M8=b P7=a P5=z", &[], false), "P9=a:b:c");
    assert_eq!(row("M9=c M8=b D7 P5=z", &[], false), "P9=:b:c");
    assert_eq!(row("M9=c M8=b", &[], true), "P9=:b:c");
    assert_eq!(row("M9=c", &[], true), "P9=:c");
    // The base is out of reach: one operand, or as few as combine.
    assert_eq!(row("M9=c M8=b", &[], false), "M9=b:c");
    assert_eq!(row("M9=c", &[], false), "M9=c");
    assert_eq!(row("M9=d M8=c M7=x M6=b M5=a", &[], false), "M9=c:d M7=x M6=a:b");
    // Upon a value that lies out of line: it is left where it is.
    assert_eq!(row("M9=c M8=b B7=...", &[], true), "M9=b:c B7");
    // So is one that expires: what it was folded into would not. Once it has, it is a tombstone.
    assert_eq!(row("M9=c M8=b E7=a P5=z", &[], true), "M9=b:c E7");
    assert_eq!(row("M9=c M8=b X7=a P5=z", &[], true), "P9=:b:c");
    assert_eq!(row("M9=c M8=b X7=a P5=z", &[], false), "P9=:b:c");
    assert_eq!(row("M9=c X6=b P3=a", &[4], true), "P9=:c P3=a");
    assert_eq!(row("E9=c M8=b P7=a", &[], true), "E9");
    assert_eq!(row("X9=c M8=b P7=a", &[], true), "");
    assert_eq!(row("X9=c M8=b P7=a", &[8], true), "X9 P8=a:b");
    // A newer put hides all of it; what it does not hide is folded.
    assert_eq!(row("P10=n M9=c M8=b P7=a", &[], false), "P10=n");
    assert_eq!(row("P10=n M9=c M8=b P7=a", &[9], false), "P10=n P9=a:b:c");
    // Each stripe by itself: a snapshot sees what it saw.
    assert_eq!(row("M9=d M8=c M6=b M5=a P4=z", &[6], false), "M9=c:d P6=z:a:b");
    assert_eq!(row("M9=d M8=c M6=b", &[6, 8], true), "M9=d M8=c P6=:b");
    assert_eq!(row("M9=c D4 P3=a", &[5], true), "P9=:c");
    assert_eq!(row("M9=c D6 P3=a", &[4], true), "P9=:c P3=a");
    // A range delete ends a chain like a tombstone does, and stays.
    assert_eq!(row("M9=c R8 M7=b P6=a", &[], true), "P9=:c R8");
    assert_eq!(row("M9=d M8=c R7 M6=b", &[], false), "M9=c:d R7");
    // What the operator refuses stays as it is.
    assert_eq!(row("M9=c M8=! P7=a", &[], true), "M9=c M8=! P7=a");
    assert_eq!(row("M9=d M8=c M7=! M6=a", &[], false), "M9=c:d M7=! M6=a");
}

/// Without an operator, and with one that is not trusted any more, nothing is folded.
#[test]
fn operands_that_nobody_folds_are_kept() {
    let entries =
        [(9, "c"), (8, "b")].map(|(seq, v)| Owned::new(&key(1), seq, Kind::Merge, v.as_bytes()));
    let keep = keep_for(&entries, &[], true);
    let none = Rules::default();
    assert_eq!(written(&entries, &keep, &none), entries);
    assert_eq!((none.folds.folded(), none.folds.kept()), (0, 2));
    let rules = rules();
    rules.folds.distrust(CollectionId(1));
    assert_eq!(written(&entries, &keep, &rules), entries);
    assert_eq!((rules.folds.folded(), rules.folds.kept()), (0, 2));
}

/// Gives something else at every call.
#[derive(Debug, Default)]
struct Fickle(std::sync::atomic::AtomicU64);

impl MergeOperator for Fickle {
    fn name(&self) -> &str {
        "fickle"
    }

    fn full(&self, _: &[u8], _: Option<&[u8]>, _: &[&[u8]]) -> Result<Vec<u8>, String> {
        let call = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(call.to_string().into_bytes())
    }
}

/// What it makes is refused, and at the next try its operands are kept: a flush gets on.
#[test]
fn an_operator_that_does_not_give_the_same_twice_is_asked_no_more() {
    let operator = Arc::new(Fickle::default());
    let rules = Rules::of_all(Rule { operator: Some(operator), ..Rule::default() });
    let entries = [Owned::new(&key(1), 9, Kind::Merge, b"c")];
    let keep = keep_for(&entries, &[], true);
    let mut folded = Folded::new(VecCursor::new(entries.to_vec()), &keep, &rules, None);
    let mut judge = Judge::new(&keep, &rules);
    while let Some(Judged { entry, verdict }) = folded.judge_next().unwrap() {
        judge.see(&entry, verdict).unwrap();
    }
    let error = judge.finish().unwrap_err();
    assert!(error.message().contains("a fold is refused"), "{error}");
    assert_eq!(written(&entries, &keep, &rules), entries);
}

/// Of each key its value; of operands that come to none only that.
type Shown = BTreeMap<Vec<u8>, Result<Vec<u8>, ()>>;

/// What a reader at `at` sees of every key.
fn seen(entries: &[Owned], at: u64) -> Shown {
    let mut sorted: Vec<_> = entries.iter().filter(|entry| entry.seq.0 <= at).collect();
    sorted.sort_by_key(|entry| entry.seq);
    let mut shown = Shown::new();
    for entry in sorted {
        let (key, value) = (entry.key.clone(), entry.value.clone());
        match entry.kind {
            Kind::RangeDelete => {
                let span = Span::of(&entry.entry()).unwrap();
                shown.retain(|key, _| !span.covers(key));
            }
            _ if entry.entry().is_absence(NOW) => drop(shown.remove(&key)),
            Kind::Merge => {
                let folded = match shown.remove(&key).transpose() {
                    Ok(old) => Picky.full(b"", old.as_deref(), &[&value]).map_err(drop),
                    Err(()) => Err(()),
                };
                shown.insert(key, folded);
            }
            kind => {
                let value = split(kind, &value).map(|(value, _)| value.to_vec());
                shown.insert(key, value.map_err(drop));
            }
        }
    }
    shown
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(768))]

    /// The proof of each fold: whatever lies beneath, every snapshot and the present read the same
    /// before and after, and after folding what was folded.
    #[test]
    fn no_reader_can_tell_what_was_folded(
        shape in prop::collection::vec((0u8..4, prop_oneof![3 => Just(3u8), 1 => 1u8..7], 0u8..6, 0u8..20), 0..50),
        snapshots in prop::collection::btree_set(1u64..60, 0..5),
        older in prop::collection::vec((0u8..4, 1u8..4), 0..4),
        is_bottom in any::<bool>(),
    ) {
        let entry = |((id, kind, end, odd), seq): (&(u8, u8, u8, u8), u64)| {
            let expiry = if *kind == 5 { NOW } else { Time(NOW.0 + 1) };
            let kind = if *kind == 5 { Kind::Expiring } else { Kind::from_u8(*kind).unwrap() };
            let value = match (kind, odd) {
                (Kind::Expiring, _) => [seq.to_string().as_bytes(), &expiry.0.to_le_bytes()].concat(),
                (Kind::Delete, _) => Vec::new(),
                (Kind::RangeDelete, _) => key(*end),
                (Kind::Merge, 0) => b"!".to_vec(),
                (Kind::Merge, 1) => b"x".to_vec(),
                _ => seq.to_string().into_bytes(),
            };
            Owned::new(&key(*id), seq, kind, &value)
        };
        let entries: Vec<Owned> = shape.iter().zip(10..).map(entry).collect();
        let older: Vec<Owned> = older.iter().filter(|_| !is_bottom).zip(1..).map(|((id, kind), seq)| {
            let kind = Kind::from_u8(*kind).unwrap();
            let value = if kind == Kind::Delete { &b""[..] } else { b"old" };
            Owned::new(&key(*id), seq, kind, value)
        }).collect();
        let snapshots: Vec<u64> = snapshots.into_iter().collect();
        let keep = keep_for(&entries, &snapshots, is_bottom);
        let rules = rules();
        let once = written(&entries, &keep, &rules);
        let twice = written(&once, &keep, &rules);
        let all = |of: &[Owned]| [of, &older].concat();
        let numbers: BTreeSet<u64> = snapshots.into_iter().chain([u64::MAX]).collect();
        for at in numbers {
            let before = seen(&all(&entries), at);
            let (one, two) = (seen(&all(&once), at), seen(&all(&twice), at));
            prop_assert_eq!(&before, &one, "at {}: {:?}\n{:?}", at, entries, once);
            prop_assert_eq!(&before, &two, "at {}: {:?}\n{:?}", at, once, twice);
        }
    }
}
