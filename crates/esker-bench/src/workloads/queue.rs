//! `tombstone-scan`: what removed keys at the start of a database cost the reader who begins there.
//!
//! fill in key order → remove the first 100,000 → one scan of 10 pairs from the start (row `(first)`)
//! → many more (the row) → a queue: read the head, remove it, insert at the tail (row `(queue)`).
//!
//! Nothing is settled in between: removed keys lie where the engine left them. An engine that walks
//! over all of them each time would take hours, so the last two rows end after `--sync-seconds`.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use super::fill;
use super::stage::{Outcome, Stage, expect_hits};
use crate::data::{Key, Shape, is_value_of, key};
use crate::engine::{Durability, Engine, Order};
use crate::meter::{Measured, Times};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

/// Keys that are removed at the start; at most half of those there are.
const REMOVED: u64 = 100_000;
/// Pairs that each scan reads.
const SCAN_PAIRS: u64 = 10;

/// Runs all of it, in a database of its own.
pub(super) fn tombstones<E: Engine>(stage: &mut Stage<'_, E>) -> Result<()> {
    let removed = REMOVED.min(stage.job.n / 2);
    let buffered = Durability::Buffered;
    stage.start_empty()?;
    stage.row("tombstone-scan (fill)", buffered, |s| fill::one_by_one(s, Shape::Sequential))?;
    stage.row("tombstone-scan (delete)", buffered, |stage| {
        let (db, mut times, began) = (stage.db()?, Times::new(), Instant::now());
        for index in 0..removed {
            let key = key(Shape::Sequential, index);
            times.time(|| db.remove(&key))?;
        }
        let measured = Measured { operations: removed, elapsed: began.elapsed(), times };
        Ok(Outcome { keys_removed: removed, ..Outcome::reads(measured) })
    })?;
    stage.row("tombstone-scan (first)", buffered, |stage| scans(stage, removed, 1))?;
    stage.row("tombstone-scan", buffered, |stage| scans(stage, removed, stage.job.operations))?;
    stage.row("tombstone-scan (queue)", buffered, |stage| queue(stage, removed))?;
    stage.spoilt();
    Ok(())
}

/// Scans from the start, where the first key that is left is number `head`.
fn scans<E: Engine>(stage: &Stage<'_, E>, head: u64, scans: u64) -> Result<Outcome> {
    let (db, value_bytes) = (stage.db()?, stage.job.value_bytes);
    let wanted = SCAN_PAIRS.min(stage.job.n - head);
    let (mut times, began) = (Times::new(), Instant::now());
    while times.count() < scans && began.elapsed() < limit(stage) {
        let mut right = 0;
        let look = |found: &[u8], value: &[u8]| {
            let expected = key(Shape::Sequential, head + right);
            right += u64::from(found == expected && is_value_of(found, value, value_bytes));
        };
        times.time(|| db.scan(None, Order::Forward, SCAN_PAIRS as usize, look))?;
        expect_hits(right, wanted)?;
    }
    let operations = times.count();
    Ok(Outcome::reads(Measured { operations, elapsed: began.elapsed(), times }))
}

/// Takes the head away and puts a new tail in, again and again: one operation is all three calls.
fn queue<E: Engine>(stage: &Stage<'_, E>, head: u64) -> Result<Outcome> {
    let (db, job, mut values) = (stage.db()?, stage.job, stage.values.clone());
    let (mut times, began) = (Times::new(), Instant::now());
    while times.count() < job.operations && began.elapsed() < limit(stage) {
        let turn = times.count();
        let tail = key(Shape::Sequential, job.n + turn);
        let value = values.make(&tail, turn);
        let mut first = Key::default();
        times.time(|| -> Result<()> {
            db.scan(None, Order::Forward, 1, |key, _| first.copy_from_slice(key))?;
            db.remove(&first)?;
            db.put(&tail, value)
        })?;
        ensure!(first == key(Shape::Sequential, head + turn), "the queue lost its head");
    }
    let operations = times.count();
    let measured = Measured { operations, elapsed: began.elapsed(), times };
    Ok(Outcome { keys_removed: operations, ..Outcome::writes(measured) })
}

fn limit<E>(stage: &Stage<'_, E>) -> Duration {
    Duration::from_secs_f64(stage.job.sync_seconds)
}
