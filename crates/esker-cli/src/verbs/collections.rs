//! `esker collections DB`: the names of the collections, sorted, one a line.

use crate::failure::{Outcome, Result};
use crate::{open, output};
use clap::Args;
use std::io::Write;
use std::path::PathBuf;

/// Write the names of the collections, sorted, one a line
#[derive(Args)]
pub(crate) struct Collections {
    /// The database's folder
    db: PathBuf,
}

impl Collections {
    pub(crate) fn run(self) -> Result<Outcome> {
        let db = open::read(&self.db)?;
        let mut out = output::stdout();
        for name in db.collections()? {
            writeln!(out, "{name}")?;
        }
        out.flush()?;
        Ok(Outcome::Done)
    }
}
