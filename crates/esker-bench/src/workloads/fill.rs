//! Fills an empty database: `fillseq`, `fillrandom`, `batch`.
//!
//! With several threads each fills a part of the counters; all parts are interleaved in the
//! database when keys are scattered.

use super::stage::{Outcome, Stage};
use crate::data::{Key, Shape, key};
use crate::engine::Engine;
use crate::meter::together;
use anyhow::Result;
use std::ops::Range;

/// Pairs of one atomic commit.
const BATCH_PAIRS: u64 = 1000;

/// The counters of thread `number`.
pub(super) fn part(total: u64, threads: usize, number: usize) -> Range<u64> {
    let (threads, number) = (threads as u64, number as u64);
    total * number / threads..total * (number + 1) / threads
}

/// One pair a commit.
pub(super) fn one_by_one<E: Engine>(stage: &mut Stage<'_, E>, shape: Shape) -> Result<Outcome> {
    let (db, job, values) = (stage.db()?, stage.job, &stage.values);
    let measured = together(job.threads, |number, times| {
        let mut values = values.clone();
        let part = part(job.n, job.threads, number);
        let operations = part.end - part.start;
        for index in part {
            let key = key(shape, index);
            let value = values.make(&key, index);
            times.time(|| db.put(&key, value))?;
        }
        Ok(operations)
    })?;
    stage.filled(shape);
    Ok(Outcome::writes(measured))
}

/// [`BATCH_PAIRS`] pairs a commit; rates are of pairs, times of commits.
pub(super) fn in_batches<E: Engine>(stage: &mut Stage<'_, E>) -> Result<Outcome> {
    let (db, job, values) = (stage.db()?, stage.job, &stage.values);
    let measured = together(job.threads, |number, times| {
        let mut values = values.clone();
        let empty = vec![0; values.value_bytes()];
        let mut pairs: Vec<(Key, Vec<u8>)> = vec![(Key::default(), empty); BATCH_PAIRS as usize];
        let part = part(job.n, job.threads, number);
        let operations = part.end - part.start;
        for first in part.clone().step_by(BATCH_PAIRS as usize) {
            let last = part.end.min(first + BATCH_PAIRS);
            for (index, pair) in (first..last).zip(&mut pairs) {
                pair.0 = key(Shape::Scattered, index);
                pair.1.copy_from_slice(values.make(&pair.0, index));
            }
            let full = &pairs[..(last - first) as usize];
            times.time(|| db.put_batch(full))?;
        }
        Ok(operations)
    })?;
    stage.filled(Shape::Scattered);
    Ok(Outcome::writes(measured))
}
