//! `esker checkpoint DB FOLDER`: a second database with the same files, made in no time.
//!
//! ```text
//! FILES files, BYTES bytes (…), COPIED of them copied, checksum …
//! ```
//!
//! 1. FOLDER must not exist, or be empty. Nothing is copied where files can have second names.

use crate::failure::{Outcome, Result};
use crate::progress::with_bar;
use crate::{open, output};
use clap::Args;
use std::io::Write;
use std::path::PathBuf;

/// Make a second database of the same files, by hard links
#[derive(Args)]
pub(crate) struct Checkpoint {
    /// The database's folder
    db: PathBuf,
    /// The folder of the new database; empty, or created
    folder: PathBuf,
}

impl Checkpoint {
    pub(crate) fn run(self) -> Result<Outcome> {
        let db = open::write(&self.db)?;
        let report = with_bar(|progress| db.checkpoint_with(&self.folder, progress))?;
        db.close()?;
        let mut out = output::stdout();
        writeln!(
            out,
            "{} files, {} bytes ({}), {} of them copied, checksum {}",
            report.files,
            report.bytes,
            output::amount(report.bytes),
            report.bytes_copied,
            report.checksum
        )?;
        out.flush()?;
        Ok(Outcome::Done)
    }
}
