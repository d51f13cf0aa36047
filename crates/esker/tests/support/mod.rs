//! What the randomized harnesses share: chance, programs, the reference they are held against, a
//! session that runs a program on a database in a simulated world, and the reporting of a failure.
//!
//! ```text
//!   seed ─▶ Dice ─▶ Setup + Vec<Step> ─▶ Session (engine in a Sim) ┐
//!                                      └▶ Reference (versioned map) ┴─ agree, or: seed, list, shrunk
//! ```
//!
//! 1. A seed decides everything. `ESKER_SEED=0x…` runs that one alone; `ESKER_LONG=n` runs n times
//!    as many. Counts that are printed are counted, never typed.
//! 2. Programs stay runnable when steps are dropped from them: that is how a failure is shrunk.

#![expect(dead_code, reason = "each harness uses its part")]

pub mod program;
pub mod reference;
pub mod session;
pub mod traffic;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Numbers by chance: splitmix64.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn coin(&mut self) -> bool {
        self.one_in(2)
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }
}

/// The one seed that was asked for.
pub fn wanted_seed() -> Option<u64> {
    let text = std::env::var("ESKER_SEED").ok()?;
    let digits = text.trim();
    match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    }
}

/// How many times as much is to be run.
pub fn long() -> u64 {
    std::env::var("ESKER_LONG").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Runs `work` for `count` seeds on as many threads as there are processors; stops at the first
/// failure, which names its seed.
pub fn for_seeds(name: &str, count: u64, work: impl Fn(u64) -> Result<(), String> + Sync) {
    if let Some(seed) = wanted_seed() {
        if let Err(failure) = guarded(|| work(seed)) {
            panic!("{name}: seed {seed:#x}: {failure}");
        }
        return;
    }
    let base = Dice::new(name.bytes().fold(0, |sum, byte| sum * 31 + u64::from(byte))).next();
    let next = AtomicU64::new(0);
    let failed: Mutex<Option<(u64, String)>> = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(8));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, SeqCst);
                    if index >= count * long() || failed.lock().unwrap().is_some() {
                        return;
                    }
                    let seed = Dice::new(base ^ index).next();
                    if let Err(failure) = guarded(|| work(seed)) {
                        failed.lock().unwrap().get_or_insert((seed, failure));
                        return;
                    }
                }
            });
        }
    });
    if let Some((seed, failure)) = failed.into_inner().unwrap() {
        panic!("{name}: seed {seed:#x} (replay with ESKER_SEED={seed:#x}): {failure}");
    }
}

/// Runs `work`; a panic is a failure like any other.
pub fn guarded(work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

/// The shortest list found that still fails, by dropping ever smaller pieces.
pub fn shrink<T: Clone>(list: &[T], fails: impl Fn(&[T]) -> bool) -> Vec<T> {
    let mut list = list.to_vec();
    let mut piece = list.len().div_ceil(2);
    let mut tries = 0;
    while piece > 0 && tries < 3000 {
        let mut at = 0;
        while at < list.len() {
            let end = (at + piece).min(list.len());
            let shorter: Vec<T> = [&list[..at], &list[end..]].concat();
            tries += 1;
            if fails(&shorter) {
                list = shorter;
            } else {
                at = end;
            }
        }
        piece = if piece == 1 { 0 } else { piece.div_ceil(2) };
    }
    list
}

/// A list, an element a line.
pub fn listed(list: &[impl Debug]) -> String {
    list.iter().map(|element| format!("\n    {element:?}")).collect()
}

/// What becomes of large values: a run that has them must have seen each.
pub const LARGE: [&str; 4] = ["logs adopted", "logs copied", "blobs forgotten", "cleanings"];

/// Things that were counted, and branches that must have been taken.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<&'static str, u64>>);

impl Tally {
    pub const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    pub fn add(&self, name: &'static str, count: u64) {
        if count > 0 {
            *self.0.lock().unwrap().entry(name).or_default() += count;
        }
    }

    pub fn get(&self, name: &str) -> u64 {
        self.0.lock().unwrap().get(name).copied().unwrap_or_default()
    }

    /// Prints every count, past the capture of test output.
    pub fn print(&self, title: &str) {
        let counts = self.0.lock().unwrap();
        let text: Vec<_> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let _ = writeln!(std::io::stderr(), "{title}: {}", text.join(", "));
    }

    /// Fails if a branch that the run is there to take was never taken. Not for single seeds.
    pub fn must_have_seen(&self, names: &[&'static str]) {
        if wanted_seed().is_some() {
            return;
        }
        for name in names {
            assert!(self.get(name) > 0, "the run never saw: {name}");
        }
    }
}
