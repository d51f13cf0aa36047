//! Changes to a filled database: `overwrite` some pairs often, `delete` every second one.

use super::fill::part;
use super::read::range_of;
use super::stage::{Loaded, Outcome, Stage};
use crate::data::{self, key};
use crate::engine::Engine;
use crate::meter::together;
use anyhow::{Result, ensure};

/// Replaces pairs, skewed; one a commit.
pub(super) fn overwrite<E: Engine>(stage: &mut Stage<'_, E>) -> Result<Outcome> {
    let (job, values) = (stage.job, &stage.values);
    let (db, loaded) = stage.loaded()?;
    let picks = data::skewed(loaded.count, job.operations, job.seed ^ 4);
    let measured = together(job.threads, |number, times| {
        let mut values = values.clone();
        let range = range_of(picks.len(), job.threads, number);
        let versions = job.n + range.start as u64..;
        for (pick, version) in picks[range.clone()].iter().zip(versions) {
            let key = key(loaded.shape, loaded.present(*pick));
            let value = values.make(&key, version);
            times.time(|| db.put(&key, value))?;
        }
        Ok(range.len() as u64)
    })?;
    stage.wrote(loaded);
    Ok(Outcome::writes(measured))
}

/// Removes the even counters, in the order in which they were inserted; one a commit.
pub(super) fn delete<E: Engine>(stage: &mut Stage<'_, E>) -> Result<Outcome> {
    let job = stage.job;
    let (db, loaded) = stage.loaded()?;
    ensure!(!loaded.halved, "every second key is deleted already: fill in between");
    let measured = together(job.threads, |number, times| {
        let part = part(loaded.count / 2, job.threads, number);
        let operations = part.end - part.start;
        for half in part {
            let key = key(loaded.shape, half * 2);
            times.time(|| db.remove(&key))?;
        }
        Ok(operations)
    })?;
    let removed = measured.operations;
    stage.wrote(Loaded { halved: true, live: loaded.live - removed, ..loaded });
    Ok(Outcome { keys_removed: removed, ..Outcome::reads(measured) })
}
