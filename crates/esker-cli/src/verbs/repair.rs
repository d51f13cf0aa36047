//! `esker repair DB`: makes a whole database of all that can be read.
//!
//! ```text
//! whole: nothing was changed
//! FILE: MESSAGE for each thing that could not be read; lost: collection C key K for each key that is
//! absent now; named: NAME for each collection whose name was lost; moved: lost/FILE
//! repaired: ENTRIES entries in SEGMENTS segments, VALUES large values, checksum …
//! ```
//!
//! 1. Exit 0: whole, or repaired and all could be read. 1: repaired, and files lie in `lost`.
//! 2. Nothing is removed that could not be read: it lies in the folder `lost` of the database.

use crate::failure::{Outcome, Result};
use crate::output;
use crate::progress::with_bar;
use clap::Args;
use esker::Db;
use std::io::Write;
use std::path::PathBuf;

/// Make a whole database of all that can be read of a damaged one
#[derive(Args)]
pub(crate) struct Repair {
    /// The database's folder
    db: PathBuf,
}

impl Repair {
    pub(crate) fn run(self) -> Result<Outcome> {
        let report = with_bar(|progress| Db::options().repair_with(&self.db, progress))?;
        let mut out = output::stdout();
        if !report.repaired {
            writeln!(out, "whole: nothing was changed")?;
            out.flush()?;
            return Ok(Outcome::Done);
        }
        for damage in &report.damages {
            writeln!(out, "{}: {}", damage.file, damage.message)?;
        }
        for lost in &report.lost_keys {
            writeln!(out, "lost: collection {} key {}", lost.collection, output::text(&lost.key))?;
        }
        for name in &report.named {
            writeln!(out, "named: {name}")?;
        }
        for file in &report.moved {
            writeln!(out, "moved: {file}")?;
        }
        writeln!(
            out,
            "repaired: {} entries in {} segments, {} large values, checksum {}",
            report.entries, report.segments, report.values, report.checksum
        )?;
        out.flush()?;
        Ok(if report.moved.is_empty() { Outcome::Done } else { Outcome::No })
    }
}
