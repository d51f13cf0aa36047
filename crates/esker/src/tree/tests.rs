//! Scans of a view, with range deletes and gaps, against a map that remembers every version.

use super::gaps::Gaps;
use super::view::View;
use crate::base::batch::Op;
use crate::base::id::{CollectionId, SeqNo};
use crate::base::key::{Kind, Lookup};
use crate::memtable::Memtable;
use crate::merge::loser::Merged;
use crate::merge::visible::{Scope, Tombstones, Visible};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::ops::{Bound, Range};
use std::sync::Arc;

const ID: CollectionId = CollectionId(1);

/// Memtables, and what each number left behind.
struct World {
    memtables: Vec<Arc<Memtable>>,
    gaps: Arc<Gaps>,
    /// The keys that were there after each number.
    states: Vec<BTreeSet<u16>>,
}

fn full(key: u16) -> Vec<u8> {
    [&ID.0.to_be_bytes()[..], &key.to_be_bytes()].concat()
}

impl World {
    fn new() -> Self {
        let memtable = Arc::new(Memtable::with_capacity(1 << 20).unwrap());
        Self { memtables: vec![memtable], gaps: Arc::default(), states: vec![BTreeSet::new()] }
    }

    fn seq(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    fn write(&mut self, kind: Kind, keys: Range<u16>) {
        let mut state = self.states.last().unwrap().clone();
        let (key, end) = (keys.start.to_be_bytes(), keys.end.to_be_bytes());
        let value = if kind == Kind::RangeDelete { &end[..] } else { b"" };
        let op = Op { kind, collection: ID, key: &key, value, expires: None };
        match kind {
            Kind::Put => drop(state.insert(keys.start)),
            Kind::RangeDelete => state.retain(|key| !keys.contains(key)),
            _ => drop(state.remove(&keys.start)),
        }
        let newest = &self.memtables[0];
        let slot = newest.reserve(Memtable::need(&op)).unwrap();
        newest.fill(slot, &op, SeqNo(self.seq() + 1));
        self.states.push(state);
    }

    fn each(&mut self, kind: Kind, keys: Range<u16>) {
        keys.for_each(|key| self.write(kind, key..key + 1));
    }

    fn rotate(&mut self) {
        self.memtables.insert(0, Arc::new(Memtable::with_capacity(1 << 20).unwrap()));
    }

    fn view(&self) -> Arc<View> {
        let (memtables, gaps) = (self.memtables.clone(), self.gaps.clone());
        let (version, rules, clock) = Default::default();
        Arc::new(View { memtables, version, gaps, rules, clock })
    }

    fn scan(&self, keys: &Range<u16>, at: u64) -> Visible<Merged> {
        let (view, at, gaps) = (self.view(), SeqNo(at), self.gaps.clone());
        let now = view.clock.now();
        let scope = Scope {
            seq: at,
            now,
            start: Bound::Included(full(keys.start).into()),
            end: Bound::Excluded(full(keys.end).into()),
            tombstones: Tombstones::Hidden,
        };
        let cover = view.cover(at, now);
        let hidden = cover.clone();
        let open = Box::new(move || Ok(view.cursor(at, &hidden)));
        Visible::new(open, scope).under(cover).telling(Box::new(move |gap| gaps.remember(gap, now)))
    }

    /// The keys that are found, and how many did not show on the way.
    fn walk(&self, keys: Range<u16>, at: u64, turns: u64, most: usize) -> (Vec<u16>, u64) {
        let mut scan = self.scan(&keys, at);
        let (mut front, mut back) = (Vec::new(), Vec::new());
        for turn in 0..most {
            let is_back = turns >> (turn % 64) & 1 == 1;
            let item = if is_back { scan.next_back() } else { scan.next_front() }.unwrap();
            let Some(item) = item else { break };
            let key = u16::from_be_bytes(item.key[..].try_into().unwrap());
            if is_back { back.push(key) } else { front.push(key) }
        }
        front.extend(back.into_iter().rev());
        (front, scan.stepped())
    }

    fn wanted(&self, keys: Range<u16>, at: u64, turns: u64, most: usize) -> Vec<u16> {
        let mut left: Vec<u16> = self.states[at as usize].range(keys).copied().collect();
        let (mut front, mut back) = (Vec::new(), Vec::new());
        for turn in 0..most {
            let is_back = turns >> (turn % 64) & 1 == 1;
            if left.is_empty() {
                break;
            }
            if is_back { back.extend(left.pop()) } else { front.push(left.remove(0)) }
        }
        front.extend(back.into_iter().rev());
        front
    }
}

/// A queue: deleted at its head, and asked for its head.
#[test]
fn the_head_of_a_queue_is_found_without_stepping_through_what_was_taken() {
    for (from_back, turns) in [(false, 0), (true, u64::MAX)] {
        let mut world = World::new();
        world.each(Kind::Put, 0..6000);
        let mut stepped = 0;
        for n in 0..5000 {
            let key = if from_back { 5999 - n } else { n };
            let (found, steps) = world.walk(0..6000, world.seq(), turns, 1);
            assert_eq!(found, [key]);
            stepped += steps;
            world.write(Kind::Delete, key..key + 1);
        }
        // Each scan leaves up to 64 behind, and the order's runs are merged now and then.
        assert!(stepped < 5000 * 100, "{stepped} steps");
        assert!(world.gaps.count() <= 2, "{} gaps", world.gaps.count());
        // Who is older sees what was there then.
        let at = 6000 + 1000;
        let wanted = world.wanted(0..6000, at, turns, 3);
        assert_eq!(world.walk(0..6000, at, turns, 3).0, wanted);
        // A new key in the gap is seen, and seen no more once it is gone.
        world.write(Kind::Put, if from_back { 5999..6000 } else { 0..1 });
        let wanted = world.wanted(0..6000, world.seq(), turns, 2);
        assert_eq!(world.walk(0..6000, world.seq(), turns, 2).0, wanted);
    }
}

/// Ten thousand range deletes: what lies in older memtables is leapt over at once, the range deletes
/// themselves after the first scan.
#[test]
fn ten_thousand_range_deletes_are_leapt_over() {
    let mut world = World::new();
    world.each(Kind::Put, 0..20_000);
    world.rotate();
    for key in (0..20_000).step_by(2) {
        world.write(Kind::RangeDelete, key..key + 2);
    }
    world.each(Kind::Put, 19_999..20_000);
    for (turns, steps_max) in [(0, 10_000), (0, 10), (u64::MAX, 10)] {
        let (found, stepped) = world.walk(0..20_000, world.seq(), turns, 1);
        assert_eq!(found, [19_999]);
        assert!(stepped <= steps_max, "{stepped} steps");
    }
    assert_eq!(world.walk(0..20_000, world.seq(), 0, usize::MAX).0, [19_999]);
    assert_eq!(world.walk(0..20_000, 20_000, 0, usize::MAX).0.len(), 20_000);
    let lookup = |key: u16| Lookup::new(ID, &key.to_be_bytes());
    let view = world.view();
    assert!(view.get(&lookup(7), SeqNo(world.seq())).unwrap().is_none());
    assert!(view.get(&lookup(7), SeqNo(20_000)).unwrap().is_some());
    assert!(view.get(&lookup(19_999), SeqNo(world.seq())).unwrap().is_some());
}

#[derive(Clone, Debug)]
enum Step {
    Put(Range<u16>),
    Delete(Range<u16>),
    RangeDelete(Range<u16>),
    Rotate,
    /// From, to, of how many numbers ago, which turns come from the back, how many.
    Scan(Range<u16>, u64, u64, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let keys = || (0u16..400, 1u16..150).prop_map(|(start, len)| start..start + len);
    let turns = prop_oneof![Just(0), Just(u64::MAX), any::<u64>()];
    let most = prop_oneof![1 => 1usize..4, 3 => Just(usize::MAX)];
    prop_oneof![
        3 => keys().prop_map(Step::Put),
        3 => keys().prop_map(Step::Delete),
        2 => keys().prop_map(Step::RangeDelete),
        1 => Just(Step::Rotate),
        6 => (keys(), 0u64..400, turns, most).prop_map(|(keys, ago, turns, most)| {
            Step::Scan(keys.start / 2..keys.end + 200, ago, turns, most)
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    /// Whatever scans remember, every later scan of every moment finds what was there.
    #[test]
    fn gaps_never_change_what_a_scan_finds(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Put(keys) => world.each(Kind::Put, keys),
                Step::Delete(keys) => world.each(Kind::Delete, keys),
                Step::RangeDelete(keys) => world.write(Kind::RangeDelete, keys),
                Step::Rotate => world.rotate(),
                Step::Scan(keys, ago, turns, most) => {
                    let ago = if ago % 3 == 0 { ago } else { 0 };
                    let at = world.seq().saturating_sub(ago);
                    let wanted = world.wanted(keys.clone(), at, turns, most);
                    prop_assert_eq!(world.walk(keys, at, turns, most).0, wanted, "at {}", at);
                }
            }
        }
    }
}
