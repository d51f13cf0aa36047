//! `esker collections DB [--settings]`: the paths of the collections, sorted, one a line.

use crate::failure::{Outcome, Result};
use crate::{open, output};
use clap::Args;
use std::io::Write;
use std::path::PathBuf;

/// Write the paths of the collections, sorted, one a line
#[derive(Args)]
pub(crate) struct Collections {
    /// The database's folder
    db: PathBuf,
    /// Write what is set for each behind it
    #[arg(long)]
    settings: bool,
}

impl Collections {
    pub(crate) fn run(self) -> Result<Outcome> {
        let db = open::read(&self.db)?;
        let mut out = output::stdout();
        for name in db.collections()? {
            let found = if self.settings { db.existing_collection(&name)? } else { None };
            match found.map(|collection| collection.settings()).filter(|it| !it.is_empty()) {
                Some(settings) => writeln!(out, "{name}  {settings}")?,
                None => writeln!(out, "{name}")?,
            }
        }
        out.flush()?;
        Ok(Outcome::Done)
    }
}
