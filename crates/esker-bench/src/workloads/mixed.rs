//! `read-while-writing`: gets of present keys, while one more thread overwrites flat out.
//!
//! The row is of the readers; the writer's rate is a row of its own.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use super::read::count_of;
use super::stage::{Outcome, Stage, expect_hits};
use crate::data::{Picks, is_value_of, key};
use crate::engine::{Engine, died};
use crate::meter::{Measured, Times, together};
use anyhow::Result;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Runs the readers until they are done, and the writer as long as they.
pub(super) fn run<E: Engine>(stage: &mut Stage<'_, E>) -> Result<Outcome> {
    let (job, value_bytes) = (stage.job, stage.job.value_bytes);
    let mut values = stage.values.clone();
    let (db, loaded) = stage.loaded()?;
    let reads = Picks::uniform(loaded.count, job.seed ^ 6);
    let writes = Picks::skewed(loaded.count, job.seed ^ 7);
    let (done, right) = (AtomicBool::new(false), AtomicU64::new(0));
    let write = || -> Result<Measured> {
        let (mut times, began) = (Times::new(), Instant::now());
        for (pick, version) in writes.zip(job.n..) {
            if done.load(Ordering::Relaxed) {
                break;
            }
            let key = key(loaded.shape, loaded.present(pick));
            let value = values.make(&key, version);
            times.time(|| db.put(&key, value))?;
        }
        Ok(Measured { operations: times.count(), elapsed: began.elapsed(), times })
    };
    let read = || {
        together(job.threads, |number, times| {
            let operations = count_of(job.operations, job.threads, number);
            let mut good = 0;
            for pick in reads.of_thread(number).take(operations) {
                let key = key(loaded.shape, loaded.present(pick));
                let look = |value: &[u8]| good += u64::from(is_value_of(&key, value, value_bytes));
                times.time(|| db.find(&key, look))?;
            }
            right.fetch_add(good, Ordering::Relaxed);
            Ok(operations as u64)
        })
    };
    let (reading, writing) = std::thread::scope(|scope| {
        let writer = scope.spawn(write);
        let reading = read();
        done.store(true, Ordering::Relaxed);
        (reading, writer.join().unwrap_or_else(|_| Err(died())))
    });
    let (reading, writing) = (reading?, writing?);
    expect_hits(right.into_inner(), reading.operations)?;
    stage.wrote(loaded);
    Ok(Outcome {
        pairs_written: writing.operations,
        companion: Some(("(writer)", writing)),
        ..Outcome::reads(reading)
    })
}
