//! `esker export DB C [--at NAME]`: writes every pair of a collection as JSON Lines to standard output.
//!
//! ```text
//! {"key": …, "value": …}      `key_base64`, `value_base64` for bytes that are not UTF-8
//! ```

use crate::failure::{Failure, Outcome, Result};
use crate::{open, output, progress};
use clap::Args;
use std::io::{self, Write};
use std::path::PathBuf;

/// Write every pair of a collection as a line of JSON; the reverse of `import`
#[derive(Args)]
pub(crate) struct Export {
    /// The database's folder
    db: PathBuf,
    /// The collection
    #[arg(value_name = "C")]
    collection: String,
    /// As the snapshot of this name sees it
    #[arg(long, value_name = "NAME")]
    at: Option<String>,
}

impl Export {
    pub(crate) fn run(self) -> Result<Outcome> {
        let db = open::read(&self.db)?;
        let view = open::view(&db, &self.db, &self.collection, self.at.as_deref())?;
        let bar = progress::of_bytes();
        let mut out = bar.wrap_write(output::stdout());
        let exported = view.export_json(&mut out);
        bar.finish_and_clear();
        match exported {
            // Whoever reads has seen enough.
            Err(error) if error.io_kind() == Some(io::ErrorKind::BrokenPipe) => {
                Err(Failure::Output(io::ErrorKind::BrokenPipe.into()))
            }
            Err(error) => Err(error.into()),
            Ok(_) => {
                out.flush()?;
                Ok(Outcome::Done)
            }
        }
    }
}
