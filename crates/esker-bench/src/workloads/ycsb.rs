//! The YCSB mixes, one operation a commit, keys by Zipf 0.99:
//! A half reads, half updates · B 95 % reads · C reads only · E 95 % scans of 1 to 100 pairs, the
//! rest inserts · F half reads, half reads that are followed by an update of the same key.

use super::read::count_of;
use super::stage::{Loaded, Outcome, Stage, expect_hits};
use crate::data::{Picks, Values, is_value_of, key};
use crate::engine::{Engine, Order};
use crate::meter::{Times, together};
use anyhow::{Result, ensure};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::sync::atomic::{AtomicU64, Ordering};

/// Longest scan of mix E.
const SCAN_PAIRS_MAX: usize = 100;

/// Which mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mix {
    /// Half reads, half updates.
    A,
    /// Nearly all reads.
    B,
    /// Reads only.
    C,
    /// Nearly all scans, and inserts.
    E,
    /// Half reads, half read-modify-writes.
    F,
}

impl Mix {
    /// Operations in a hundred that write.
    const fn writes_percent(self) -> u32 {
        match self {
            Self::A | Self::F => 50,
            Self::B | Self::E => 5,
            Self::C => 0,
        }
    }
}

/// One thread's part of a mix.
struct Worker<'a, E> {
    db: &'a E,
    mix: Mix,
    loaded: Loaded,
    next_index: &'a AtomicU64,
    values: Values,
    random: SmallRng,
    /// Reads that should have found something, and those that found the right thing.
    wanted: u64,
    right: u64,
    written: u64,
}

/// Runs one mix.
pub(super) fn run<E: Engine>(stage: &mut Stage<'_, E>, mix: Mix) -> Result<Outcome> {
    let (job, values) = (stage.job, &stage.values);
    let (db, loaded) = stage.loaded()?;
    let operations = match mix {
        Mix::E => (job.operations / 10).max(1),
        _ => job.operations,
    };
    let picks = Picks::skewed(loaded.count, job.seed ^ 5);
    let (next_index, written) = (AtomicU64::new(loaded.count), AtomicU64::new(0));
    let measured = together(job.threads, |number, times| {
        let operations = count_of(operations, job.threads, number);
        let random = SmallRng::seed_from_u64(job.seed + number as u64);
        let values = values.clone();
        let next_index = &next_index;
        let mut worker =
            Worker { db, mix, loaded, next_index, values, random, wanted: 0, right: 0, written: 0 };
        for pick in picks.of_thread(number).take(operations) {
            worker.step(pick, times)?;
        }
        expect_hits(worker.right, worker.wanted)?;
        written.fetch_add(worker.written, Ordering::Relaxed);
        Ok(operations as u64)
    })?;
    let (count, written) = (next_index.into_inner(), written.into_inner());
    if written > 0 {
        let live = loaded.live + (count - loaded.count);
        stage.wrote(Loaded { count, live, ..loaded });
    }
    Ok(Outcome { pairs_written: written, ..Outcome::reads(measured) })
}

impl<E: Engine> Worker<'_, E> {
    fn step(&mut self, pick: u64, times: &mut Times) -> Result<()> {
        let writes = self.random.random_range(0..100) < self.mix.writes_percent();
        let index = self.loaded.present(pick);
        match (self.mix, writes) {
            (Mix::E, true) => {
                let new = self.next_index.fetch_add(1, Ordering::Relaxed);
                self.write(new, times)
            }
            (Mix::E, false) => self.scan(index, times),
            (Mix::F, true) => self.modify(index, times),
            (_, true) => self.write(index, times),
            (_, false) => self.read(index, times),
        }
    }

    fn read(&mut self, index: u64, times: &mut Times) -> Result<()> {
        let (key, value_bytes) = (key(self.loaded.shape, index), self.values.value_bytes());
        self.wanted += 1;
        let right = &mut self.right;
        let look = |value: &[u8]| *right += u64::from(is_value_of(&key, value, value_bytes));
        times.time(|| self.db.find(&key, look))?;
        Ok(())
    }

    fn write(&mut self, index: u64, times: &mut Times) -> Result<()> {
        let key = key(self.loaded.shape, index);
        let value = self.values.make(&key, self.random.random());
        self.written += 1;
        times.time(|| self.db.put(&key, value))
    }

    fn modify(&mut self, index: u64, times: &mut Times) -> Result<()> {
        let (key, value_bytes) = (key(self.loaded.shape, index), self.values.value_bytes());
        let value = self.values.make(&key, self.random.random());
        self.wanted += 1;
        self.written += 1;
        let right = &mut self.right;
        let look = |value: &[u8]| *right += u64::from(is_value_of(&key, value, value_bytes));
        times.time(|| {
            self.db.find(&key, look)?;
            self.db.put(&key, value)
        })
    }

    fn scan(&mut self, index: u64, times: &mut Times) -> Result<()> {
        let (from, value_bytes) = (key(self.loaded.shape, index), self.values.value_bytes());
        let limit = self.random.random_range(1..=SCAN_PAIRS_MAX);
        let right = &mut self.right;
        let look = |key: &[u8], value: &[u8]| {
            *right += u64::from(is_value_of(key, value, value_bytes));
        };
        let seen = times.time(|| self.db.scan(Some(&from), Order::Forward, limit, look))?;
        ensure!(seen > 0, "a scan from a present key found nothing");
        self.wanted += seen as u64;
        Ok(())
    }
}
