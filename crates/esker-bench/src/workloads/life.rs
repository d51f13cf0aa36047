//! `reopen`: a clean close, then the time from the call to open until one get has been answered.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use super::stage::{Outcome, Stage, expect_hits};
use crate::data::{is_value_of, key};
use crate::engine::Engine;
use crate::meter::Measured;
use anyhow::Result;
use std::time::Instant;

/// Closes (a row of its own), opens and gets.
pub(super) fn reopen<E: Engine>(stage: &mut Stage<'_, E>) -> Result<Outcome> {
    let (_, loaded) = stage.loaded()?;
    let (closing, opening) = stage.reopen()?;
    let began = Instant::now();
    let key = key(loaded.shape, loaded.present(0));
    let (mut right, value_bytes) = (0, stage.job.value_bytes);
    stage.db()?.find(&key, |value| right += u64::from(is_value_of(&key, value, value_bytes)))?;
    let opening = opening + began.elapsed();
    expect_hits(right, 1)?;
    let companion = Some(("(close)", Measured::once(closing)));
    Ok(Outcome { companion, ..Outcome::reads(Measured::once(opening)) })
}
