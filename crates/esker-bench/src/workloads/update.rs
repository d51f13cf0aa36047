//! Changes to a filled database: `overwrite` some pairs often, `overwrite-tenth` only every tenth,
//! as many times as there are pairs; `delete` every second one.

use super::fill::part;
use super::stage::{Loaded, Outcome, Stage};
use crate::data::{Picks, key};
use crate::engine::Engine;
use crate::meter::together;
use anyhow::{Result, ensure};

/// Of how many counters one is overwritten by [`overwrite_tenth`].
const TENTH: u64 = 10;

/// Replaces pairs, skewed; one a commit.
pub(super) fn overwrite<E: Engine>(stage: &mut Stage<'_, E>) -> Result<Outcome> {
    let (_, loaded) = stage.loaded()?;
    let picks = Picks::skewed(loaded.count, stage.job.seed ^ 4);
    replace(stage, stage.job.operations, &picks, |pick| pick)
}

/// Replaces every tenth pair, skewed, `n` times in all: as long again as the database was filled.
pub(super) fn overwrite_tenth<E: Engine>(stage: &mut Stage<'_, E>) -> Result<Outcome> {
    let (_, loaded) = stage.loaded()?;
    let picks = Picks::skewed((loaded.count / TENTH).max(1), stage.job.seed ^ 8);
    replace(stage, stage.job.n, &picks, |pick| pick * TENTH)
}

fn replace<E: Engine>(
    stage: &mut Stage<'_, E>,
    operations: u64,
    picks: &Picks,
    index_of: impl Fn(u64) -> u64 + Sync,
) -> Result<Outcome> {
    let (job, values) = (stage.job, &stage.values);
    let (db, loaded) = stage.loaded()?;
    let measured = together(job.threads, |number, times| {
        let mut values = values.clone();
        let part = part(operations, job.threads, number);
        let operations = part.end - part.start;
        let versions = job.n + part.start..job.n + part.end;
        for (version, pick) in versions.zip(picks.of_thread(number)) {
            let key = key(loaded.shape, loaded.present(index_of(pick)));
            let value = values.make(&key, version);
            times.time(|| db.put(&key, value))?;
        }
        Ok(operations)
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
