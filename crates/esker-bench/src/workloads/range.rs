//! Ordered reads: `seek` reads a few pairs from a key on, `scan` and `reverse-scan` read it all.
//! And `range-delete`, in a database of its own: every second hundred of keys goes, a hundred a call.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use super::fill;
use super::read::count_of;
use super::stage::{Loaded, Outcome, Stage, expect_hits};
use crate::data::{Picks, Shape, is_value_of, key};
use crate::engine::{Durability, Engine, Order};
use crate::meter::{Measured, Times, together};
use anyhow::{Result, ensure};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A whole scan is timed a stretch of this many pairs at a time.
const STRETCH_PAIRS: u64 = 1000;
/// Keys that each call of `range-delete` removes.
const RANGE_KEYS: u64 = 100;

/// Seeks to present keys, and reads the pairs from there on; the last keys have fewer behind them.
pub(super) fn seek<E: Engine>(stage: &mut Stage<'_, E>, limit: usize) -> Result<Outcome> {
    let job = stage.job;
    let (db, loaded) = stage.loaded()?;
    let (seen, right) = (AtomicU64::new(0), AtomicU64::new(0));
    let seeks = (job.operations / limit as u64).max(1);
    let picks = Picks::uniform(loaded.count, job.seed ^ 3);
    let measured = together(job.threads, |number, times| {
        let seeks = count_of(seeks, job.threads, number);
        let mut good = 0;
        for pick in picks.of_thread(number).take(seeks) {
            let from = key(loaded.shape, loaded.present(pick));
            let mut check = |key: &[u8], value: &[u8]| {
                good += u64::from(is_value_of(key, value, job.value_bytes));
            };
            let pairs = times.time(|| db.scan(Some(&from), Order::Forward, limit, &mut check))?;
            ensure!(pairs > 0, "a seek to a present key found nothing");
            seen.fetch_add(pairs as u64, Ordering::Relaxed);
        }
        right.fetch_add(good, Ordering::Relaxed);
        Ok(seeks as u64)
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
            times.add_at(now - since, now);
            since = now;
        }
    };
    let operations = db.scan(None, order, usize::MAX, look)? as u64;
    let measured = Measured { operations, elapsed: began.elapsed(), times };
    expect_hits(operations, loaded.live)?;
    expect_hits(right, loaded.live)?;
    Ok(Outcome::reads(measured))
}

/// Fills in key order, removes ranges, and reads what is left; no row if the engine cannot.
pub(super) fn delete<E: Engine>(stage: &mut Stage<'_, E>) -> Result<()> {
    if !E::REMOVES_RANGES {
        return Ok(());
    }
    let (buffered, n) = (Durability::Buffered, stage.job.n);
    let ranges = n / (2 * RANGE_KEYS);
    stage.start_empty()?;
    stage.row("range-delete (fill)", buffered, |s| fill::one_by_one(s, Shape::Sequential))?;
    stage.row("range-delete", buffered, |stage| {
        let (db, mut times, began) = (stage.db()?, Times::new(), Instant::now());
        for range in 0..ranges {
            let first = range * 2 * RANGE_KEYS;
            let from = key(Shape::Sequential, first);
            let to = key(Shape::Sequential, first + RANGE_KEYS);
            times.time(|| db.remove_range(&from, &to))?;
        }
        let measured = Measured { operations: ranges, elapsed: began.elapsed(), times };
        Ok(Outcome { keys_removed: 2 * ranges, ..Outcome::reads(measured) })
    })?;
    let (_, loaded) = stage.loaded()?;
    stage.wrote(Loaded { live: n - ranges * RANGE_KEYS, ..loaded });
    stage.row("range-delete (scan)", buffered, |stage| whole(stage, Order::Forward))?;
    stage.spoilt();
    Ok(())
}
