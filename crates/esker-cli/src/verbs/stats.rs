//! `esker stats DB [--json]`: what opening the database found, and its figures.

use crate::failure::{Outcome, Result};
use crate::{open, output};
use clap::Args;
use std::io::Write;
use std::path::PathBuf;

/// Write the figures of a database
#[derive(Args)]
pub(crate) struct Stats {
    /// The database's folder
    db: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Stats {
    pub(crate) fn run(self) -> Result<Outcome> {
        let db = open::read(&self.db)?;
        let stats = db.stats();
        let mut out = output::stdout();
        if self.json {
            let fields = stats.fields().into_iter();
            fields
                .fold(output::Object::default(), |object, (name, figure)| object.with(name, figure))
                .write(&mut out)?;
        } else {
            writeln!(out, "{stats}")?;
            writeln!(out, "{}", db.recovery())?;
        }
        out.flush()?;
        Ok(Outcome::Done)
    }
}
