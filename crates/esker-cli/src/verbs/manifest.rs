//! `esker manifest DB`: the lines of the newest manifest, with what they mean.

use crate::failure::{Outcome, Result};
use crate::output;
use clap::Args;
use esker::inspect;
use std::io::Write;
use std::path::PathBuf;

/// Write the lines of the newest manifest, and what they mean
#[derive(Args)]
pub(crate) struct Manifest {
    /// The database's folder
    db: PathBuf,
}

impl Manifest {
    pub(crate) fn run(self) -> Result<Outcome> {
        let mut out = output::stdout();
        for line in inspect::manifest(&self.db)? {
            writeln!(out, "{line}")?;
        }
        out.flush()?;
        Ok(Outcome::Done)
    }
}
