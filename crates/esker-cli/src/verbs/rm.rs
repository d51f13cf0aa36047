//! `esker rm DB C KEY`: removes a key; one that is absent stays so, and that is no error.

use crate::failure::{Outcome, Result};
use crate::open;
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

/// Remove a key; fine if it is absent
#[derive(Args)]
pub(crate) struct Rm {
    /// The database's folder
    db: PathBuf,
    /// The collection
    #[arg(value_name = "C")]
    collection: String,
    key: OsString,
}

impl Rm {
    pub(crate) fn run(self) -> Result<Outcome> {
        let db = open::write(&self.db)?;
        if let Some(collection) = db.existing_collection(&self.collection)? {
            collection.remove(self.key.as_encoded_bytes())?;
        }
        db.close()?;
        Ok(Outcome::Done)
    }
}
