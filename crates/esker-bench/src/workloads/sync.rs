//! Durable inserts by 1, 8 or 32 writers, for a given time, into a database of their own.
//!
//! Each write is one commit, on the disk when it returns. How engines share a sync among writers is
//! what the row shows; an engine may run its writers as threads or as tasks.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use super::stage::{Outcome, Stage};
use crate::client::Client;
use crate::engine::{Durability, Engine};
use crate::meter::{Measured, Times};
use anyhow::Result;
use std::time::{Duration, Instant};

/// Counters set aside for each writer.
const WRITER_KEYS: u64 = 1 << 32;

/// Runs `writers` writers side by side.
pub(super) fn run<E: Engine>(stage: &mut Stage<'_, E>, writers: usize) -> Result<Outcome> {
    let values = stage.values.clone();
    let lasting = Duration::from_secs_f64(stage.job.sync_seconds);
    let measured = stage.apart(Durability::Durable, |db| {
        let began = Instant::now();
        let clients = (0..writers as u64)
            .map(|writer| Client::new(writer * WRITER_KEYS, began + lasting, values.clone()))
            .collect();
        let clients = db.drive(clients)?;
        let elapsed = began.elapsed();
        let mut times = Times::new();
        clients.iter().for_each(|client| times.merge(&client.times));
        Ok(Measured { operations: times.count(), elapsed, times })
    })?;
    Ok(Outcome::writes(measured))
}
