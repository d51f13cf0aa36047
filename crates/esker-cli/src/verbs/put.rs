//! `esker put DB C KEY [VALUE]`: stores a value, from the command line or from standard input.

use crate::failure::{Failure, Outcome, Result};
use crate::open;
use clap::Args;
use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;

/// Store a value under a key; without VALUE, all of standard input is the value
#[derive(Args)]
pub(crate) struct Put {
    /// The database's folder; created if there is none
    db: PathBuf,
    /// The collection; created if there is none
    #[arg(value_name = "C")]
    collection: String,
    key: OsString,
    value: Option<OsString>,
}

impl Put {
    pub(crate) fn run(self) -> Result<Outcome> {
        let value = match self.value {
            Some(value) => value.into_encoded_bytes(),
            None => standard_input()?,
        };
        let db = open::create(&self.db)?;
        db.collection(&self.collection)?.insert(self.key.as_encoded_bytes(), value)?;
        db.close()?;
        Ok(Outcome::Done)
    }
}

fn standard_input() -> Result<Vec<u8>> {
    let mut value = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut value);
    read.map_err(|error| Failure::new(format!("read standard input: {error}")))?;
    Ok(value)
}
