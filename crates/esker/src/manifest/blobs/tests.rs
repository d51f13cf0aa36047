//! What dies, what is left, and what is refused.

use super::super::edit::Balance;
use super::super::state::State;
use super::super::state::tests::{flush, meta, placed, three_runs};
use super::super::store::Store;
use super::*;
use crate::base::id::SeqNo;
use crate::env::sim::Sim;
use crate::env::{Env, path_in};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::Path;

pub(crate) fn at(file: u64, offset: u64) -> Address {
    Address::new(FileId(file), offset).unwrap()
}

/// A log of 10 values of 300 bytes that was taken over: at offsets 0, 1000, …
pub(crate) fn log(id: u64) -> BlobMeta {
    BlobMeta {
        id: FileId(id),
        bytes: 10_000,
        values: 10,
        stored_bytes: 3000,
        least: 256,
        setsum: Setsum(u128::from(id) * 0x1_0001),
        intervals: vec![(at(id, 0), at(id, 9999))],
    }
}

pub(crate) fn dead(file: u64, addresses: &[Address]) -> Dead {
    let killed = addresses.iter().map(|address| (*address, 300)).collect();
    Dead::of(FileId(file), killed).unwrap()
}

pub(crate) fn kills(dead: Vec<Dead>) -> Edit {
    Edit { dead, ..Edit::default() }
}

/// A flush that takes over the logs `ids`.
pub(crate) fn births(state: &State, metas: Vec<BlobMeta>) -> Edit {
    let next_file = metas.iter().map(|meta| meta.id.next()).max();
    let next_file = next_file.max(Some(state.next_file));
    Edit { add_blobs: metas, next_file, ..flush(vec![], 0) }
}

/// A cleaning of `remove` into `add`, dropping the rest.
pub(crate) fn cleaning(state: &State, remove: &[u64], add: Vec<BlobMeta>, dead: Vec<Dead>) -> Edit {
    let remove_blobs: Vec<_> = remove.iter().copied().map(FileId).collect();
    let input = sum_removed(&state.blobs, &remove_blobs);
    let output = add.iter().fold(Setsum::ZERO, |sum, meta| sum + meta.setsum);
    let (dropped, created) = (input - output, Setsum::ZERO);
    let balance = Balance { input, output, dropped, created, reason: Reason::Clean };
    let next_file = add.iter().map(|meta| meta.id.next()).max().max(Some(state.next_file));
    let balance = Some(balance);
    Edit { add_blobs: add, remove_blobs, dead, next_file, balance, ..Edit::default() }
}

/// Blob files 41 and 42; of 41, the values at 0 and 1000 are dead.
pub(crate) fn two_files() -> State {
    let mut state = three_runs();
    state.apply(&births(&state, vec![log(41)])).unwrap();
    state.apply(&births(&state, vec![log(42)])).unwrap();
    state.apply(&kills(vec![dead(41, &[at(41, 0), at(41, 1000)])])).unwrap();
    state
}

/// What a cleaning of both makes: all that is live in them.
pub(crate) fn cleaned(id: u64) -> BlobMeta {
    let intervals = vec![(at(41, 2000), at(41, 9999)), (at(42, 0), at(42, 9999))];
    let (values, stored_bytes) = (18, 5400);
    BlobMeta { id: FileId(id), bytes: 6000, values, stored_bytes, least: 0, intervals, ..log(id) }
}

fn refuses(state: &State, edit: &Edit, why: &str) {
    let mut after = state.clone();
    let error = after.apply(edit).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert!(error.message().contains(why), "want \"{why}\" in \"{error}\"");
    assert_eq!(after, *state, "a refused edit changed something");
}

fn restored(state: &State) -> State {
    let (edit, whole) = state.as_edit();
    State::restore(&edit, &whole).unwrap()
}

