//! `esker revert DB NAME`: brings everything back to a named snapshot, by one atomic write.
//!
//! ```text
//! COUNT keys written again or removed
//! ```

use crate::failure::{Outcome, Result};
use crate::{open, output};
use clap::Args;
use std::io::Write;
use std::path::PathBuf;

/// Bring everything back to a named snapshot
#[derive(Args)]
pub(crate) struct Revert {
    /// The database's folder
    db: PathBuf,
    /// The name of the snapshot
    name: String,
}

impl Revert {
    pub(crate) fn run(self) -> Result<Outcome> {
        let db = open::write(&self.db)?;
        let count = db.revert(&self.name)?;
        db.close()?;
        let mut out = output::stdout();
        writeln!(out, "{count} keys written again or removed")?;
        out.flush()?;
        Ok(Outcome::Done)
    }
}
