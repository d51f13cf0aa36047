//! Ordered reads: `seek` reads a few pairs from a key on, `scan` and `reverse-scan` read it all.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use super::read::range_of;
use super::stage::{Outcome, Stage, expect_hits};
use crate::data::{self, is_value_of, key};
use crate::engine::{Engine, Order};
use crate::meter::{Measured, Times, together};
use anyhow::{Result, ensure};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A whole scan is timed a stretch of this many pairs at a time.
const STRETCH_PAIRS: u64 = 1000;

/// Seeks to present keys, and reads the pairs from there on; the last keys have fewer behind them.
pub(super) fn seek<E: Engine>(stage: &mut Stage<'_, E>) -> Result<Outcome> {
    let job = stage.job;
    let (db, loaded) = stage.loaded()?;
    let (seen, right) = (AtomicU64::new(0), AtomicU64::new(0));
    let seeks = (job.operations / job.seek_pairs as u64).max(1);
    let picks = data::uniform(loaded.count, seeks, job.seed ^ 3);
    let measured = together(job.threads, |number, times| {
        let picks = &picks[range_of(picks.len(), job.threads, number)];
        let mut good = 0;
        for pick in picks {
            let from = key(loaded.shape, loaded.present(*pick));
            let mut check = |key: &[u8], value: &[u8]| {
                good += u64::from(is_value_of(key, value, job.value_bytes));
            };
            let pairs =
                times.time(|| db.scan(Some(&from), Order::Forward, job.seek_pairs, &mut check))?;
            ensure!(pairs > 0, "a seek to a present key found nothing");
            seen.fetch_add(pairs as u64, Ordering::Relaxed);
        }
        right.fetch_add(good, Ordering::Relaxed);
        Ok(picks.len() as u64)
    })?;
    expect_hits(right.into_inner(), seen.into_inner())?;
    Ok(Outcome::reads(measured))
}

/// Reads every pair once, in order; one thread. Rates are of pairs, times of 1,000 of them.
pub(super) fn whole<E: Engine>(stage: &mut Stage<'_, E>, order: Order) -> Result<Outcome> {
    let value_bytes = stage.job.value_bytes;
    let (db, loaded) = stage.loaded()?;
    let (mut times, mut right, mut seen) = (Times::new(), 0, 0_u64);
    let began = Instant::now();
    let mut since = began;
    let look = |key: &[u8], value: &[u8]| {
        right += u64::from(is_value_of(key, value, value_bytes));
        seen += 1;
        if seen.is_multiple_of(STRETCH_PAIRS) {
            let now = Instant::now();
            times.add(now - since);
            since = now;
        }
    };
    let operations = db.scan(None, order, usize::MAX, look)? as u64;
    let measured = Measured { operations, elapsed: began.elapsed(), times };
    expect_hits(operations, loaded.live)?;
    expect_hits(right, loaded.live)?;
    Ok(Outcome::reads(measured))
}
