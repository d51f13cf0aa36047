//! `esker count DB C [--prefix P] [--at NAME]`: how many keys there are.

use crate::failure::{Outcome, Result};
use crate::{open, output};
use clap::Args;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

/// Count the keys of a collection, by reading them all
#[derive(Args)]
pub(crate) struct Count {
    /// The database's folder
    db: PathBuf,
    /// The collection
    #[arg(value_name = "C")]
    collection: String,
    /// Only keys that begin so
    #[arg(long, value_name = "P")]
    prefix: Option<OsString>,
    /// As the snapshot of this name sees it
    #[arg(long, value_name = "NAME")]
    at: Option<String>,
}

impl Count {
    pub(crate) fn run(self) -> Result<Outcome> {
        let db = open::read(&self.db)?;
        let view = open::view(&db, &self.db, &self.collection, self.at.as_deref())?;
        let prefix = self.prefix.unwrap_or_default();
        let mut count = 0u64;
        for pair in view.prefix(prefix.as_encoded_bytes()).readers() {
            pair?;
            count += 1;
        }
        let mut out = output::stdout();
        writeln!(out, "{count}")?;
        out.flush()?;
        Ok(Outcome::Done)
    }
}
