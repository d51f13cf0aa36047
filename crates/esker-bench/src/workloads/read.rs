//! Gets of single keys: `readrandom` of present ones, `readmissing` of absent ones.

use super::stage::{Outcome, Stage, expect_hits};
use crate::data::{self, absent_key, is_value_of, key};
use crate::engine::Engine;
use crate::meter::together;
use anyhow::Result;
use std::sync::atomic::{AtomicU64, Ordering};

/// Each key as likely as any other; every value is touched and checked.
pub(super) fn present<E: Engine>(stage: &mut Stage<'_, E>) -> Result<Outcome> {
    let (job, value_bytes) = (stage.job, stage.job.value_bytes);
    let (db, loaded) = stage.loaded()?;
    let hits = AtomicU64::new(0);
    let picks = data::uniform(loaded.count, job.operations, job.seed ^ 1);
    let measured = together(job.threads, |number, times| {
        let picks = &picks[range_of(picks.len(), job.threads, number)];
        let mut right = 0;
        for pick in picks {
            let key = key(loaded.shape, loaded.present(*pick));
            times.time(|| {
                db.find(&key, |value| right += u64::from(is_value_of(&key, value, value_bytes)))
            })?;
        }
        hits.fetch_add(right, Ordering::Relaxed);
        Ok(picks.len() as u64)
    })?;
    expect_hits(hits.into_inner(), measured.operations)?;
    Ok(Outcome::reads(measured))
}

/// Keys that sort among the present ones and are not there.
pub(super) fn missing<E: Engine>(stage: &mut Stage<'_, E>) -> Result<Outcome> {
    let job = stage.job;
    let (db, loaded) = stage.loaded()?;
    let hits = AtomicU64::new(0);
    let picks = data::uniform(loaded.count, job.operations, job.seed ^ 2);
    let measured = together(job.threads, |number, times| {
        let picks = &picks[range_of(picks.len(), job.threads, number)];
        let mut found = 0;
        for pick in picks {
            let key = absent_key(loaded.shape, u64::from(*pick));
            found += u64::from(times.time(|| db.find(&key, |_| ()))?);
        }
        hits.fetch_add(found, Ordering::Relaxed);
        Ok(picks.len() as u64)
    })?;
    expect_hits(hits.into_inner(), 0)?;
    Ok(Outcome::reads(measured))
}

/// The part of a list that thread `number` works through.
pub(super) fn range_of(total: usize, threads: usize, number: usize) -> std::ops::Range<usize> {
    total * number / threads..total * (number + 1) / threads
}
