//! `transfer`: transactions that move money between two of a thousand accounts, on `--threads` threads.
//!
//! Each reads two balances and writes both, and runs again if it lost. Only engines with optimistic
//! transactions that check reads take part. The sum is looked at in the end; how many tries were lost
//! is a row of its own.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use super::read::count_of;
use super::stage::{Outcome, Stage};
use crate::data::{Picks, Shape, key};
use crate::engine::{Bank, Engine};
use crate::meter::{Measured, Times, together};
use anyhow::{Result, ensure};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const ACCOUNTS: u64 = 1000;
const DEPOSIT: u64 = 1000;

/// Moves money in a database of its own.
pub(super) fn run<E: Engine>(stage: &mut Stage<'_, E>, bank: &dyn Bank) -> Result<Outcome> {
    let job = stage.job;
    let account = |number| key(Shape::Scattered, number);
    for number in 0..ACCOUNTS {
        bank.deposit(&account(number), DEPOSIT)?;
    }
    let picks = Picks::uniform(ACCOUNTS, job.seed ^ 8);
    let (lost, began) = (AtomicU64::new(0), Instant::now());
    let measured = together(job.threads, |number, times| {
        let operations = count_of(job.operations, job.threads, number);
        let mut picks = picks.of_thread(number);
        let mut again = 0;
        for _ in 0..operations {
            let (Some(from), Some(to)) = (picks.next(), picks.next()) else { break };
            // Two different ones.
            let to = if from == to { (to + 1) % ACCOUNTS } else { to };
            let (from, to) = (account(from), account(to));
            again += times.time(|| bank.transfer(&from, &to))?;
        }
        lost.fetch_add(again, Ordering::Relaxed);
        Ok(operations as u64)
    })?;
    let elapsed = began.elapsed();
    let sum: Result<u64> = (0..ACCOUNTS).map(|number| bank.balance(&account(number))).sum();
    ensure!(sum? == ACCOUNTS * DEPOSIT, "money was lost or made");
    let lost = Measured { operations: lost.into_inner(), elapsed, times: Times::new() };
    Ok(Outcome { companion: Some(("(lost)", lost)), ..Outcome::writes(measured) })
}