/// MACE-14: kills at ticks 7, 7, 9 of a file born at 3.
#[test]
fn the_first_death_in_a_tick_moves_the_ticks_on() {
    let mut state = State { next_file: FileId(50), ..State::default() };
    let ups = |state: &State| {
        let blob = state.blobs.get(FileId(41)).unwrap();
        (state.tick, blob.up1, blob.up2)
    };
    let idle = |state: &mut State, to| {
        while state.tick < to {
            state.apply(&Edit::default()).unwrap();
        }
    };
    idle(&mut state, 2);
    state.apply(&births(&state, vec![log(41)])).unwrap();
    assert_eq!(ups(&state), (3, 3, 3));
    idle(&mut state, 6);
    assert_eq!(ups(&state), (6, 3, 3));
    let twice = vec![dead(41, &[at(41, 0)]), dead(41, &[at(41, 9999)])];
    state.apply(&kills(twice)).unwrap();
    assert_eq!(ups(&state), (7, 7, 3));
    idle(&mut state, 8);
    assert_eq!(ups(&restored(&state)), (8, 7, 3));
    state.apply(&kills(vec![dead(41, &[at(41, 5)])])).unwrap();
    assert_eq!(ups(&state), (9, 9, 7));
    assert_eq!(restored(&state), state);
    // What dies with the birth moves nothing.
    let born = Edit { dead: vec![dead(42, &[at(42, 0)])], ..births(&state, vec![log(42)]) };
    state.apply(&born).unwrap();
    let blob = state.blobs.get(FileId(42)).unwrap();
    assert_eq!((blob.up1, blob.up2, blob.live_values(), blob.live_bytes()), (10, 10, 9, 2700));
}

/// MACE-14, MACE-15: the mean of the sources weighted by live bytes, and what died meanwhile.
#[test]
fn a_cleaning_hands_over_addresses_and_age() {
    let mut state = two_files();
    // Ticks: 41 was born at 4 and died at 6, 42 was born at 5. Live: 2400 and 3000 bytes.
    state.apply(&kills(vec![dead(42, &[at(42, 3000)])])).unwrap();
    let ups: Vec<_> = state.blobs.iter().map(|blob| (blob.up1, blob.up2)).collect();
    assert_eq!(ups, [(6, 4), (7, 5)]);
    let sums = (state.present, state.dropped);
    // The copy was made before 42:3000 died.
    let edit = cleaning(&state, &[41, 42], vec![cleaned(60)], vec![dead(60, &[at(42, 3000)])]);
    state.apply(&edit).unwrap();
    assert_eq!((state.present, state.dropped), sums);
    let blob = state.blobs.get(FileId(60)).unwrap();
    assert_eq!((blob.live_values(), blob.live_bytes(), blob.dead_values), (17, 5100, 1));
    // (4 · 2400 + 5 · 2700) / 5100 = 4.5; then the death at tick 8.
    assert_eq!((blob.up1, blob.up2), (8, 4));
    assert_eq!(state.blobs.len(), 1);
    assert_eq!(state.blob_of(at(41, 1999)), None);
    assert_eq!(state.blob_of(at(41, 2000)), Some(blob));
    assert!(state.is_dead(at(42, 3000)) && state.is_dead(at(41, 0)));
    assert!(!state.is_dead(at(42, 2000)));
    assert_eq!(restored(&state), state);
}

#[test]
fn killed_values_are_sorted_by_the_files_that_answer_for_them_now() {
    let mut state = two_files();
    let killed = [(at(42, 7), 9), (at(41, 8), 1), (at(42, 3), 5), (at(41, 9999), 2)];
    let resolved = state.resolve_dead(&killed).unwrap();
    let of = |file, bytes, addresses: &[Address]| {
        let addresses = addresses.to_vec();
        Dead { file: FileId(file), bytes, addresses }
    };
    let want = [of(41, 3, &[at(41, 8), at(41, 9999)]), of(42, 14, &[at(42, 3), at(42, 7)])];
    assert_eq!(resolved, want);
    state.apply(&cleaning(&state, &[41, 42], vec![cleaned(60)], vec![])).unwrap();
    let error = state.resolve_dead(&killed).unwrap_err();
    assert!(error.message().contains("000041:8"), "{error}");
    let killed = [killed[0], killed[3], killed[2]];
    let all = [at(41, 9999), at(42, 3), at(42, 7)];
    assert_eq!(state.resolve_dead(&killed).unwrap(), [of(60, 16, &all)]);
    assert_eq!(state.resolve_dead(&[]).unwrap(), []);
}

