//! `esker get DB C KEY [--at NAME]`: writes the value as it is; exit 1 if there is none.

use crate::failure::{Outcome, Result};
use crate::{open, output};
use clap::Args;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

/// Write the value of a key, as it is, to standard output; exit 1 if there is none
#[derive(Args)]
pub(crate) struct Get {
    /// The database's folder
    db: PathBuf,
    /// The collection
    #[arg(value_name = "C")]
    collection: String,
    key: OsString,
    /// As the snapshot of this name sees it
    #[arg(long, value_name = "NAME")]
    at: Option<String>,
}

impl Get {
    pub(crate) fn run(self) -> Result<Outcome> {
        let db = open::read(&self.db)?;
        if db.existing_collection(&self.collection)?.is_none() {
            return Ok(Outcome::No);
        }
        let view = open::view(&db, &self.db, &self.collection, self.at.as_deref())?;
        let Some(mut value) = view.reader(self.key.as_encoded_bytes())? else {
            return Ok(Outcome::No);
        };
        let mut out = output::stdout();
        output::pour(&mut value, |piece| Ok(out.write_all(piece)?))?;
        out.flush()?;
        Ok(Outcome::Done)
    }
}
