//! `esker restore FOLDER DB [--number N]`: makes a database of a backup.
//!
//! ```text
//! backup N restored: FILES files, BYTES bytes (…), checksum …
//! ```
//!
//! 1. The newest backup in FOLDER unless told; DB must not exist, or be empty.
//! 2. Every file is compared with its digest, then verified: what is there at the end is whole.

use crate::failure::{Outcome, Result};
use crate::output;
use crate::progress::with_bar;
use clap::Args;
use esker::Db;
use std::io::Write;
use std::path::PathBuf;

/// Make a database of a backup
#[derive(Args)]
pub(crate) struct Restore {
    /// The folder of backups
    folder: PathBuf,
    /// The new database's folder; empty, or created
    db: PathBuf,
    /// Which backup; the newest if not told
    #[arg(long, value_name = "N")]
    number: Option<u64>,
}

impl Restore {
    pub(crate) fn run(self) -> Result<Outcome> {
        let Self { folder, db, number } = self;
        let options = Db::options();
        let backup = with_bar(|progress| options.restore_with(folder, number, db, progress))?;
        let mut out = output::stdout();
        writeln!(
            out,
            "backup {} restored: {} files, {} bytes ({}), checksum {}",
            backup.number,
            backup.files,
            backup.bytes,
            output::amount(backup.bytes),
            backup.checksum
        )?;
        out.flush()?;
        Ok(Outcome::Done)
    }
}
