//! `esker get DB C KEY`: writes the value as it is; exit 1 if there is none.

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
}

impl Get {
    pub(crate) fn run(self) -> Result<Outcome> {
        let db = open::read(&self.db)?;
        let Some(collection) = db.existing_collection(&self.collection)? else {
            return Ok(Outcome::No);
        };
        let Some(mut value) = collection.reader(self.key.as_encoded_bytes())? else {
            return Ok(Outcome::No);
        };
        let mut out = output::stdout();
        output::pour(&mut value, |piece| Ok(out.write_all(piece)?))?;
        out.flush()?;
        Ok(Outcome::Done)
    }
}
