//! Gets of single keys: `readrandom` of present ones, `readmissing` of absent ones.

use super::fill::part;
use super::stage::{Outcome, Stage, expect_hits};
use crate::data::{Picks, absent_key, is_value_of, key};
use crate::engine::Engine;
use crate::meter::together;
use anyhow::Result;
use std::sync::atomic::{AtomicU64, Ordering};

/// Each key as likely as any other; every value is touched and checked.
pub(super) fn present<E: Engine>(stage: &mut Stage<'_, E>) -> Result<Outcome> {
    let (job, value_bytes) = (stage.job, stage.job.value_bytes);
    let (db, loaded) = stage.loaded()?;
    let hits = AtomicU64::new(0);
    let picks = Picks::uniform(loaded.count, job.seed ^ 1);
    let measured = together(job.threads, |number, times| {
        let operations = count_of(job.operations, job.threads, number);
        let mut right = 0;
        for pick in picks.of_thread(number).take(operations) {
            let key = key(loaded.shape, loaded.present(pick));
            times.time(|| {
                db.find(&key, |value| right += u64::from(is_value_of(&key, value, value_bytes)))
            })?;
        }
        hits.fetch_add(right, Ordering::Relaxed);
        Ok(operations as u64)
    })?;
    expect_hits(hits.into_inner(), measured.operations)?;
    Ok(Outcome::reads(measured))
}

/// Keys that sort among the present ones and are not there.
pub(super) fn missing<E: Engine>(stage: &mut Stage<'_, E>) -> Result<Outcome> {
    let job = stage.job;
    let (db, loaded) = stage.loaded()?;
    let hits = AtomicU64::new(0);
    let picks = Picks::uniform(loaded.count, job.seed ^ 2);
    let measured = together(job.threads, |number, times| {
        let operations = count_of(job.operations, job.threads, number);
        let mut found = 0;
        for pick in picks.of_thread(number).take(operations) {
            let key = absent_key(loaded.shape, pick);
            found += u64::from(times.time(|| db.find(&key, |_| ()))?);
        }
        hits.fetch_add(found, Ordering::Relaxed);
        Ok(operations as u64)
    })?;
    expect_hits(hits.into_inner(), 0)?;
    Ok(Outcome::reads(measured))
}

/// How many of `total` operations thread `number` does.
pub(super) fn count_of(total: u64, threads: usize, number: usize) -> usize {
    let part = part(total, threads, number);
    (part.end - part.start) as usize
}
