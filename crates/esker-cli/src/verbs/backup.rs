//! `esker backup DB FOLDER [--keep N]`: adds a backup to those in a folder.
//!
//! ```text
//! FILE: MESSAGE for each thing that earlier backups have lost
//! backup N: FILES files, BYTES bytes (…), COPIED bytes (…) of them copied, checksum …
//! ```
//!
//! 1. Only files that no backup in FOLDER has are copied. Use one folder for each database.
//! 2. With `--keep`, older backups go once the new one is there.
//! 3. Exit 1 if an earlier backup has lost something; the new one is whole all the same.

use crate::failure::{Outcome, Result};
use crate::progress::with_bar;
use crate::{open, output};
use clap::Args;
use esker::Db;
use std::io::Write;
use std::path::PathBuf;

/// Add a backup to a folder; only what is new is copied
#[derive(Args)]
pub(crate) struct Backup {
    /// The database's folder
    db: PathBuf,
    /// The folder of backups; created if there is none
    folder: PathBuf,
    /// How many backups stay, this one included; all if not told
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
}

impl Backup {
    pub(crate) fn run(self) -> Result<Outcome> {
        let db = open::write(&self.db)?;
        let report = with_bar(|progress| db.backup_with(&self.folder, progress))?;
        db.close()?;
        let mut out = output::stdout();
        for damage in &report.damages {
            writeln!(out, "{}: {}", damage.file, damage.message)?;
        }
        writeln!(
            out,
            "backup {}: {} files, {} bytes ({}), {} bytes ({}) of them copied, checksum {}",
            report.number,
            report.files,
            report.bytes,
            output::amount(report.bytes),
            report.bytes_copied,
            output::amount(report.bytes_copied),
            report.checksum
        )?;
        if let Some(keep) = self.keep {
            let kept = Db::options().keep_backups(&self.folder, keep)?;
            writeln!(out, "{kept} backups kept")?;
        }
        out.flush()?;
        Ok(if report.damages.is_empty() { Outcome::Done } else { Outcome::No })
    }
}
