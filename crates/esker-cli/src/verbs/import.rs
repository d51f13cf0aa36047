//! `esker import DB C`: stores the pairs that `export` wrote, from standard input.
//!
//! ```text
//! imported N pairs
//! ```
//!
//! 1. The database and the collection are created if they are missing. What is stored is on disk when
//!    the verb ends with 0.
//! 2. A line that is no pair ends it: those before it are stored, it and those behind it are not.

use crate::failure::{Outcome, Result};
use crate::{open, output, progress};
use clap::Args;
use std::io::{self, BufReader, Write};
use std::path::PathBuf;

const BUFFER_BYTES: usize = 256 << 10;

/// Store pairs that come as lines of JSON on standard input; the reverse of `export`
#[derive(Args)]
pub(crate) struct Import {
    /// The database's folder
    db: PathBuf,
    /// The collection
    #[arg(value_name = "C")]
    collection: String,
}

impl Import {
    pub(crate) fn run(self) -> Result<Outcome> {
        let db = open::create(&self.db)?;
        let collection = db.collection(&self.collection)?;
        let bar = progress::of_bytes();
        let input = BufReader::with_capacity(BUFFER_BYTES, bar.wrap_read(io::stdin().lock()));
        let imported = collection.import_json(input);
        bar.finish_and_clear();
        let pairs = imported?;
        db.close()?;
        let mut out = output::stdout();
        writeln!(out, "imported {pairs} pairs")?;
        out.flush()?;
        Ok(Outcome::Done)
    }
}