#[test]
fn what_is_wholly_dead_leaves_with_any_edit_and_nothing_else_does() {
    let mut state = two_files();
    let remove = |dead| Edit { remove_blobs: vec![FileId(41)], dead, ..Edit::default() };
    refuses(&state, &remove(vec![]), "8 live values");
    let rest: Vec<_> = (2..10).map(|i| at(41, i * 1000)).collect();
    let last = dead(41, &rest);
    let mut alone = state.clone();
    alone.apply(&kills(vec![last.clone()])).unwrap();
    assert_eq!(alone.blobs.get(FileId(41)).unwrap().live_bytes(), 0);
    alone.apply(&remove(vec![])).unwrap();
    state.apply(&remove(vec![last])).unwrap();
    assert_eq!(state.blobs, alone.blobs);
    refuses(&state, &remove(vec![]), "live file");
    refuses(&state, &kills(vec![dead(41, &[at(41, 5)])]), "live file");
}

/// MACE-17: exactly, and once.
#[test]
fn deaths_that_do_not_fit_are_refused() {
    let state = two_files();
    refuses(&state, &kills(vec![dead(41, &[at(41, 1000)])]), "000041:1000, which is dead");
    refuses(&state, &kills(vec![dead(42, &[at(42, 5), at(42, 5)])]), "which is dead");
    refuses(&state, &kills(vec![dead(42, &[at(42, 10_000)])]), "in its intervals");
    refuses(&state, &kills(vec![dead(42, &[at(41, 2000)])]), "in its intervals");
    refuses(&state, &kills(vec![dead(43, &[at(43, 0)])]), "live file");
    let none = Dead { addresses: vec![], ..dead(42, &[at(42, 0)]) };
    refuses(&state, &kills(vec![none]), "an address");
    for (count, bytes) in [(1, 3001), (1, 3000), (1, 2992), (1, u64::MAX), (10, 2999), (11, 3000)] {
        let addresses: Vec<_> = (0..count).map(|i| at(42, i * 900)).collect();
        let odd = Dead { bytes, ..dead(42, &addresses) };
        refuses(&state, &kills(vec![odd]), "figures within 10 values, 3000 bytes");
    }
    let all: Vec<_> = (0..10).map(|i| at(42, i * 900)).collect();
    state.clone().apply(&kills(vec![dead(42, &all)])).unwrap();
    let error = state.resolve_dead(&[(at(41, 5), 9), (at(44, 5), 9)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert!(error.message().contains("000044:5"), "{error}");
}

#[test]
fn blob_files_that_do_not_fit_are_refused() {
    let state = two_files();
    let with = |change: &dyn Fn(&mut BlobMeta)| {
        let mut meta = log(45);
        change(&mut meta);
        births(&state, vec![meta])
    };
    state.clone().apply(&with(&|_| {})).unwrap();
    refuses(&state, &with(&|m| m.values = 0), "figures");
    refuses(&state, &with(&|m| m.values = 3001), "figures");
    refuses(&state, &with(&|m| m.stored_bytes = 10_001), "figures");
    refuses(&state, &with(&|m| m.intervals.clear()), "intervals");
    refuses(&state, &with(&|m| m.intervals = vec![(at(45, 9), at(45, 8))]), "intervals");
    let touching = vec![(at(45, 0), at(45, 8)), (at(45, 8), at(45, 9))];
    refuses(&state, &with(&|m| m.intervals = touching.clone()), "ascending");
    refuses(&state, &with(&|m| m.intervals[0].0 = at(42, 9999)), "000042:9999 in both");
    refuses(&state, &with(&|m| m.intervals = log(41).intervals), "000041:0 in both");
    refuses(&state, &with(&|m| m.id = FileId(42)), "a live one");
    let late = Edit { next_file: Some(FileId(45)), ..with(&|_| {}) };
    refuses(&state, &late, "below next-file");
    let bare = Edit { flushed: None, balance: None, ..with(&|_| {}) };
    refuses(&state, &bare, "add-blob");
}

/// Law 6, for values.
#[test]
fn a_cleaning_that_loses_something_is_refused() {
    let state = two_files();
    let good = |change: &dyn Fn(&mut BlobMeta)| {
        let mut meta = cleaned(60);
        change(&mut meta);
        cleaning(&state, &[41, 42], vec![meta], vec![])
    };
    state.clone().apply(&good(&|_| {})).unwrap();
    refuses(&state, &good(&|m| m.values = 17), "18 live values of 5400 bytes");
    refuses(&state, &good(&|m| m.stored_bytes = 5399), "18 live values of 5400 bytes");
    refuses(&state, &good(&|m| m.intervals.truncate(1)), "taken over");
    let with = |change: &dyn Fn(&mut Edit)| {
        let mut edit = good(&|_| {});
        change(&mut edit);
        edit
    };
    let sums = |change: fn(&mut Balance)| with(&|edit| change(edit.balance.as_mut().unwrap()));
    refuses(&state, &sums(|b| b.input += Setsum(1)), "out + dropped");
    refuses(&state, &sums(|b| b.output += Setsum(1)), "what it adds");
    let both = sums(|b| (b.input, b.dropped) = (b.input + Setsum(1), b.dropped + Setsum(1)));
    refuses(&state, &both, "what it removes");
    refuses(&state, &with(&|e| e.remove_blobs = vec![FileId(41)]), "what it removes");
    refuses(&state, &with(&|e| e.flushed = Some(SeqNo(99))), "blob files alone");
    refuses(&state, &with(&|e| e.remove = vec![FileId(5)]), "blob files alone");
    let segment = placed(0, 9, meta(20, ("a", "b"), (31, 40)));
    refuses(&state, &with(&|e| e.add = vec![segment.clone()]), "blob files alone");
    let again = cleaning(&state, &[41], vec![log(41)], vec![dead(41, &[at(41, 2000)])]);
    refuses(&state, &again, "one that it removes");
    let other = with(&|e| e.balance.as_mut().unwrap().reason = Reason::Repair);
    refuses(&state, &other, "edit refused");
    // Without a cleaning, live values go nowhere.
    let flush = Edit { remove_blobs: vec![FileId(42)], ..births(&state, vec![log(45)]) };
    refuses(&state, &flush, "10 live values");
}

#[test]
fn a_first_transaction_that_contradicts_itself_is_refused() {
    let state = two_files();
    let (edit, whole) = state.as_edit();
    assert_eq!(State::restore(&edit, &whole).unwrap(), state);
    let bad = |change: &dyn Fn(&mut Edit, &mut super::super::edit::Whole)| {
        let (mut edit, mut whole) = (edit.clone(), whole.clone());
        change(&mut edit, &mut whole);
        assert_eq!(State::restore(&edit, &whole).unwrap_err().kind(), ErrorKind::Corruption);
    };
    bad(&|_, w| w.ticks.truncate(1));
    bad(&|_, w| w.ticks.push(w.ticks[0]));
    bad(&|_, w| w.ticks[0].file = FileId(49));
    bad(&|_, w| w.ticks[0].up2 = 99);
    bad(&|_, w| w.ticks[0].up1 = 99);
    bad(&|_, w| w.tick = None);
    bad(&|e, _| e.remove_blobs = vec![FileId(41)]);
    bad(&|e, _| e.dead[0].bytes = 3000);
    bad(&|e, _| e.dead[0].file = FileId(49));
    bad(&|e, _| e.add_blobs[0].intervals = e.add_blobs[1].intervals.clone());
    bad(&|e, _| e.add_blobs[1].id = FileId(41));
    bad(&|e, _| e.next_file = Some(FileId(42)));
}

/// What a blob file should be, kept naively.
#[derive(Clone, Debug, Default)]
struct Model {
    /// Address → stored bytes.
    values: BTreeMap<u64, u32>,
    dead: BTreeSet<u64>,
    intervals: Vec<(Address, Address)>,
    up1: u64,
    up2: u64,
}

impl Model {
    fn live(&self) -> impl Iterator<Item = (Address, u32)> {
        let live = self.values.iter().filter(|(address, _)| !self.dead.contains(address));
        live.map(|(address, stored)| (Address(*address), *stored))
    }

    fn live_bytes(&self) -> u64 {
        self.live().map(|(_, stored)| u64::from(stored)).sum()
    }

    fn kill(&mut self, address: Address, tick: u64) {
        self.dead.insert(address.0);
        if self.up1 != tick {
            (self.up2, self.up1) = (self.up1, tick);
        }
    }

    fn meta(&self, id: u64) -> BlobMeta {
        let stored_bytes = self.values.values().map(|stored| u64::from(*stored)).sum();
        let setsum = self.values.keys().fold(Setsum::ZERO, |sum, address| sum + item(*address));
        BlobMeta {
            id: FileId(id),
            bytes: stored_bytes + 10_000,
            values: u64::try_from(self.values.len()).unwrap(),
            stored_bytes,
            least: 0,
            setsum,
            intervals: self.intervals.clone(),
        }
    }
}

fn item(address: u64) -> Setsum {
    Setsum(u128::from(address) * 0x9e37_79b9_7f4a_7c15 + 1)
}

/// A manifest on a simulated disk beside the model.
struct World {
    env: Arc<dyn Env>,
    store: Store,
    files: BTreeMap<u64, Model>,
    next: u64,
}

impl World {
    fn new() -> Self {
        let env: Arc<dyn Env> = Sim::new(1);
        env.create_dir(Path::new("db")).unwrap();
        let state = State { next_file: FileId(2), ..State::default() };
        let store = Store::create(&env, Path::new("db"), FileId(1), &state).unwrap();
        Self { env, store, files: BTreeMap::new(), next: 2 }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn tick(&self) -> u64 {
        self.store.state().tick + 1
    }

    fn append(&mut self, edit: Edit) {
        self.store.append(&Edit { next_file: Some(FileId(self.next)), ..edit }).unwrap();
    }

    /// A flush that takes over a log, part of which died in it.
    fn birth(&mut self, shape: u64) {
        let (id, tick) = (self.number(), self.tick());
        let count = shape % 150 + 1;
        let gap = 300 + shape % 3 * 1000;
        let stored = u32::try_from(256 + shape % 40).unwrap();
        let values = (0..count).map(|i| (at(id, i * gap + i % 2).0, stored)).collect();
        let intervals = vec![(at(id, 0), at(id, count * gap))];
        let mut model = Model { values, intervals, up1: tick, up2: tick, ..Model::default() };
        let killed: Vec<_> = model.live().skip(1).step_by(7).collect();
        killed.iter().for_each(|(address, _)| model.kill(*address, tick));
        let dead = Dead::of(FileId(id), killed).into_iter().collect();
        let state = self.store.state();
        let edit = Edit { dead, ..births(state, vec![model.meta(id)]) };
        self.files.insert(id, model);
        self.append(edit);
    }

    /// Some of all that lives, by the files that have it now.
    fn kill(&mut self, shape: u64) {
        let (tick, step) = (self.tick(), usize::try_from(shape % 9 + 1).unwrap());
        let live = self.files.values().flat_map(Model::live);
        let mut killed: Vec<_> = live.skip(step / 2).step_by(step).collect();
        killed.reverse();
        for model in self.files.values_mut() {
            let mine = killed.iter().filter(|(address, _)| model.values.contains_key(&address.0));
            let mine: Vec<_> = mine.collect();
            mine.into_iter().for_each(|(address, _)| model.kill(*address, tick));
        }
        let dead = self.store.state().resolve_dead(&killed).unwrap();
        self.append(kills(dead));
    }

    /// Copies what lives in some files, lets more die, and hands over.
    fn clean(&mut self, shape: u64) {
        let chosen = |(i, id): (usize, &u64)| (shape >> (i % 8) & 1 == 1).then_some(*id);
        let chosen: Vec<_> = self.files.keys().enumerate().filter_map(chosen).collect();
        let copied: BTreeMap<u64, u32> = chosen
            .iter()
            .flat_map(|id| self.files[id].live())
            .map(|(address, stored)| (address.0, stored))
            .collect();
        if copied.is_empty() {
            return;
        }
        self.kill(shape | 3);
        let (id, tick) = (self.number(), self.tick());
        let sources: Vec<_> = chosen.iter().map(|id| self.files.remove(id).unwrap()).collect();
        let lives =
            |(first, last): &(Address, Address)| copied.range(first.0..=last.0).next().is_some();
        let intervals = sources.iter().flat_map(|source| source.intervals.clone());
        let mut intervals: Vec<_> = intervals.filter(lives).collect();
        intervals.sort_unstable();
        let bytes: u64 = sources.iter().map(Model::live_bytes).sum();
        let mean = sources.iter().map(|source| source.up2 * source.live_bytes()).sum::<u64>();
        let mean = mean.checked_div(bytes).unwrap_or(tick);
        let state = self.store.state();
        let late = copied.iter().map(|(address, stored)| (Address(*address), *stored));
        let late: Vec<_> = late.filter(|(address, _)| state.is_dead(*address)).collect();
        let mut model =
            Model { values: copied, intervals, up1: mean, up2: mean, ..Model::default() };
        late.iter().for_each(|(address, _)| model.kill(*address, tick));
        let dead = Dead::of(FileId(id), late).into_iter().collect();
        let edit = cleaning(state, &chosen, vec![model.meta(id)], dead);
        self.files.insert(id, model);
        self.append(edit);
    }

    fn remove_dead(&mut self) {
        let dead = |(id, model): (&u64, &Model)| model.live().next().is_none().then_some(*id);
        let gone: Vec<_> = self.files.iter().filter_map(dead).collect();
        self.files.retain(|id, _| !gone.contains(id));
        let remove_blobs = gone.into_iter().map(FileId).collect();
        self.append(Edit { remove_blobs, ..Edit::default() });
    }

    fn roll_over(&mut self) {
        let old = path_in(Path::new("db"), self.store.name());
        let id = FileId(self.number());
        self.append(Edit::default());
        self.store.roll_over(&self.env, Path::new("db"), id).unwrap();
        self.env.remove(&old).unwrap();
    }

    /// Reads what is there and goes on in a new file, as an open does.
    fn reopen(&mut self) {
        let dir = Path::new("db");
        let listed = self.env.list(dir).unwrap();
        let (mut state, report) = Store::read(&self.env, dir, &listed).unwrap().unwrap();
        assert_eq!((state.next_file, report.torn_bytes), (FileId(self.next), 0));
        assert_eq!(state, *self.store.state());
        let (old, id) = (path_in(dir, self.store.name()), FileId(self.number()));
        state.next_file = FileId(self.next);
        self.store = Store::create(&self.env, dir, id, &state).unwrap();
        self.env.remove(&old).unwrap();
        assert_eq!(*self.store.state(), state);
    }

    fn check(&self) {
        let state = self.store.state();
        let ids: Vec<_> = state.blobs.iter().map(|blob| blob.meta.id.0).collect();
        assert_eq!(ids, self.files.keys().copied().collect::<Vec<_>>());
        for (blob, (id, model)) in state.blobs.iter().zip(&self.files) {
            assert_eq!(blob.meta, model.meta(*id));
            assert!(blob.dead.iter().eq(model.dead.iter().copied()), "{id}");
            let (values, bytes) = (blob.live_values(), blob.live_bytes());
            assert_eq!(values, u64::try_from(model.live().count()).unwrap());
            assert_eq!(bytes, model.live_bytes());
            assert_eq!(values + blob.dead_values, blob.meta.values);
            assert_eq!(bytes + blob.dead_bytes, blob.meta.stored_bytes);
            assert_eq!((blob.up1, blob.up2), (model.up1, model.up2), "{id}");
            for address in model.values.keys() {
                assert_eq!(state.blob_of(Address(*address)), Some(blob));
            }
        }
        assert_eq!((state.present, state.dropped), (Setsum::ZERO, Setsum::ZERO));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// MACE-17: kill, reopen, kill, reopen: live + dead = total, as a model that keeps every value.
    #[test]
    fn what_is_dead_stays_dead_and_the_rest_lives(
        steps in prop::collection::vec((0_u8..12, any::<u64>()), 1..40),
    ) {
        let mut world = World::new();
        for (step, shape) in steps {
            match step {
                0..4 => world.birth(shape),
                4..7 => world.kill(shape),
                7..9 => world.clean(shape),
                9 => world.remove_dead(),
                10 => world.roll_over(),
                _ => world.reopen(),
            }
            world.check();
        }
        world.reopen();
        world.kill(2);
        world.reopen();
        world.check();
    }
}

/// Many dead addresses are read back, and do not make a manifest roll over at each edit.
#[test]
fn a_long_line_of_the_dead_is_one_line() {
    let (id, values) = (5, 200_000_u64);
    let mut world = World::new();
    world.next = 6;
    let bytes = values * 5000;
    let intervals = vec![(at(id, 0), at(id, bytes))];
    let meta =
        BlobMeta { id: FileId(id), bytes, values, stored_bytes: bytes, intervals, ..log(id) };
    let edit = births(world.store.state(), vec![meta]);
    world.append(edit);
    // Gaps that do not repeat: as long as such a line can be.
    let killed: Vec<_> =
        (0..values / 2).map(|i| (at(id, i * 9000 + i % 7 * i % 50), 5000)).collect();
    let dead = world.store.state().resolve_dead(&killed).unwrap();
    world.append(kills(dead));
    world.reopen();
    assert!(!world.store.needs_rollover());
    assert!(world.store.byte_count() < 8 * values / 2, "{}", world.store.byte_count());
    assert_eq!(world.store.state().blobs.get(FileId(id)).unwrap().live_values(), values / 2);
}
